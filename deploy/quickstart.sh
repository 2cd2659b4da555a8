#!/usr/bin/env bash
# From a clone to a three-node cluster that has shown its job, in one command:
# installs what is missing, builds, starts three nodes on loopback, publishes
# 10,000 messages through one and consumes them through another while the
# queue's leader is killed, and says what happened. Safe to run again.
#
#   deploy/quickstart.sh             everything
#   deploy/quickstart.sh --no-demo   only install, build and start
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
build=$here/build/release
demo=1

usage() {
    sed -n '2,8s/^# \{0,1\}//p' "$here/deploy/quickstart.sh"
}

case "${1:-}" in
"") ;;
--no-demo) demo=0 ;;
-h | --help)
    usage
    exit 0
    ;;
*)
    usage >&2
    exit 2
    ;;
esac

step() {
    printf '\n== %s (%d s so far)\n' "$*" "$SECONDS"
}

cd "$here"
step "Installing what is missing"
deploy/setup.sh

step "Building"
if [ ! -f "$build/build.ninja" ]; then
    meson setup "$build" --buildtype=release >"$here/build-setup.log" ||
        { cat "$here/build-setup.log" >&2; exit 1; }
    rm -f "$here/build-setup.log"
fi
ninja -C "$build" src/quorated src/quoratectl src/quorate-bench

step "Starting three nodes"
deploy/cluster.sh up

if [ "$demo" = 1 ]; then
    step "Publishing, consuming, and killing the leader"
    /usr/bin/python3 deploy/demo.py
fi

cat <<TEXT

The cluster runs: AMQP at 127.0.0.1:5672, 5673 and 5674, user guest, password
guest. To go on:

  deploy/cluster.sh status     who runs, who leads
  deploy/cluster.sh kill 2     take a node away; start 2 brings it back
  build/release/src/quoratectl --socket quorate-data/n1/ctl.sock help
  build/release/src/quorate-bench --help
  deploy/cluster.sh down       stop it; the data stay in ./quorate-data
TEXT
