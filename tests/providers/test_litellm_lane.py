"""Gemini through LiteLLM's translation and our own transport."""

import json
import logging

import pytest

from omni_app.providers.base import FaultKind, Timeouts, Usage
from omni_app.providers.litellm import LiteLLMLane
from omni_app.providers.transport import Transport
from tests.providers.asking import PICTURE, TOOL_TALK, WEATHER_TOOL, ask, fault_met, model, streamed
from tests.servers.gemini import KEY, TEXT, Gemini

FLASH = model("gemini/gemini-2.5-flash")
K = FaultKind
EXPECTED = {
    "400": K.BAD_REQUEST,
    "context_length": K.CONTEXT_LENGTH,
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
    "empty": K.MALFORMED,
    "garbage": K.MALFORMED,
}


def lane(gemini: Gemini, transport: Transport, *, key: str = KEY) -> LiteLLMLane:
    return LiteLLMLane("gemini", "gemini", f"{gemini.url}/v1beta", key, "GEMINI_API_KEY", transport)


async def test_a_question_is_translated_and_its_answer_read(transport: Transport) -> None:
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello."}]
    params = {"max_tokens": 50, "temperature": 0.5, "stop": ["END"], "seed": 3}
    async with Gemini() as gemini:
        answer = await lane(gemini, transport).complete(ask(talk, params, deployment=FLASH))
    (call,) = gemini.calls
    assert call.path == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert call.headers["x-goog-api-key"] == KEY
    assert call.query == ""
    assert call.body["contents"] == [{"role": "user", "parts": [{"text": "Say hello."}]}]
    assert call.body["system_instruction"] == {"parts": [{"text": "Be brief."}]}
    wanted = {"max_output_tokens": 50, "temperature": 0.5, "stop_sequences": ["END"], "seed": 3}
    assert call.body["generationConfig"] == wanted
    assert (answer.text, answer.finish_reason) == (TEXT, "stop")
    assert answer.usage == Usage(20, 8, cached_input=8, reasoning=3)


async def test_tools_and_pictures_are_translated(transport: Transport) -> None:
    async with Gemini() as gemini:
        provider = lane(gemini, transport)
        answer = await provider.complete(ask(params={"tools": [WEATHER_TOOL]}, deployment=FLASH))
        deltas, whole = await streamed(provider, ask(params={"tools": [WEATHER_TOOL]}, deployment=FLASH))
        await provider.complete(ask(TOOL_TALK, deployment=FLASH))
        await provider.complete(ask(PICTURE, deployment=FLASH))
    assert answer.finish_reason == "tool_calls"
    function = answer.tool_calls[0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("get_weather", {"city": "Paris"})
    assert [bool(delta.tool_call) for delta in deltas] == [True]
    assert whole.tool_calls[0]["function"] == function
    responses = gemini.calls[2].body["contents"][-1]["parts"]
    assert [part["function_response"]["name"] for part in responses] == ["get_weather", "get_weather"]
    assert gemini.calls[3].body["contents"][0]["parts"][1]["inline_data"]["mime_type"] == "image/png"


@pytest.mark.parametrize(("fault", "expected"), EXPECTED.items())
async def test_each_fault_is_its_kind_and_is_met_once(fault: str, expected: FaultKind, transport: Transport) -> None:
    async with Gemini(fault=fault) as gemini:
        met = await fault_met(lane(gemini, transport), ask(deployment=FLASH))
    assert met.kind is expected
    assert len(gemini.calls) == 1
    assert KEY not in met.detail


async def test_a_wrong_key_is_the_operators_fault_although_google_says_400(transport: Transport) -> None:
    async with Gemini() as gemini:
        met = await fault_met(lane(gemini, transport, key="AIzaWrong"), ask(deployment=FLASH))
    assert met.kind is K.AUTHENTICATION


async def test_a_redirect_is_not_followed(transport: Transport) -> None:
    async with Gemini() as canary, Gemini(fault="redirect", redirect_to=canary.url) as gemini:
        met = await fault_met(lane(gemini, transport), ask(deployment=FLASH))
    assert met.kind is K.REDIRECT
    assert canary.calls == []


async def test_nobody_there_is_refused(transport: Transport) -> None:
    async with Gemini() as gemini:
        provider = lane(gemini, transport)
    assert (await fault_met(provider, ask(deployment=FLASH))).kind is K.REFUSED


async def test_the_deadline_is_ours(transport: Transport) -> None:
    async with Gemini(fault="hang") as gemini:
        request = ask(deployment=FLASH, timeouts=Timeouts(first_byte_s=10, total_s=0.3))
        met = await fault_met(lane(gemini, transport), request)
    assert met.kind in (K.FIRST_BYTE_TIMEOUT, K.TOTAL_TIMEOUT)


async def test_an_answer_without_candidates_is_a_fault(transport: Transport) -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}
    async with Gemini(answer=blocked) as gemini:
        provider = lane(gemini, transport)
        answer = await provider.complete(ask(deployment=FLASH))
        assert (answer.text, answer.finish_reason) == ("", "content_filter")
        gemini.answer = {"candidates": []}
        assert (await fault_met(provider, ask(deployment=FLASH))).kind in (K.EMPTY, K.MALFORMED)


async def test_neither_key_nor_prompt_are_logged(transport: Transport, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Gemini() as gemini:
        secret = [{"role": "user", "content": "a private question"}]
        await lane(gemini, transport).complete(ask(secret, deployment=FLASH))
        gemini.fault = "500"
        await fault_met(lane(gemini, transport), ask(secret, deployment=FLASH))
    assert KEY not in caplog.text
    assert "a private question" not in caplog.text


async def test_without_a_key_it_says_which_variable_to_set(transport: Transport) -> None:
    async with Gemini() as gemini:
        assert lane(gemini, transport, key="").unavailable_reason() == "GEMINI_API_KEY is not set"
