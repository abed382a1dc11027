"""A websocket's limits, over real sockets, in front of an app that answers what it hears."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from starlette.types import Receive, Scope, Send

from omni_app.server import websocket
from omni_app.server.refusals import LET_IN
from tests.security.raw_client import say
from tests.security.websocket_client import MORE, TEXT, Socket, opened
from tests.servers.asgi import serving


@dataclass
class Echo:
    """Holds each message until it is let go on."""

    heard: list[str] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    refused: bytes = b""
    asked: int = 0
    states: list[dict[str, object]] = field(default_factory=list)

    @property
    def refusals(self) -> "Echo":
        return self

    def crowded(self) -> bool:
        return False

    def let_in(self, scope: Scope) -> None:
        return

    def refusal(self, scope: Scope) -> bytes:
        self.asked += scope["type"] == "websocket"
        return self.refused if scope["type"] == "websocket" else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            return
        self.states.append(scope["state"])
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            self.heard.append(message["text"])
            await self.go_on.wait()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def address(echo: Echo) -> AsyncIterator[str]:
    async with serving(echo) as base_url:
        yield base_url


async def heard(echo: Echo, count: int) -> None:
    """Returns when the app has so many messages."""
    async with asyncio.timeout(5):
        while len(echo.heard) < count:  # noqa: ASYNC110 a list has no event
            await asyncio.sleep(0.01)


async def floods(socket: Socket, *, final: bool) -> None:
    """A megabyte, in whole messages or in one that never ends."""
    for number in range(100):
        await socket.send("a" * 10_000, opcode=MORE if number and not final else TEXT, final=final)
        await asyncio.sleep(0.01)


async def test_messages_are_parsed_as_they_are_taken_and_none_is_lost(echo: Echo, address: str) -> None:
    said = [f"{number} " + "a" * 500 for number in range(300)]
    async with opened(address, "a") as socket:
        for one in said:
            await socket.send(one)
        await asyncio.sleep(0.2)
        assert echo.heard == said[:1]
        echo.go_on.set()
        await heard(echo, len(said))
    assert echo.heard == said


async def test_a_message_in_pieces_is_one(echo: Echo, address: str) -> None:
    echo.go_on.set()
    async with opened(address, "a") as socket:
        await socket.send("ab", opcode=TEXT, final=False)
        await socket.send("cd", opcode=MORE, final=False)
        await socket.send("ef", opcode=MORE)
        await heard(echo, 1)
    assert echo.heard == ["abcdef"]


@pytest.mark.parametrize("final", [True, False], ids=["one message", "a message without end"])
async def test_who_sends_too_much_is_cut_off(
    echo: Echo, address: str, *, final: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "BYTES_AT_ONCE", 100_000)
    monkeypatch.setattr(websocket, "BYTES_PER_S", 0.0)
    echo.go_on.set()
    async with opened(address, "a") as socket:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(floods(socket, final=final), 5)
    assert len(echo.heard) <= 10


async def test_a_socket_can_be_refused_by_its_head(echo: Echo, address: str) -> None:
    echo.refused = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    head = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    heard = await say(address, head + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", within_s=5)
    assert heard.data == echo.refused
    assert heard.closed


async def test_an_app_is_asked_of_a_socket_once_and_told_that_it_was(echo: Echo, address: str) -> None:
    async with opened(address, "a") as socket:
        assert (socket.status, echo.asked) == (101, 1)
    assert [LET_IN in state for state in echo.states] == [True]
