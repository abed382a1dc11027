"""Who is refused at once, in which words, and who never is."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from omni_app.api.app import create_api
from omni_app.api.load_shedding import BODY_UNIT, LONGEST_WAIT_S, LoadShedding, weight
from omni_app.turns import Turns
from tests.api.conftest import HELLO, Running, run, settings_for
from tests.security.raw_client import connected
from tests.servers.asgi import serving


@asynccontextmanager
async def long_line(turns: Turns) -> AsyncIterator[None]:
    """The loop does not get round, and the line is as long as a request may wait."""
    turns.call_soon = lambda _: None
    turns.clock = iter(range(10**9)).__next__
    turns.pace_s = LONGEST_WAIT_S
    waiting = [asyncio.create_task(turns.to_begin()) for _ in range(3)]
    await asyncio.sleep(0)
    yield
    for one in waiting:
        one.cancel()


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/chat/completions", "/v1/embeddings", "/v1/models", "/estimate"])
async def test_a_request_that_would_wait_too_long_is_refused_in_the_usual_shape(product: Running, path: str) -> None:
    async with long_line(product.services.turns):
        answer = await product.post(path, HELLO)
    told = answer.json()
    assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
    assert told["error"] == {"code": "unavailable", "message": "too many requests at once: try again in 1 s"}
    assert told["request_id"] == answer.headers["x-request-id"] and told["request_id"].startswith("req_")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_on_anthropic_s_route_it_is_refused_in_anthropic_s_shape(product: Running) -> None:
    async with long_line(product.services.turns):
        answer = await product.post("/v1/messages", HELLO)
    told = answer.json()
    assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
    assert (told["type"], told["error"]["type"]) == ("error", "overloaded_error")
    assert told["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/health", "/ready", "/docs", "/openapi.json", "/auth/nothing"])
async def test_probes_and_people_are_let_in(product: Running, path: str) -> None:
    async with long_line(product.services.turns):
        answer = await product.get(path)
    assert answer.status_code == (404 if path == "/auth/nothing" else 200)


async def test_when_the_line_is_gone_requests_are_served_again(product: Running) -> None:
    turns = product.services.turns
    fresh = Turns()
    async with long_line(turns):
        assert (await product.post("/v1/chat", HELLO)).status_code == 503
    turns.call_soon, turns.clock, turns.pace_s = None, fresh.clock, fresh.pace_s
    turns._round()
    assert (await product.post("/v1/chat", HELLO)).status_code == 200


async def test_no_more_is_in_flight_than_the_setting_says(tmp_path: Path) -> None:
    async for running in run(settings_for(tmp_path, max_in_flight=2).model_copy(update={"sandbox_speed": 0.1})):
        answers = await asyncio.gather(*(running.post("/v1/chat", HELLO) for _ in range(5)))
        assert sorted(one.status_code for one in answers) == [200, 200, 503, 503, 503]
        assert (await running.post("/v1/chat", HELLO)).status_code == 200


class AtTheDoor:
    """The API as the server has it: what comes is let in by its head first."""

    def __init__(self, running: Running) -> None:
        self.refusals = create_api(running.services)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.refusals(scope, receive, send)


async def test_what_is_answered_in_front_of_the_layer_keeps_nobody_out(tmp_path: Path) -> None:
    preflight = b"OPTIONS /v1/chat HTTP/1.1\r\nHost: x\r\nOrigin: https://elsewhere\r\n\r\n"
    async for running in run(settings_for(tmp_path, max_in_flight=2)):
        async with serving(AtTheDoor(running)) as address, connected(address) as (reader, writer):
            for _ in range(5):
                writer.write(preflight)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
            async with httpx.AsyncClient(base_url=address, headers={"x-api-key": running.key}) as client:
                assert (await client.get("/v1/models")).status_code == 200


async def test_as_many_calls_may_be_under_way_as_requests(product: Running) -> None:
    assert product.services.transport.max_connections >= product.services.settings.max_in_flight


class Slow:
    """An app whose requests go on until they are let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.served = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.served += 1
        await self.let_go.wait()


