"""In front of the tabs' websockets: how many, how fast, and which messages at all.

How many bytes come is watched where they come in (`omni_app.server.websocket`). The figures are far above what people
do, and stated in docs/SECURITY.md. Who goes beyond them is cut off (1008, policy violation); a page of ours connects
again by itself, so that a person loses a second.
"""

import asyncio
import logging
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omni_app.origin import client_address
from omni_app.server.refusals import LET_IN
from omni_app.settings import Settings
from omni_app.ui.socket_words import understood

log = logging.getLogger(__name__)

POLICY_VIOLATION: Final = 1008
FAREWELL_S = 1.0
SILENCE_S = 5.0
"""Between two lines of the log about sockets that are refused."""
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
GONE: Message = {"type": "websocket.disconnect", "code": POLICY_VIOLATION}


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Of one address: sockets at once, new ones, and messages of all of them. Of one socket: the rest."""

    at_once: int = 200
    new_per_s: float = 5.0
    new_at_once: int = 20
    all_messages_per_s: float = 50.0
    all_messages_at_once: int = 300
    messages_per_s: float = 30.0
    messages_at_once: int = 100
    message_chars: int = 200_000
    hello_s: float = 8.0
    """The first message has to come by then."""


@dataclass(slots=True)
class Bucket:
    """Holds up to `most`, and a further `per_s` each second."""

    most: float
    per_s: float
    left: float
    at_s: float

    @staticmethod
    def full(most: float, per_s: float, now_s: float) -> "Bucket":
        """A new one."""
        return Bucket(most, per_s, most, now_s)

    def holds(self, amount: float, *, now_s: float) -> bool:
        """Whether there is so much."""
        return min(self.most, self.left + (now_s - self.at_s) * self.per_s) >= amount

    def take(self, amount: float, *, now_s: float) -> bool:
        """Whether there was so much left."""
        self.left = min(self.most, self.left + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        self.left -= amount
        return self.left >= 0


@dataclass(slots=True)
class Line:
    """One client address: its open sockets, how many more it may open, and what may be said over all of them."""

    new: Bucket
    messages: Bucket
    open: int = 0

    def idle(self, now_s: float) -> bool:
        """Whether nothing has to be remembered of it."""
        full = all(one.holds(one.most, now_s=now_s) for one in (self.new, self.messages))
        return full and not self.open


@dataclass(slots=True, eq=False)
class Tab:
    """One open socket."""

    line: Line
    messages: Bucket
    greeted: bool = False
    reason: str = ""
    """Why it was cut off."""
    farewell: Message | None = field(default_factory=lambda: {"type": "websocket.close", "code": POLICY_VIOLATION})


class SocketGate:
    """The ASGI layer around Reflex for websockets; everything else passes.

    `handlers`: the names of all event handlers.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        *,
        handlers: Container[str],
        limits: SocketLimits = SocketLimits(),
    ) -> None:
        self._app = app
        self._settings = settings
        self._handlers = handlers
        self._limits = limits
        self._lines: dict[str, Line] = {}
        self._told_s = -SILENCE_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        line = self._line(self._address(scope))
        if line.open >= self._limits.at_once or not (LET_IN in scope.get("state", ()) or self._let_in(line)):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        line.open += 1
        try:
            await self._serve(line, scope, receive, send)
        finally:
            line.open -= 1

    def refusal(self, scope: Scope) -> bytes:
        """What is answered to a socket of one address too many, for next to nothing (`omni_app.server.refusals`)."""
        return b"" if self._let_in(self._line(self._address(scope))) else FORBIDDEN

    def _let_in(self, line: Line) -> bool:
        """Whether one more may come. It counts from here on: many come before the first of them is served."""
        now_s = _now_s()
        if line.open < self._limits.at_once and line.new.holds(1, now_s=now_s):
            return line.new.take(1, now_s=now_s)
        if now_s - self._told_s >= SILENCE_S:
            self._told_s = now_s
            log.warning("sockets are refused: too many of one address")
        return False

    def _address(self, scope: Scope) -> str:
        peer = (scope.get("client") or ("",))[0]
        return client_address(peer, Headers(scope=scope).getlist("x-forwarded-for"), self._settings)

    def _line(self, address: str) -> Line:
        """What is known of an address; those of whom nothing has to be known are dropped from time to time."""
        now_s = _now_s()
        if address not in self._lines:
            if len(self._lines) >= 1_000:
                self._lines = {one: line for one, line in self._lines.items() if not line.idle(now_s)}
            limits = self._limits
            self._lines[address] = Line(
                Bucket.full(limits.new_at_once, limits.new_per_s, now_s),
                Bucket.full(limits.all_messages_at_once, limits.all_messages_per_s, now_s),
            )
        return self._lines[address]

    async def _serve(self, line: Line, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the app behind a check of each message."""
        tab = Tab(line, Bucket.full(self._limits.messages_at_once, self._limits.messages_per_s, _now_s()))

        async def checked_receive() -> Message:
            message = await self._next(tab, receive)
            if not tab.reason:
                return message
            log.warning("a socket was cut off: %s", tab.reason)
            await self._farewell(tab, send)
            return GONE

        async def checked_send(message: Message) -> None:
            if not tab.reason:
                await send(message)

        await self._app(scope, checked_receive, checked_send)

    async def _farewell(self, tab: Tab, send: Send) -> None:
        """Says why, once, where that can still be said."""
        if message := tab.farewell:
            tab.farewell = None
            with suppress(Exception):  # it may be gone by now, or not listen
                await asyncio.wait_for(send(message), FAREWELL_S)

    async def _next(self, tab: Tab, receive: Receive) -> Message:
        """What comes next; `tab.reason` says whether it may be handed on."""
        if tab.reason:
            return GONE
        try:
            message = await (receive() if tab.greeted else asyncio.wait_for(receive(), self._limits.hello_s))
        except TimeoutError:
            tab.reason = "nothing was said"
            return GONE
        if message["type"] == "websocket.receive":
            tab.greeted = True
            tab.reason = self._wrong(tab, message.get("text"))
        return message

    def _wrong(self, tab: Tab, text: str | None) -> str:
        """Why this message is not handed on; "" when it is."""
        now_s = _now_s()
        if not (tab.messages.take(1, now_s=now_s) and tab.line.messages.take(1, now_s=now_s)):
            return "too many messages"
        if text is None:
            return "a message that is no text"
        if len(text) > self._limits.message_chars:
            return "a message that is too long"
        return "" if understood(text, handlers=self._handlers) else "a message that no page sends"


def _now_s() -> float:
    return asyncio.get_running_loop().time()
