"""Gemini's wire: what is said and heard, each fault, streams, and pictures through LiteLLM."""

import json
import logging
from dataclasses import replace

import pytest

from omni_app.providers.base import FaultKind, ProviderFault, Timeouts, Usage
from omni_app.providers.gemini_wire import NO_SIGNATURE, GeminiWire
from omni_app.providers.transport import Transport
from tests.providers.asking import PICTURE, TOOL_TALK, WEATHER_TOOL, ask, fault_met, model, streamed
from tests.servers.gemini import KEY, TEXT, Gemini

FLASH = model("gemini/gemini-2.5-flash")
K = FaultKind
EXPECTED = {
    "400": K.BAD_REQUEST,
    "context_length": K.CONTEXT_LENGTH,
    "tools_and_form": K.UNSUPPORTED_PARAMETER,
    "expired": K.AUTHENTICATION,
    "location": K.AUTHENTICATION,
    "403": K.AUTHENTICATION,
    "404": K.MODEL_NOT_FOUND,
    "429": K.RATE_LIMITED,
    "500": K.SERVER_ERROR,
    "503": K.SERVER_ERROR,
    "close": K.CONNECTION_LOST,
    "rst": K.CONNECTION_LOST,
    "hang": K.FIRST_BYTE_TIMEOUT,
    "stall": K.INTERRUPTED,
    "cut": K.CONNECTION_LOST,
    "huge": K.TOO_LARGE,
    "gzip_bomb": K.TOO_LARGE,
    "html": K.MALFORMED,
    "empty": K.EMPTY,
    "garbage": K.MALFORMED,
}


def gemini_wire(gemini: Gemini, transport: Transport, *, key: str = KEY) -> GeminiWire:
    return GeminiWire(f"{gemini.url}/v1beta", key, "GEMINI_API_KEY", transport)


async def test_a_question_is_translated_and_its_answer_read(transport: Transport) -> None:
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello."}]
    params = {"max_tokens": 50, "temperature": 0.5, "stop": ["END"], "seed": 3}
    async with Gemini() as gemini:
        answer = await gemini_wire(gemini, transport).complete(ask(talk, params, deployment=FLASH))
    (call,) = gemini.calls
    assert call.path == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert call.headers["x-goog-api-key"] == KEY
    assert call.query == ""
    assert call.body["contents"] == [{"role": "user", "parts": [{"text": "Say hello."}]}]
    assert call.body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    wanted = {"maxOutputTokens": 50, "temperature": 0.5, "stopSequences": ["END"], "seed": 3}
    assert call.body["generationConfig"] == wanted
    assert (answer.text, answer.finish_reason) == (TEXT, "stop")
    assert answer.usage == Usage(20, 8, cached_input=8, reasoning=3)


async def test_tools_and_pictures_are_translated(transport: Transport) -> None:
    async with Gemini() as gemini:
        provider = gemini_wire(gemini, transport)
        answer = await provider.complete(ask(params={"tools": [WEATHER_TOOL]}, deployment=FLASH))
        deltas, whole = await streamed(provider, ask(params={"tools": [WEATHER_TOOL]}, deployment=FLASH))
        await provider.complete(ask(TOOL_TALK, deployment=FLASH))
        await provider.complete(ask(PICTURE, deployment=FLASH))
    assert answer.finish_reason == "tool_calls"
    function = answer.tool_calls[0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("get_weather", {"city": "Paris"})
    assert [bool(delta.tool_call) for delta in deltas] == [True]
    assert whole.tool_calls[0]["function"] == function
    assert whole.tool_calls[0]["id"] != answer.tool_calls[0]["id"], "calls of one conversation are told apart by it"
    responses = gemini.calls[2].body["contents"][-1]["parts"]
    assert [part["functionResponse"]["name"] for part in responses] == ["get_weather", "get_weather"]
    assert gemini.calls[3].body["contents"][0]["parts"][1]["inlineData"]["mimeType"] == "image/png"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_whole_numbers_beyond_64_bits_are_sent_as_they_came(transport: Transport, *, stream: bool) -> None:
    parameters = {"type": "object", "properties": {"wei": {"type": "integer", "maximum": 2**256 - 1}}}
    tool = {"type": "function", "function": {"name": "send", "parameters": parameters}}
    async with Gemini() as gemini:
        provider, request = gemini_wire(gemini, transport), ask(params={"tools": [tool]}, deployment=FLASH)
        await (streamed(provider, request) if stream else provider.complete(request))
    assert str(2**256 - 1) in json.dumps(gemini.calls[0].body["tools"])


@pytest.mark.parametrize(("fault", "expected"), EXPECTED.items())
async def test_each_fault_is_its_kind_and_is_met_once(fault: str, expected: FaultKind, transport: Transport) -> None:
    async with Gemini(fault=fault) as gemini:
        met = await fault_met(gemini_wire(gemini, transport), ask(deployment=FLASH))
    assert met.kind is expected
    assert len(gemini.calls) == 1
    assert KEY not in met.detail


async def test_a_wrong_key_is_the_operators_fault_although_google_says_400(transport: Transport) -> None:
    async with Gemini() as gemini:
        met = await fault_met(gemini_wire(gemini, transport, key="AIzaWrong"), ask(deployment=FLASH))
    assert met.kind is K.AUTHENTICATION


async def test_a_redirect_is_not_followed(transport: Transport) -> None:
    async with Gemini() as canary, Gemini(fault="redirect", redirect_to=canary.url) as gemini:
        met = await fault_met(gemini_wire(gemini, transport), ask(deployment=FLASH))
    assert met.kind is K.REDIRECT
    assert canary.calls == []


async def test_nobody_there_is_refused(transport: Transport) -> None:
    async with Gemini() as gemini:
        provider = gemini_wire(gemini, transport)
    assert (await fault_met(provider, ask(deployment=FLASH))).kind is K.REFUSED


async def test_the_deadline_is_ours(transport: Transport) -> None:
    async with Gemini(fault="hang") as gemini:
        request = ask(deployment=FLASH, timeouts=Timeouts(first_byte_s=10, total_s=0.3))
        met = await fault_met(gemini_wire(gemini, transport), request)
    assert met.kind in (K.FIRST_BYTE_TIMEOUT, K.TOTAL_TIMEOUT)


async def test_an_answer_without_candidates_is_a_fault(transport: Transport) -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}
    async with Gemini(answer=blocked) as gemini:
        provider = gemini_wire(gemini, transport)
        answer = await provider.complete(ask(deployment=FLASH))
        assert (answer.text, answer.finish_reason) == ("", "content_filter")
        gemini.answer = {"candidates": []}
        assert (await fault_met(provider, ask(deployment=FLASH))).kind in (K.EMPTY, K.MALFORMED)


