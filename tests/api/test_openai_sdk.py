"""The unmodified openai SDK against our server on a real port: only `base_url` and the key are ours."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from omni_app.api.app import create_api
from omni_app.providers.base import FaultKind, ProviderFault, Usage
from tests.api.conftest import Running, run, settings_for
from tests.api.test_streaming import Noting, Refusing, ScriptedStream
from tests.servers.asgi import serving

HELLO: Any = [{"role": "user", "content": "Hello! How are you today?"}]
CODE: Any = [{"role": "user", "content": "Write a Python function that reverses a linked list."}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "person",
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
            "required": ["name", "age"],
        },
    },
}


class Person(BaseModel):
    """What an answer is parsed to."""

    name: str
    age: int


@pytest.fixture
async def product(tmp_path: Path) -> AsyncIterator[Running]:
    async for running in run(settings_for(tmp_path)):
        yield running


@pytest.fixture
async def client(product: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        serving(create_api(product.services)) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=product.key) as client,
    ):
        yield client


async def test_a_plain_completion(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="auto", messages=HELLO, user="u-1", store=False)
    ChatCompletion.model_validate(answer.model_dump(), strict=True)
    assert answer.choices[0].message.content and answer.choices[0].finish_reason == "stop"
    assert answer.usage and answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.model.startswith("sandbox/")
    assert answer.model_extra and answer.model_extra["omni"]["task"] == "chat"
    assert answer.model_extra["omni"]["simulated"] is True


async def test_headers_tell_the_model_and_its_cost(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="auto", messages=CODE)
    omni = raw.parse().model_extra["omni"]
    assert float(raw.headers["x-omni-cost-usd"]) == omni["cost"]
    assert raw.headers["x-omni-model"] == raw.parse().model
    assert int(raw.headers["x-omni-overhead-ms"]) < 100
    assert raw.headers["x-ratelimit-limit"] == "100"


async def test_a_stream_equals_its_plain_twin(client: openai.AsyncOpenAI) -> None:
    plain = await client.chat.completions.create(model="auto", messages=CODE)
    stream = await client.chat.completions.create(
        model="auto", messages=CODE, stream=True, stream_options={"include_usage": True}
    )
    chunks: list[ChatCompletionChunk] = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({chunk.id for chunk in chunks}) == 1
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == plain.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage == plain.usage
    assert chunks[-2].model_extra["omni"]["cost"] == plain.model_extra["omni"]["cost"]


async def test_without_asking_there_is_no_usage_chunk(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="auto", messages=CODE, stream=True)
    chunks = [chunk async for chunk in stream]
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("how", ["plain", "streaming"])
async def test_tools_are_called_and_answered(client: openai.AsyncOpenAI, how: str) -> None:
    ask: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    if how == "streaming":
        async with client.chat.completions.stream(model="auto", messages=ask, tools=[TOOL]) as stream:
            answer: ChatCompletion = await stream.get_final_completion()
    else:
        answer = await client.chat.completions.create(model="auto", messages=ask, tools=[TOOL])
    assert answer.choices[0].finish_reason == "tool_calls"
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function" and call.function.name == "weather" and '"city"' in call.function.arguments
    replied: Any = [
        *ask,
        answer.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "Sunny"},
    ]
    final = await client.chat.completions.create(model="auto", messages=replied, tools=[TOOL])
    assert final.choices[0].message.content


async def test_a_json_schema_is_kept(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="auto", messages=CODE, response_format=SCHEMA)
    import json

    assert json.loads(answer.choices[0].message.content or "").keys() == {"name", "age"}


async def test_an_image_part_goes_to_a_model_that_sees(client: openai.AsyncOpenAI) -> None:
    look: Any = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Describe this picture."},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
            ],
        }
    ]
    answer = await client.chat.completions.create(model="auto", messages=look)
    assert (await client.models.retrieve(answer.model)).model_extra["supports_vision"]


@pytest.mark.parametrize("model", ["sandbox/premium", "premium"])
async def test_a_model_can_be_pinned(client: openai.AsyncOpenAI, model: str) -> None:
    answer = await client.chat.completions.create(model=model, messages=HELLO)
    assert answer.model == "sandbox/premium"


async def test_a_list_of_models_is_the_callers_own_chain(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model=["sandbox/premium", "sandbox/coder"],
        messages=HELLO,
        metadata={"sandbox_fail": "error"},
    )
    assert answer.model == "sandbox/coder"


@pytest.mark.parametrize("model", ["auto:cheap", "auto:fast", "auto:best", "auto:quality"])
async def test_auto_has_presets(client: openai.AsyncOpenAI, model: str) -> None:
    answer = await client.chat.completions.create(model=model, messages=CODE)
    expected = {"auto:cheap": "sandbox/swift", "auto:best": "sandbox/premium"}
    assert answer.model == expected.get(model, answer.model)


async def test_our_options_travel_in_omni(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="auto",
        messages=CODE,
        extra_body={"omni": {"priority": "best", "session_id": "s1"}},
    )
    assert answer.model == "sandbox/premium" and answer.model_extra["omni"]["task"] == "agent_step"


async def test_errors_raise_the_sdks_classes(client: openai.AsyncOpenAI, product: Running) -> None:
    once = client.with_options(max_retries=0)
    with pytest.raises(openai.NotFoundError):
        await once.chat.completions.create(model="no-such-model", messages=HELLO)
    with pytest.raises(openai.BadRequestError) as bad:
        await once.chat.completions.create(model="auto", messages=HELLO, temperature=5)
    assert bad.value.param == "temperature" and bad.value.type == "invalid_request_error"
    with pytest.raises(openai.AuthenticationError):
        await once.with_options(api_key="nonsense").chat.completions.create(model="auto", messages=HELLO)
    endless: Any = [{"role": "user", "content": "word " * 900_000}]
    with pytest.raises(openai.BadRequestError) as long:
        await once.chat.completions.create(model="auto", messages=endless)
    assert long.value.code == "context_length_exceeded"


async def test_an_exhausted_chain_is_not_tried_again_by_the_sdk(client: openai.AsyncOpenAI, product: Running) -> None:
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(
            model="auto",
            messages=CODE,
            metadata={"sandbox_fail": "all:error"},
        )
    await product.services.drainer.flush()
    from omni_app.storage import ledger

    async with product.services.database.session() as session:
        assert len(await ledger.recent_requests(session, org_id=product.org_id, mode="test")) == 1


async def test_a_refusal_is_parsed_as_one_plain_and_streamed(client: openai.AsyncOpenAI, product: Running) -> None:
    product.services.providers["sandbox"] = Refusing()
    asked: Any = {"model": "auto", "messages": CODE, "response_format": Person}
    answer = await client.chat.completions.parse(**asked)
    async with client.chat.completions.stream(**asked) as stream:
        streamed = await stream.get_final_completion()
    for message in (answer.choices[0].message, streamed.choices[0].message):
        assert (message.content or None, message.parsed, message.refusal) == (None, None, Refusing.words)
    noting = product.services.providers["sandbox"] = Noting()
    refusal: Any = answer.choices[0].message.to_dict()
    await client.chat.completions.create(model="auto", messages=[*CODE, refusal, *CODE])
    assert noting.asked[0].messages[1] == {"role": "assistant", "content": Refusing.words}


async def test_a_broken_stream_raises_and_never_ends_cleanly(client: openai.AsyncOpenAI, product: Running) -> None:
    cut = ProviderFault(FaultKind.INTERRUPTED, "cut", usage=Usage(10, 2))
    product.services.providers["sandbox"] = ScriptedStream("one ", "two ", then=cut)
    said: list[str] = []

    async def listen() -> None:
        async for chunk in await client.chat.completions.create(model="auto", messages=CODE, stream=True):
            said.append(chunk.choices[0].delta.content or "")  # noqa: PERF401 what came before the break counts

    with pytest.raises(openai.APIError, match="broke off"):
        await listen()
    assert "".join(said) == "one two "


async def test_images_are_made_in_openais_form(client: openai.AsyncOpenAI) -> None:
    made = await client.images.generate(model="auto", prompt="A red fox in the snow")
    assert made.data and (made.data[0].b64_json or "").startswith("iVBOR")


async def test_models_are_listed(client: openai.AsyncOpenAI) -> None:
    models = [model async for model in client.models.list()]
    assert "sandbox/premium" in {model.id for model in models}


async def test_what_changes_the_answer_and_is_not_taken_is_told(client: openai.AsyncOpenAI) -> None:
    function: Any = {"name": "weather", "parameters": {"type": "object"}}
    answer = await client.chat.completions.create(
        model="auto", messages=HELLO, logit_bias={"50256": -100}, functions=[function], store=True, user="someone"
    )
    told = [warning.partition(" ")[0] for warning in answer.model_extra["omni"]["warnings"]]
    assert told == ["functions", "logit_bias"]


async def test_a_stream_says_at_its_start_who_answers_and_after_how_many_failures(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        model="auto", messages=CODE, stream=True, metadata={"sandbox_fail": "error"}
    )
    assert raw.headers["x-omni-fallbacks"] == "1"
    chunks = [chunk async for chunk in raw.parse()]
    assert raw.headers["x-omni-model"] == chunks[0].model


@pytest.mark.parametrize("choice", ["auto", "none"])
async def test_without_tools_nothing_of_tools_is_sent_on(
    client: openai.AsyncOpenAI, product: Running, choice: Any
) -> None:
    noting = Noting()
    product.services.providers["sandbox"] = noting
    await client.chat.completions.create(
        model="auto", messages=CODE, tools=[], tool_choice=choice, parallel_tool_calls=False
    )
    await client.chat.completions.create(model="auto", messages=CODE, tool_choice=choice)
    assert [asked.params.keys() & {"tools", "tool_choice", "parallel_tool_calls"} for asked in noting.asked] == [
        set()
    ] * 2


async def test_a_tool_that_is_not_there_cannot_be_chosen(client: openai.AsyncOpenAI) -> None:
    for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
        with pytest.raises(openai.BadRequestError, match="tool_choice: needs tools"):
            await client.chat.completions.create(model="auto", messages=CODE, tools=[], tool_choice=choice)
