#!/usr/bin/env bash
# Makes .venv with exactly the locked packages, checked against their hashes; --dev adds what the tests need.
# A second run finds its stamp and does nothing. PYTHON=... chooses the interpreter.
set -euo pipefail
cd -P "$(dirname "$0")/.."

locks=(requirements.txt)
if [ "${1:-}" = "--dev" ]; then locks+=(requirements-dev.txt); fi

suitable='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

have_uv() { command -v uv >/dev/null 2>&1; }

# A Python is suitable when it runs, has the right version and, without uv, can make an environment by itself.
is_suitable() {
  "$1" -c "$suitable" >/dev/null 2>&1 && { have_uv || "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }
}

find_python() {
  local name
  for name in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
    if is_suitable "$name"; then command -v "$name"; return; fi
    if [ "$name" = "${PYTHON:-}" ]; then return 1; fi
  done
  for name in "$HOME"/.pyenv/versions/3.1[123].*/bin/python3; do
    if is_suitable "$name"; then echo "$name"; return; fi
  done
  return 1
}

no_python() {
  cat >&2 <<'MESSAGE'
No suitable Python was found: Python 3.11, 3.12 or 3.13 is needed, with its venv module.
  Debian, Ubuntu:  apt-get install python3 python3-venv
  macOS:           brew install python@3.13
  any system:      install uv; it brings a Python of its own
Is it somewhere else? Name it: make install PYTHON=/path/to/python3
MESSAGE
  exit 1
}

# What an environment with these locks looks like from outside; where it stands is part of it, since scripts in it name it.
fingerprint() { pwd && cat "$@"; }
stamp_of() { echo ".venv/.installed-$1"; }
is_installed() { fingerprint "$1" | cmp -s - "$(stamp_of "$1")"; }

all_installed() {
  local lock
  .venv/bin/python -c "$suitable" >/dev/null 2>&1 || return 1
  for lock in "${locks[@]}"; do is_installed "$lock" || return 1; done
}

# Usable: the right Python, made at this very place, and something that can install into it.
is_usable() {
  .venv/bin/python -c "$suitable" >/dev/null 2>&1 &&
    grep -qF "$PWD/.venv" .venv/bin/activate 2>/dev/null &&
    { have_uv || .venv/bin/python -m pip --version >/dev/null 2>&1; }
}

make_environment() {
  local python
  rm -rf .venv
  if python=$(find_python); then
    echo "Making .venv with $("$python" -V) …"
    if have_uv; then uv venv --quiet --python "$python" .venv; else "$python" -m venv .venv; fi
  elif have_uv && [ -z "${PYTHON:-}" ]; then
    echo "Making .venv with a Python that uv brings …"
    uv venv --quiet --python '>=3.11,<3.14' .venv
  else
    no_python
  fi
}

install_lock() {
  echo "Installing $(grep -c '^[a-z0-9]' "$1") packages of $1 (the first time takes about a minute) …"
  if have_uv; then
    uv pip install --quiet --python .venv/bin/python --no-deps --require-hashes -r "$1"
  else
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --require-hashes -r "$1"
  fi
  fingerprint "$1" >"$(stamp_of "$1")"
}

if all_installed; then exit 0; fi
if ! is_usable; then make_environment; fi
for lock in "${locks[@]}"; do is_installed "$lock" || install_lock "$lock"; done
