"""One JSON line for each request, on standard output: what happened, never what was said.

A line has ids, names of the registry and figures; no prompt, no answer, no key, no text of a caller's at all. Lines are
made and written in a thread, a tenth of a second late at most: a reader that stops holds up no request, and a process
that is killed may lose that much (the ledger loses nothing).
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from omni_app.money import usd_text
from omni_app.observe import families as of
from omni_app.observe.metrics import Sample
from omni_app.observe.observer import Seen, attempts_ms
from omni_app.storage.pause import pause

FLUSH_S = 0.1
MOST_WAITING = 20_000
"""Lines; what comes beyond it is counted and given up."""
STDOUT = 1


def write_to_stdout(lines: bytes) -> None:
    """All of it, however many calls that takes."""
    while lines:
        lines = lines[os.write(STDOUT, lines) :]


class RequestLog:
    """A listener of the observer. `write` is called in a thread."""

    def __init__(self, write: Callable[[bytes], None] = write_to_stdout) -> None:
        self._write = write
        self._waiting: deque[Seen] = deque()
        self.dropped = 0

    def hear(self, seen: Seen) -> None:
        """Puts a request in line."""
        if len(self._waiting) >= MOST_WAITING:
            self.dropped += 1
        else:
            self._waiting.append(seen)

    def samples(self) -> Iterator[Sample]:
        """How many lines were given up."""
        yield of.UNLOGGED, (), self.dropped

    async def run(self, stopping: asyncio.Event) -> None:
        """Writes lines until it is to stop, then what is left."""
        while not stopping.is_set():
            await pause(stopping, FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Writes what is in line."""
        if self._waiting:
            batch = list(self._waiting)
            self._waiting.clear()
            await asyncio.to_thread(self._put, batch)

    def _put(self, batch: list[Seen]) -> None:
        try:
            self._write(b"".join(line(seen) for seen in batch))
        except OSError:  # nobody reads
            self.dropped += len(batch)


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
