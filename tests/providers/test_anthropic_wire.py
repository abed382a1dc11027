"""Anthropic's wire format, against a server that checks what it gets."""

from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from omni_app.providers.anthropic_wire import AnthropicWire, message_body
from omni_app.providers.base import FaultKind, Usage
from omni_app.providers.choices import produced
from omni_app.providers.transport import Transport
from omni_app.routing.types import Message
from tests.providers.asking import (
    FOREIGN_IDS,
    PICTURE,
    TOOL_TALK,
    WEATHER_TOOL,
    ask,
    fault_met,
    model,
    stream_fault,
    streamed,
    talk_of,
    told_arguments,
    wire,
)
from tests.providers.golden import ANTHROPIC, Golden
from tests.servers.upstream import TEXT, Upstream


async def test_sends_the_key_the_version_and_the_mapped_request(transport: Transport) -> None:
    talk: list[Message] = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "Hello"},
        {"role": "user", "content": "Again"},
    ]
    params = {"temperature": 1.5, "stop": ["END"], "max_tokens": 9}
    async with Upstream() as upstream:
        answer = await wire("anthropic", upstream, transport).complete(ask(talk, params))
    assert upstream.calls[0].headers["x-api-key"] == upstream.key
    assert upstream.calls[0].headers["anthropic-version"] == "2023-06-01"
    assert upstream.last_body == {
        "model": "m",
        "max_tokens": 9,
        "system": "Be brief.\n\nBe kind.",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": "Again"}]}
        ],
        "temperature": 1.0,
        "stop_sequences": ["END"],
    }
    assert answer.warnings == ("temperature was lowered to 1: the highest that anthropic takes",)
    assert (answer.text, answer.finish_reason, answer.usage) == (TEXT, "stop", Usage(12, 7))


async def test_what_the_format_has_no_word_for_is_dropped_with_a_warning(transport: Transport) -> None:
    params = {"seed": 1, "logprobs": True, "temperature": 0.2, "top_p": 0.3, "response_format": {"type": "json_object"}}
    async with Upstream() as upstream:
        answer = await wire("anthropic", upstream, transport).complete(ask(params=params))
    assert upstream.last_body.keys() == {"model", "messages", "max_tokens", "temperature", "system"}
    assert [warning.split(" ")[0] for warning in answer.warnings] == ["logprobs", "seed", "response_format", "top_p"]


def test_the_prompt_of_a_session_is_asked_to_be_kept() -> None:
    assert "cache_control" not in message_body(ask())[0]
    assert message_body(replace(ask(), keep_prompt=True))[0]["cache_control"] == {"type": "ephemeral"}


def test_the_longest_answer_is_always_said() -> None:
    assert message_body(ask())[0]["max_tokens"] == model().max_output_tokens


async def test_tool_results_become_one_turn_of_the_user(transport: Transport) -> None:
    async with Upstream() as upstream:
        answer = await wire("anthropic", upstream, transport).complete(ask(TOOL_TALK, {"tools": [WEATHER_TOOL]}))
    assistant, results = upstream.last_body["messages"][1:]
    assert assistant["content"][0] == {
        "type": "tool_use", "id": "c1", "name": "get_weather", "input": {"city": "Paris"}
    }  # fmt: skip
    assert [block["tool_use_id"] for block in results["content"]] == ["c1", "c2"]
    assert results["role"] == "user"
    assert answer.text == TEXT


def test_a_talk_of_tools_declares_them_and_calls_none_where_none_are_offered() -> None:
    body, warnings = message_body(ask(TOOL_TALK))
    assert body["tools"] == [{"name": "get_weather", "input_schema": {"type": "object", "properties": {}}}]
    assert body["tool_choice"] == {"type": "none"}
    assert warnings == ()
    assert not {"tools", "tool_choice"} & message_body(ask())[0].keys()
    offered = message_body(ask(TOOL_TALK, {"tools": [WEATHER_TOOL]}))[0]
    assert "tool_choice" not in offered and offered["tools"][0]["input_schema"]["properties"]


