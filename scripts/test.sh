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

# Two halves side by side, one for each core that any machine has: real processes, browsers and pages here, all else there.
# A half takes 12 minutes on two quiet cores. One that hangs is ended, and says where each of its threads stands.
ONE_HALF="timeout --foreground --signal=ABRT --kill-after=30 1500 .venv/bin/python -X faulthandler -m pytest"
LONG="tests/e2e tests/faults tests/providers tests/security tests/ui"

# The types are looked at beside them, while the halves still load.
tests_and_types() {
  local log status=0 long types
  log=$(mktemp)
  .venv/bin/python -m mypy >"$log.types" 2>&1 &
  types=$!
  # Word splitting is wanted: one folder a word.
  # shellcheck disable=SC2086
  $ONE_HALF $LONG >"$log" 2>&1 &
  long=$!
  # shellcheck disable=SC2086
  $ONE_HALF tests $(printf -- '--ignore=%s ' $LONG) || status=1
  wait "$long" || status=1
  wait "$types" || status=1
  cat "$log" "$log.types"
  rm -f "$log" "$log.types"
  return $status
}

check format .venv/bin/python -m ruff format --check --quiet .
check lint .venv/bin/python -m ruff check --quiet .
check imports .venv/bin/lint-imports
check tests_and_types tests_and_types

if [ -n "$failed" ]; then
  echo "FAILED:$failed"
  exit 1
fi
