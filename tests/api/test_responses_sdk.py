"""OpenAI's Responses API through the unmodified openai SDK against our server on a real port."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from omni_app.api.app import create_api
from omni_app.providers.base import Completion, Delta, FaultKind, ProviderFault, Usage
from tests.api.conftest import Running, run, settings_for
from tests.api.test_streaming import Noting, Refusing, ScriptedStream
from tests.servers.asgi import serving

CODE = "Write a Python function that reverses a linked list."
TOOL: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
SCHEMA: Any = {
    "type": "json_schema",
    "name": "person",
    "strict": True,
    "schema": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    },
}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


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


@pytest.fixture
def noting(product: Running) -> Noting:
    noting = Noting()
    product.services.providers["sandbox"] = noting
    return noting


async def test_a_plain_response(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(
        model="auto", input=CODE, instructions="Be brief.", temperature=0.5, metadata={"run": "7"}, user="u-1"
    )
    Response.model_validate(answer.model_dump(), strict=True)
    assert answer.status == "completed" and answer.output_text and answer.model.startswith("sandbox/")
    assert answer.usage and answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert (answer.instructions, answer.temperature, answer.metadata) == ("Be brief.", 0.5, {"run": "7"})
    assert answer.tools == [] and answer.tool_choice == "auto" and answer.parallel_tool_calls is True
    omni = (answer.model_extra or {})["omni"]
    assert omni["task"] == "coding" and omni["simulated"] is True


async def test_a_response_costs_what_a_completion_of_the_same_costs(client: openai.AsyncOpenAI) -> None:
    raw = await client.responses.with_raw_response.create(model="auto", input=CODE)
    completion = await client.chat.completions.create(model="auto", messages=[{"role": "user", "content": CODE}])
    answer, twin = raw.parse(), (completion.model_extra or {})["omni"]
    assert answer.output_text == completion.choices[0].message.content
    assert (answer.model_extra or {})["omni"]["cost"] == twin["cost"] == float(raw.headers["x-omni-cost-usd"])


async def test_a_stream_equals_its_plain_twin(client: openai.AsyncOpenAI) -> None:
    plain = await client.responses.create(model="auto", input=CODE)
    events = [event async for event in await client.responses.create(model="auto", input=CODE, stream=True)]
    for event in events:
        EVENT.validate_python(event.model_dump(), strict=True)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events if event.type != "response.output_text.delta"]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1]
    assert last.type == "response.completed"
    assert said == last.response.output_text == plain.output_text and last.response.usage == plain.usage
    assert (last.response.model_extra or {})["omni"]["cost"] == (plain.model_extra or {})["omni"]["cost"]


@pytest.mark.parametrize("how", ["plain", "streaming"])
async def test_functions_are_called_and_answered(client: openai.AsyncOpenAI, how: str) -> None:
    ask: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    if how == "streaming":
        async with client.responses.stream(model="auto", input=ask, tools=[TOOL]) as stream:
            answer: Response = await stream.get_final_response()
    else:
        answer = await client.responses.create(model="auto", input=ask, tools=[TOOL])
    call = answer.output[-1]
    assert call.type == "function_call" and call.name == "weather" and json.loads(call.arguments).keys() == {"city"}
    told: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny"}
    asked_again: Any = [*ask, *(item.model_dump(exclude_none=True) for item in answer.output), told]
    final = await client.responses.create(model="auto", input=asked_again, tools=[TOOL])
    assert final.output_text


async def test_text_then_calls_are_items_one_after_the_other(client: openai.AsyncOpenAI, product: Running) -> None:
    pieces: list[dict[str, Any]] = [
        {"index": 0, "id": "call_a", "type": "function", "function": {"name": "weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"city":'}},
        {"index": 0, "function": {"arguments": '"Rome"}'}},
        {"index": 1, "id": "call_b", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
    ]
    said: list[str | Delta] = ["Let me ", "look.", *(Delta(tool_call=piece) for piece in pieces)]
    calls = tuple({"id": f"call_{name}", "function": {"name": "weather", "arguments": "{}"}} for name in "ab")
    whole = Completion("Let me look.", usage=Usage(10, 8), finish_reason="tool_calls", tool_calls=calls)
    product.services.providers["sandbox"] = ScriptedStream(*said, whole=whole)
    async with client.responses.stream(model="auto", input="The weather?", tools=[TOOL]) as stream:
        events = [event async for event in stream]
        answer = await stream.get_final_response()
    assert [item.type for item in answer.output] == ["message", "function_call", "function_call"]
    assert answer.output_text == "Let me look."
    told = [(item.call_id, item.arguments) for item in answer.output if item.type == "function_call"]
    assert told == [("call_a", '{"city":"Rome"}'), ("call_b", "{}")]
    done = [event.output_index for event in events if event.type == "response.output_item.done"]
    assert done == [0, 1, 2]


async def test_a_call_that_is_said_to_have_no_arguments_at_the_end_is_one_item(
    client: openai.AsyncOpenAI, product: Running
) -> None:
    pieces: list[dict[str, Any]] = [
        {"index": 0, "id": "call_a", "type": "function", "function": {"name": "now", "arguments": ""}},
        {"index": 1, "id": "call_b", "type": "function", "function": {"name": "here", "arguments": ""}},
        {"index": 0, "function": {"arguments": "{}"}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]
    whole = Completion("", usage=Usage(10, 8), finish_reason="tool_calls", tool_calls=tuple(pieces[:2]))
    product.services.providers["sandbox"] = ScriptedStream(*(Delta(tool_call=one) for one in pieces), whole=whole)
    async with client.responses.stream(model="auto", input="Where am I, and when?", tools=[TOOL]) as stream:
        events = [event async for event in stream]
        answer = await stream.get_final_response()
    told = [(item.call_id, item.name, item.arguments) for item in answer.output if item.type == "function_call"]
    assert told == [("call_a", "now", "{}"), ("call_b", "here", "{}")]
    done = [event.arguments for event in events if event.type == "response.function_call_arguments.done"]
    assert done == ["{}", "{}"]


async def test_a_refusal_is_a_part_of_its_own_plain_and_streamed(client: openai.AsyncOpenAI, product: Running) -> None:
    product.services.providers["sandbox"] = Refusing()
    answer = await client.responses.parse(model="auto", input=CODE, text_format=Person)
    async with client.responses.stream(model="auto", input=CODE, text_format=Person) as stream:
        events = [event async for event in stream]
        streamed = await stream.get_final_response()
    for output in (answer.output, streamed.output):
        (part,) = output[0].content
        assert part.to_dict() == {"type": "refusal", "refusal": Refusing.words}
    assert "".join(event.delta for event in events if event.type == "response.refusal.delta") == Refusing.words
    assert [event.refusal for event in events if event.type == "response.refusal.done"] == [Refusing.words]


async def test_a_json_schema_is_kept(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(model="auto", input=CODE, text={"format": SCHEMA})
    assert json.loads(answer.output_text).keys() == {"name", "age"}


async def test_an_answer_that_is_cut_short_says_so(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(model="auto", input=CODE, max_output_tokens=3)
    assert answer.status == "incomplete"
    assert answer.incomplete_details and answer.incomplete_details.reason == "max_output_tokens"
    events = [
        event
        async for event in await client.responses.create(model="auto", input=CODE, max_output_tokens=3, stream=True)
    ]
    assert events[-1].type == "response.incomplete"


async def test_an_image_is_looked_at(client: openai.AsyncOpenAI) -> None:
    look: Any = [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Describe this picture."},
                {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBORw0KGgo="},
            ],
        }
    ]
    answer = await client.responses.create(model="auto", input=look)
    assert ((await client.models.retrieve(answer.model)).model_extra or {})["supports_vision"]


async def test_a_picture_is_an_item(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(model="auto", input="Draw a picture of a red fox in the snow.")
    (item,) = (item for item in answer.output if item.type == "image_generation_call")
    assert (item.result or "").startswith("iVBOR")
    stream = await client.responses.create(model="auto", input="Draw a picture of a red fox in the snow.", stream=True)
    last = [event async for event in stream][-1]
    assert last.type == "response.completed" and last.response.output[-1].type == "image_generation_call"


async def test_after_a_picture_the_conversation_goes_on(client: openai.AsyncOpenAI, noting: Noting) -> None:
    picture: Any = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "iVBOR"}
    drawn: Any = [{"role": "user", "content": "Draw a fox."}, picture, {"role": "user", "content": "Thank you."}]
    await client.responses.create(model="auto", input=drawn)
    assert [message["content"] for message in noting.asked[0].messages] == ["Draw a fox.", "Thank you."]


async def test_own_items_are_taken_again(client: openai.AsyncOpenAI) -> None:
    asked: Any = [{"role": "user", "content": "Draw a picture of a red fox in the snow."}]
    answer = await client.responses.create(model="auto", input=asked)
    asked += [item.model_dump(exclude_none=True) for item in answer.output]
    again = await client.responses.create(model="auto", input=[*asked, {"role": "user", "content": CODE}])
    assert again.output_text


PIXEL: Any = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}


async def test_images_of_outputs_are_seen_after_the_last_of_them(client: openai.AsyncOpenAI, noting: Noting) -> None:
    outputs: Any = [[{"type": "input_text", "text": "screen.png"}, PIXEL], [], [PIXEL]]
    turn: list[Any] = [
        {"type": "function_call", "call_id": f"c{n}", "name": "look", "arguments": "{}"} for n in range(3)
    ]
    turn += [{"type": "function_call_output", "call_id": f"c{n}", "output": one} for n, one in enumerate(outputs)]
    await client.responses.create(model="auto", input=[*turn, {"role": "user", "content": "Well?"}], tools=[TOOL])
    (asked,) = noting.asked
    assert asked.deployment.supports_vision
    roles = [message["role"] for message in asked.messages]
    assert roles == ["assistant", "tool", "tool", "tool", "user", "user"]
    assert [message["content"] for message in asked.messages[1:4]] == ["screen.png\n[image]", "", "[image]"]
    assert [part["type"] for part in asked.messages[4]["content"]] == ["image_url"] * 2


@pytest.mark.parametrize("choice", ["auto", "none"])
async def test_a_choice_without_tools_asks_for_nothing(client: openai.AsyncOpenAI, noting: Noting, choice: Any) -> None:
    """So agents send a conversation that is to be summed up."""
    await client.responses.create(model="auto", input=CODE, tools=[], tool_choice=choice, parallel_tool_calls=False)
    assert not noting.asked[0].params


async def test_our_options_travel_in_omni(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(
        model="auto", input=CODE, extra_body={"omni": {"priority": "best", "session_id": "s1"}}
    )
    assert answer.model == "sandbox/premium" and (answer.model_extra or {})["omni"]["task"] == "agent_step"


async def test_what_is_asked_for_and_not_done_is_told(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(
        model="auto",
        input=CODE,
        store=True,
        include=["reasoning.encrypted_content"],
        top_logprobs=2,
        truncation="auto",
        text={"format": {"type": "text"}, "verbosity": "low"},
        reasoning={"summary": "auto"},
    )
    told = [warning.partition(" ")[0] for warning in (answer.model_extra or {})["omni"]["warnings"]]
    assert told == ["include", "store", "top_logprobs", "truncation", "text.verbosity", "reasoning.summary"]
    assert answer.truncation == "disabled" and answer.text and answer.reasoning
    assert answer.text.to_dict() == {"format": {"type": "text"}} and answer.reasoning.summary is None


async def test_what_is_not_asked_for_is_not_told(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(
        model="auto", input=CODE, truncation="disabled", text={"format": SCHEMA}, reasoning={"effort": "low"}
    )
    assert not [one for one in (answer.model_extra or {})["omni"]["warnings"] if "ignored" in one]
    assert answer.text and answer.text.format and answer.text.format.type == "json_schema"
    assert answer.reasoning and answer.reasoning.effort == "low"


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"input": None}, "input"),
    ({"input": []}, "input"),
    ({"input": [{"type": "reasoning", "summary": []}]}, "input"),
    ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
    ({"input": [{"type": {"a": 1}}]}, "input[0].type"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
    (
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        "input[0].content[0].type",
    ),
    (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://a/b.png"}]}]},
        "input[0].content[0].image_url",
    ),
    ({"input": [{"type": "function_call", "call_id": "a", "name": "b"}]}, "input[0].arguments"),
    ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].name"),
    ({"input": [{"type": "image_generation_call", "id": "ig_1", "result": "iVBOR"}]}, "input"),
    (
        {"input": [{"type": "function_call_output", "call_id": "a", "output": [{"type": "input_file"}]}]},
        "input[0].output[0].type",
    ),
    ({"tools": [], "tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": {"type": "function", "name": "weather"}}, "tool_choice"),
    ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
    ({"reasoning": {"effort": "enormous"}}, "reasoning.effort"),
    ({"temperature": 5}, "temperature"),
    ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"background": True}, "background"),
)


async def test_bad_input_is_refused_by_the_fields_name(product: Running) -> None:
    for wrong, param in WRONG:
        answer = await product.post("/v1/responses", {"model": "auto", "input": CODE} | wrong)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_errors_raise_the_sdks_classes(client: openai.AsyncOpenAI) -> None:
    once = client.with_options(max_retries=0)
    with pytest.raises(openai.NotFoundError):
        await once.responses.create(model="no-such-model", input=CODE)
    with pytest.raises(openai.AuthenticationError):
        await once.with_options(api_key="nonsense").responses.create(model="auto", input=CODE)
    with pytest.raises(openai.InternalServerError):
        await client.responses.create(model="auto", input=CODE, metadata={"sandbox_fail": "all:error"})


async def test_a_broken_stream_raises_and_says_failed(client: openai.AsyncOpenAI, product: Running) -> None:
    cut = ProviderFault(FaultKind.INTERRUPTED, "cut", usage=Usage(10, 2))
    product.services.providers["sandbox"] = ScriptedStream("one ", "two ", then=cut)

    async def listen() -> None:
        async for _ in await client.responses.create(model="auto", input=CODE, stream=True):
            pass

    with pytest.raises(openai.APIError, match="broke off"):
        await listen()
    headers = {"Authorization": f"Bearer {product.key}"}
    async with httpx.AsyncClient(base_url=str(client.base_url), headers=headers) as raw:
        said = (await raw.post("responses", json={"model": "auto", "input": CODE, "stream": True})).text
    *_, error, failed = (
        json.loads(line.removeprefix("data: ")) for line in said.splitlines() if line.startswith("data")
    )
    assert error["type"] == "error" and "broke off" in error["message"]
    assert failed["type"] == "response.failed" and failed["response"]["status"] == "failed"
    assert EVENT.validate_python(failed).response.error.code == "server_error"
