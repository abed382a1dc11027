"""Ledger records as rows to show. Figures come from `omni_app.storage.ledger` untouched; only their wording is here."""

from omni_app.storage.ledger import AttemptRecord, RequestRecord
from omni_app.ui import text
from omni_app.ui.components.basics import Row

ERRORS = {
    "unknown_outcome": "interrupted",
    "no_eligible_model": "no model could do it",
    "provider_error": "every model failed",
    "cancelled": "the client went away",
}
OUTCOMES = {
    "ok": "answered",
    "refused": "connection refused",
    "connect_timeout": "could not connect in time",
    "first_byte_timeout": "did not begin to answer in time",
    "total_timeout": "did not finish in time",
    "connection_lost": "connection lost",
    "server_error": "server error",
    "rate_limited": "rate limited",
    "authentication": "our provider key was refused",
    "model_not_found": "model not found",
}


def request_row(record: RequestRecord) -> Row:
    """One request as a line of a table."""
    return {
        "id": record.request_id,
        "href": f"/request/?id={record.request_id}",
        "order": f"{record.created_at.isoformat(timespec='microseconds')} {record.request_id}",
        "at": text.instant(record.created_at),
        "at_text": text.utc_text(record.created_at),
        "task": text.task_name(record.task),
        "model": record.model or "–",
        "outcome": _outcome(record),
        "tone": _tone(record),
        "note": _note(record),
        "tokens": f"{text.number(record.tokens_input)} → {text.number(record.tokens_output)}",
        "cost": text.money(record.cost),
        "cost_exact": text.exact_money(record.cost),
        "saved": text.money(record.savings),
        "saved_exact": text.exact_money(record.savings),
        "baseline": record.premium_model,
        "latency": text.milliseconds(record.latency_ms),
    }


def _outcome(record: RequestRecord) -> str:
    if not record.success:
        return ERRORS.get(record.error_code, record.error_code.replace("_", " ") or "failed")
    return "rescued" if record.rescued else "answered"


def _tone(record: RequestRecord) -> str:
    if not record.success:
        return "bad"
    return "warn" if record.rescued else "ok"


def _note(record: RequestRecord) -> str:
    if record.simulated:
        return "simulated"
    return "local" if record.provider == "local" else ""


def attempt_row(record: AttemptRecord) -> Row:
    """One attempt as a step of a time line."""
    return step(
        model=record.model,
        outcome=record.outcome,
        detail=record.detail,
        latency_ms=record.latency_ms,
        cost=record.cost,
    )


def step(*, model: str, outcome: str, detail: str, latency_ms: int, cost: int) -> Row:
    """A step of the walk along the fallback chain."""
    return {
        "model": model,
        "ok": "yes" if outcome == "ok" else "no",
        "outcome": OUTCOMES.get(outcome, outcome.replace("_", " ")),
        "detail": detail,
        "latency": text.milliseconds(latency_ms),
        "cost": text.money(cost),
        "cost_exact": text.exact_money(cost),
    }
