"""Every wrong field gets 400 with its name; every right one arrives as the gateway wants it."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omni_app.api.chat_schema import AGENT_STEP_FIELDS, CHAT_FIELDS, parse_chat
from omni_app.errors import InvalidRequest
from omni_app.gateway.types import ChatRequest
from omni_app.routing.types import LatencyPref, Priority, Task

HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}


def parse(body: dict[str, Any], *, key_kind: Any = "test") -> ChatRequest:
    return parse_chat(body, fields=CHAT_FIELDS, endpoint="chat", key_kind=key_kind)


def test_a_minimal_request_gets_the_defaults() -> None:
    request = parse({"messages": HELLO})
    assert (request.priority, request.latency_pref) == (Priority.BALANCED, LatencyPref.NORMAL)
    assert request.max_cost is None and request.max_tokens is None and request.params == {}


def test_every_field_arrives() -> None:
    request = parse(
        {
            "messages": HELLO,
            "priority": "quality",
            "latency_pref": "fast",
            "max_cost": 0.01,
            "max_tokens": 50,
            "temperature": 0.5,
            "tools": [TOOL],
            "tool_choice": "auto",
            "stop": "END",
            "metadata": {"sandbox_fail": "error"},
            "stream": False,
        }
    )
    assert request.max_cost == 10_000_000_000
    assert request.params == {"temperature": 0.5, "tools": [TOOL], "tool_choice": "auto", "stop": ["END"]}
    assert request.sandbox_fail == "error"


def test_null_counts_as_left_out() -> None:
    assert parse({"messages": HELLO, "max_cost": None, "tools": None}).max_cost is None


def test_a_conversation_with_tools_and_images_is_accepted() -> None:
    parse(
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    ],
                },
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": "a cat"},
            ]
        }
    )


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": "x", "colour": 1}]}, "messages[0].colour"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}
            ]
        },
        "messages[0].content[0].image_url.url",
    ),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    ({"messages": [{"role": "user", "content": "x", "tool_calls": [CALL]}]}, "messages[0].tool_calls"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f"}}]}]},
        "messages[0].tool_calls[0].function.arguments",
    ),
    ({"messages": HELLO, "model": "gpt"}, "model"),
    ({"messages": HELLO, "api_base": "http://evil.example"}, "api_base"),
    ({"messages": HELLO, "priority": "fastest"}, "priority"),
    ({"messages": HELLO, "priority": ["cheap"]}, "priority"),
    ({"messages": HELLO, "latency_pref": 1}, "latency_pref"),
    ({"messages": HELLO, "max_cost": 0}, "max_cost"),
    ({"messages": HELLO, "max_cost": -1}, "max_cost"),
    ({"messages": HELLO, "max_cost": "1"}, "max_cost"),
    ({"messages": HELLO, "max_cost": True}, "max_cost"),
    ({"messages": HELLO, "max_cost": float("inf")}, "max_cost"),
    ({"messages": HELLO, "max_cost": 1e-13}, "max_cost"),
    ({"messages": HELLO, "max_tokens": 0}, "max_tokens"),
    ({"messages": HELLO, "max_tokens": 1.5}, "max_tokens"),
    ({"messages": HELLO, "max_tokens": 10**30}, "max_tokens"),
    ({"messages": HELLO, "temperature": 3}, "temperature"),
    ({"messages": HELLO, "temperature": float("nan")}, "temperature"),
    ({"messages": HELLO, "top_p": 2}, "top_p"),
    ({"messages": HELLO, "seed": 2**70}, "seed"),
    ({"messages": HELLO, "stop": [""]}, "stop[0]"),
    ({"messages": HELLO, "stop": ["a"] * 5}, "stop"),
    ({"messages": HELLO, "tools": []}, "tools"),
    ({"messages": HELLO, "tools": [{"type": "retrieval"}]}, "tools[0].type"),
    ({"messages": HELLO, "tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    ({"messages": HELLO, "tool_choice": "auto"}, "tool_choice"),
    ({"messages": HELLO, "tools": [TOOL], "tool_choice": "always"}, "tool_choice"),
    ({"messages": HELLO, "response_format": {"type": "xml"}}, "response_format.type"),
    ({"messages": HELLO, "response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ({"messages": HELLO, "metadata": []}, "metadata"),
    ({"messages": HELLO, "metadata": {"sandbox_fail": "explode"}}, "metadata.sandbox_fail"),
    ({"messages": HELLO, "metadata": {"sandbox_fail": ["error"]}}, "metadata.sandbox_fail"),
    ({"messages": HELLO, "stream": "yes"}, "stream"),
    ({"messages": HELLO, "stream": 1}, "stream"),
    ({"messages": HELLO, "session_id": "s"}, "session_id"),
]


@pytest.mark.parametrize(("body", "param"), WRONG, ids=[f"{index}-{param}" for index, (_, param) in enumerate(WRONG)])
def test_a_wrong_field_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(body)
    assert refused.value.param == param
    assert refused.value.message.startswith(f"{param}: ")


def test_a_live_key_cannot_make_the_sandbox_fail() -> None:
    with pytest.raises(InvalidRequest, match="only test keys"):
        parse({"messages": HELLO, "metadata": {"sandbox_fail": "error"}}, key_kind="live")


def test_an_agent_step_has_its_two_fields() -> None:
    body = {"messages": HELLO, "session_id": "run-1", "step_id": "3"}
    step = parse_chat(body, fields=AGENT_STEP_FIELDS, endpoint="agent-step", key_kind="test")
    assert (step.session_id, step.step_id, step.task) == ("run-1", "3", Task.AGENT_STEP)


def test_ids_hold_only_printable_text() -> None:
    body = {"messages": HELLO, "session_id": "a\nb"}
    with pytest.raises(InvalidRequest, match="session_id"):
        parse_chat(body, fields=AGENT_STEP_FIELDS, endpoint="agent-step", key_kind="test")


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first draw reads Unicode's tables
@given(st.dictionaries(st.sampled_from(sorted(AGENT_STEP_FIELDS)), ANY_JSON, max_size=6))
def test_any_json_is_either_parsed_or_refused_politely(body: dict[str, Any]) -> None:
    with suppress(InvalidRequest):
        assert parse_chat(body, fields=AGENT_STEP_FIELDS, endpoint="agent-step", key_kind="test").messages