def scope_of(*, length: str | None = None) -> dict[str, Any]:
    headers = [] if length is None else [(b"content-length", length.encode())]
    return {"type": "http", "path": "/v1/chat", "headers": headers, "omni_request_id": "req_1"}


async def nothing() -> Message:
    raise AssertionError("the body was read")


async def test_requests_that_only_wait_keep_nobody_out() -> None:
    app, sent = Slow(), list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    shedding, waiting = LoadShedding(app, Turns(), most_in_flight=2_000), list[asyncio.Task[None]]()
    async with asyncio.timeout(20):
        for _ in range(30):
            waiting += [asyncio.create_task(shedding(scope_of(), nothing, send)) for _ in range(50)]
            while app.served < len(waiting):  # noqa: ASYNC110 a count has no event
                await asyncio.sleep(0)
    assert (shedding.in_flight, shedding.refused, sent) == (1_500, 0, [])
    app.let_go.set()
    await asyncio.gather(*waiting)
    assert shedding.in_flight == 0


async def test_a_refusal_is_said_in_the_turn_of_the_loop_in_which_its_request_came(product: Running) -> None:
    """So it waits for nothing but that turn: not for its body, a key, a line, or another round."""
    api = create_api(product.services)
    scope = {"type": "http", "method": "POST", "path": "/v1/chat", "query_string": b"", "headers": [(b"host", b"x")]}
    said: list[Message] = []

    async def body() -> Message:
        raise AssertionError("nothing of it is read")

    async def say(message: Message) -> None:
        said.append(message)

    async with long_line(product.services.turns):
        with pytest.raises(StopIteration):
            api(scope, body, say).__await__().__next__()
    assert [one["type"] for one in said] == ["http.response.start", "http.response.body"] and said[0]["status"] == 503


async def test_refusing_reads_no_body_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    sent = list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    shedding = LoadShedding(Slow(), Turns(), most_in_flight=0)
    for _ in range(50):
        await shedding(scope_of(), nothing, send)
    assert shedding.refused == 50
    assert [message.get("status") for message in sent] == [503, None] * 50
    assert len(caplog.records) == 1, "not a line for each"


async def test_whoever_is_let_in_and_does_not_come_is_forgotten() -> None:
    shedding = LoadShedding(Slow(), Turns(), most_in_flight=2)
    for _ in range(2):
        assert not shedding.full()
        shedding.let_in(scope_of())
    assert shedding.full()
    await asyncio.sleep(0)
    assert not shedding.full()


def test_a_long_body_weighs_as_much_as_several_requests() -> None:
    assert weight(scope_of()) == weight(scope_of(length="500")) == weight(scope_of(length="nonsense")) == 1
    assert weight(scope_of(length=str(10 * BODY_UNIT))) == 11


async def test_time_in_line_is_time_of_the_caller_s_deadline(product: Running) -> None:
    sandbox: Any = product.services.providers["sandbox"]
    sandbox.speed = 1.0  # else it may answer within the millisecond that is always left
    turns = product.services.turns
    moments = iter([0.0, 1.0])
    turns.clock = lambda: next(moments, 1.0)
    turns.call_soon = lambda callback: None
    await turns.to_begin()  # somebody uses up this round, and no other comes
    headers = {"Authorization": f"Bearer {product.key}", "x-omni-timeout-ms": "100"}
    call = asyncio.create_task(product.client.post("/v1/chat", json=HELLO, headers=headers))
    async with asyncio.timeout(10):
        while not turns.waiting:  # noqa: ASYNC110 a count has no event
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.15)
    turns._round()
    answer = await call
    assert answer.status_code == 504, answer.text


async def test_a_body_that_takes_its_time_takes_the_caller_s_deadline(product: Running) -> None:
    sandbox: Any = product.services.providers["sandbox"]
    sandbox.speed = 1.0

    async def slowly() -> AsyncIterator[bytes]:
        yield json.dumps(HELLO).encode()
        await asyncio.sleep(0.15)
        yield b" "

    headers = {
        "Authorization": f"Bearer {product.key}",
        "x-omni-timeout-ms": "100",
        "content-type": "application/json",
    }
    answer = await product.client.post("/v1/chat", content=slowly(), headers=headers)
    assert answer.status_code == 504, answer.text
