#!/usr/bin/env bash
# Real clients against real nodes. QUORATE_BUILD names the build directory
# (default: build/release). See run.py --help.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 "$here/run.py" "$@"
