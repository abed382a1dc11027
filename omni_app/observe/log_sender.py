"""Log lines sent to a collector as OTLP over HTTP in its JSON encoding: kept where a takeover of this machine cannot
change them.

The security log, the lines of requests and the messages of standard error. A line waits until the collector has taken
it: one that is away for a while misses nothing that there is room for. Only what it calls malformed is given up.

Format: https://opentelemetry.io/docs/specs/otel/logs/data-model/ and https://opentelemetry.io/docs/specs/otlp/.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import httpx
import orjson

from omni_app.authorities import web_client
from omni_app.observe import families as of
from omni_app.observe.metrics import Sample
from omni_app.observe.traces import attributes
from omni_app.redaction import cleaned
from omni_app.storage.pause import pause

log = logging.getLogger(__name__)

SEND_S = 1.0
LONGEST_PAUSE_S = 30.0
"""Between two tries at a collector that takes nothing."""
TIMEOUT_S = 5.0
"""A collector that hangs holds up the end of the server for as long."""
LAST_TRIES_S = 2.0
"""When the server stops."""
MOST_WAITING = 20_000
"""Lines of each log; what comes beyond it is counted and given up."""
BATCH = 512
MALFORMED = (400, 413)
"""The same would be refused again."""
LEVELS: Mapping[str, int] = {"DEBUG": 5, "INFO": 9, "WARNING": 13, "ERROR": 17, "CRITICAL": 21}
"""Python's -> OpenTelemetry's severity numbers."""


@dataclass(slots=True)
class Waiting:
    """Lines of one log that the collector has not taken yet. Filled by any thread, emptied by one task."""

    name: str
    lines: deque[bytes] = field(default_factory=deque)
    dropped: int = 0

    def put(self, lines: bytes) -> None:
        """One or more whole lines of JSON."""
        for line in lines.splitlines():
            if len(self.lines) >= MOST_WAITING:
                self.dropped += 1
            else:
                self.lines.append(line)


class _Messages(logging.Handler):
    """What goes to standard error, as lines of JSON. Records are cleaned as they are made (`omni_app.redaction`)."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        super().__init__(logging.WARNING)
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told = {"time": at, "log": "messages", "level": record.levelname, "logger": record.name}
        trace = {"traceback": record.exc_text} if record.exc_text else {}
        try:
            self._put(orjson.dumps(told | {"message": record.getMessage()} | trace))
        except (TypeError, ValueError):
            self.handleError(record)


class LogSender:
    """One worker's. What is put into `security` and `requests` is sent, with `headers` as they are then."""

    def __init__(self, endpoint: str, *, headers: Mapping[str, str], service: str) -> None:
        self._url = f"{endpoint}/v1/logs"
        self._headers = headers
        self._service = service
        self.security, self.requests, self._messages = Waiting("security"), Waiting("requests"), Waiting("messages")
        self._all = self.security, self._messages, self.requests
        self._handler = _Messages(self._messages.put)
        self._away = False

    def samples(self) -> Iterator[Sample]:
        """How many lines of each log were given up."""
        for one in self._all:
            yield of.UNSENT, (one.name,), one.dropped

    async def run(self, stopping: asyncio.Event) -> None:
        """Sends until it is to stop; `finish` sends what is left, when nobody writes any more."""
        logging.getLogger().addHandler(self._handler)
        wait_s = SEND_S
        async with self._client() as client:
            while not stopping.is_set():
                await pause(stopping, wait_s)
                wait_s = SEND_S if await self._send(client) else min(2 * wait_s, LONGEST_PAUSE_S)

    async def finish(self) -> None:
        """The last lines. A collector that does not take them soon misses them, and standard error says so."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_TRIES_S), self._client() as client:
                while not await self._send(client):  # noqa: ASYNC110 another machine's doing
                    await asyncio.sleep(LAST_TRIES_S / 8)
        logging.getLogger().removeHandler(self._handler)
        if left := sum(len(one.lines) for one in self._all):
            log.warning("%d lines of the logs were not sent to the collector", left)

    def _client(self) -> httpx.AsyncClient:
        return web_client(TIMEOUT_S)

    async def _send(self, client: httpx.AsyncClient) -> bool:
        """Sends what waits, the security log first. False when the collector does not take it now."""
        for waiting in self._all:
            while waiting.lines:
                batch = list(islice(waiting.lines, BATCH))
                refused, problem = await self._post(client, waiting.name, batch)
                self._note(problem)
                if refused is None:
                    return False
                waiting.dropped += refused
                for _ in batch:
                    waiting.lines.popleft()
        return True

    async def _post(self, client: httpx.AsyncClient, name: str, batch: list[bytes]) -> tuple[int | None, str]:
        """How many lines it refused for good, None when it takes none for now; and what was wrong."""
        body = await asyncio.to_thread(self._encoded, name, batch)
        try:
            answer = await client.post(
                self._url, content=body, headers={**self._headers, "Content-Type": "application/json"}
            )
        except httpx.HTTPError as error:
            return None, type(error).__name__
        if answer.is_success:
            refused = min(_refused(answer.content), len(batch))
            return refused, f"{refused} lines refused" if refused else ""
        problem = f"HTTP {answer.status_code}"
        return (len(batch) if answer.status_code in MALFORMED else None), problem

    def _note(self, problem: str) -> None:
        if problem and not self._away:
            log.warning("the log collector does not take lines (%s)", problem)
        self._away = bool(problem)

    def _encoded(self, name: str, batch: list[bytes]) -> bytes:
        resource = {"attributes": attributes({"service.name": self._service})}
        records = [_record(name, line) for line in batch]
        scope = {"scope": {"name": "omni_app.observe"}, "logRecords": records}
        return orjson.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": [scope]}]})


def _record(name: str, line: bytes) -> dict[str, Any]:
    """The line as it was written, and what it is looked for by beside it."""
    text = cleaned(line.decode())
    told = _parsed(text)
    level = told.get("level") or ("WARNING" if told.get("outcome") == "refused" else "INFO")
    facts = {
        "log": name,
        "event.name": told.get("event") or "",
        "omni.request_id": told.get("request_id") or "",
    }
    return {
        "timeUnixNano": str(_nanoseconds(told.get("time"))),
        "observedTimeUnixNano": str(time.time_ns()),
        "severityNumber": LEVELS.get(level, LEVELS["ERROR"]),
        "severityText": level,
        "body": {"stringValue": text},
        "attributes": attributes(facts),
    }


def _parsed(text: str) -> dict[str, Any]:
    """What a line says; nothing where something was removed from it and it is no JSON any more."""
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) else {}


def _nanoseconds(instant: str | None) -> int:
    """Since 1970; 0, which is OTLP's word for unknown, without one."""
    return round(datetime.fromisoformat(instant).timestamp() * 1000) * 1_000_000 if instant else 0


def _refused(answer: bytes) -> int:
    """How many lines a collector says that it did not take, of a batch that it took."""
    try:
        return int(orjson.loads(answer)["partialSuccess"]["rejectedLogRecords"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return 0
