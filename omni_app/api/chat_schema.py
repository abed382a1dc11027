"""What `/v1/chat` and its siblings accept: every field's type and range, in one table.

`parse_chat` turns a JSON object into a `ChatRequest` or says which field is wrong. Written by hand because it
stands on the hot path: a few microseconds a request, one message per mistake, the field's full path in it.
"""

from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from omni_app.api.checks import (
    Check,
    check_boolean,
    check_choice,
    check_id,
    check_list,
    check_number,
    check_object,
    check_string,
    check_whole,
    wrong,
)
from omni_app.gateway.types import SANDBOX_FAULTS, ChatRequest
from omni_app.money import PICO_PER_USD
from omni_app.routing.types import KeyKind, LatencyPref, Priority, Task

MAX_MESSAGES = 2_000
MAX_PARTS = 1_000
MAX_TOOLS = 128
MAX_STOPS = 4
MAX_TOKENS = 1_000_000
MAX_METADATA_KEYS = 64
ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


def _max_cost(value: Any, path: str) -> int:
    amount = check_number(value, path, 0, 1_000_000)
    pico = int((Decimal(repr(amount)) * PICO_PER_USD).to_integral_value(ROUND_FLOOR))
    if pico <= 0:
        raise wrong(path, "must be greater than 0, in US dollars")
    return pico


def check_messages(value: Any, path: str) -> list[dict[str, Any]]:
    """A conversation in OpenAI's shape."""
    if isinstance(value, list) and not value:
        raise wrong(path, "at least one message is required")
    messages = check_list(value, path, MAX_MESSAGES)
    for index, message in enumerate(messages):
        _message(message, f"{path}[{index}]")
    return messages


MESSAGE_FIELDS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})


def _message(message: Any, path: str) -> None:
    if not isinstance(message, dict):
        raise wrong(path, "must be an object with role and content")
    for name in message.keys() - MESSAGE_FIELDS:
        raise wrong(f"{path}.{name}", "unknown field")
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise wrong(f"{path}.role", f"must be one of {', '.join(sorted(ROLES))}")
    _tool_fields(message, role, path)
    content = message.get("content")
    if isinstance(content, str):
        return
    if content is None and role == "assistant" and message.get("tool_calls"):
        return
    if not isinstance(content, list):
        raise wrong(f"{path}.content", "must be a string or a list of parts")
    for index, part in enumerate(check_list(content, f"{path}.content", MAX_PARTS)):
        _part(part, f"{path}.content[{index}]", role)


def _tool_fields(message: dict[str, Any], role: str, path: str) -> None:
    if "name" in message:
        check_id(message["name"], f"{path}.name")
    if role == "tool":
        check_id(message.get("tool_call_id"), f"{path}.tool_call_id")
    elif "tool_call_id" in message:
        raise wrong(f"{path}.tool_call_id", "only a message of role tool has one")
    if "tool_calls" not in message:
        return
    if role != "assistant":
        raise wrong(f"{path}.tool_calls", "only a message of role assistant has them")
    for index, call in enumerate(check_list(message["tool_calls"], f"{path}.tool_calls", MAX_TOOLS)):
        _tool_call(call, f"{path}.tool_calls[{index}]")


def _tool_call(call: Any, path: str) -> None:
    check_object(call, path)
    check_id(call.get("id"), f"{path}.id")
    check_choice(call.get("type", "function"), f"{path}.type", ("function",))
    function = check_object(call.get("function"), f"{path}.function")
    check_id(function.get("name"), f"{path}.function.name")
    check_string(function.get("arguments"), f"{path}.function.arguments")


def _part(part: Any, path: str, role: str) -> None:
    kind = check_object(part, path).get("type")
    if kind == "text":
        check_string(part.get("text"), f"{path}.text")
    elif kind == "image_url":
        if role != "user":
            raise wrong(path, "only a message of role user may hold an image")
        url = check_string(check_object(part.get("image_url"), f"{path}.image_url").get("url"), f"{path}.image_url.url")
        if not url.startswith(("data:image/", "https://")):
            raise wrong(f"{path}.image_url.url", "must be a data:image/… or an https:// URL")
    elif kind in ("input_audio", "audio", "file"):
        raise wrong(f"{path}.type", f"{kind} parts are not supported: send text or image_url parts")
    else:
        raise wrong(f"{path}.type", "must be text or image_url")


def _tools(value: Any, path: str) -> list[dict[str, Any]]:
    tools = check_list(value, path, MAX_TOOLS)
    for index, tool in enumerate(tools):
        here = f"{path}[{index}]"
        check_choice(check_object(tool, here).get("type"), f"{here}.type", ("function",))
        function = check_object(tool.get("function"), f"{here}.function")
        check_id(function.get("name"), f"{here}.function.name")
        if "parameters" in function:
            check_object(function["parameters"], f"{here}.function.parameters")
        if "description" in function:
            check_string(function["description"], f"{here}.function.description")
    return tools


