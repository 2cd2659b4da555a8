#!/usr/bin/env bash
# Real nodes on hosts of their own under every fault, real clients, and a
# verdict per contract. See torture.py --help. QUORATE_BUILD names the build
# directory (default: build/release).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
# The tools of iproute2 and e2fsprogs are there, and not in every user's path.
export PATH=$PATH:/usr/sbin:/sbin
exec /usr/bin/python3 "$here/torture.py" "$@"
