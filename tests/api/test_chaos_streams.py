"""Streams that a provider cuts after each of its chunks, in each way, over both wires and through all three doors.

What must hold: the answer is whole and equals its plain twin, because another model took over before the first piece;
or the stream ends with an error event and never cleanly. One ledger row a request, with what was produced in it.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import openai
import pytest

from omni_app.api.app import create_api
from omni_app.storage import ledger
from tests.api.conftest import Running, run, settings_for
from tests.servers.asgi import serving
from tests.servers.bad_manners import DRIP_S
from tests.servers.raw_http import Call, Connection, head
from tests.servers.upstream import KEY, Upstream, chunk, completion_events, event, message_events

Wire = Literal["openai", "anthropic"]
WAYS = ("reset", "close", "end", "error", "bad_json", "bad_utf8")
"""And `hang`, which only a deadline ends: it has its own test."""
DEADLINE_MS = 250
ASK = "Write a Python function that reverses a linked list."
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
MAX_ATTEMPTS = 10
"""No chain is longer: whoever asks more often asks a model twice."""


@dataclass
class Chaos(Upstream):
    """Cuts the first `cut_calls` streams after `cut_after` chunks, in the way `cut`."""

    text: str = "All is well."
    cut: str = ""
    cut_after: int = 0
    cut_calls: int = 1

    async def _stream(self, call: Call, connection: Connection) -> None:
        chunks = self.chunks(call)
        cut = self.cut if len(self.calls) <= self.cut_calls else ""
        await connection.send(head(200, (("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))))
        for data in chunks[: self.cut_after] if cut else chunks:
            await connection.send(chunk(data))
        await self._end(connection, cut)

    def chunks(self, call: Call) -> list[bytes]:
        """The whole stream that answers a call."""
        value = json.loads(self._good(call).body)
        anthropic = call.path == "/v1/messages"
        return list(message_events(value) if anthropic else completion_events(value, call.body))

    async def _end(self, connection: Connection, cut: str) -> None:
        said = {
            "error": event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "error"),
            "bad_json": b'data: {"choices": [\n\n',
            "bad_utf8": b'data: {"text": "\xff\xfe"}\n\n',
        }
        if cut == "hang":
            await connection.until_gone()
        elif cut == "reset":
            await asyncio.sleep(DRIP_S)
            connection.reset()
        elif cut == "close":
            connection.close()
        else:
            await connection.send((chunk(said[cut]) if cut in said else b"") + b"0\r\n\r\n")


@dataclass
class Heard:
    """What came out of a door: the pieces put together, and how it ended."""

    status: int = 200
    text: str = ""
    calls: str = ""
    """The tool calls' names and arguments, one after the other."""
    ended: bool = False
    broken: str = ""
    """An error after which something has to come yet."""
    error: str = ""

    @property
    def whole(self) -> bool:
        return self.status == 200 and self.ended and not self.error

    @property
    def said(self) -> tuple[str, str]:
        return self.text, self.calls

    def called(self, function: Mapping[str, str]) -> None:
        self.calls += (function.get("name") or "") + (function.get("arguments") or "")


def hear_chat(heard: Heard, name: str, data: Any) -> None:
    if name == "delta":
        heard.text += data.get("text", "")
        heard.called(data.get("tool_call", {}).get("function", {}))
    heard.ended |= name == "done"
    heard.error += data["error"]["code"] if name == "error" else ""


def hear_completion(heard: Heard, name: str, data: Any) -> None:
    heard.ended |= data == "[DONE]"
    if data == "[DONE]":
        return
    heard.error += data.get("error", {}).get("code", "")
    for choice in data.get("choices", ()):
        heard.text += choice["delta"].get("content") or ""
        for call in choice["delta"].get("tool_calls", ()):
            heard.called(call["function"])


def hear_message(heard: Heard, name: str, data: Any) -> None:
    delta = data.get("delta", {})
    heard.text += delta.get("text", "")
    block = data.get("content_block", {})
    heard.called({"name": block.get("name", ""), "arguments": delta.get("partial_json", "")})
    heard.ended |= name == "message_stop"
    heard.error += data["error"]["code"] if name == "error" else ""


