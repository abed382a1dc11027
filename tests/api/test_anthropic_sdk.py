"""The unmodified anthropic SDK against our server on a real port, and our own Anthropic lane against our own door."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anthropic
import pytest
from pydantic import BaseModel

from omni_app.api.app import create_api
from omni_app.api.messages_schema import parse_messages
from omni_app.providers.anthropic_wire import AnthropicWire, split_system
from omni_app.providers.base import HOP_HEADER, Completion, Delta, FaultKind, ProviderFault, ProviderRequest, Usage
from omni_app.providers.transport import Transport
from omni_app.registry import packaged_registry
from tests.api.conftest import Running, run, settings_for
from tests.api.test_streaming import Noting, Refusing, ScriptedStream
from tests.servers.asgi import serving

CODE: Any = [{"role": "user", "content": "Write a Python function that reverses a linked list."}]
TOOL: Any = {
    "name": "weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
async def product(tmp_path: Path) -> AsyncIterator[Running]:
    async for running in run(settings_for(tmp_path)):
        yield running


@pytest.fixture
async def url(product: Running) -> AsyncIterator[str]:
    async with serving(create_api(product.services)) as url:
        yield url


@pytest.fixture
async def client(product: Running, url: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=url, api_key=product.key) as client:
        yield client


async def test_a_plain_message(client: anthropic.AsyncAnthropic) -> None:
    answer = await client.messages.create(model="auto", max_tokens=200, messages=CODE, system="Be brief.")
    assert answer.content[0].type == "text" and answer.content[0].text
    assert answer.stop_reason == "end_turn" and answer.model.startswith("sandbox/")
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0


async def test_a_stream_equals_its_plain_twin(client: anthropic.AsyncAnthropic) -> None:
    plain = await client.messages.create(model="auto", max_tokens=200, messages=CODE)
    async with client.messages.stream(model="auto", max_tokens=200, messages=CODE) as stream:
        streamed = await stream.get_final_message()
    assert [block.to_dict() for block in streamed.content] == [block.to_dict() for block in plain.content]
    assert streamed.stop_reason == plain.stop_reason
    assert streamed.usage.output_tokens == plain.usage.output_tokens


@pytest.mark.parametrize("how", ["plain", "streaming"])
async def test_tools_are_called_and_answered(client: anthropic.AsyncAnthropic, how: str) -> None:
    ask: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    if how == "streaming":
        async with client.messages.stream(model="auto", max_tokens=200, messages=ask, tools=[TOOL]) as stream:
            answer: Any = await stream.get_final_message()
    else:
        answer = await client.messages.create(model="auto", max_tokens=200, messages=ask, tools=[TOOL])
    assert answer.stop_reason == "tool_use"
    call = answer.content[-1]
    assert (call.type, call.name) == ("tool_use", "weather") and "city" in call.input
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny"}
    replied: Any = [*ask, {"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    final = await client.messages.create(model="auto", max_tokens=200, messages=replied, tools=[TOOL])
    assert final.content[0].type == "text" and final.content[0].text


async def test_a_call_that_is_said_to_have_no_arguments_at_the_end_is_one_block(
    client: anthropic.AsyncAnthropic, product: Running
) -> None:
    pieces: list[dict[str, Any]] = [
        {"index": 0, "id": "c0", "type": "function", "function": {"name": "now", "arguments": ""}},
        {"index": 1, "id": "c1", "type": "function", "function": {"name": "here", "arguments": ""}},
        {"index": 0, "function": {"arguments": "{}"}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]
    whole = Completion("", usage=Usage(10, 8), finish_reason="tool_calls", tool_calls=tuple(pieces[:2]))
    product.services.providers["sandbox"] = ScriptedStream(*(Delta(tool_call=one) for one in pieces), whole=whole)
    async with client.messages.stream(model="auto", max_tokens=200, messages=CODE, tools=[TOOL]) as stream:
        answer = await stream.get_final_message()
    told = [(block.id, block.name, block.input) for block in answer.content if block.type == "tool_use"]
    assert told == [("c0", "now", {}), ("c1", "here", {})] and len(answer.content) == 2


async def test_a_refusal_is_the_reason_why_it_stopped(client: anthropic.AsyncAnthropic, product: Running) -> None:
    product.services.providers["sandbox"] = Refusing()
    answer = await client.messages.create(model="auto", max_tokens=200, messages=CODE)
    async with client.messages.stream(model="auto", max_tokens=200, messages=CODE) as stream:
        streamed = await stream.get_final_message()
    assert answer.stop_reason == streamed.stop_reason == "refusal"
    assert streamed.content[0].to_dict() == answer.content[0].to_dict() == {"type": "text", "text": Refusing.words}


async def test_errors_raise_the_sdks_classes(client: anthropic.AsyncAnthropic) -> None:
    once = client.with_options(max_retries=0)
    with pytest.raises(anthropic.NotFoundError):
        await once.messages.create(model="no-such-model", max_tokens=9, messages=CODE)
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        await once.messages.create(model="auto", max_tokens=9, messages=CODE, extra_body={"temperature": 9})
    with pytest.raises(anthropic.AuthenticationError):
        await once.with_options(api_key="nonsense").messages.create(model="auto", max_tokens=9, messages=CODE)


async def test_a_broken_stream_raises(client: anthropic.AsyncAnthropic, product: Running) -> None:
    cut = ProviderFault(FaultKind.INTERRUPTED, "cut", usage=Usage(10, 2))
    product.services.providers["sandbox"] = ScriptedStream("one ", "two ", then=cut)

    async def listen() -> None:
        async with client.messages.stream(model="auto", max_tokens=200, messages=CODE) as stream:
            await stream.get_final_message()

    with pytest.raises(anthropic.APIError, match="broke off"):
        await listen()


def as_a_stranger(app: Any) -> Any:
    """The app, as it looks to a provider lane of somebody else: without the mark that ends loops."""

    async def served(scope: Any, receive: Any, send: Any) -> None:
        kept = [pair for pair in scope.get("headers", []) if pair[0] != HOP_HEADER.encode()]
        await app({**scope, "headers": kept}, receive, send)

    return served


async def test_our_own_anthropic_lane_reads_our_own_door(product: Running) -> None:
    deployment = packaged_registry().get("anthropic/claude-haiku-4-5")
    assert deployment is not None
    plain = (await product.post("/v1/chat", {"messages": CODE})).json()
    async with serving(as_a_stranger(create_api(product.services))) as url, aclosing(Transport()) as transport:
        wire = AnthropicWire(base_url=url, api_key=product.key, key_variable="K", transport=transport)
        call = ProviderRequest(deployment, CODE, {"max_tokens": 500})
        with pytest.raises(ProviderFault) as unknown:
            await wire.complete(call)
        assert unknown.value.kind is FaultKind.MODEL_NOT_FOUND, "a test key has no Anthropic model"
        call = replace(call, deployment=replace(deployment, upstream_model="auto"))
        said = [piece async for piece in wire.stream(call)]
        whole = said[-1]
        assert isinstance(whole, Completion) and whole.text == plain["output"]
        assert "".join(delta.text for piece in said if isinstance(piece, tuple) for delta in piece) == whole.text
        assert await wire.complete(call) == whole


class Person(BaseModel):
    name: str
    age: int


async def test_structured_outputs_are_kept_to_plain_and_streamed(client: anthropic.AsyncAnthropic) -> None:
    asked: Any = {"model": "auto", "max_tokens": 200, "messages": CODE}
    plain = await client.messages.parse(**asked, output_format=Person)
    async with client.messages.stream(**asked, output_format=Person) as stream:
        streamed = await stream.get_final_message()
    assert isinstance(plain.parsed_output, Person) and streamed.parsed_output == plain.parsed_output


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("output_config", {"format": {"type": "xml"}}, "output_config.format.type"),
        ("output_config", {"format": {"type": "json_schema"}}, "output_config.format.schema"),
        ("output_config", {"effort": "huge"}, "output_config.effort"),
        ("output_format", {"type": "json_schema", "schema": 7}, "output_format.schema"),
        ("metadata", {"user_id": 7}, "metadata.user_id"),
    ],
)
async def test_wrong_options_are_named(product: Running, field: str, value: Any, param: str) -> None:
    answer = await product.post("/v1/messages", {"max_tokens": 9, "messages": CODE, field: value})
    assert answer.status_code == 400 and param in answer.json()["error"]["message"]


def test_a_schema_an_effort_and_a_user_become_openais() -> None:
    schema = {"type": "object"}
    config = {"format": {"type": "json_schema", "schema": schema}, "effort": "high"}
    body = {"max_tokens": 9, "messages": CODE, "output_config": config, "metadata": {"user_id": "u1"}}
    asked = parse_messages(body, deployments=[], key_kind="live", timeout_s=None)
    assert asked.params["reasoning_effort"] == "high" and asked.params["user"] == "u1"
    wanted = asked.params["response_format"]["json_schema"]
    assert wanted["schema"] == schema and wanted["strict"] is True


@pytest.mark.parametrize(("kind", "told"), [("enabled", 1), ("disabled", 0)])
async def test_thinking_is_not_taken_and_told(client: anthropic.AsyncAnthropic, kind: str, told: int) -> None:
    thinking: Any = {"type": kind} | ({"budget_tokens": 1024} if kind == "enabled" else {})
    answer = await client.messages.create(model="auto", max_tokens=2000, messages=CODE, thinking=thinking)
    assert answer.model_extra is not None
    assert [one.partition(" ")[0] for one in answer.model_extra["omni"]["warnings"]] == ["thinking"] * told


FOX: Any = [{"role": "user", "content": "Draw a picture of a red fox in the snow."}]


async def test_a_picture_comes_beside_the_words_plain_and_streamed(client: anthropic.AsyncAnthropic) -> None:
    plain = await client.messages.create(model="auto", max_tokens=200, messages=FOX)
    told = (plain.model_extra or {})["images"]
    assert told[0]["b64_json"].startswith("iVBOR")
    events = [
        event async for event in await client.messages.create(model="auto", max_tokens=200, messages=FOX, stream=True)
    ]
    (last,) = (event for event in events if event.type == "message_delta")
    assert (last.model_extra or {})["images"] == told


class Painter(ScriptedStream):
    async def complete(self, request: ProviderRequest) -> Completion:
        return Completion("", usage=Usage(9, 0, images=1), images=({"b64_json": "iVBORw0KGgo="},))


async def test_a_picture_without_words_is_no_empty_block(client: anthropic.AsyncAnthropic, product: Running) -> None:
    product.services.providers["sandbox"] = Painter()
    answer = await client.messages.create(model="auto", max_tokens=200, messages=FOX)
    assert answer.content == [] and (answer.model_extra or {})["images"] == [{"b64_json": "iVBORw0KGgo="}]
    said: Any = [*FOX, {"role": "assistant", "content": answer.content}, {"role": "user", "content": "Thank you."}]
    assert (await client.messages.create(model="auto", max_tokens=200, messages=said)).stop_reason == "end_turn"


PIXEL: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
PIXEL_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def results(*contents: Any) -> Any:
    """A conversation whose last turn has the results of as many calls."""
    names = [f"toolu_{number}" for number in range(len(contents))]
    calls = [{"type": "tool_use", "id": name, "name": "weather", "input": {"city": "Rome"}} for name in names]
    told = [
        {"type": "tool_result", "tool_use_id": name} | ({} if content is None else {"content": content})
        for name, content in zip(names, contents, strict=True)
    ]
    return [*CODE, {"role": "assistant", "content": calls}, {"role": "user", "content": told}]


@pytest.fixture
def noting(product: Running) -> Noting:
    noting = Noting()
    product.services.providers["sandbox"] = noting
    return noting


async def test_images_of_results_are_seen(client: anthropic.AsyncAnthropic, noting: Noting) -> None:
    read = [{"type": "text", "text": "screen.png"}, PIXEL]
    await client.messages.create(model="auto", max_tokens=20, messages=results(read, [PIXEL]), tools=[TOOL])
    (asked,) = noting.asked
    assert asked.deployment.supports_vision
    assert [message.get("content") for message in asked.messages[-3:]] == [
        "screen.png\n[image]",
        "[image]",
        [PIXEL_PART, PIXEL_PART],
    ]
    turn = split_system(asked.messages)[1][-1]["content"]
    assert [block["type"] for block in turn] == ["tool_result", "tool_result", "image", "image"]


@pytest.mark.parametrize("content", [None, "", []])
async def test_a_result_may_be_empty(client: anthropic.AsyncAnthropic, noting: Noting, content: Any) -> None:
    await client.messages.create(model="auto", max_tokens=20, messages=results(content), tools=[TOOL])
    assert noting.asked[0].messages[-1] == {"role": "tool", "tool_call_id": "toolu_0", "content": ""}


async def test_empty_lists_are_none(client: anthropic.AsyncAnthropic, noting: Noting) -> None:
    empty: Any = {"tools": [], "stop_sequences": [], "system": [], "tool_choice": {"type": "auto"}}
    await client.messages.create(model="auto", max_tokens=20, messages=CODE, **empty)
    (asked,) = noting.asked
    assert asked.params.keys() == {"max_tokens"} and list(asked.messages) == CODE


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": []}]}, "messages"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "content": [{"type": {}}]}]}, "messages[0].content[0].type"),
        ({"messages": results([{"type": "document"}])}, "messages[2].content[0].content[0].type"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [], "tool_choice": {"type": "tool", "name": "weather"}}, "tool_choice"),
    ],
)
async def test_wrong_conversations_are_named(product: Running, changes: Any, named: str) -> None:
    answer = await product.post("/v1/messages", {"max_tokens": 9, "messages": CODE} | changes)
    assert answer.status_code == 400 and answer.json()["error"]["message"].startswith(f"{named}: ")


MARK: Any = {"cache_control": {"type": "ephemeral"}}
WORDS: Any = {"type": "text", "text": "Be brief."}


@pytest.mark.parametrize(
    "marked",
    [
        MARK,
        {"system": [WORDS | MARK]},
        {"tools": [TOOL | MARK]},
        {"messages": [*CODE, {"role": "user", "content": [WORDS, WORDS | MARK]}]},
        {"messages": results([WORDS | MARK])},
    ],
)
async def test_a_marked_prompt_is_kept(client: anthropic.AsyncAnthropic, noting: Noting, marked: Any) -> None:
    asked: Any = {
        "model": "auto",
        "max_tokens": 20,
        "messages": CODE,
        "extra_body": {"system": [WORDS], "content": [1]},
    }
    plain = await client.messages.create(**asked)
    kept = await client.messages.create(**asked | {"extra_body": asked["extra_body"] | marked})
    assert [one.keep_prompt for one in noting.asked] == [False, True]
    assert all((answer.model_extra or {})["omni"]["warnings"] == [] for answer in (plain, kept))


async def test_for_how_long_a_prompt_is_kept_is_told(client: anthropic.AsyncAnthropic) -> None:
    hour: Any = [WORDS | {"cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    answer = await client.messages.create(model="auto", max_tokens=20, messages=CODE, system=hour)
    (told,) = (answer.model_extra or {})["omni"]["warnings"]
    assert told.startswith("cache_control.ttl was ignored")
