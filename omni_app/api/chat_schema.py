"""What `/v1/chat` and its siblings accept: every field's type and range, in one table.

`parse_chat` turns a JSON object into a `ChatRequest` or says which field is wrong. Written by hand because it
stands on the hot path: a few microseconds a request, one message per mistake, the field's full path in it.
"""

import math
from collections.abc import Callable, Mapping
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from omni_app.errors import InvalidRequest
from omni_app.gateway.types import SANDBOX_FAULTS, ChatRequest
from omni_app.money import PICO_PER_USD
from omni_app.routing.types import KeyKind, LatencyPref, Priority

MAX_MESSAGES = 2_000
MAX_PARTS = 1_000
MAX_TOOLS = 128
MAX_STOPS = 4
MAX_TOKENS = 1_000_000
MAX_METADATA_KEYS = 64
MAX_ID_LENGTH = 200
ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})

Check = Callable[[Any, str], Any]
"""(value, path) -> the value as the gateway wants it; raises `InvalidRequest` naming the path."""


def wrong(path: str, message: str) -> InvalidRequest:
    """The error of one field: `path: message`."""
    return InvalidRequest(f"{path}: {message}", param=path)


def _whole(value: Any, path: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(path, "must be a whole number")
    if not low <= value <= high:
        raise wrong(path, f"must be between {low} and {high}")
    return value


def _number(value: Any, path: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(path, "must be a number")
    if not (math.isfinite(value) and low <= value <= high):
        raise wrong(path, f"must be between {low:g} and {high:g}")
    return value


def _string(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise wrong(path, "must be a string")
    return value


def _id(value: Any, path: str) -> str:
    text = _string(value, path)
    if not (0 < len(text) <= MAX_ID_LENGTH and text.isprintable()):
        raise wrong(path, f"must be 1 to {MAX_ID_LENGTH} printable characters")
    return text


def _boolean(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise wrong(path, "must be true or false")
    return value


def _object(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong(path, "must be an object")
    return value


def _list(value: Any, path: str, high: int) -> list[Any]:
    if not isinstance(value, list):
        raise wrong(path, "must be a list")
    if not value:
        raise wrong(path, "must not be empty")
    if len(value) > high:
        raise wrong(path, f"has {len(value)} entries, the limit is {high}")
    return value


def _choice(value: Any, path: str, names: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in names:
        raise wrong(path, f"must be one of {', '.join(names)}")
    return value


def _max_cost(value: Any, path: str) -> int:
    amount = _number(value, path, 0, 1_000_000)
    pico = int((Decimal(repr(amount)) * PICO_PER_USD).to_integral_value(ROUND_FLOOR))
    if pico <= 0:
        raise wrong(path, "must be greater than 0, in US dollars")
    return pico


def _messages(value: Any, path: str) -> list[dict[str, Any]]:
    if isinstance(value, list) and not value:
        raise wrong(path, "at least one message is required")
    messages = _list(value, path, MAX_MESSAGES)
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
    for index, part in enumerate(_list(content, f"{path}.content", MAX_PARTS)):
        _part(part, f"{path}.content[{index}]", role)


def _tool_fields(message: dict[str, Any], role: str, path: str) -> None:
    if "name" in message:
        _id(message["name"], f"{path}.name")
    if role == "tool":
        _id(message.get("tool_call_id"), f"{path}.tool_call_id")
    elif "tool_call_id" in message:
        raise wrong(f"{path}.tool_call_id", "only a message of role tool has one")
    if "tool_calls" not in message:
        return
    if role != "assistant":
        raise wrong(f"{path}.tool_calls", "only a message of role assistant has them")
    for index, call in enumerate(_list(message["tool_calls"], f"{path}.tool_calls", MAX_TOOLS)):
        _tool_call(call, f"{path}.tool_calls[{index}]")


def _tool_call(call: Any, path: str) -> None:
    _object(call, path)
    _id(call.get("id"), f"{path}.id")
    _choice(call.get("type", "function"), f"{path}.type", ("function",))
    function = _object(call.get("function"), f"{path}.function")
    _id(function.get("name"), f"{path}.function.name")
    _string(function.get("arguments"), f"{path}.function.arguments")


def _part(part: Any, path: str, role: str) -> None:
    kind = _object(part, path).get("type")
    if kind == "text":
        _string(part.get("text"), f"{path}.text")
    elif kind == "image_url":
        if role != "user":
            raise wrong(path, "only a message of role user may hold an image")
        url = _string(_object(part.get("image_url"), f"{path}.image_url").get("url"), f"{path}.image_url.url")
        if not url.startswith(("data:image/", "https://")):
            raise wrong(f"{path}.image_url.url", "must be a data:image/… or an https:// URL")
    elif kind in ("input_audio", "audio", "file"):
        raise wrong(f"{path}.type", f"{kind} parts are not supported: send text or image_url parts")
    else:
        raise wrong(f"{path}.type", "must be text or image_url")


def _tools(value: Any, path: str) -> list[dict[str, Any]]:
    tools = _list(value, path, MAX_TOOLS)
    for index, tool in enumerate(tools):
        here = f"{path}[{index}]"
        _choice(_object(tool, here).get("type"), f"{here}.type", ("function",))
        function = _object(tool.get("function"), f"{here}.function")
        _id(function.get("name"), f"{here}.function.name")
        if "parameters" in function:
            _object(function["parameters"], f"{here}.function.parameters")
        if "description" in function:
            _string(function["description"], f"{here}.function.description")
    return tools


def _tool_choice(value: Any, path: str) -> Any:
    if isinstance(value, str):
        return _choice(value, path, ("auto", "none", "required"))
    function = _object(_object(value, path).get("function"), f"{path}.function")
    _id(function.get("name"), f"{path}.function.name")
    return value


def _response_format(value: Any, path: str) -> dict[str, Any]:
    kind = _choice(_object(value, path).get("type"), f"{path}.type", ("text", "json_object", "json_schema"))
    if kind == "json_schema":
        schema = _object(value.get("json_schema"), f"{path}.json_schema")
        _id(schema.get("name"), f"{path}.json_schema.name")
        _object(schema.get("schema"), f"{path}.json_schema.schema")
    return dict(value)


def _stop(value: Any, path: str) -> list[str]:
    stops = [value] if isinstance(value, str) else _list(value, path, MAX_STOPS)
    for index, stop in enumerate(stops):
        if not _string(stop, f"{path}[{index}]"):
            raise wrong(f"{path}[{index}]", "must not be empty")
    return stops


def _metadata(value: Any, path: str) -> dict[str, Any]:
    metadata = _object(value, path)
    if len(metadata) > MAX_METADATA_KEYS:
        raise wrong(path, f"has {len(metadata)} keys, the limit is {MAX_METADATA_KEYS}")
    return metadata


CHAT_FIELDS: Mapping[str, Check] = {
    "messages": _messages,
    "priority": lambda value, path: Priority(_choice(value, path, tuple(Priority))),
    "latency_pref": lambda value, path: LatencyPref(_choice(value, path, tuple(LatencyPref))),
    "max_cost": _max_cost,
    "max_tokens": lambda value, path: _whole(value, path, 1, MAX_TOKENS),
    "temperature": lambda value, path: _number(value, path, 0, 2),
    "top_p": lambda value, path: _number(value, path, 0, 1),
    "seed": lambda value, path: _whole(value, path, -(2**63), 2**63 - 1),
    "stop": _stop,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "response_format": _response_format,
    "metadata": _metadata,
    "stream": _boolean,
}
"""Field -> its check. A field that is not here is refused by name; `null` counts as left out."""

AGENT_STEP_FIELDS: Mapping[str, Check] = {**CHAT_FIELDS, "session_id": _id, "step_id": _id}

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
        agent_step="step_id" in fields,
        timeout_s=timeout_s,
        stream=values.get("stream", False),
        sandbox_fail=_sandbox_fail(metadata, key_kind),
    )


def _sandbox_fail(metadata: Mapping[str, Any], key_kind: KeyKind) -> str:
    value = metadata.get("sandbox_fail")
    if value is None:
        return ""
    path = "metadata.sandbox_fail"
    if key_kind != "test":
        raise wrong(path, "only test keys can make the sandbox fail")
    if not isinstance(value, str) or value.removeprefix("all:") not in SANDBOX_FAULTS:
        raise wrong(path, f"must be one of {', '.join(SANDBOX_FAULTS)}, with or without the prefix all:")
    return value
