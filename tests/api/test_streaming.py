"""Streams over a real server on a real port: order, fallback, interruption, and a client that goes away."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from omni_app.api.app import create_api
from omni_app.api.sse import EventStream
from omni_app.providers.base import Completion, Delta, Deltas, FaultKind, ProviderFault, ProviderRequest, Usage
from omni_app.storage import ledger
from tests.api.conftest import HELLO, Running, run, settings_for
from tests.servers.asgi import serving

CODE = {"messages": [{"role": "user", "content": "Write a Python function that reverses a linked list."}]}


def parsed(text: str) -> list[tuple[str, Any]]:
    """Events as (name, data)."""
    events = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            events.append((fields["event"], orjson.loads(fields["data"])))
    return events


class ScriptedStream:
    """The sandbox's place in a test: says the pieces, then breaks, hangs or ends, with `whole` where it is given."""

    name, simulated = "sandbox", True

    def __init__(
        self, *pieces: str | Delta, then: ProviderFault | float | None = None, whole: Completion | None = None
    ) -> None:
        self.pieces = [piece if isinstance(piece, Delta) else Delta(text=piece) for piece in pieces]
        self.then = then
        self.whole = whole or Completion("".join(piece.text for piece in self.pieces), usage=Usage(10, len(pieces)))
        self.closed = asyncio.Event()

    def unavailable_reason(self) -> str:
        return ""

    async def complete(self, request: ProviderRequest) -> Completion:
        raise ProviderFault(FaultKind.SERVER_ERROR, "streams only")

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Deltas | Completion, None]:
        try:
            for piece in self.pieces:
                yield (piece,)
            if isinstance(self.then, ProviderFault):
                raise self.then
            if self.then:
                await asyncio.sleep(self.then)
            yield self.whole
        finally:
            self.closed.set()

    async def aclose(self) -> None:
        """Nothing to close."""


class Refusing(ScriptedStream):
    """Refuses what it is asked."""

    words = "I can't help with that."

    def __init__(self) -> None:
        said = [Delta(text=word, refused=True) for word in ("I can't ", "help with that.")]
        super().__init__(*said, whole=Completion(self.words, usage=Usage(10, 6), refused=True))

    async def complete(self, request: ProviderRequest) -> Completion:
        return self.whole