def hear_response(heard: Heard, name: str, data: Any) -> None:
    if name == "response.output_text.delta":
        heard.text += data["delta"]
    if name == "response.output_item.added" and data["item"]["type"] == "function_call":
        heard.called({"name": data["item"]["name"]})
    if name == "response.function_call_arguments.delta":
        heard.called({"arguments": data["delta"]})
    heard.ended |= name == "response.completed"
    if name == "error":
        heard.broken = data["code"]
    if name == "response.failed":  # comes behind the error, and is the last one
        heard.error = heard.broken


@dataclass(frozen=True)
class Door:
    """An endpoint that streams: its body, its tools, and how its events are read."""

    path: str
    body: Mapping[str, Any]
    tool: Mapping[str, Any]
    hear: Callable[[Heard, str, Any], None]

    words: str = "messages"
    """The body's field for the conversation."""

    def asked(self, *, tools: bool) -> dict[str, Any]:
        said = {self.words: [{"role": "user", "content": ASK}], "stream": True}
        return {**self.body, **said, **({"tools": [dict(self.tool)]} if tools else {})}

    def read(self, answer: httpx.Response) -> Heard:
        """Raises `AssertionError` for an event after the end, or after an error."""
        heard = Heard(status=answer.status_code)
        if answer.status_code != 200:
            heard.error = answer.json()["error"]["code"]
            return heard
        for block in filter(None, answer.text.split("\n\n")):
            assert not heard.ended and not heard.error, f"more came after the end: {block}"
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            data = fields.get("data", "")
            self.hear(heard, fields.get("event", ""), data if data == "[DONE]" else json.loads(data))
        return heard


FUNCTION = {"name": "weather", "parameters": SCHEMA}
DOORS = {
    "chat": Door("/v1/chat", {}, {"type": "function", "function": FUNCTION}, hear_chat),
    "completions": Door(
        "/v1/chat/completions", {"model": "auto"}, {"type": "function", "function": FUNCTION}, hear_completion
    ),
    "responses": Door("/v1/responses", {"model": "auto"}, {"type": "function", **FUNCTION}, hear_response, "input"),
    "messages": Door(
        "/v1/messages", {"model": "auto", "max_tokens": 200}, {"name": "weather", "input_schema": SCHEMA}, hear_message
    ),
}


@dataclass
class Scene:
    """A product with one provider, which cuts its streams, and a live key."""

    running: Running
    upstream: Chaos
    key: str
    seen: set[str] = field(default_factory=set)

    async def ask(self, door: Door, *, tools: bool) -> Heard:
        """One request on its own: no breaker is open before it."""
        self.upstream.calls.clear()
        self.running.services.gateway.health.__init__()  # type: ignore[misc]
        headers = {"Authorization": f"Bearer {self.key}"}
        if self.upstream.cut == "hang":
            headers["x-omni-timeout-ms"] = str(DEADLINE_MS)
        return door.read(await self.running.client.post(door.path, json=door.asked(tools=tools), headers=headers))

    async def new_rows(self) -> list[ledger.RequestRecord]:
        """The rows since the last time, the oldest first."""
        await self.running.services.drainer.flush()
        async with self.running.services.database.session() as session:
            rows = await ledger.recent_requests(session, org_id=self.running.org_id, mode="live", limit=20)
        fresh = [row for row in reversed(rows) if row.request_id not in self.seen]
        self.seen |= {row.request_id for row in fresh}
        return fresh


@asynccontextmanager
async def scene(folder: Path, wire: Wire) -> AsyncIterator[Scene]:
    async with Chaos() as upstream:
        address = upstream.openai_url if wire == "openai" else upstream.anthropic_url
        only = {f"{wire}_api_key": KEY, f"{wire}_base_url": address}
        async for running in run(settings_for(folder, rate_limit_max=10_000, **only)):
            yield Scene(running, upstream, await running.new_key("live"))


@pytest.fixture(params=["openai", "anthropic"])
async def chaos(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Scene, None]:
    async with scene(tmp_path, request.param) as made:
        yield made


