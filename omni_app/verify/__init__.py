"""The ledger held against itself, from outside: read-only, of one moment, beside a running server."""

from omni_app.verify.findings import Finding
from omni_app.verify.ledger import verify_ledger
from omni_app.verify.report import as_json, as_text

__all__ = ["Finding", "as_json", "as_text", "verify_ledger"]
