#!/bin/bash
# libFuzzer on every target, for a bounded time. tests/fuzz/soak.sh --help.
set -uo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$top" || exit 1
build=${FUZZ_BUILD:-$top/build/fuzz}
jobs=${JOBS:-$(nproc)}
minutes=60
seconds=
targets=()

usage() {
    cat <<TXT
usage: tests/fuzz/soak.sh [--minutes M] [--each S] [TARGET...]

Builds the fuzz targets with clang, libFuzzer, AddressSanitizer and UBSan in
build/fuzz and runs each, as many at a time as there are cores, then stops.

  --minutes M  for all targets together, shared out evenly (default: $minutes)
  --each S     seconds for each target, instead

What a target finds worth keeping stays in build/fuzz-corpus/TARGET and is
where the next run begins; tests/fuzz/corpus/TARGET is read first. An input
that fails is kept in build/fuzz-crashes; it is not made smaller:
    build/fuzz/tests/fuzz/fuzz-TARGET -minimize_crash=1 -runs=100000 FILE
then belongs into tests/fuzz/corpus/TARGET, with the fix.

Environment: JOBS (default: the number of cores, $jobs). Exits 0 if nothing
failed.
TXT
}

while [ $# -gt 0 ]; do
    case $1 in
    --minutes)
        minutes=${2:?--minutes needs a number}
        shift
        ;;
    --each)
        seconds=${2:?--each needs a number}
        shift
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    -*)
        usage >&2
        exit 2
        ;;
    *) targets+=("$1") ;;
    esac
    shift
done

if [ "${#targets[@]}" -eq 0 ]; then
    for source in tests/fuzz/*_fuzz.c; do
        name=${source##*/}
        targets+=("${name%_fuzz.c}")
    done
fi
if [ -z "$seconds" ]; then
    seconds=$((minutes * 60 * jobs / ${#targets[@]}))
fi

crashes=$top/build/fuzz-crashes
logs=$top/build/fuzz-logs
mkdir -p "$crashes" "$logs"
programs=("${targets[@]/#/tests/fuzz/fuzz-}")

compile() {
    if [ ! -f "$build/build.ninja" ]; then
        CC=clang meson setup "$build" -Dfuzz=true -Db_lundef=false \
            -Db_sanitize=address,undefined || return
    fi
    ninja -C "$build" -j "$jobs" "${programs[@]}"
}
if ! compile > "$logs/build.log" 2>&1; then
    tail -n 40 "$logs/build.log"
    exit 1
fi

export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

# Fuzz one target; one line says what came of it.
fuzz() {
    local name=$1 log=$logs/$1.log result=ok
    local grown=$top/build/fuzz-corpus/$name
    mkdir -p "$grown" "tests/fuzz/corpus/$name"
    # Slow is a bug, too: 25 s for one input, as oss-fuzz has it.
    "$build/tests/fuzz/fuzz-$name" -max_total_time="$seconds" -timeout=25 \
        -rss_limit_mb=1024 -max_len=65536 -len_control=0 \
        -print_final_stats=1 -artifact_prefix="$crashes/$name-" "$grown" \
        "tests/fuzz/corpus/$name" > "$log" 2>&1 || result=FAILED
    rmdir "tests/fuzz/corpus/$name" 2> /dev/null
    awk -v name="$name" -v result="$result" '
        / cov: / { for (i = 1; i < NF; i++) {
            if ($i == "cov:") cov = $(i + 1)
            if ($i == "ft:") ft = $(i + 1)
            if ($i == "corp:") corp = $(i + 1) } }
        /stat::number_of_executed_units/ { n = $2 }
        /stat::average_exec_per_sec/ { rate = $2 }
        /stat::peak_rss_mb/ { rss = $2 }
        END { printf "%-10s %-7s %10d %8d %7d %7d  %-14s %6d\n",
            name, result, n, rate, cov, ft, corp, rss }' "$log"
    [ "$result" = ok ]
}
export -f fuzz
export build top logs crashes seconds

printf '%d s for each of %d targets, %d at a time\n' "$seconds" \
    "${#targets[@]}" "$jobs"
printf '%-10s %-7s %10s %8s %7s %7s  %-14s %6s\n' target result execs \
    execs/s edges feat. "kept" "MB"
printf '%s\n' "${targets[@]}" |
    xargs -P "$jobs" -I '{}' bash -c 'fuzz "$1"' _ '{}'
result=$?
find "$crashes" -type f -printf 'kept: %p\n'
exit "$result"
