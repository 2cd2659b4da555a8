#!/usr/bin/env bash
# Checks the unit without a systemd that runs: its syntax, and that its exposure
# as systemd-analyze counts it (0 to 10) is below 2.0.
#
#   deploy/systemd/check.sh
#
# Exits 77 where there is no systemd-analyze of version 250 or later.
set -euo pipefail

cd "$(dirname "$0")"
unit=quorated.service
limit=2.0

if ! version=$(systemd-analyze --version 2> /dev/null |
    sed -n '1s/^systemd \([0-9]*\).*/\1/p') || [ "${version:-0}" -lt 250 ]; then
    echo "check.sh: NOT CHECKED: this needs systemd-analyze 250 or later" >&2
    exit 77
fi

# Unknown keys and sections are only warned about. Programs that are not
# installed here are not what is looked for.
faults=$(systemd-analyze verify --man=no "./$unit" 2>&1 |
    grep -F "$unit:" | grep -vE 'is not executable' || true)
if [ -n "$faults" ]; then
    echo "$faults" >&2
    exit 1
fi

exposure=$(systemd-analyze security --offline=yes --no-pager "$unit" |
    sed -n 's/.*Overall exposure level for [^:]*: \([0-9.]*\).*/\1/p')
echo "$unit: exposure $exposure, below $limit is wanted"
awk -v e="$exposure" -v l="$limit" \
    'BEGIN { exit !(e ~ /^[0-9]+\.[0-9]+$/ && e + 0 < l + 0) }'

systemd-sysusers --dry-run "$PWD/quorate.sysusers" > /dev/null 2>&1
echo "quorate.sysusers: good"
