#!/usr/bin/env bash
# The properties of money and the ledger, 10,000 cases each: one process a file, as many at once as there are cores.
set -euo pipefail
cd "$(dirname "$0")/.."

files=$(grep -rl "mark.invariants" tests --include="test_*.py" | sort)
begun=$SECONDS
echo "$files" | xargs -P "$(nproc)" -I {} .venv/bin/python -m pytest -m invariants -k "not postgres" \
  --hypothesis-profile invariants --timeout 3600 --durations 0 --durations-min 0.5 "$@" {}
echo "all of them in $((SECONDS - begun)) s"
