#!/bin/bash
# Shows that the simulator's checker bites: tests/sim/mutations.sh --help
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
jobs=$(nproc)
build=$top/build/mutations

# The bug, and how many seeds may be needed at most. docs/testing.md says what
# catches it.
bugs() {
    cat <<TXT
skip_sync 20
replay_effects 10
drop_dedup 40
drop_live 150
ignore_prefetch 10
share_exclusive 90
unflagged 10
meta_twice 10
keep_deleted 20
confirm_first 120
settle_less 40
skip_crc 400
TXT
}

usage() {
    cat <<TXT
usage: tests/sim/mutations.sh [--jobs J] [NAME...]

Builds quorate-sim in build/mutations with known bugs planted, wakes one after
the other (all, or those named), and runs seeds from 1 on until one fails. Each
must fail within the number of seeds that this script states. Exits 0 if so.
TXT
}

names=()
while [ $# -gt 0 ]; do
    case $1 in
    --jobs) jobs=$2 && shift 2 ;;
    --help | -h)
        usage
        exit 0
        ;;
    -*)
        usage >&2
        exit 2
        ;;
    *) names+=("$1") && shift ;;
    esac
done

cd "$top"
if [ ! -f "$build/build.ninja" ]; then
    meson setup "$build" -Dmutations=true -Dtests=false > /dev/null
fi
ninja -C "$build" -j "$jobs" src/quorate-sim > "$build/build.log" || {
    tail -n 40 "$build/build.log" >&2
    exit 2
}

missed=0
while read -r name seeds; do
    case " ${names[*]-} " in
    "  " | *" $name "*) ;;
    *) continue ;;
    esac
    out=$build/$name.log
    if "$build/src/quorate-sim" --mutation "$name" --seeds "$seeds" --first \
        --no-shrink --quiet --jobs "$jobs" > "$out"; then
        printf '%-16s MISSED in %d seeds\n' "$name" "$seeds"
        missed=$((missed + 1))
        continue
    fi
    # "seed N: WHAT", after the line of the run itself.
    what=$(grep -aE '^seed [0-9]+: ' "$out" |
        grep -avE ': (BROKEN|commit)' | head -n 1)
    printf '%-16s of %4d: %s\n' "$name" "$seeds" "$what"
done < <(bugs)
printf '%d missed\n' "$missed"
[ "$missed" -eq 0 ]
