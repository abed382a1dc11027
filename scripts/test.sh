#!/usr/bin/env bash
# Runs every check, goes on after a failure, and names at the end what failed.
set -uo pipefail
cd -P "$(dirname "$0")/.."

failed=""

check() {
  local name=$1 start=$SECONDS
  shift
  echo "== $name"
  "$@" || failed="$failed $name"
  echo "== $name: $((SECONDS - start)) s"
}

check format .venv/bin/python -m ruff format --check --quiet .
check lint .venv/bin/python -m ruff check --quiet .
check types .venv/bin/python -m mypy
check imports .venv/bin/lint-imports
check tests .venv/bin/python -m pytest

if [ -n "$failed" ]; then
  echo "FAILED:$failed"
  exit 1
fi
