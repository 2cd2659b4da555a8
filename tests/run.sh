#!/bin/bash
# The whole test suite, in all build set-ups. tests/run.sh --help says more.
#
# A stage is a function stage_NAME below: it runs in a subshell with -e, its
# output goes to build/logs/NAME.log, and a non-zero exit fails it; 77 says that
# this machine cannot run it. Stages run one after the other; each uses both
# cores itself.
set -uo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top" || exit 1
logs=$top/build/logs
jobs=${JOBS:-$(nproc)}
sim_seeds=200
sim_seeds_sanitized=20
fuzz_seconds=5

# In the order in which they run.
all_stages=(
    unit clang tidy sim asan tsan fuzz
    integration
)
# Too long for every change.
long_stages=(integration-asan integration-tsan mutations torture)
torture_minutes=30
# The tidy rules that take no time.
quick_rules=(
    assertions banned codespell columns cycles documented file-size format
    function-size globals importers later layers narrative nesting scripts
    self-contained tested selftest
)

usage() {
    cat <<TXT
usage: tests/run.sh [STAGE...]
       tests/run.sh quick|long

Builds in build/ and tests. Without arguments: as CI does, all stages but the
long ones.

  unit         gcc, warnings are errors: unit, property and fuzz tests
  clang        the same with clang
  tidy         format, layers, sizes, clang-tidy, cppcheck, codespell, ...
  sim          $sim_seeds seeds of the cluster simulator
  asan         AddressSanitizer and UBSan: unit and fuzz tests,
               $sim_seeds_sanitized seeds of the simulator
  tsan         ThreadSanitizer: unit tests of the rooms with threads
  fuzz         libFuzzer, $fuzz_seconds s for each decoder (clang)
  integration  real clients against real nodes (tests/integration)
  quick        unit, the quick tidy rules, a few seeds

Long, each a stage too:

  integration-asan, integration-tsan
               integration against nodes built with the sanitizers
  mutations    known bugs, planted: the simulator finds each
  torture      $torture_minutes minutes of every fault on real nodes (root)

Environment:
  JOBS         parallel jobs (default: the number of cores, $jobs)
  SIM_SEEDS    seeds to simulate (default: $sim_seeds)
  TORTURE_MINUTES  of the stage torture (default: $torture_minutes)

Needs what deploy/setup.sh installs. Each stage's output is in
build/logs/STAGE.log. Exits 0 if all passed.
TXT
}

# Set up the build directory build/$1 with these meson options, once; set it
# up anew when they change.
configure() {
    local name=$1 stamp=build/$1/run-options
    shift
    local want="CC=${CC:-gcc} $*"
    if [ "$(cat "$stamp" 2> /dev/null)" = "$want" ]; then
        return
    fi
    rm -rf "build/$name"
    CC=${CC:-gcc} meson setup "build/$name" "$@"
    echo "$want" > "$stamp"
}

# configure and compile.
build() {
    configure "$@"
    # All errors at once, not one a run.
    ninja -C "build/$1" -j "$jobs" -k 0
}

# Run a suite of the tests built in build/$1.
suite() {
    local name=$1 suite=$2
    shift 2
    meson test -C "build/$name" --no-rebuild --print-errorlogs \
        --num-processes "$jobs" --suite "$suite" --logbase "$suite" "$@"
}

# Simulate seeds 1 to $2 with the program of build/$1, and the first of them
# twice: the same seed must give the same trace.
simulate() {
    local program=build/$1/src/quorate-sim seeds=$2
    "$program" --seed 1 --twice
    "$program" --seeds "$seeds" --jobs "$jobs" --quiet --keep "$logs"
}

build_gcc() {
    build gcc -Dwerror=true
}

stage_unit() {
    build_gcc
    suite gcc unit
    suite gcc fuzz
}

stage_clang() {
    CC=clang build clang -Dwerror=true -Db_lundef=false
    suite clang unit
}

stage_tidy() {
    build_gcc
    suite gcc tidy --verbose
}

stage_quick_tidy() {
    build_gcc
    suite gcc tidy "${quick_rules[@]/#/tidy-}"
}

stage_sim() {
    build_gcc
    simulate gcc "${SIM_SEEDS:-$sim_seeds}"
}

# The sanitizers' code draws warnings that the plain builds do not, so these
# are no errors here.
stage_asan() {
    export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
    export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
    build asan -Db_sanitize=address,undefined
    suite asan unit --timeout-multiplier 3
    suite asan fuzz --timeout-multiplier 3
    simulate asan "$sim_seeds_sanitized"
}

# Only what has threads, and only that is built: in one thread there is
# nothing for it to see.
stage_tsan() {
    export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}
    configure tsan -Db_sanitize=thread
    meson test -C build/tsan --print-errorlogs --num-processes "$jobs" \
        --suite threads --timeout-multiplier 3
}

stage_fuzz() {
    tests/fuzz/soak.sh --each "$fuzz_seconds"
}

