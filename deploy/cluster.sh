#!/usr/bin/env bash
# A three-node cluster on loopback, for trying things out and for tests.
#
#   deploy/cluster.sh up          start n1, n2 and n3, wait until they serve
#   deploy/cluster.sh down        stop them cleanly
#   deploy/cluster.sh status      who runs, and the cluster as it sees itself
#   deploy/cluster.sh kill N      SIGKILL node N (1, 2 or 3)
#   deploy/cluster.sh start N     start node N and wait until it serves
#   deploy/cluster.sh stop N      stop node N cleanly
#   deploy/cluster.sh pids        process ids, in order of the nodes
#   deploy/cluster.sh wipe        remove their data (they must be down)
#
# AMQP is at 127.0.0.1:5672, 5673 and 5674; data and logs are in
# ./quorate-data. QUORATE_BIN names the directory with quorated and quoratectl
# (default: where the build puts them), QUORATE_CONF that with n1.conf ... and
# QUORATE_DATA the data directory that they name.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
conf=${QUORATE_CONF:-$here/deploy/three-node}
data=${QUORATE_DATA:-$here/quorate-data}
nodes="1 2 3"
deadline_s=${QUORATE_DEADLINE:-30}

usage() {
    sed -n '2,16s/^# \{0,1\}//p' "$here/deploy/cluster.sh"
}

fail() {
    echo "cluster.sh: $*" >&2
    exit 1
}

find_bin() {
    local name=$1 path
    for path in "${QUORATE_BIN:+$QUORATE_BIN/$name}" \
        "$here/build/release/src/$name"; do
        if [ -n "$path" ] && [ -x "$path" ] && [ ! -d "$path" ]; then
            echo "$path"
            return
        fi
    done
    fail "$name is not built: run deploy/quickstart.sh, or set QUORATE_BIN"
}

pid_of() {
    local file=$data/n$1.pid pid
    [ -f "$file" ] || return 1
    pid=$(cat "$file")
    # The process may be gone, or wait for its parent to notice, and its
    # number may be another's.
    grep -qs quorated "/proc/$pid/comm" || return 1
    grep -qs '^State:[[:space:]]*[ZX]' "/proc/$pid/status" && return 1
    echo "$pid"
}

check_node() {
    case " $nodes " in
    *" ${1:-} "*) ;;
    *) fail "'${1:-}': a node is 1, 2 or 3" ;;
    esac
}

make_secret() {
    mkdir -p "$data"
    if [ ! -f "$data/secret" ]; then
        (umask 077 && od -An -tx1 -N32 /dev/urandom | tr -d ' \n' \
            >"$data/secret.new")
        chmod 400 "$data/secret.new"
        mv "$data/secret.new" "$data/secret"
    fi
}

launch() {
    local n=$1 quorated
    quorated=$(find_bin quorated)
    if pid_of "$n" >/dev/null; then
        echo "n$n runs already" >&2
        return
    fi
    make_secret
    (
        cd "$(dirname "$data")"
        exec setsid "$quorated" --config "$conf/n$n.conf" \
            >>"$data/n$n.log" 2>&1 </dev/null
    ) &
    echo $! >"$data/n$n.pid"
}

await() {
    local n=$1 ctl end
    ctl=$(find_bin quoratectl)
    end=$((SECONDS + deadline_s))
    until "$ctl" --socket "$data/n$n/ctl.sock" -q await_startup -t 5 \
        >/dev/null 2>&1; do
        pid_of "$n" >/dev/null ||
            fail "n$n has stopped: $(tail -n 3 "$data/n$n.log")"
        [ "$SECONDS" -lt "$end" ] ||
            fail "n$n does not serve after $deadline_s s; see $data/n$n.log"
        sleep 0.1
    done
}

halt() {
    local n=$1 pid end
    if ! pid=$(pid_of "$n"); then
        rm -f "$data/n$n.pid"
        return
    fi
    kill -TERM "$pid"
    end=$((SECONDS + deadline_s))
    while pid_of "$n" >/dev/null; do
        [ "$SECONDS" -lt "$end" ] || fail "n$n does not stop (pid $pid)"
        sleep 0.05
    done
    rm -f "$data/n$n.pid"
}

case "${1:-}" in
-h | --help | help) usage ;;
up)
    for n in $nodes; do launch "$n"; done
    for n in $nodes; do await "$n"; done
    echo "n1, n2 and n3 serve AMQP at 127.0.0.1:5672, 5673 and 5674"
    ;;
down)
    for n in $nodes; do
        pid=$(pid_of "$n") && kill -TERM "$pid"
    done || true
    for n in $nodes; do halt "$n"; done
    ;;
status)
    for n in $nodes; do
        if pid=$(pid_of "$n"); then
            echo "n$n runs, pid $pid"
            up=$n
        else
            echo "n$n is down"
        fi
    done
    if [ -n "${up:-}" ]; then
        "$(find_bin quoratectl)" --socket "$data/n$up/ctl.sock" cluster_status
    fi
    ;;
kill)
    check_node "${2:-}"
    pid=$(pid_of "$2") || fail "n$2 is down"
    kill -KILL "$pid"
    rm -f "$data/n$2.pid"
    ;;
start)
    check_node "${2:-}"
    launch "$2"
    await "$2"
    ;;
stop)
    check_node "${2:-}"
    halt "$2"
    ;;
pids)
    for n in $nodes; do pid_of "$n" || true; done
    ;;
wipe)
    for n in $nodes; do
        if pid_of "$n" >/dev/null; then fail "n$n runs: down first"; fi
    done
    rm -rf "$data/n1" "$data/n2" "$data/n3" "$data"/n?.log "$data"/n?.pid
    ;;
*)
    usage >&2
    exit 2
    ;;
esac
