#!/usr/bin/env bash
# Removes what can be made again. The environment (.venv) and the product's data (data/) stay.
set -euo pipefail
cd -P "$(dirname "$0")/.."

rm -rf .web .states .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis test-results build dist
find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
