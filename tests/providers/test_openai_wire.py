"""OpenAI's wire format, against a server that checks what it gets."""

import json
import re
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from openai.types.chat import ChatCompletion
from pydantic import SecretStr

from omni_app.providers.base import Delta, FaultKind, Usage
from omni_app.providers.catalog import build_providers
from omni_app.providers.gathering import Gatherings
from omni_app.providers.openai_answers import read_chunk, read_completion
from omni_app.providers.openai_wire import OpenAIWire
from omni_app.providers.transport import Reply, Transport
from omni_app.settings import Settings
from tests.providers.asking import (
    FOREIGN_IDS,
    PICTURE,
    TOOL_TALK,
    WEATHER_TOOL,
    ask,
    fault_met,
    model,
    streamed,
    talk_of,
    told_arguments,
    wire,
)
from tests.providers.golden import MISTRAL_PARTS, OPENAI_STYLE, Golden
from tests.servers.upstream import KEY, TEXT, Upstream

ALL_PARAMETERS = {
    "max_tokens": 50,
    "temperature": 0.5,
    "top_p": 0.9,
    "seed": 7,
    "stop": ["END"],
    "tools": [WEATHER_TOOL],
    "tool_choice": "auto",
    "response_format": {"type": "json_object"},
    "parallel_tool_calls": False,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.2,
    "logprobs": True,
    "top_logprobs": 2,
}


async def test_sends_the_key_and_every_parameter_under_openais_names(transport: Transport) -> None:
    async with Upstream() as upstream:
        await wire("openai", upstream, transport).complete(ask(params=ALL_PARAMETERS))
    body = upstream.last_body
    assert body == {"model": "m", "messages": [{"role": "user", "content": "Say hello."}], **ALL_PARAMETERS}
    assert upstream.calls[0].headers["authorization"] == f"Bearer {upstream.key}"
    assert upstream.calls[0].headers["content-type"] == "application/json"


async def test_the_longest_answer_goes_under_the_providers_own_name(transport: Transport) -> None:
    async with Upstream() as upstream:
        provider = OpenAIWire(
            "openai", upstream.openai_url, upstream.key, "K", transport, limit_field="max_completion_tokens"
        )
        await provider.complete(ask(params={"max_tokens": 5}))
    assert upstream.last_body["max_completion_tokens"] == 5
    assert "max_tokens" not in upstream.last_body


async def test_sampling_parameters_are_dropped_with_a_warning_for_models_that_refuse_them(transport: Transport) -> None:
    reasoner = model("openai/thinker", sees_temperature=False)
    params = {"temperature": 0.5, "top_p": 0.5, "seed": 1}
    async with Upstream() as upstream:
        answer = await wire("openai", upstream, transport).complete(ask(params=params, deployment=reasoner))
    assert upstream.last_body.keys() == {"model", "messages", "seed"}
    assert answer.warnings == (
        "temperature was dropped: openai/thinker does not take it",
        "top_p was dropped: openai/thinker does not take it",
    )


@pytest.mark.parametrize(("name", "role"), [("openai", "developer"), ("groq", "system")])
async def test_developer_messages_are_system_messages_to_the_others(transport: Transport, name: str, role: str) -> None:
    async with Upstream() as upstream:
        provider = OpenAIWire(name, upstream.openai_url, upstream.key, "KEY", transport)
        await provider.complete(ask([{"role": "developer", "content": "Be kind."}]))
    assert upstream.last_body["messages"][0]["role"] == role


async def test_the_models_name_upstream_is_sent_when_it_has_one(transport: Transport) -> None:
    renamed = replace(model("groq/m"), upstream_model="vendor/m-2")
    async with Upstream() as upstream:
        await wire("openai", upstream, transport).complete(ask(deployment=renamed))
    assert upstream.last_body["model"] == "vendor/m-2"


