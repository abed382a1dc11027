"""Load shedding: what a worker cannot serve in good time is refused at once, so that the rest is served in good time.

A layer in front of all work: of a request nothing but its head has been read. Requests that wait for a provider are
cheap and may be many; the scarce thing is the event loop, on which they take turns (`omni_app.turns`). Who would be in
line for longer than `LONGEST_WAIT_S` is refused with 503, and so is who comes while as much is in flight as memory and
file descriptors bear (docs/decisions/0022-load-shedding.md).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from omni_app.api.messages import anthropic_error
from omni_app.api.responses import error_body
from omni_app.errors import OmniError, Unavailable
from omni_app.observe import families as of
from omni_app.observe.metrics import Sample
from omni_app.request_ids import new_request_id
from omni_app.turns import Turns

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 1.0
"""Stated: little beside the seconds that a model takes, and enough for some hundred requests that come at once."""
BODY_UNIT = 65_536
"""Bytes of body that weigh as much as one more request: a short one holds 50 kB, a long one 2.3 times its body
(measured, 2,400 short and 430 of 200 kB)."""
RETRY_AFTER_S = 1
SILENCE_S = 5.0
"""Between two lines of the log."""

REFUSAL = Unavailable(
    f"too many requests at once: try again in {RETRY_AFTER_S} s", headers={"Retry-After": str(RETRY_AFTER_S)}
)
Headers = list[tuple[bytes, bytes]]
HEADERS = ((b"content-type", b"application/json"), (b"retry-after", str(RETRY_AFTER_S).encode()))


def guards(path: str) -> bool:
    """Whether this path is for programs. Probes and people are always let in."""
    return path.startswith("/v1/") or path == "/estimate"


def weight(scope: Scope) -> int:
    """For how many requests this one counts: one, and more with a long body."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return 1 + int(value) // BODY_UNIT if value.isdigit() and len(value) < 18 else 1
    return 1


MARK = new_request_id().encode()
"""Stands in refusals that are made beforehand, where each one's own id will be: all are of one length."""


def _marked(shape: Callable[[OmniError, Request], dict[str, Any]]) -> bytes:
    """The refusal's body in one of the error shapes, with `MARK` for its id."""
    return orjson.dumps(shape(REFUSAL, Request({"type": "http", "omni_request_id": MARK.decode()})))


BODIES = {"/v1/messages": _marked(anthropic_error)}
BODY = _marked(error_body)
"""On every other path."""


def headers_of(body: bytes) -> Headers:
    """Of a refusal with this body."""
    return [*HEADERS, (b"content-length", b"%d" % len(body))]


class LoadShedding:
    """The layer, one per worker. `most_in_flight`: requests by their weight, those in line too."""

    def __init__(self, app: ASGIApp, turns: Turns, *, most_in_flight: int) -> None:
        self._app = app
        self._turns = turns
        self._most_in_flight = most_in_flight
        self._told_s = -SILENCE_S
        self._coming = 0
        """Let in by their heads since the loop's last round, and not here yet."""
        self.in_flight = 0
        self.refused = 0
        """Since the process began."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not guards(scope["path"]):
            await self._app(scope, receive, send)
            return
        if self.full():
            self.note_refusal()
            body = BODIES.get(scope["path"], BODY).replace(MARK, scope["omni_request_id"].encode())
            await send({"type": "http.response.start", "status": REFUSAL.status, "headers": headers_of(body)})
            await send({"type": "http.response.body", "body": body})
            return
        held = weight(scope)
        scope["omni_came_s"] = time.monotonic()
        self.in_flight += held
        try:
            await self._turns.to_begin()
            await self._app(scope, receive, send)
        finally:
            self.in_flight -= held

    def samples(self) -> Iterator[Sample]:
        """What the worker holds, who waits, whom it refused."""
        yield of.IN_FLIGHT, (), self.in_flight
        yield of.WAITING, (), self._turns.waiting
        yield of.SHED, (), self.refused

    def full(self) -> bool:
        """Whether the worker has as much as it can do in time."""
        held = self.in_flight + self._coming >= self._most_in_flight
        return held or self._turns.wait_s(self._coming) > LONGEST_WAIT_S

    def let_in(self, scope: Scope) -> None:
        """Counts a request until it runs: many may come in one round, before the first of them stands in line.

        In the next round all of them run. Who does not come here (a preflight is answered before) is forgotten then.
        """
        if guards(scope["path"]):
            if not self._coming:
                asyncio.get_running_loop().call_soon(self._round)
            self._coming += 1

    def _round(self) -> None:
        """The loop got round: whoever comes here at all comes now."""
        self._coming = 0

    def refuses(self, scope: Scope) -> bool:
        """Whether this request would be refused now; of it no more than the head has to have come."""
        return self.full() and guards(scope["path"])

    def note_refusal(self) -> None:
        """One more. What it says was made beforehand: under overload most requests end so, at the others' cost."""
        self.refused += 1
        self._tell()

    def _tell(self) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s >= SILENCE_S:
            self._told_s = now_s
            held, waiting = self.in_flight, self._turns.waiting
            log.warning("overloaded: %d refused so far, %d in flight, %d in line", self.refused, held, waiting)
