#!/bin/bash
# Fresh seeds of the simulator on all cores: tests/sim/soak.sh --help
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
minutes=10
jobs=$(nproc)
seed=
build=$top/build/soak
keep=$top/build/logs/soak

usage() {
    cat <<TXT
usage: tests/sim/soak.sh [--minutes M] [--jobs J] [--seed N] [-- OPTION...]

Builds quorate-sim in build/soak and runs seeds that nobody has run before for
M minutes ($minutes), J at once ($jobs). Stops by itself, and at the first
failure: its plan, made smaller, and its trace are then in build/logs/soak/.
Ends with the totals, for people and as one line of KEY=VALUE that begins with
"total". Exits 0 when no contract was broken.

  --seed N   the first seed; by default the time in microseconds
  -- ...     goes to quorate-sim
TXT
}

while [ $# -gt 0 ]; do
    case $1 in
    --minutes) minutes=$2 && shift 2 ;;
    --jobs) jobs=$2 && shift 2 ;;
    --seed) seed=$2 && shift 2 ;;
    --help | -h)
        usage
        exit 0
        ;;
    --)
        shift
        break
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
done

cd "$top"
if [ ! -f "$build/build.ninja" ]; then
    meson setup "$build" -Dtests=false > /dev/null
fi
ninja -C "$build" -j "$jobs" src/quorate-sim > "$build/soak-build.log" || {
    tail -n 40 "$build/soak-build.log" >&2
    exit 2
}
mkdir -p "$keep"
seed=${seed:-$(date +%s%6N)}
echo "soak: commit $(git describe --always --dirty 2> /dev/null ||
    echo unknown), from seed $seed, $minutes minutes, $jobs at once"
exec "$build/src/quorate-sim" --quiet --keep "$keep" --seed "$seed" \
    --minutes "$minutes" --jobs "$jobs" "$@"
