"""What becomes of a connection: real sockets, raw bytes, an app that notes what it is told."""

import asyncio
import json
import logging
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import ANY

import pytest
from starlette.types import Message, Receive, Scope, Send

from omni_app.server import handshake, http
from omni_app.server.door import LOOKS_S
from omni_app.server.exchange import HIGH_WATER
from omni_app.server.heads import whole_post
from omni_app.server.http import MOST_HEAD_BYTES, MOST_HEADERS, MOST_IN_LINE, MOST_TARGET_BYTES
from omni_app.server.tls import Certificate
from tests.security.raw_client import Heard, connected, say, say_in_pieces
from tests.servers.asgi import serving
from tests.servers.authority import Authority

SHORT_S = 0.5
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE, PIECE = 20_000_000, 50_000
"""Of an answer that no kernel keeps whole."""
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno"


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


@dataclass
class App:
    """Answers with what it was asked; `/…` tells it otherwise."""

    scopes: list[Scope] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    pieces: int = 0
    largest: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    overloaded: bool = False

    @property
    def refusals(self) -> "App":
        return self

    def crowded(self) -> bool:
        return self.overloaded

    def let_in(self, scope: Scope) -> None:
        return

    def refusal(self, scope: Scope) -> bytes:
        return REFUSED if self.overloaded and scope["path"] != "/health" else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.scopes.append(scope)
        does: Any = getattr(self, "_" + scope["path"].strip("/"), self._read_and_tell)
        await does(scope, receive, send)

    async def _read_and_tell(self, scope: Scope, receive: Receive, send: Send) -> None:
        came = bytearray()
        while (message := await receive())["type"] == "http.request":
            self.pieces += 1
            self.largest = max(self.largest, len(message["body"]))
            came += message["body"]
            if not message["more_body"]:
                break
        else:
            self.left.set()
            return
        self.bodies.append(bytes(came))
        told = json.dumps([scope["method"], scope["path"], len(came)]).encode()
        await send(start(200, (b"content-length", str(len(told)).encode())))
        await send(body(told))

    async def _unread(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(401, (b"content-length", b"2")))
        await send(body(b"no"))

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(start())
        for number in range(3):
            await send(body(b"piece %d" % number, more=True))
        await send(body(b""))

    async def _large(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(start(200, (b"content-length", str(LARGE).encode())))
        await send(body(b"a" * LARGE))

    async def _large_in_pieces(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(start(200, (b"content-length", str(LARGE).encode())))
        for _ in range(LARGE // PIECE):
            await send(body(b"a" * PIECE, more=True))
        await send(body(b""))
        self.left.set()

    async def _waits(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if (await receive())["type"] == "http.disconnect":
            self.left.set()

    async def _slow(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.go_on.wait()
        await self._read_and_tell(scope, receive, send)

    async def _fails(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("as told")

    async def _breaks(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"half", more=True))
        raise ValueError("as told")

    async def _cancelled(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await self.go_on.wait()

    async def _silent(self, scope: Scope, receive: Receive, send: Send) -> None:
        return

    async def _splits(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, (b"x-a", b"a\r\nx-b: b")))


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(*Authority(tmp_path_factory.mktemp("authority")).issue("127.0.0.1"))


@pytest.fixture(params=["plain", "over TLS"])
async def address(
    app: App, request: pytest.FixtureRequest, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[str]:
    if request.param == "over TLS":  # which does not end on one side: our client waits out what it would be left
        monkeypatch.setattr(http, "FAREWELL_S", 0.2)
    async with serving(app, certificate=certificate if request.param == "over TLS" else None) as base_url:
        yield base_url


async def answered(address: str, data: bytes) -> Heard:
    return await say(address, data, within_s=SHORT_S)


def without_date(data: bytes) -> bytes:
    return re.sub(rb"date: [^\r]*", b"date", data)


async def test_requests_follow_each_other_on_one_connection_also_before_they_are_answered(
    app: App, address: str
) -> None:
    post = b"POST /a%20b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    heard = await answered(address, GET + post + GET)
    assert heard.statuses == [200, 200, 200]
    assert not heard.closed
    assert [one["path"] for one in app.scopes] == ["/", "/a b", "/"]
    assert [app.scopes[1][name] for name in ("raw_path", "query_string", "method", "http_version")] == [
        b"/a%20b", b"c=d", "POST", "1.1",
    ]  # fmt: skip
    assert app.scopes[1]["headers"] == [(b"host", b"x"), (b"content-length", b"3")]
    assert app.bodies == [b"", b"abc", b""]


@pytest.mark.parametrize("before", [1, 3])
async def test_the_body_of_a_request_that_was_sent_ahead_may_come_later(app: App, address: str, before: int) -> None:
    ahead = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
    heard = await say_in_pieces(address, GET * before + ahead, b"a", b"bc" + GET, within_s=SHORT_S)
    assert heard.statuses == [200] * (before + 2)
    assert app.bodies == [b""] * before + [b"abc", b""]
    app.go_on.set()
    slow = await say_in_pieces(
        address, GET.replace(b"/ ", b"/slow ") + ahead.replace(b"3", b"200000"), b"a" * 200_000, within_s=SHORT_S
    )
    assert slow.statuses == [200, 200] and len(app.bodies[-1]) == 200_000


async def test_who_speaks_the_older_version_is_answered_once(address: str) -> None:
    for wish in (b"", b"Connection: keep-alive\r\n"):
        heard = await answered(address, b"GET / HTTP/1.0\r\n" + wish + b"\r\n")
        assert (heard.statuses, heard.closed) == ([200], True)
        assert b"connection: close" in heard.data


async def test_who_sends_on_and_on_without_waiting_is_cut_off(address: str, app: App) -> None:
    slow = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
    waiting = asyncio.create_task(say(address, slow + GET * (MOST_IN_LINE + 5), within_s=http.FAREWELL_S + 2))
    await asyncio.sleep(0.1)
    app.go_on.set()
    heard = await waiting
    assert heard.closed
    assert len(heard.statuses) <= 1 + MOST_IN_LINE


async def test_a_body_in_chunks_is_one_and_its_trailer_no_header(app: App, address: str) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    heard = await answered(address, head + b"3\r\nabc\r\n2;a=b\r\nde\r\n0\r\nX-Org: other\r\n\r\n" + GET)
    assert heard.statuses == [200, 200]
    assert app.bodies == [b"abcde", b""]
    assert all(name != b"x-org" for name, _ in app.scopes[0]["headers"])


async def test_who_asks_first_is_told_to_go_on_when_the_body_is_read(address: str) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    async with connected(address) as (reader, writer):
        writer.write(head % b"/")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ab")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    heard = await answered(address, head % b"/unread")
    assert heard.statuses == [401], "100 was told of a body that nobody wants"


@pytest.mark.parametrize("address", ["plain"], indirect=True)
async def test_a_large_body_waits_for_whoever_reads_it(app: App, address: str) -> None:
    size = 40 * 2**20  # beyond what the kernel holds
    head = b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    async with connected(address) as (reader, writer):
        writer.write(head + b"a" * size)
        await asyncio.sleep(0.2)
        held = writer.transport.get_write_buffer_size()
        assert held > size // 4, "all of it was taken, though nobody read"
        app.go_on.set()
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    assert len(app.bodies[0]) == size


async def test_who_sends_much_at_once_has_a_few_pieces_of_it_in_each_round(app: App, address: str) -> None:
    size = 4 * 2**20
    heard = await answered(address, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"a" * size)
    assert heard.statuses == [200] and len(app.bodies[0]) == size
    assert app.largest <= HIGH_WATER + http.PIECE_BYTES


async def test_an_answer_of_unknown_length_goes_in_chunks_or_to_the_end_of_the_connection(address: str) -> None:
    heard = await answered(address, b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert heard.data.endswith(b"\r\n\r\n7\r\npiece 0\r\n7\r\npiece 1\r\n7\r\npiece 2\r\n0\r\n\r\n")
    assert not heard.closed
    old = await answered(address, b"GET /stream HTTP/1.0\r\n\r\n")
    assert old.data.endswith(b"\r\n\r\npiece 0piece 1piece 2")
    assert old.closed
    assert b"transfer-encoding" not in old.data


async def test_head_has_no_body_and_close_is_heeded(address: str) -> None:
    heard = await answered(address, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
    assert heard.statuses == [200, 200]
    assert heard.data.count(b'["') == 1
    ended = await answered(address, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert ended.closed
    assert b"connection: close" in ended.data


async def test_a_refusal_with_the_body_unread_reaches_the_client_and_ends_the_connection(address: str) -> None:
    """The rest of the body would be taken for a request, and a plain close would reset the answer away."""
    head = b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n"
    heard = await say(address, head + b"a" * 5_000_000, within_s=10)
    assert heard.statuses == [401]
    assert heard.closed
    assert heard.after_s < http.FAREWELL_S + 3


async def test_the_app_is_told_when_the_client_goes(app: App, address: str) -> None:
    async with connected(address) as (_, writer):
        writer.write(b"GET /waits HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.1)
        assert not app.left.is_set()
    await asyncio.wait_for(app.left.wait(), 5)
    app.left.clear()
    async with connected(address) as (_, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        await asyncio.sleep(0.1)
    await asyncio.wait_for(app.left.wait(), 5)


@pytest.mark.parametrize("path", ["fails", "silent", "splits"])
async def test_without_an_answer_the_client_gets_the_error_shape(
    address: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        heard = await answered(address, b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
    assert heard.statuses == [500]
    assert heard.closed
    told = json.loads(heard.data.partition(b"\r\n\r\n")[2])
    assert told["error"] == {"code": "internal_error", "message": "internal error"}
    assert f"x-request-id: {told['request_id']}".encode() in heard.data


async def test_who_serves_a_client_and_is_cancelled_does_not_leave_it_waiting(address: str) -> None:
    assert await answered(address, b"GET /cancelled HTTP/1.1\r\nHost: x\r\n\r\n") == Heard(b"", True, ANY)


async def test_half_an_answer_does_not_end_like_a_whole_one(address: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL):
        heard = await answered(address, b"GET /breaks HTTP/1.1\r\nHost: x\r\n\r\n")
    assert heard.closed
    assert b"0\r\n\r\n" not in heard.data


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nX-A: " + b"a" * MOST_HEAD_BYTES, 431),
        (b"GET / HTTP/1.1\r\n" + b"X-A: a\r\n" * (MOST_HEADERS + 2), 431),
        (b"GET /" + b"a" * MOST_TARGET_BYTES, 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: a\r\n\r\n", 400),
        (b"GET / HTTP/1.2\r\nHost: x\r\n\r\n", 400),
        (b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"\x16\x03\x01 this is TLS", 400),
    ],
    ids=["a long header", "many headers", "a long path", "a length", "a version", "a target", "another protocol"],
)
async def test_what_is_no_request_is_told_so_in_the_error_shape(
    app: App, address: str, data: bytes, status: int
) -> None:
    heard = await say(address, data, within_s=5)
    assert heard.statuses == [status]
    assert heard.closed
    assert json.loads(heard.data.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_request"
    assert app.scopes == []


async def test_while_it_is_overloaded_a_request_costs_the_app_nothing_and_the_connection_goes_on(
    app: App, address: str
) -> None:
    app.overloaded = True
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
    async with connected(address) as (reader, writer):
        writer.write(post)
        with pytest.raises(TimeoutError):  # a short body is awaited first: what follows is the next request
            await asyncio.wait_for(reader.readexactly(1), 0.1)
        writer.write(b"abc" + post + b"abc" + GET)
        assert await reader.readexactly(3 * len(REFUSED)) == 3 * REFUSED
        app.overloaded = False
        writer.write(post + b"abc")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    assert len(app.scopes) == 1
    app.overloaded = True
    long = await say(address, post.replace(b"3", b"3000000"), within_s=5)
    assert long.data == REFUSED
    assert long.closed


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n",
        b"POST / HTTP/1.1\r\nX-Content-Length: 3\r\n\r\n",
        b"POST / HTTP/1.1\nContent-Length: 3\n\r\n\r\n",
        b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nConnection: close\r\n\r\n",
    ],
)
def test_only_a_whole_plain_request_is_refused_without_the_parser(head: bytes) -> None:
    assert whole_post(head + b"abc") == ""
    assert whole_post(b"POST /v1/chat HTTP/1.1\r\nHost: x\r\ncontent-length: 3\r\n\r\nabc") == "/v1/chat"


async def test_when_the_process_ends_what_is_on_its_way_is_answered(app: App) -> None:
    """One is being served, one connection asks nothing yet: both get an answer, and then an end."""
    served = serving(app)
    address = await served.__aenter__()
    async with connected(address) as (busy, busy_out), connected(address) as (idle, idle_out):
        busy_out.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        idle_out.write(GET)
        await idle.readuntil(b"0]")
        ending = asyncio.create_task(served.__aexit__(None, None, None))
        await asyncio.sleep(0.3)
        idle_out.write(GET)
        app.go_on.set()
        for reader in (busy, idle):
            data = await asyncio.wait_for(reader.read(), 5)
            assert data.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in data
        await asyncio.wait_for(ending, 5)


async def test_who_lets_us_wait_for_a_head_is_cut_off(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HEAD_S", 0.3)
    for data in (b"", b"GET / HTTP/1.1\r\n", GET, GET + b"\r\n\r\n"):
        heard = await say(address, data, within_s=5)
        assert heard.closed
        assert 0.3 <= heard.after_s < 3


async def test_beyond_the_most_connections_there_is_a_clear_no(app: App) -> None:
    async with serving(app, connections=2) as address, connected(address), connected(address) as (reader, writer):
        await asyncio.sleep(0.1)
        heard = await answered(address, GET)
        assert (heard.statuses, heard.closed) == ([503], True)
        writer.write(GET)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")


CLOSE = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
CHUNKS = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
REFUSED_FOR_GOOD = {
    "no body": CLOSE + b"Content-Length: 0\r\n\r\n",
    "a body": CLOSE + b"Content-Length: 3\r\n\r\nabc",
    "a body and another request": CLOSE + b"Content-Length: 3\r\n\r\nabc" + GET,
    "chunks and another request": CHUNKS + b"0\r\n\r\n" + GET,
    "chunks that are none": CHUNKS + b"no chunk",
}


@pytest.mark.parametrize("spoken", ["plain", "over TLS"])
async def test_who_is_refused_for_good_is_told_once_and_keeps_no_place(
    app: App, spoken: str, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "FAREWELL_S", 0.2)
    app.overloaded = True
    places = len(REFUSED_FOR_GOOD)
    secured = certificate if spoken == "over TLS" else None
    async with serving(app, connections=places, certificate=secured) as address, AsyncExitStack() as kept:
        for data in REFUSED_FOR_GOOD.values():
            reader, writer = await kept.enter_async_context(connected(address))
            writer.write(data)
            assert await asyncio.wait_for(reader.read(), 5) == REFUSED
        await asyncio.sleep(0.2 + 2 * LOOKS_S)  # and they do not close their side
        for _ in range(places):
            reader, writer = await kept.enter_async_context(connected(address))
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    assert [one["path"] for one in app.scopes] == ["/health"] * places


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA\r\n"
"""As Java's own client and curl with `--http2` send it with every request to http://."""
WISHES = {
    "HTTP/2": H2C,
    "HTTP/2 beside other words": H2C.replace(b"Upgrade, ", b"keep-alive, upgrade , "),
    "another protocol": b"Connection: upgrade\r\nX-Empty:\r\nUpgrade: TLS/1.0\r\n",
    "a websocket by POST": b"Connection: upgrade\r\nUpgrade: websocket\r\n",
}
BODIES = {
    "a length": b"Content-Length: 7\r\n\r\n" + b'{"a":1}',
    "chunks": b'Transfer-Encoding: chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\n\r\n',
}


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("framed", BODIES)
async def test_a_wish_for_another_protocol_is_let_pass_and_the_body_is_the_request_s(
    app: App, address: str, wish: str, framed: str
) -> None:
    heard = await answered(address, b"POST /a?b HTTP/1.1\r\nX-A: b\r\n" + WISHES[wish] + BODIES[framed] + GET)
    assert heard.statuses == [200, 200] and not heard.closed
    assert app.bodies == [b'{"a":1}', b""]
    names = {name for name, _ in app.scopes[0]["headers"]}
    assert b"x-a" in names and not names & {b"upgrade", b"http2-settings"}
    assert (app.scopes[0]["raw_path"], app.scopes[0]["query_string"]) == (b"/a", b"b")
    assert dict(app.scopes[0]["headers"]).get(b"connection", b"") == (
        b"keep-alive" if b"keep-alive" in WISHES[wish] else b""
    )


@pytest.mark.parametrize("address", ["plain"], indirect=True)
@pytest.mark.parametrize("framed", BODIES)
async def test_wherever_a_request_with_a_wish_is_divided_it_is_the_same_one(
    app: App, address: str, framed: str
) -> None:
    data = b"POST / HTTP/1.1\r\nHost: x\r\n" + H2C + BODIES[framed] + GET
    whole = await answered(address, data)
    cuts = [say_in_pieces(address, data[:at], data[at:], within_s=SHORT_S) for at in range(1, len(data))]
    bytewise = say_in_pieces(address, *(bytes([one]) for one in data), within_s=SHORT_S, each_s=0.002)
    heard = await asyncio.gather(*cuts, bytewise)
    assert {without_date(one.data) for one in heard} == {without_date(whole.data)}
    assert whole.statuses == [200, 200]


async def test_a_websocket_is_not_begun_before_the_last_request_is_answered(app: App, address: str) -> None:
    wish = b"GET /after HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    app.go_on.set()
    heard = await answered(address, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + wish)
    assert heard.statuses == [200, 200]
    assert [one["path"] for one in app.scopes] == ["/slow", "/after"]


async def test_a_tunnel_is_refused(app: App, address: str) -> None:
    heard = await say(address, b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere:443\r\n\r\n" + GET, within_s=5)
    assert (heard.statuses, heard.closed, app.scopes) == ([405], True, [])
    assert json.loads(heard.data.partition(b"\r\n\r\n")[2])["error"]["code"] == "method_not_allowed"
    assert b"\r\nallow: GET, HEAD, POST, OPTIONS\r\n" in heard.data


TAKING = {
    "in one piece": b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
    "in pieces": b"GET /large_in_pieces HTTP/1.1\r\nHost: x\r\n\r\n",
    "in one piece, the last": b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "with the body unread": b"GET /large HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na",
}


async def taken(address: str, data: bytes, *, rests_s: float, room: int = 60_000, slowly: int = LARGE) -> int:
    """How much comes of an answer to whoever rests after each of its pieces, of `slowly` bytes of it."""
    came = 0
    async with connected(address, room=room) as (reader, writer):
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        while came < LARGE and (piece := await reader.read(room)):
            came += len(piece)
            await asyncio.sleep(rests_s if came < slowly else 0)
    return came


async def taken_too_late(address: str, data: bytes) -> int:
    """How much comes in the end to whoever reads nothing for longer than may be."""
    came = 0
    async with connected(address, room=10_000) as (reader, writer):
        writer.write(data)
        await asyncio.sleep(0.5 + 6 * LOOKS_S)
        with suppress(ConnectionError, ssl.SSLError):
            while piece := await reader.read(65_536):
                came += len(piece)
    return came


async def test_whoever_takes_a_large_answer_slowly_gets_all_of_it(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (http, handshake):
        monkeypatch.setattr(module, "FAREWELL_S", 0.2)
    monkeypatch.setattr(http, "HEAD_S", 0.5)
    found = await asyncio.gather(*(taken(address, data, rests_s=0.005) for data in TAKING.values()))
    assert dict(zip(TAKING, found, strict=True)) == dict.fromkeys(TAKING, LARGE)


@pytest.mark.parametrize("address", ["plain"], indirect=True)  # our client takes much at a time over TLS
async def test_who_takes_a_little_at_a_time_is_waited_for(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So little that for longer than they may take the kernel wants no more of us."""
    monkeypatch.setattr(http, "TAKES_S", 1.0)
    waits = (taken(address, data, rests_s=0.15, room=10_000, slowly=200_000) for data in TAKING.values())
    found = await asyncio.gather(*waits)
    assert dict(zip(TAKING, found, strict=True)) == dict.fromkeys(TAKING, LARGE)


async def test_who_takes_nothing_is_cut_off_whatever_is_sent(
    app: App, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "TAKES_S", 0.5)
    found = await asyncio.gather(*(taken_too_late(address, data) for data in TAKING.values()))
    assert all(0 < came < LARGE for came in found), found
    assert app.left.is_set(), "the app goes on, for nobody"