async def test_neither_key_nor_prompt_are_logged(transport: Transport, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Gemini() as gemini:
        secret = [{"role": "user", "content": "a private question"}]
        await gemini_wire(gemini, transport).complete(ask(secret, deployment=FLASH))
        gemini.fault = "500"
        await fault_met(gemini_wire(gemini, transport), ask(secret, deployment=FLASH))
    assert KEY not in caplog.text
    assert "a private question" not in caplog.text


async def test_without_a_key_it_says_which_variable_to_set(transport: Transport) -> None:
    async with Gemini() as gemini:
        assert gemini_wire(gemini, transport, key="").unavailable_reason() == "GEMINI_API_KEY is not set"


async def test_a_stream_comes_word_by_word_and_is_its_plain_twin(transport: Transport) -> None:
    async with Gemini(text="one two three") as gemini:
        plain = await gemini_wire(gemini, transport).complete(ask(deployment=FLASH))
        deltas, whole = await streamed(gemini_wire(gemini, transport), ask(deployment=FLASH))
    assert [delta.text for delta in deltas] == ["one ", "two ", "three"]
    assert whole == plain
    assert gemini.calls[1].path.endswith(":streamGenerateContent") and gemini.calls[1].query == "alt=sse"


@pytest.mark.parametrize("fault", ["mid_close", "mid_rst", "no_end"])
async def test_a_stream_that_breaks_off_is_never_taken_for_whole(fault: str, transport: Transport) -> None:
    async with Gemini(text="one two three", fault=fault) as gemini:
        with pytest.raises(ProviderFault) as met:
            await streamed(gemini_wire(gemini, transport), ask(deployment=FLASH))
    assert met.value.kind is K.INTERRUPTED
    assert met.value.usage and met.value.usage.estimated and met.value.usage.output > 0


async def test_what_was_told_before_a_stream_broke_is_what_it_cost(transport: Transport) -> None:
    told = {"promptTokenCount": 1_000, "cachedContentTokenCount": 600, "thoughtsTokenCount": 8_000}
    async with Gemini(text="one two three", fault="mid_close", told=told) as gemini:
        with pytest.raises(ProviderFault) as met:
            await streamed(gemini_wire(gemini, transport), ask(deployment=FLASH))
    usage = met.value.usage
    assert usage is not None and usage.estimated
    assert (usage.input, usage.cached_input, usage.reasoning) == (1_000, 600, 8_000)
    assert 8_001 <= usage.output <= 8_010


@pytest.mark.parametrize(("thoughts", "stopped"), [(30, False), (200, True)])
async def test_hidden_thoughts_that_are_told_are_metered(
    thoughts: int,
    stopped: bool,  # noqa: FBT001 a parameter of the test
    transport: Transport,
) -> None:
    request = replace(ask(params={"max_tokens": 100}, deployment=FLASH), metered=True)
    async with Gemini(text="one two three", told={"thoughtsTokenCount": thoughts}) as gemini:
        deltas, whole = await streamed(gemini_wire(gemini, transport), request)
    assert (whole.stopped, len(deltas)) == (stopped, 1 if stopped else 3)
    assert whole.usage.output >= thoughts if stopped else whole.usage == Usage(20, 8, cached_input=8, reasoning=3)


async def test_an_error_event_is_a_fault(transport: Transport) -> None:
    told = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    async with Gemini(answer=told) as gemini:
        with pytest.raises(ProviderFault, match="overloaded"):
            await streamed(gemini_wire(gemini, transport), ask(deployment=FLASH))


async def test_thoughts_are_counted_and_not_told(transport: Transport) -> None:
    parts = [{"text": "Let me think.", "thought": True}, {"text": "Yes."}]
    answer = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    async with Gemini(answer=answer) as gemini:
        whole = await gemini_wire(gemini, transport).complete(ask(deployment=FLASH))
    assert (whole.text, whole.usage.estimated) == ("Yes.", True)


@pytest.mark.parametrize(
    ("reason", "finish"), [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter")]
)
async def test_how_it_ended_is_told(reason: str, finish: str, transport: Transport) -> None:
    answer = {"candidates": [{"content": {"parts": [{"text": "Yes."}]}, "finishReason": reason}]}
    async with Gemini(answer=answer) as gemini:
        assert (await gemini_wire(gemini, transport).complete(ask(deployment=FLASH))).finish_reason == finish


async def test_what_is_asked_for_is_said_in_geminis_words(transport: Transport) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}
    tools = {"tools": [WEATHER_TOOL], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}}
    async with Gemini() as gemini:
        await gemini_wire(gemini, transport).complete(ask(params=tools, deployment=FLASH))
        asked = ask(params={"response_format": wanted, "user": "u-1"}, deployment=FLASH)
        answer = await gemini_wire(gemini, transport).complete(asked)
        thinks = model("gemini/gemini-2.5-pro", sees_temperature=False)
        await gemini_wire(gemini, transport).complete(ask(params={"reasoning_effort": "low"}, deployment=thinks))
        thinks = model("gemini/gemini-3-pro", sees_temperature=False)
        await gemini_wire(gemini, transport).complete(ask(params={"reasoning_effort": "max"}, deployment=thinks))
    body, formed, by_budget, by_level = (call.body for call in gemini.calls)
    function = WEATHER_TOOL["function"]
    (declared,) = body["tools"][0]["functionDeclarations"]
    assert declared["parametersJsonSchema"] == function["parameters"]  # type: ignore[index]
    assert body["toolConfig"]["functionCallingConfig"] == {"mode": "ANY", "allowedFunctionNames": ["get_weather"]}
    assert formed["generationConfig"] == {"responseMimeType": "application/json", "responseJsonSchema": schema}
    assert answer.warnings == ("user was dropped: gemini/gemini-2.5-flash does not take it",)
    assert by_budget["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 1_024}
    assert by_level["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "high"}


async def test_tools_and_a_form_are_refused_before_a_model_that_takes_one_of_them_is_called(
    transport: Transport,
) -> None:
    params = {"tools": [WEATHER_TOOL], "response_format": {"type": "json_object"}}
    async with Gemini() as gemini:
        met = await fault_met(gemini_wire(gemini, transport), ask(params=params, deployment=FLASH))
        assert (met.kind, gemini.calls) == (K.UNSUPPORTED_PARAMETER, [])
        await gemini_wire(gemini, transport).complete(
            ask(params=params | {"response_format": {"type": "text"}}, deployment=FLASH)
        )
        newer = model("gemini/gemini-3-flash-preview")
        await gemini_wire(gemini, transport).complete(ask(params=params, deployment=newer))
    assert [call.body.get("generationConfig") for call in gemini.calls] == [
        None, {"responseMimeType": "application/json"}
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "signed"), [("gemini-2.5-flash", False), ("gemini-3-flash-preview", True)])
async def test_calls_carry_googles_word_for_no_signature_where_one_is_wanted(
    name: str,
    signed: bool,  # noqa: FBT001 a parameter of the test
    transport: Transport,
) -> None:
    async with Gemini() as gemini:
        await gemini_wire(gemini, transport).complete(ask(TOOL_TALK, deployment=model(f"gemini/{name}")))
    calls = gemini.calls[0].body["contents"][1]["parts"]
    assert [call.get("thoughtSignature") for call in calls] == [NO_SIGNATURE if signed else None, None]


async def test_a_picture_by_its_address_is_refused_before_anybody_is_called(transport: Transport) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://pictures.invalid/a.png"}}
    async with Gemini() as gemini:
        met = await fault_met(
            gemini_wire(gemini, transport), ask([{"role": "user", "content": [part]}], deployment=FLASH)
        )
    assert met.kind is K.UNSUPPORTED_PARAMETER and not gemini.calls


async def test_a_picture_is_made_through_litellm(transport: Transport) -> None:
    painter = model("gemini/gemini-2.5-flash-image", makes_images=True)
    timeouts = Timeouts(first_byte_s=10, total_s=60)  # LiteLLM is loaded first
    async with Gemini() as gemini:
        request = ask([{"role": "user", "content": "A fox"}], deployment=painter, timeouts=timeouts)
        made = await gemini_wire(gemini, transport).complete(request)
        gemini.fault = "429"
        met = await fault_met(gemini_wire(gemini, transport), request)
    assert made.usage.images == 1 and made.images[0]["b64_json"].startswith("iVBOR")
    assert met.kind is K.RATE_LIMITED and len(gemini.calls) == 2
    assert gemini.calls[0].headers["x-goog-api-key"] == KEY
