"""One JSON line for each request, on standard output: what happened, never what was said.

A line has ids, names of the registry and figures; no prompt, no answer, no key, no text of a caller's at all. What a
killed process loses of them (`omni_app.observe.line_writer`) the ledger has.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from omni_app.money import usd_text
from omni_app.observe import families as of
from omni_app.observe.line_writer import LineWriter, write_to_stdout
from omni_app.observe.metrics import Sample
from omni_app.observe.observer import Seen, attempts_ms


class RequestLog(LineWriter[Seen]):
    """A listener of the observer. `write` is called in a thread."""

    def __init__(self, write: Callable[[bytes], None] = write_to_stdout) -> None:
        super().__init__(line, write)

    def samples(self) -> Iterator[Sample]:
        """How many lines were given up."""
        yield of.UNLOGGED, (), self.dropped


def line(seen: Seen) -> bytes:
    """The request as one line of JSON."""
    return orjson.dumps(_http(seen) | _recorded(seen), option=orjson.OPT_APPEND_NEWLINE)


def _http(seen: Seen) -> dict[str, Any]:
    at = datetime.fromtimestamp((seen.ended_ns or time.time_ns()) / 1e9, UTC)
    return {
        "time": at.isoformat(timespec="milliseconds"),
        "event": "request",
        "request_id": seen.request_id,
        "method": seen.method,
        "route": seen.route,
        "status": seen.status or None,
        "duration_ms": round(seen.duration_s * 1000, 3),
    }


def _recorded(seen: Seen) -> dict[str, Any]:
    """What the ledger has of it; nothing for a request that came to no decision."""
    record = seen.record
    if record is None:
        return {}
    provider_ms = attempts_ms(seen.attempts)
    return {
        "org_id": record.org_id,
        "key_id": record.key_id,
        "mode": record.key_kind,
        "endpoint": record.endpoint,
        "task": record.task,
        "model": record.model or None,
        "provider": record.provider or None,
        "error": record.error_code or None,
        "attempts": [
            {"model": one.model, "outcome": one.outcome, "started_ms": one.started_ms, "latency_ms": one.latency_ms}
            for one in seen.attempts
        ],
        "tokens_input": record.tokens_input,
        "tokens_output": record.tokens_output,
        "cost_usd": orjson.Fragment(usd_text(record.cost)),
        "byok": any(one.byok for one in seen.attempts),
        "baseline_usd": orjson.Fragment(usd_text(record.premium_cost)),
        "gateway_ms": record.latency_ms,
        "provider_ms": provider_ms,
        "overhead_ms": max(0, record.latency_ms - provider_ms),
        "routing_us": record.routing_us,
        "first_token_ms": record.first_token_ms,
    }
