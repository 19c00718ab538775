#!/usr/bin/env bash
# What only a GPU can show, in at most nine minutes; it builds nothing. See README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${PYTHON:-python}" -m benchmarks.gpu "$@"
