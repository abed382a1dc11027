#!/usr/bin/env bash
# Writes requirements.txt, requirements-dev.txt and requirements-audit.txt: exact versions with hashes, for every supported Python and system.
# Pins stay as they are unless asked: --upgrade, or --upgrade-package NAME.
set -euo pipefail
cd -P "$(dirname "$0")/.."

for name in requirements requirements-dev requirements-audit; do
  .venv/bin/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" "$@" "$name.in" -o "$name.txt"
done
echo "Written. Read the difference before you commit it: git diff --stat requirements*.txt"