async def test_calls_of_other_providers_go_out_with_ids_that_anthropic_takes(transport: Transport) -> None:
    async with Upstream() as upstream:
        await wire("anthropic", upstream, transport).complete(ask(talk_of(*FOREIGN_IDS)))
    _, calling, told = upstream.last_body["messages"]
    ids = [block["id"] for block in calling["content"]]
    assert ids == ["call_0fypS1hVX", "toolu_01A09q90qw", "functions_now_0", "D681PevKs"]
    assert [block["tool_use_id"] for block in told["content"]] == ids


async def test_a_tool_call_comes_back_in_openais_shape(transport: Transport) -> None:
    async with Upstream() as upstream:
        answer = await wire("anthropic", upstream, transport).complete(
            ask(params={"tools": [WEATHER_TOOL], "tool_choice": "required", "parallel_tool_calls": False})
        )
    assert upstream.last_body["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls == (
        {"id": "toolu_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}},
    )


async def test_pictures_go_out_as_data_or_by_their_address(transport: Transport) -> None:
    linked = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]}
    async with Upstream() as upstream:
        await wire("anthropic", upstream, transport).complete(ask([*PICTURE, linked]))
    _, data, link = upstream.last_body["messages"][0]["content"]
    assert data["source"] == {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    assert link["source"] == {"type": "url", "url": "https://example.org/a.png"}


async def test_a_turn_without_content_is_left_out_since_anthropic_refuses_it(transport: Transport) -> None:
    talk = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": " \n"},
        {"role": "user", "content": "Are you there?"},
    ]
    async with Upstream() as upstream:
        await wire("anthropic", upstream, transport).complete(ask(talk))
    (message,) = upstream.last_body["messages"]
    assert [block["text"] for block in message["content"]] == ["Hello", "Are you there?"]


async def test_empty_text_beside_a_picture_is_left_out(transport: Transport) -> None:
    (asked,) = PICTURE
    blank = [{"type": "text", "text": text} for text in ("", " ")]
    async with Upstream() as upstream:
        await wire("anthropic", upstream, transport).complete(ask([{**asked, "content": [*blank, *asked["content"]]}]))
        await wire("anthropic", upstream, transport).complete(ask(PICTURE))
    with_blank, without = (call.body["messages"] for call in upstream.calls)
    assert with_blank == without


@pytest.mark.parametrize(("stop", "sent"), [(["\n", "END", " "], ["END"]), (["\n\n"], None)])
async def test_stop_sequences_of_whitespace_are_dropped_with_a_warning(
    stop: list[str], sent: list[str] | None, transport: Transport
) -> None:
    async with Upstream() as upstream:
        answer = await wire("anthropic", upstream, transport).complete(ask(params={"stop": stop}))
    assert upstream.last_body.get("stop_sequences") == sent
    assert answer.warnings == ("stop: sequences of whitespace alone were dropped: anthropic does not take them",)


@pytest.mark.parametrize("said", [[], [{"role": "user", "content": ""}]])
async def test_instructions_alone_are_a_request(said: list[Message], transport: Transport) -> None:
    async with Upstream() as upstream:
        talk = [{"role": "system", "content": "Write a haiku."}, *said]
        answer = await wire("anthropic", upstream, transport).complete(ask(talk))
    assert (upstream.last_body["system"], answer.text) == ("Write a haiku.", TEXT)


@pytest.mark.parametrize("golden", ANTHROPIC, ids=lambda golden: golden.finish_reason)
async def test_golden_answers_are_read_right(golden: Golden, transport: Transport) -> None:
    async with Upstream(answer=golden.body) as upstream:
        answer = await wire("anthropic", upstream, transport).complete(ask())
        _, whole = await streamed(wire("anthropic", upstream, transport), ask())
    usage = answer.usage
    tokens = (usage.input, usage.output, usage.cached_input, usage.cache_write, usage.reasoning)
    assert (answer.text, answer.finish_reason, tokens) == (golden.text, golden.finish_reason, golden.tokens)
    assert (whole.text, whole.finish_reason, whole.usage) == (answer.text, answer.finish_reason, usage)


