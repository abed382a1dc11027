"""Traces by OpenTelemetry's conventions for generative AI, sent to a collector as OTLP over HTTP in its JSON encoding.

A request is a server span, each attempt at a provider a client span below it. They are made from what the request left
behind, after it has ended, so a request pays for one comparison when it is sampled and for a queue when it is not full.
No prompt and no answer is in a span.

Formats: https://opentelemetry.io/docs/specs/otlp/ (JSON: ids in hex, 64-bit integers as strings) and
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/; why no SDK: docs/decisions/0029-observe.md.
"""

import asyncio
import logging
import re
import secrets
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import orjson

from omni_app.authorities import web_client
from omni_app.gateway.types import EMBEDDINGS, Attempt
from omni_app.observe import families as of
from omni_app.observe.metrics import Sample
from omni_app.observe.observer import Seen
from omni_app.storage.ledger import RequestRecord
from omni_app.storage.pause import pause

log = logging.getLogger(__name__)

EXPORT_S = 1.0
EXPORT_TIMEOUT_S = 10.0
MOST_WAITING = 4_096
"""Requests; what comes beyond it is counted and given up."""
BATCH = 256
TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
"""W3C Trace Context: version, trace, parent, flags, and in versions to come more behind them."""
SERVER, CLIENT = 2, 3
FAILED = 2
"""A span's status code for an error."""
PROVIDER_NAMES: Mapping[str, str] = {
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
"""Ours -> the convention's, where they differ."""

OPERATIONS: Mapping[str, str] = {EMBEDDINGS: "embeddings", "images/generations": "generate_content"}
"""Our endpoint -> the convention's operation; all others are `chat`."""

Json = dict[str, Any]


def _given(traceparent: str) -> tuple[str, str]:
    """The caller's trace and span; a new trace where the header cannot be read."""
    found = TRACEPARENT.fullmatch(traceparent)
    if found is None or (found[1] == "00" and found[4]):
        return _new()
    return found[2], found[3]


def _new() -> tuple[str, str]:
    """A trace that nobody has begun before us."""
    return secrets.token_hex(16), ""


class Tracer:
    """A listener of the observer. `ratio` of the traces are sent, chosen by their id.

    `headers` go with each batch as they are then: a credential may be exchanged.
    """

    def __init__(self, endpoint: str, *, headers: Mapping[str, str], ratio: float, service: str) -> None:
        self._url = f"{endpoint}/v1/traces"
        self._headers = headers
        self._below = round(ratio * 2**56)
        self._service = service
        self._waiting: deque[tuple[Seen, str, str]] = deque()
        self._failing = False
        self.dropped = 0

    def hear(self, seen: Seen) -> None:
        """Puts a sampled request in line."""
        trace_id, parent = _given(seen.traceparent) if seen.traceparent else _new()
        if int(trace_id[-14:], 16) >= self._below:
            return
        if len(self._waiting) >= MOST_WAITING:
            self.dropped += 1
        else:
            self._waiting.append((seen, trace_id, parent))

    def samples(self) -> Iterator[Sample]:
        """How many requests' spans were given up."""
        yield of.UNTRACED, (), self.dropped

    async def run(self, stopping: asyncio.Event) -> None:
        """Sends until it is to stop, then what is left."""
        async with web_client(EXPORT_TIMEOUT_S) as client:
            while not stopping.is_set():
                await pause(stopping, EXPORT_S)
                while self._waiting:
                    await self._send(client)

    async def _send(self, client: httpx.AsyncClient) -> None:
        """One batch; one that the collector does not take is given up, for traces are no ledger."""
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        try:
            body = await asyncio.to_thread(self._encoded, batch)
            answer = await client.post(
                self._url, content=body, headers={**self._headers, "Content-Type": "application/json"}
            )
            problem = "" if answer.is_success else f"HTTP {answer.status_code}"
        except httpx.HTTPError as error:
            problem = type(error).__name__
        if problem:
            self.dropped += len(batch)
            if not self._failing:
                log.warning("the trace collector does not take spans (%s)", problem)
        self._failing = bool(problem)

    def _encoded(self, batch: list[tuple[Seen, str, str]]) -> bytes:
        spans = [span for seen, trace_id, parent in batch for span in spans_of(seen, trace_id, parent)]
        resource = {"attributes": attributes({"service.name": self._service})}
        scope = {"scope": {"name": "omni_app.observe"}, "spans": spans}
        return orjson.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]})