class Noting(ScriptedStream):
    """Answers, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(whole=Completion("Seen.", usage=Usage(9, 2)))
        self.asked: list[ProviderRequest] = []

    async def complete(self, request: ProviderRequest) -> Completion:
        self.asked.append(request)
        return self.whole


@pytest.fixture
async def product(tmp_path: Path) -> AsyncIterator[Running]:
    async for running in run(settings_for(tmp_path)):
        async with (
            serving(create_api(running.services)) as url,
            httpx.AsyncClient(base_url=url, headers={"X-API-Key": running.key}) as client,
        ):
            yield replace(running, client=client)


async def stream(product: Running, body: dict[str, Any], path: str = "/v1/chat") -> httpx.Response:
    return await product.client.post(path, json={**body, "stream": True})


async def rows(product: Running) -> list[ledger.RequestRecord]:
    await product.services.drainer.flush()
    async with product.services.database.session() as session:
        return await ledger.recent_requests(session, org_id=product.org_id, mode="test")


async def test_a_stream_says_what_its_plain_twin_says(product: Running) -> None:
    plain = (await product.client.post("/v1/chat", json=CODE)).json()
    answer = await stream(product, CODE)
    events = parsed(answer.text)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-omni-model"] == plain["model_used"]
    assert {name for name, _ in events[:-1]} == {"delta"} and len(events) > 5
    name, done = events[-1]
    assert name == "done"
    assert "".join(data["text"] for _, data in events[:-1]) == done["output"] == plain["output"]
    same = ("model_used", "cost", "tokens", "task_type", "finish_reason", "savings_estimate")
    assert {key: done[key] for key in same} == {key: plain[key] for key in same}
    assert len({row.cost for row in await rows(product)}) == 1


async def test_an_agent_step_streams_its_ids(product: Running) -> None:
    answer = await stream(product, {**HELLO, "session_id": "s", "step_id": "1"}, "/v1/agent-step")
    assert parsed(answer.text)[-1][1]["session_id"] == "s"


async def test_before_the_first_piece_another_model_takes_over(product: Running) -> None:
    events = parsed((await stream(product, {**CODE, "metadata": {"sandbox_fail": "error"}})).text)
    name, done = events[-1]
    assert name == "done" and [one["outcome"] for one in done["attempts"]] == ["server_error", "ok"]


async def test_an_error_before_the_first_piece_is_a_plain_http_error(product: Running) -> None:
    answer = await stream(product, {**CODE, "metadata": {"sandbox_fail": "all:error"}})
    assert answer.status_code == 502 and answer.json()["error"]["code"] == "provider_error"
    assert (await stream(product, {"messages": []})).status_code == 400


async def test_a_stream_that_breaks_ends_with_an_error_event_and_never_cleanly(product: Running) -> None:
    broken = ScriptedStream("one ", "two ", then=ProviderFault(FaultKind.INTERRUPTED, "cut", usage=Usage(10, 2)))
    product.services.providers["sandbox"] = broken
    events = parsed((await stream(product, CODE)).text)
    assert [name for name, _ in events] == ["delta", "delta", "error"]
    assert events[-1][1]["error"]["code"] == "stream_interrupted"
    (row,) = await rows(product)
    assert (row.success, row.error_code, row.tokens_output) == (False, "stream_interrupted", 2)
    assert row.cost > 0, "what was produced is billed by the provider, so it is in the ledger"


async def test_a_client_that_leaves_cancels_the_providers_call_and_leaves_a_row(product: Running) -> None:
    slow = ScriptedStream("one ", "two ", then=30.0)
    product.services.providers["sandbox"] = slow
    body = {**CODE, "stream": True}
    async with product.client.stream("POST", "/v1/chat", json=body) as answer:
        async for _ in answer.aiter_text():
            break
    async with asyncio.timeout(3):
        await slow.closed.wait()
    await asyncio.sleep(0.1)
    (row,) = await rows(product)
    assert (row.success, row.error_code) == (False, "cancelled")
    assert row.cost > 0 and row.estimated


async def test_a_slow_first_piece_is_bridged_by_comments() -> None:
    async def events() -> AsyncIterator[bytes]:
        await asyncio.sleep(0.25)
        yield b"data: late\n\n"

    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    async def receive() -> Any:
        await asyncio.sleep(10)

    answer = EventStream(
        events(),  # type: ignore[arg-type]
        on_error=lambda error: b"",
        headers_of=dict,
        keep_alive_s=0.1,
    )
    await (await answer.opened())({"type": "http"}, receive, send)
    assert b"".join(sent).startswith(b": keep-alive\n\n: keep-alive\n\n")
    assert b"".join(sent).endswith(b"data: late\n\n")


async def forever() -> Any:
    await asyncio.sleep(10)


async def test_no_event_is_held_back_for_another() -> None:
    sent: list[bytes] = []
    came = asyncio.Event()

    async def events() -> AsyncGenerator[bytes, None]:
        yield b"a"
        await came.wait()
        yield b"b"

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if message.get("body") == b"a":
            came.set()  # only now: whoever waited for more would wait for ever

    answer = EventStream(events(), on_error=lambda error: b"", headers_of=dict)
    async with asyncio.timeout(5):
        await (await answer.opened())({"type": "http"}, forever, send)
    assert sent == [b"", b"a", b"b", b""]


async def test_a_stream_opens_and_its_first_words_follow_in_one_piece(product: Running) -> None:
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages"):
        product.services.providers["sandbox"] = ScriptedStream("one ", "two ")
        async with product.client.stream(
            "POST", path, json={**CODE, "input": "Hi", "max_tokens": 9, "stream": True}
        ) as answer:
            (first, *_), headers = [one async for one in answer.aiter_raw()], answer.headers
        assert b"one " in first, "who answers is told with what he says first"
        assert headers["x-omni-model"]


async def test_a_long_silence_in_between_is_bridged_as_well_and_a_short_one_is_not() -> None:
    sent: list[bytes] = []

    async def events() -> AsyncGenerator[bytes, None]:
        for one in (b"a", b"b", b"c"):
            yield one
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.3)
        yield b"d"

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    answer = EventStream(events(), on_error=lambda error: b"", headers_of=dict, keep_alive_s=0.25)
    await (await answer.opened())({"type": "http"}, forever, send)
    assert sent == [b"", b"a", b"b", b"c", b": keep-alive\n\n", b"d", b""]


async def test_a_reader_that_stands_still_stops_the_events() -> None:
    made = 0
    reads = asyncio.Event()

    async def events() -> AsyncGenerator[bytes, None]:
        nonlocal made
        while True:
            made += 1
            yield b"x"

    async def send(message: Any) -> None:
        if message.get("body"):
            await reads.wait()

    answer = EventStream(events(), on_error=lambda error: b"", headers_of=dict)
    sending = asyncio.create_task((await answer.opened())({"type": "http"}, forever, send))
    await asyncio.sleep(0.05)
    assert made == 1
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_a_reader_that_stands_still_is_told_when_the_process_ends(product: Running) -> None:
    product.services.providers["sandbox"] = ScriptedStream(*["x" * 100_000] * 400)
    body, headers = {**CODE, "stream": True}, {"Authorization": f"Bearer {product.key}"}
    async with (
        serving(create_api(product.services)) as address,
        httpx.AsyncClient(base_url=address, headers=headers, timeout=10) as client,
        client.stream("POST", "/v1/chat", json=body) as answer,
    ):
        await asyncio.sleep(0.5)  # it stands still now, with the kernel's buffers full
        product.services.gateway.cut_off()
        *deltas, (name, told) = parsed((await answer.aread()).decode())
    assert 0 < len(deltas) < 400 and {one for one, _ in deltas} == {"delta"}
    assert (name, told["error"]["code"]) == ("error", "unavailable")
    (row,) = await rows(product)
    assert row.error_code == "cancelled" and row.cost > 0


async def test_an_error_that_nobody_expects_before_the_first_event_is_raised_at_once() -> None:
    async def events() -> AsyncGenerator[bytes, None]:
        raise ZeroDivisionError
        yield b""

    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(2):
            await EventStream(events(), on_error=lambda error: b"", headers_of=dict).opened()


async def test_fifty_streams_at_once_are_whole_and_counted(product: Running) -> None:
    answers = await asyncio.gather(*(stream(product, CODE) for _ in range(50)))
    assert all(parsed(answer.text)[-1][0] == "done" for answer in answers)
    assert len(await rows(product)) == 50