def _tool_choice(value: Any, path: str) -> Any:
    if isinstance(value, str):
        return check_choice(value, path, ("auto", "none", "required"))
    function = check_object(check_object(value, path).get("function"), f"{path}.function")
    check_id(function.get("name"), f"{path}.function.name")
    return value


def _response_format(value: Any, path: str) -> dict[str, Any]:
    kind = check_choice(check_object(value, path).get("type"), f"{path}.type", ("text", "json_object", "json_schema"))
    if kind == "json_schema":
        schema = check_object(value.get("json_schema"), f"{path}.json_schema")
        check_id(schema.get("name"), f"{path}.json_schema.name")
        check_object(schema.get("schema"), f"{path}.json_schema.schema")
    return dict(value)


def _stop(value: Any, path: str) -> list[str]:
    stops = [value] if isinstance(value, str) else check_list(value, path, MAX_STOPS)
    for index, stop in enumerate(stops):
        if not check_string(stop, f"{path}[{index}]"):
            raise wrong(f"{path}[{index}]", "must not be empty")
    return stops


def _metadata(value: Any, path: str) -> dict[str, Any]:
    metadata = check_object(value, path)
    if len(metadata) > MAX_METADATA_KEYS:
        raise wrong(path, f"has {len(metadata)} keys, the limit is {MAX_METADATA_KEYS}")
    return metadata


CHAT_FIELDS: Mapping[str, Check] = {
    "messages": check_messages,
    "priority": lambda value, path: Priority(check_choice(value, path, tuple(Priority))),
    "latency_pref": lambda value, path: LatencyPref(check_choice(value, path, tuple(LatencyPref))),
    "max_cost": _max_cost,
    "max_tokens": lambda value, path: check_whole(value, path, 1, MAX_TOKENS),
    "temperature": lambda value, path: check_number(value, path, 0, 2),
    "top_p": lambda value, path: check_number(value, path, 0, 1),
    "seed": lambda value, path: check_whole(value, path, -(2**63), 2**63 - 1),
    "stop": _stop,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "response_format": _response_format,
    "metadata": _metadata,
    "stream": check_boolean,
}
"""Field -> its check. A field that is not here is refused by name; `null` counts as left out."""

AGENT_STEP_FIELDS: Mapping[str, Check] = {**CHAT_FIELDS, "session_id": check_id, "step_id": check_id}

PROVIDER_PARAMETERS = frozenset({"temperature", "top_p", "seed", "stop", "tools", "tool_choice", "response_format"})
"""The fields that are sent on to the provider under their own name."""


def parse_chat(
    body: Mapping[str, Any],
    *,
    fields: Mapping[str, Check],
    endpoint: str,
    key_kind: KeyKind,
    timeout_s: float | None = None,
) -> ChatRequest:
    """A validated request. Raises `InvalidRequest` naming the first wrong field."""
    for name in body:
        if name not in fields:
            raise wrong(name[:80], "unknown field")
    if body.get("messages") is None:
        raise wrong("messages", "at least one message is required")
    values = {name: fields[name](value, name) for name, value in body.items() if value is not None}
    if "tool_choice" in values and "tools" not in values:
        raise wrong("tool_choice", "needs tools")
    metadata = values.get("metadata", {})
    return ChatRequest(
        messages=values["messages"],
        endpoint=endpoint,
        priority=values.get("priority", Priority.BALANCED),
        latency_pref=values.get("latency_pref", LatencyPref.NORMAL),
        max_cost=values.get("max_cost"),
        max_tokens=values.get("max_tokens"),
        params={name: values[name] for name in values.keys() & PROVIDER_PARAMETERS},
        metadata=metadata,
        session_id=values.get("session_id", ""),
        step_id=values.get("step_id", ""),
        task=Task.AGENT_STEP if "step_id" in fields else None,
        timeout_s=timeout_s,
        stream=values.get("stream", False),
        sandbox_fail=sandbox_fail(metadata, key_kind),
    )


def sandbox_fail(metadata: Mapping[str, Any], key_kind: KeyKind) -> str:
    """The fault that the sandbox is asked to play; empty for none."""
    value = metadata.get("sandbox_fail")
    if value is None:
        return ""
    path = "metadata.sandbox_fail"
    if key_kind != "test":
        raise wrong(path, "only test keys can make the sandbox fail")
    if not isinstance(value, str) or value.removeprefix("all:") not in SANDBOX_FAULTS:
        raise wrong(path, f"must be one of {', '.join(SANDBOX_FAULTS)}, with or without the prefix all:")
    return value
