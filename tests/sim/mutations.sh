#!/bin/bash
# Shows that the simulator's checker bites: tests/sim/mutations.sh --help
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
jobs=$(nproc)
build=$top/build/mutations

# The bug, how many seeds may be needed at most, and with which options of the
# simulator. docs/testing.md says what catches it. A plan is run once, and once
# more without the bug: then nothing may fail.
bugs() {
    local stress='--stress --nodes 3 --clients 3'
    cat <<TXT
skip_sync 20
no_hold 230 $stress
early_report 50 $stress
forget_vote 190 $stress
old_term 1 --plan $build/figure_8.plan
reuse_id 20
replay_effects 10
drop_dedup 40
drop_resend 360
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
One bug needs a plan of its own, which must hold without the bug.
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
    meson setup "$build" -Dmutations=true -Dtests=false \
        --buildtype=release > /dev/null
fi
ninja -C "$build" -j "$jobs" src/quorate-sim > "$build/build.log" || {
    tail -n 40 "$build/build.log" >&2
    exit 2
}

missed=0
while read -r name seeds options; do
    read -ra more <<< "$options"
    case " ${names[*]-} " in
    "  " | *" $name "*) ;;
    *) continue ;;
    esac
    out=$build/$name.log
    if [ "$name" = old_term ]; then
        tests/sim/figure_8.py "$build/src/quorate-sim" \
            "$build/figure_8.plan" || true
    fi
    if "$build/src/quorate-sim" --mutation "$name" --seeds "$seeds" --first \
        --no-shrink --quiet --jobs "$jobs" "${more[@]}" > "$out"; then
        printf '%-16s MISSED in %d seeds\n' "$name" "$seeds"
        missed=$((missed + 1))
        continue
    fi
    # "seed N: WHAT", after the line of the run itself.
    what=$(grep -aE '^seed [0-9]+: ' "$out" |
        grep -avE ': (BROKEN|commit)' | head -n 1)
    if [[ $options == --plan* ]] &&
        ! "$build/src/quorate-sim" "${more[@]}" --no-shrink --quiet \
            > "$out.without"; then
        printf '%-16s the plan fails without it, too\n' "$name"
        missed=$((missed + 1))
        continue
    fi
    printf '%-16s of %4d: %s\n' "$name" "$seeds" "$what"
done < <(bugs)
printf '%d missed\n' "$missed"
[ "$missed" -eq 0 ]
