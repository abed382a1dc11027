#!/usr/bin/env bash
# Finds what the tests need from the system, or installs it where that can be done without asking: Debian, as root.
# Where it cannot, it says so and goes on: the tests concerned are skipped with their reason (and fail the run when CI=true).
set -uo pipefail
cd -P "$(dirname "$0")/.."

missing=$(.venv/bin/python -m tests.system) || exit 1
if [ -z "$missing" ]; then exit 0; fi

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "Installing for the tests:" $missing
  # Word splitting is wanted: one package a word. Debian's postgresql would also start a server; the tests start their own.
  # shellcheck disable=SC2086
  if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null; then
    exit 0
  fi
fi
echo "Not found, and not installable from here:" $missing "- the tests that need them are skipped." >&2