async def check(scene: Scene, door: Door, twin: Heard, *, tools: bool) -> bool:
    """The property, for the cut that is set; whether the answer was whole."""
    where = (scene.upstream.cut, scene.upstream.cut_after, scene.upstream.cut_calls)
    heard = await scene.ask(door, tools=tools)
    attempts = len(scene.upstream.calls)
    (row,) = await scene.new_rows()
    if heard.whole:
        assert heard.said == twin.said, f"a silent truncation: {where}, {heard}"
        assert row.cost > 0, where
    else:
        assert heard.error and not heard.ended, f"neither whole nor an error: {where}, {heard}"
        assert heard.error == row.error_code, where
        assert row.cost > 0 or not any(heard.said), f"what was produced was not billed: {where}"
        assert any(heard.said) == (heard.status == 200), f"an error before the first piece has its status: {where}"
    assert row.success == heard.whole, where
    assert attempts <= row.attempts <= MAX_ATTEMPTS, where
    assert attempts == row.attempts or scene.upstream.cut == "hang", f"only a deadline ends a call on its way: {where}"
    models = [call.body["model"] for call in scene.upstream.calls]
    assert len(models) == len(set(models)), f"a model was asked twice: {where}, {models}"
    return heard.whole


@pytest.mark.parametrize("tools", [False, True], ids=["text", "tools"])
@pytest.mark.parametrize("name", DOORS)
async def test_a_stream_is_whole_or_ends_with_an_error(chaos: Scene, name: str, tools: Any) -> None:
    door = DOORS[name]
    twin = await chaos.ask(door, tools=tools)
    assert twin.whole and any(twin.said)
    chunks = chaos.upstream.chunks(chaos.upstream.calls[0])
    content = next(
        at for at, one in enumerate(chunks) if b'"All ' in one or b'"tool_calls": [' in one or b"toolu_" in one
    )
    await chaos.new_rows()
    for way in ("reset", "end", "error") if tools else WAYS:
        for after in range(len(chunks) + 1):
            chaos.upstream.cut, chaos.upstream.cut_after, chaos.upstream.cut_calls = way, after, 1
            whole = await check(chaos, door, twin, tools=tools)
            assert whole or after > content, f"nothing had come: another model can take over ({way}, {after})"
        chaos.upstream.cut_calls = MAX_ATTEMPTS
        for after in (0, content + 1):
            chaos.upstream.cut_after = after
            assert not await check(chaos, door, twin, tools=tools)


@pytest.mark.parametrize("name", DOORS)
async def test_a_stream_that_hangs_ends_at_its_deadline_with_an_error(chaos: Scene, name: str) -> None:
    door = DOORS[name]
    twin = await chaos.ask(door, tools=False)
    await chaos.new_rows()
    chaos.upstream.cut, chaos.upstream.cut_calls = "hang", MAX_ATTEMPTS
    for after in (0, 1, 3, 4, 5):
        chaos.upstream.cut_after = after
        async with asyncio.timeout(5):
            await check(chaos, door, twin, tools=False)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("fault", ["500", "429", "error_200"])
async def test_the_openai_sdk_makes_one_set_of_attempts_a_call(chaos: Scene, fault: str, stream: Any) -> None:
    chaos.upstream.fault = fault
    ask: Any = [{"role": "user", "content": ASK}]
    async with (
        serving(create_api(chaos.running.services)) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=chaos.key, max_retries=2) as client,
    ):
        with pytest.raises(openai.APIStatusError):
            await client.chat.completions.create(model="auto", messages=ask, stream=stream)
    (row,) = await chaos.new_rows()
    assert not row.success and len(chaos.upstream.calls) == row.attempts
    models = [call.body["model"] for call in chaos.upstream.calls]
    assert len(models) == len(set(models))


@pytest.mark.parametrize("reason", ["error", "insufficient_system_resource"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_an_answer_that_a_provider_gave_up_on_is_not_taken_for_whole(
    tmp_path: Path, reason: str, stream: Any
) -> None:
    async with scene(tmp_path, "openai") as chaos:
        message = {"role": "assistant", "content": "All is"}
        choice = {"index": 0, "message": message, "finish_reason": reason}
        chaos.upstream.answer = {"model": "m", "choices": [choice], "usage": {}}
        body = {**DOORS["completions"].asked(tools=False), "stream": stream}
        answer = await chaos.running.post("/v1/chat/completions", body, key=chaos.key)
        (row,) = await chaos.new_rows()
    assert not row.success and "[DONE]" not in answer.text
    assert answer.status_code == (200 if stream else 502) and "error" in answer.text