async def test_a_stream_gives_each_piece_and_then_the_same_answer(transport: Transport) -> None:
    async with Upstream() as upstream:
        provider = wire("anthropic", upstream, transport)
        deltas, whole = await streamed(provider, ask())
        assert await provider.complete(ask()) == whole
        _, called = await streamed(provider, ask(params={"tools": [WEATHER_TOOL]}))
    assert len(deltas) > 3
    assert "".join(delta.text for delta in deltas) == whole.text
    assert called.tool_calls[0]["function"]["arguments"] == '{"city": "Paris"}'


async def test_a_streamed_call_without_arguments_tells_that_it_has_none(transport: Transport) -> None:
    calls = [
        {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}},
        {"type": "text", "text": "And then:"},
        {"type": "tool_use", "id": "toolu_2", "name": "get_weather", "input": {"city": "Rome"}},
    ]
    answer = {"model": "m", "content": calls, "stop_reason": "tool_use"}
    async with Upstream(answer=answer) as upstream:
        deltas, whole = await streamed(wire("anthropic", upstream, transport), ask())
    assert told_arguments(deltas) == {0: "{}", 1: '{"city": "Rome"}'}
    assert [bool(delta.tool_call) for delta in deltas[:4]] == [True, True, False, False], "before the next block begins"
    assert [one["function"]["arguments"] for one in whole.tool_calls] == ["{}", '{"city": "Rome"}']


@pytest.mark.parametrize("ending", ["broken", "left"])
async def test_the_input_that_was_told_is_what_a_stream_cost_that_did_not_end(
    ending: str, transport: Transport
) -> None:
    counts = {"input_tokens": 21, "cache_read_input_tokens": 4_000, "cache_creation_input_tokens": 188}
    async with Upstream(usage=counts, fault="mid_close" if ending == "broken" else "mid_hang") as upstream:
        provider, request = wire("anthropic", upstream, transport), ask()
        if ending == "broken":
            usage = (await stream_fault(provider, request)).usage
        else:
            async with aclosing(provider.stream(request)) as pieces:
                await anext(pieces)
            usage = produced(provider, request, [])
    assert usage is not None and usage.estimated
    assert (usage.input, usage.cached_input, usage.cache_write) == (4_209, 4_000, 188)
    assert 0 < usage.output < 20


async def test_a_refusal_without_words_is_told_as_filtered(transport: Transport) -> None:
    refused = {
        "type": "message",
        "content": [],
        "stop_reason": "refusal",
        "usage": {"input_tokens": 9, "output_tokens": 1},
    }
    async with Upstream(answer=refused) as upstream:
        answer = await wire("anthropic", upstream, transport).complete(ask())
    assert (answer.text, answer.finish_reason) == ("", "content_filter")


async def test_a_tool_call_without_a_name_is_malformed(transport: Transport) -> None:
    broken = {"type": "message", "content": [{"type": "tool_use", "id": "t"}], "stop_reason": "tool_use"}
    async with Upstream(answer=broken) as upstream:
        fault = await fault_met(wire("anthropic", upstream, transport), ask())
    assert fault.kind is FaultKind.MALFORMED


def test_without_a_key_it_says_which_variable_to_set(transport: Transport) -> None:
    provider = AnthropicWire("http://x", "", "ANTHROPIC_API_KEY", transport)
    assert provider.unavailable_reason() == "ANTHROPIC_API_KEY is not set"


@pytest.mark.parametrize(("strict", "enforced"), [(True, True), (False, False), (None, False)])
def test_a_strict_schema_is_enforced_and_another_one_is_asked_for_in_words(*, strict: Any, enforced: bool) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": strict}}
    able = replace(model("anthropic/m"), supports_response_schema=True)
    body, warnings = message_body(ask(params={"response_format": wanted}, deployment=able))
    assert body.get("output_config") == ({"format": {"type": "json_schema", "schema": schema}} if enforced else None)
    assert ("system" in body) is (not enforced) and bool(warnings) is (not enforced)


def test_the_callers_user_goes_on_under_anthropics_name() -> None:
    body, warnings = message_body(ask(params={"user": "u1"}))
    assert body["metadata"] == {"user_id": "u1"} and not warnings