async def test_a_tool_call_comes_back_and_its_result_goes_out(transport: Transport) -> None:
    async with Upstream() as upstream:
        provider = wire("openai", upstream, transport)
        asked = await provider.complete(ask(params={"tools": [WEATHER_TOOL]}))
        told = await provider.complete(ask(TOOL_TALK, {"tools": [WEATHER_TOOL]}))
    assert asked.finish_reason == "tool_calls"
    assert asked.tool_calls[0]["function"] == {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    assert upstream.last_body["messages"] == list(TOOL_TALK)
    assert told.text == TEXT


async def test_images_to_look_at_go_out_as_they_came(transport: Transport) -> None:
    async with Upstream() as upstream:
        await wire("openai", upstream, transport).complete(ask(PICTURE))
    assert upstream.last_body["messages"] == list(PICTURE)


async def test_an_image_model_is_asked_for_one_image_by_the_last_words(transport: Transport) -> None:
    painter = model("openai/painter", makes_images=True)
    async with Upstream() as upstream:
        provider = wire("openai", upstream, transport)
        answer = await provider.complete(ask(PICTURE, {"temperature": 1}, deployment=painter))
        upstream.answer = {"created": 1, "data": [{"revised_prompt": "nothing else"}]}
        empty = await fault_met(provider, ask(deployment=painter))
    assert upstream.calls[0].path == "/v1/images/generations"
    assert upstream.calls[0].body == {"model": "painter", "prompt": "What is this?", "n": 1}
    assert answer.images[0]["b64_json"].startswith("iVBOR")
    assert answer.usage == Usage(9, 0, images=1)
    assert empty.kind is FaultKind.EMPTY


async def test_a_plain_answer_is_read_whole(transport: Transport) -> None:
    async with Upstream() as upstream:
        answer = await wire("openai", upstream, transport).complete(ask())
    assert (answer.text, answer.finish_reason, answer.usage) == (TEXT, "stop", Usage(12, 7))


@pytest.mark.parametrize("golden", OPENAI_STYLE, ids=lambda golden: golden.provider)
def test_golden_answers_are_what_openais_own_types_accept(golden: Golden) -> None:
    parsed = ChatCompletion.model_validate(golden.body, strict=True)
    assert parsed.usage is not None
    assert parsed.usage.prompt_tokens == golden.tokens[0]
    message = parsed.choices[0].message
    assert (message.content or message.refusal or "") == golden.text


@pytest.mark.parametrize("golden", [*OPENAI_STYLE, MISTRAL_PARTS], ids=lambda golden: golden.provider)
async def test_golden_answers_are_read_right(golden: Golden, transport: Transport) -> None:
    async with Upstream(answer=golden.body) as upstream:
        answer = await wire("openai", upstream, transport).complete(ask())
    usage = answer.usage
    tokens = (usage.input, usage.output, usage.cached_input, usage.cache_write, usage.reasoning)
    assert (answer.text, answer.finish_reason, tokens) == (golden.text, golden.finish_reason, golden.tokens)
    assert not usage.estimated


async def test_a_refusal_is_told_from_an_answer(transport: Transport) -> None:
    refusals = [golden for golden in OPENAI_STYLE if golden.body["choices"][0]["message"]["refusal"]]
    async with Upstream(answer=refusals[0].body) as upstream:
        provider = wire("openai", upstream, transport)
        plain = await provider.complete(ask())
        deltas, whole = await streamed(provider, ask())
        upstream.answer = None
        assert not (await provider.complete(ask())).refused
    assert plain.refused and whole == plain and len(deltas) > 2
    assert all(delta.refused for delta in deltas)


def test_logprobs_are_handed_on() -> None:
    logprobs: dict[str, Any] = {
        "content": [{"token": "Hi", "logprob": -0.1, "bytes": None, "top_logprobs": []}],
        "refusal": None,
    }
    choice = {"message": {"content": "Hi"}, "finish_reason": "stop", "logprobs": logprobs}
    answer = read_completion(Reply(200, {}, json.dumps({"choices": [choice]}).encode()), ask())
    assert answer.logprobs == logprobs


async def test_a_stream_gives_each_piece_and_then_the_same_answer(transport: Transport) -> None:
    async with Upstream() as upstream:
        provider = wire("openai", upstream, transport)
        deltas, whole = await streamed(provider, ask())
        plain = await provider.complete(ask())
    assert len(deltas) > 3
    assert "".join(delta.text for delta in deltas) == whole.text
    assert whole == plain
    assert upstream.calls[0].body["stream_options"] == {"include_usage": True}


async def test_a_streamed_tool_call_is_put_together(transport: Transport) -> None:
    async with Upstream() as upstream:
        deltas, whole = await streamed(wire("openai", upstream, transport), ask(params={"tools": [WEATHER_TOOL]}))
    assert whole.tool_calls[0]["function"] == {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    assert deltas[0].tool_call is not None
    assert deltas[0].tool_call["id"] == "call_1"


async def test_a_streamed_call_without_arguments_tells_that_it_has_none(transport: Transport) -> None:
    def call(name: str, arguments: str) -> dict[str, Any]:
        return {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}

    calls = [call("now", ""), call("get_weather", '{"city": "Rome"}'), call("here", "")]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    async with Upstream(answer={"model": "m", "choices": [choice]}) as upstream:
        deltas, whole = await streamed(wire("openai", upstream, transport), ask())
    assert told_arguments(deltas) == {0: "{}", 1: '{"city": "Rome"}', 2: "{}"}
    assert [one["function"]["arguments"] for one in whole.tool_calls] == ["{}", '{"city": "Rome"}', "{}"]


def test_without_a_key_it_says_which_variable_to_set(transport: Transport) -> None:
    assert (
        OpenAIWire("groq", "http://x", "", "GROQ_API_KEY", transport).unavailable_reason() == "GROQ_API_KEY is not set"
    )
    assert OpenAIWire("groq", "http://x", "k", "GROQ_API_KEY", transport).unavailable_reason() == ""


async def test_mistral_is_asked_in_its_own_words(transport: Transport) -> None:
    async with Upstream() as upstream:
        settings = Settings(mistral_api_key=SecretStr(KEY), mistral_base_url=upstream.openai_url)
        mistral = build_providers(settings, transport)["mistral"]
        assert isinstance(mistral, OpenAIWire)
        asked = ask(params={"seed": 7, "user": "u1", "stop": ["x"]}, deployment=model("mistral/m"))
        body, warnings = mistral.body(asked)
        assert body.keys() == {"model", "messages", "random_seed", "stop"}
        assert warnings == ("user was dropped: mistral/m does not take it",)
        await streamed(mistral, ask(deployment=model("mistral/m")))
        assert "stream_options" not in upstream.last_body, "it refuses the field, and tells usage unasked"


async def test_calls_of_other_providers_go_to_mistral_with_ids_of_its_form(transport: Transport) -> None:
    async with Upstream() as upstream:
        mistral = OpenAIWire("mistral", upstream.openai_url, KEY, "MISTRAL_API_KEY", transport)
        await mistral.complete(ask(talk_of(*FOREIGN_IDS), deployment=model("mistral/m")))
    asked, calling, *told = upstream.last_body["messages"]
    ids = [call["id"] for call in calling["tool_calls"]]
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", one) for one in ids) and len(set(ids)) == len(FOREIGN_IDS)
    assert ids[-1] == FOREIGN_IDS[-1], "its own is left as it is"
    assert [message["tool_call_id"] for message in told] == ids
    assert asked["content"] == "What time is it?" and calling["tool_calls"][0]["function"]["name"] == "now"


async def test_only_the_messages_of_tools_have_names_for_mistral(transport: Transport) -> None:
    talk = ({"role": "developer", "content": "Be kind.", "name": "boss"}, *talk_of("a"))
    talk = (talk[0], {**talk[1], "name": "ann"}, talk[2], {**talk[3], "name": "now"})
    async with Upstream() as upstream:
        for name in ("mistral", "groq"):
            provider = OpenAIWire(name, upstream.openai_url, KEY, "KEY", transport)
            await provider.complete(ask(talk, deployment=model(f"{name}/m")))
    mistral, groq = ([one.get("name") for one in call.body["messages"]] for call in upstream.calls)
    assert mistral == [None, None, None, "now"] and groq == ["boss", "ann", None, "now"]
    assert upstream.calls[0].body["messages"][0] == {"role": "system", "content": "Be kind."}


async def test_somebody_speaks_between_a_tool_and_the_user_for_mistral(transport: Transport) -> None:
    talk = (*talk_of("a", "b"), {"role": "user", "content": "And in Rome?"})
    async with Upstream() as upstream:
        for name in ("mistral", "groq"):
            provider = OpenAIWire(name, upstream.openai_url, KEY, "KEY", transport)
            await provider.complete(ask(talk, deployment=model(f"{name}/m")))
    mistral, groq = ([one["role"] for one in call.body["messages"]] for call in upstream.calls)
    assert groq == ["user", "assistant", "tool", "tool", "user"]
    assert mistral == ["user", "assistant", "tool", "tool", "assistant", "user"]


async def test_a_user_whose_name_is_too_long_for_openai_goes_by_its_sum(transport: Transport) -> None:
    async with Upstream() as upstream:
        for user in ("u" * 64, "u" * 65, "u" * 65):
            await wire("openai", upstream, transport).complete(ask(params={"user": user}))
    short, *long = (call.body["user"] for call in upstream.calls)
    assert short == "u" * 64
    assert long == [sha256(b"u" * 65).hexdigest()] * 2


async def test_what_a_model_refuses_is_dropped_with_a_warning(transport: Transport) -> None:
    refusing = replace(model(), refuses=("stop", "presence_penalty"))
    params = {"stop": ["x"], "presence_penalty": 1, "temperature": 1, "user": "u1"}
    async with Upstream() as upstream:
        provider = OpenAIWire("openai", upstream.openai_url, KEY, "OPENAI_API_KEY", transport)
        answer = await provider.complete(ask(params=params, deployment=refusing))
        assert upstream.last_body.keys() == {"model", "messages", "temperature", "user"}
    assert [one.partition(" ")[0] for one in answer.warnings] == ["presence_penalty", "stop"]


def test_streamed_logprobs_come_with_their_piece_and_are_not_held() -> None:
    def token(text: str) -> dict[str, Any]:
        return {"token": text, "logprob": -0.1, "bytes": None, "top_logprobs": []}

    gatherings = Gatherings(ask())
    deltas: list[Delta] = []
    for text in ("Hel", "lo"):
        choice = {"index": 0, "delta": {"content": text}, "logprobs": {"content": [token(text)], "refusal": None}}
        deltas += read_chunk({"choices": [choice]}, gatherings)
    deltas += read_chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, gatherings)
    assert [one.logprobs for one in deltas] == [{"content": [token("Hel")]}, {"content": [token("lo")]}]
    assert gatherings.completion().logprobs is None