# The integration tests against the programs in build/$1. Debian's Python has
# the clients that deploy/setup.sh installs.
integrate() {
    PATH=/usr/bin:$PATH QUORATE_BUILD=$top/build/$1 tests/integration/run.sh
}

# The same with sanitized programs. A node that a sanitizer complains about
# may go on, or be killed by its test before anybody asks how it ended: each
# writes what it has to say into a file of its own, and there must be none.
integrate_sanitized() {
    local name=$1 reports=$logs/sanitizer.$1
    rm -rf "$reports"
    mkdir -p "$reports"
    integrate "$name"
    find "$reports" -type f -exec cat '{}' + | real_reports
}

# Print the sanitizers' reports of the input; 1 if there are any. Left out are
# races about a file descriptor itself: libuv closes descriptors with a bare
# system call that ThreadSanitizer does not see, so that it takes a file with
# the number of a closed socket for that socket, used by two threads.
real_reports() {
    awk 'function ended() {
             if (is_report && !about_descriptor) { print report; found = 1 }
             report = ""; is_report = about_descriptor = 0
         }
         /^=+$/ { ended(); next }
         /(WARNING|ERROR): |runtime error: / { is_report = 1 }
         /Location is file descriptor/ { about_descriptor = 1 }
         { report = report $0 "\n" }
         END { ended(); exit found }'
}

stage_integration() {
    build_gcc
    integrate gcc
}

stage_integration_asan() {
    export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
    export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
    ASAN_OPTIONS+=":log_path=$logs/sanitizer.asan/report"
    UBSAN_OPTIONS+=":log_path=$logs/sanitizer.asan/report"
    build asan -Db_sanitize=address,undefined
    integrate_sanitized asan
}

stage_integration_tsan() {
    export TSAN_OPTIONS=${TSAN_OPTIONS:-second_deadlock_stack=1}
    TSAN_OPTIONS+=":log_path=$logs/sanitizer.tsan/report:exitcode=0"
    configure tsan -Db_sanitize=thread
    ninja -C build/tsan -j "$jobs" src/quorated src/quoratectl \
        src/quorate-bench
    integrate_sanitized tsan
}

stage_mutations() {
    tests/sim/mutations.sh
}

stage_torture() {
    build_gcc
    PATH=/usr/bin:$PATH QUORATE_BUILD=$top/build/gcc \
        tests/torture/run.sh --minutes "${TORTURE_MINUTES:-$torture_minutes}"
}

# Run one stage, time it, and add its line to the summary.
run_stage() {
    local name=$1 start=$SECONDS result=passed code=0
    local log=$logs/$name.log
    printf '%-16s ' "$name"
    # set -e is ignored left of ||, hence a shell of its own.
    (
        set -e
        "stage_${name//-/_}"
    ) > "$log" 2>&1 < /dev/null &
    wait $! || code=$?
    if [ "$code" -eq 77 ]; then
        result=SKIPPED
    elif [ "$code" -ne 0 ]; then
        result=FAILED
        failed+=("$name")
    fi
    summary+=("$(printf '%-16s %-7s %5d s' "$name" "$result" \
        "$((SECONDS - start))")")
    printf '%-7s %5d s\n' "$result" "$((SECONDS - start))"
    if [ "$result" = SKIPPED ]; then
        grep -a SKIPPED "$log" | sed 's/^/    /'
    fi
    if [ "$result" = FAILED ]; then
        # Compile errors or broken rules if there are any, else the end.
        grep -aE 'error:|^FAILED:|^[^ ]+:[0-9]+: .* \[[a-z-]+\]$' "$log" |
            sort -u > "$log.short" ||
            grep -avE '^\[[0-9]+/[0-9]+\] |\bOK +[0-9.]+s' "$log" \
                > "$log.short"
        tail -n 40 "$log.short" | sed 's/^/    /'
        rm -f "$log.short"
        printf '    the whole log: %s\n' "${log#"$top"/}"
    fi
}

stages=()
for argument in "${@:-all}"; do
    case $argument in
    -h | --help)
        usage
        exit 0
        ;;
    all) stages+=("${all_stages[@]}") ;;
    long) stages+=("${long_stages[@]}") ;;
    quick)
        stages+=(unit quick-tidy sim)
        SIM_SEEDS=${SIM_SEEDS:-10}
        ;;
    *)
        if [[ " ${all_stages[*]} ${long_stages[*]} " != *" $argument "* ]]; then
            usage >&2
            exit 2
        fi
        stages+=("$argument")
        ;;
    esac
done

if ! deploy/setup.sh --check; then
    echo "tests/run.sh: run deploy/setup.sh first" >&2
    exit 1
fi
mkdir -p "$logs"

failed=()
summary=()
for stage in "${stages[@]}"; do
    run_stage "$stage"
done

printf '\n%-16s %-7s %7s\n' stage result time
printf '%s\n' "${summary[@]}"
printf '%-16s %-7s %5d s\n' total "" "$SECONDS"
if [ "${#failed[@]}" -gt 0 ]; then
    printf '\nfailed: %s (logs in build/logs/)\n' "${failed[*]}"
    exit 1
fi
