#!/usr/bin/env bash
# Writes a bill of materials of requirements.txt, compares it with the lock, and asks for known vulnerabilities.
# What asks has an environment of its own (.audit), from requirements-audit.txt.
set -euo pipefail
cd -P "$(dirname "$0")/.."

if ! cmp -s requirements-audit.txt .audit/installed; then
  rm -rf .audit
  .venv/bin/python -m uv venv --quiet --python .venv/bin/python .audit
  .venv/bin/python -m uv pip install --quiet --python .audit/bin/python --require-hashes -r requirements-audit.txt
  cp requirements-audit.txt .audit/installed
fi

mkdir -p build
.venv/bin/python -m cyclonedx_py requirements --output-reproducible --of JSON -o build/sbom.json requirements.txt
.venv/bin/python -m tests.locks build/sbom.json

# Asks a public database. Strict: without a network, or for a package that the database does not know, this fails.
.audit/bin/pip-audit --requirement requirements.txt --require-hashes --disable-pip --strict