def spans_of(seen: Seen, trace_id: str, parent: str) -> Iterator[Json]:
    """The request's span, then one for each attempt."""
    root = secrets.token_hex(8)
    ends_ns = seen.ended_ns
    starts_ns = ends_ns - round(seen.duration_s * 1e9)
    record = seen.record
    facts: dict[str, Any] = {
        "http.request.method": seen.method,
        "http.route": seen.route,
        "http.response.status_code": seen.status or "",
        "omni.request_id": seen.request_id,
    }
    if record is not None:
        facts |= _recorded(record)
    failed = seen.status >= 500 or bool(record and record.error_code)
    ids = {"traceId": trace_id, "spanId": root} | ({"parentSpanId": parent} if parent else {})
    yield ids | _span(f"{seen.method} {seen.route}".strip(), SERVER, (starts_ns, ends_ns), facts, failed=failed)
    if record is None:
        return
    arrived_ns = round(record.created_at.timestamp() * 1e9)
    for attempt in seen.attempts:
        begins_ns = arrived_ns + attempt.started_ms * 1_000_000
        times = begins_ns, begins_ns + attempt.latency_ms * 1_000_000
        ids = {"traceId": trace_id, "spanId": secrets.token_hex(8), "parentSpanId": root}
        name = f"{_operation(record)} {attempt.model.partition('/')[2]}"
        yield ids | _span(name, CLIENT, times, _called(record, attempt), failed=attempt.failed)


def _recorded(record: RequestRecord) -> dict[str, Any]:
    return {
        "omni.org_id": str(record.org_id),
        "omni.key_id": str(record.key_id),
        "omni.mode": record.key_kind,
        "omni.task": record.task,
        "omni.cost_pico_usd": record.cost,
        "omni.routing_us": record.routing_us,
        "error.type": record.error_code,
    }


def _called(record: RequestRecord, attempt: Attempt) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "gen_ai.operation.name": _operation(record),
        "gen_ai.provider.name": PROVIDER_NAMES.get(attempt.provider, attempt.provider),
        "gen_ai.request.model": attempt.model.partition("/")[2],
        "error.type": attempt.outcome if attempt.failed else "",
        "omni.cost_pico_usd": attempt.cost,
    }
    if attempt.usage is not None:
        facts["gen_ai.usage.input_tokens"] = attempt.usage.input
        facts["gen_ai.usage.output_tokens"] = attempt.usage.output
        facts["gen_ai.usage.cache_read.input_tokens"] = attempt.usage.cached_input or ""
        facts["gen_ai.usage.cache_creation.input_tokens"] = attempt.usage.cache_write or ""
        facts["gen_ai.usage.reasoning.output_tokens"] = attempt.usage.reasoning or ""
    return facts


def _operation(record: RequestRecord) -> str:
    return OPERATIONS.get(record.endpoint, "chat")


def _span(name: str, kind: int, times: tuple[int, int], facts: Mapping[str, Any], *, failed: bool) -> Json:
    """A span without its ids. `times`: its start and its end in nanoseconds since 1970."""
    return {
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(times[0]),
        "endTimeUnixNano": str(times[1]),
        "attributes": attributes(facts),
        "status": {"code": FAILED} if failed else {},
    }


def attributes(facts: Mapping[str, Any]) -> list[Json]:
    """OTLP's key-value pairs; what is empty is left out."""
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in facts.items()
        if value != ""
    ]
