"""Whole numbers beyond 64 bits in what tools are called with, an amount in wei or an id: they stay as written."""

import json
from typing import Any

import pytest

from omni_app.json_bytes import json_bytes, json_value
from omni_app.providers.anthropic_wire import arguments
from omni_app.providers.gathering import Gathering
from omni_app.providers.gemini_answers import EventReader
from omni_app.providers.openai_answers import read_usage
from omni_app.providers.transport import Transport
from tests.providers.asking import WEATHER_TOOL, ask, wire
from tests.servers.upstream import Upstream

WEI = 20_000_000_000_000_000_001
ARGUMENTS = {"wei": WEI, "share": 0.1, "small": 7}


@pytest.mark.parametrize("text", [json.dumps(ARGUMENTS), json.dumps(ARGUMENTS).encode()])
def test_json_keeps_them_there_and_back(text: str | bytes) -> None:
    assert json_value(text) == ARGUMENTS
    assert json_value(json_bytes(json_value(text))) == ARGUMENTS


ID = '{"id": 1234567890123456789, '


@pytest.mark.parametrize("cut", [ID + '"text": "cut \\ud83d"}', ID + '"x": NaN}', ID + '"deep": ' + "[" * 1_500])
def test_beside_one_nothing_else_is_json_than_without(cut: str) -> None:
    with pytest.raises(ValueError, match=r"line|column|end|nested"):
        json_value(cut)
    assert arguments(cut) == {"arguments": cut}


async def test_of_anthropic_s_answer_and_back_into_the_next_turn(transport: Transport) -> None:
    answer = {
        "type": "message", "role": "assistant", "stop_reason": "tool_use",
        "usage": {"input_tokens": 9, "output_tokens": 9},
        "content": [{"type": "tool_use", "id": "toolu_1", "name": "pay", "input": ARGUMENTS}],
    }  # fmt: skip
    async with Upstream(answer=answer) as upstream:
        provider = wire("anthropic", upstream, transport)
        called = (await provider.complete(ask(params={"tools": [WEATHER_TOOL]}))).tool_calls
        assert json.loads(called[0]["function"]["arguments"]) == ARGUMENTS
        talk: list[dict[str, Any]] = [
            {"role": "user", "content": "Pay."},
            {"role": "assistant", "content": None, "tool_calls": list(called)},
            {"role": "tool", "tool_call_id": "toolu_1", "content": "paid"},
        ]
        await provider.complete(ask(talk, {"tools": [WEATHER_TOOL]}))
        assert upstream.last_body["messages"][1]["content"][0]["input"] == ARGUMENTS


def test_of_gemini_s_events() -> None:
    gathering = Gathering(ask())
    part = {"functionCall": {"name": "pay", "args": ARGUMENTS}}
    EventReader(gathering).read(json.dumps({"candidates": [{"content": {"parts": [part]}}]}).encode())
    assert json.loads(gathering.calls[0]["function"]["arguments"]) == ARGUMENTS


def test_a_call_that_is_told_to_have_cost_no_output_is_counted() -> None:
    calls = ({"id": "call_1", "type": "function", "function": {"name": "pay", "arguments": "x" * 1_200}},)
    told = {"prompt_tokens": 100, "completion_tokens": 0}
    usage = read_usage(told, ask(), "", calls)
    assert usage.estimated and usage.output > 100
    assert read_usage(told, ask(), "", ()).output == 0
