"""What `POST /v1/messages` accepts: Anthropic's fields, turned into the shape that the gateway knows."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from omni_app.api.chat_schema import MAX_MESSAGES, MAX_PARTS, MAX_TOKENS, MAX_TOOLS, sandbox_fail
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
from omni_app.api.openai_schema import (
    EFFORTS,
    check_omni,
    check_user,
    ignored,
    own_options,
    parse_model,
    split_result,
    tool_params,
)
from omni_app.gateway.types import ChatRequest
from omni_app.json_bytes import json_bytes
from omni_app.routing.types import Deployment, KeyKind

IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
NOT_TAKEN: Mapping[str, str] = {
    "mcp_servers": "no tool is called here",
    "thinking": "send output_config.effort; thoughts are not shown",
    "top_k": "most models do not take it",
}
"""Fields of Anthropic's that change the answer and are not taken, with what to do instead."""
THOUGHTS = ("thinking", "redacted_thinking")
"""Blocks of an earlier answer that only the model which wrote them can read; left out."""


def parse_messages(
    body: Mapping[str, Any], *, deployments: Collection[Deployment], key_kind: KeyKind, timeout_s: float | None
) -> ChatRequest:
    """The request. Raises `InvalidRequest` naming the first wrong field, `NotFound` for an unknown model."""
    if body.get("messages") is None:
        raise wrong("messages", "at least one message is required")
    if body.get("max_tokens") is None:
        raise wrong("max_tokens", "is required")
    values = {name: FIELDS[name](value, name) for name, value in body.items() if value is not None and name in FIELDS}
    model = parse_model(body.get("model"), deployments)
    metadata = values.get("metadata", {})
    params: dict[str, Any] = {name: values[name] for name in ("temperature", "top_p") if name in values}
    if values.get("stop_sequences"):
        params["stop"] = values["stop_sequences"]
    params |= tool_params(values | values.get("tool_choice", {}))
    params |= values.get("output_format", {}) | values.get("output_config", {})
    if metadata.get("user_id") is not None:
        params["user"] = check_user(metadata["user_id"], "metadata.user_id")
    marks = list(_marks(body))
    return ChatRequest(
        messages=[*values.get("system", []), *values["messages"]],
        endpoint="messages",
        max_tokens=values["max_tokens"],
        params=params,
        metadata=metadata,
        timeout_s=timeout_s,
        stream=values.get("stream", False),
        sandbox_fail=sandbox_fail(metadata, key_kind),
        warnings=(*ignored(body, NOT_TAKEN), *_unkept(marks)),
        keep_prompt=bool(marks),
        **own_options(values.get("omni", {}), model),
    )


def _marks(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every `cache_control`: the body's own, and those of its tools, blocks and blocks in blocks."""
    blocks = _objects([body.get("tools"), body.get("system"), *(message["content"] for message in body["messages"])])
    for holder in (body, *blocks, *_objects([block.get("content") for block in blocks])):
        if isinstance(mark := holder.get("cache_control"), dict):
            yield mark


def _objects(lists: list[Any]) -> list[Mapping[str, Any]]:
    return [one for some in lists if isinstance(some, list) for one in some if isinstance(one, dict)]


def _unkept(marks: list[Mapping[str, Any]]) -> tuple[str, ...]:
    asked = any(mark.get("ttl") not in (None, "5m") for mark in marks)
    return ("cache_control.ttl was ignored: Anthropic is asked to keep the prompt for 5 minutes",) if asked else ()


def _system(value: Any, path: str) -> list[dict[str, Any]]:
    text = value if isinstance(value, str) else "\n\n".join(_texts(value, path))
    return [{"role": "system", "content": text}] if text else []


def _texts(value: Any, path: str) -> list[str]:
    blocks = check_list(value, path, MAX_PARTS, low=0)
    for index, block in enumerate(blocks):
        check_choice(check_object(block, f"{path}[{index}]").get("type"), f"{path}[{index}].type", ("text",))
    return [check_string(block.get("text"), f"{path}[{index}].text") for index, block in enumerate(blocks)]


def _messages(value: Any, path: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for index, message in enumerate(check_list(value, path, MAX_MESSAGES)):
        here = f"{path}[{index}]"
        role = check_choice(check_object(message, here).get("role"), f"{here}.role", ("user", "assistant"))
        content = message.get("content")
        if isinstance(content, str):
            messages.append({"role": role, "content": content})
        else:
            blocks = check_list(content, f"{here}.content", MAX_PARTS, low=0 if role == "assistant" else 1)
            messages += (_assistant if role == "assistant" else _user)(blocks, f"{here}.content")
    if not messages:
        raise wrong(path, "at least one message is required")
    return messages


def _assistant(blocks: list[Any], path: str) -> list[dict[str, Any]]:
    """The assistant's text and tool calls as one message; none where no block was a word or a call."""
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    for index, block in enumerate(blocks):
        here = f"{path}[{index}]"
        kind = check_object(block, here).get("type")
        if kind == "text":
            texts.append(check_string(block.get("text"), f"{here}.text"))
        elif kind == "tool_use":
            function = {
                "name": check_id(block.get("name"), f"{here}.name"),
                "arguments": json_bytes(check_object(block.get("input"), f"{here}.input")).decode(),
            }
            calls.append({"id": check_id(block.get("id"), f"{here}.id"), "type": "function", "function": function})
        elif kind not in THOUGHTS:
            raise wrong(f"{here}.type", "must be text or tool_use")
    if not texts and not calls:
        return []
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    return [message | {"tool_calls": calls}] if calls else [message]


def _user(blocks: list[Any], path: str) -> list[dict[str, Any]]:
    """Tool results as messages of their own, then the user's text and images, and the images of the results."""
    results: list[dict[str, Any]] = []
    parts: list[Mapping[str, Any]] = []
    for index, block in enumerate(blocks):
        here = f"{path}[{index}]"
        if check_object(block, here).get("type") == "tool_result":
            result, images = _tool_result(block, here)
            results.append(result)
            parts += images
        else:
            parts.append(_part(block, here, "text, image or tool_result"))
    return [*results, *([{"role": "user", "content": parts}] if parts else [])]


def _part(block: Any, path: str, kinds: str) -> dict[str, Any]:
    """A text or an image in OpenAI's shape."""
    kind = check_object(block, path).get("type")
    if kind == "text":
        return {"type": "text", "text": check_string(block.get("text"), f"{path}.text")}
    if kind == "image":
        return _image(block.get("source"), f"{path}.source")
    raise wrong(f"{path}.type", f"must be {kinds}")


def _tool_result(block: Mapping[str, Any], path: str) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    """The result's message, and its images."""
    content = block.get("content") or ""
    if isinstance(content, str):
        parts = [{"type": "text", "text": content}]
    else:
        blocks = check_list(content, f"{path}.content", MAX_PARTS)
        parts = [_part(one, f"{path}.content[{index}]", "text or image") for index, one in enumerate(blocks)]
    text, images = split_result(parts)
    message = {
        "role": "tool",
        "tool_call_id": check_id(block.get("tool_use_id"), f"{path}.tool_use_id"),
        "content": f"Error: {text}" if block.get("is_error") is True else text,
    }
    return message, images


def _image(source: Any, path: str) -> dict[str, Any]:
    kind = check_choice(check_object(source, path).get("type"), f"{path}.type", ("base64", "url"))
    if kind == "url":
        url = check_string(source.get("url"), f"{path}.url")
        if not url.startswith("https://"):
            raise wrong(f"{path}.url", "must be an https:// URL")
    else:
        media = check_choice(source.get("media_type"), f"{path}.media_type", IMAGE_TYPES)
        url = f"data:{media};base64,{check_string(source.get('data'), f'{path}.data')}"
    return {"type": "image_url", "image_url": {"url": url}}


def _tools(value: Any, path: str) -> list[dict[str, Any]]:
    tools = []
    for index, tool in enumerate(check_list(value, path, MAX_TOOLS, low=0)):
        here = f"{path}[{index}]"
        check_choice(check_object(tool, here).get("type", "custom"), f"{here}.type", ("custom",))
        function = {
            "name": check_id(tool.get("name"), f"{here}.name"),
            "parameters": check_object(tool.get("input_schema"), f"{here}.input_schema"),
        }
        if tool.get("description") is not None:
            function["description"] = check_string(tool["description"], f"{here}.description")
        tools.append({"type": "function", "function": function})
    return tools


def _tool_choice(value: Any, path: str) -> dict[str, Any]:
    """OpenAI's `tool_choice`, and `parallel_tool_calls` where it was turned off."""
    kind = check_choice(check_object(value, path).get("type"), f"{path}.type", ("auto", "any", "none", "tool"))
    if kind == "tool":
        name = check_id(value.get("name"), f"{path}.name")
        choice: Any = {"type": "function", "function": {"name": name}}
    else:
        choice = "required" if kind == "any" else kind
    alone = {"parallel_tool_calls": False} if value.get("disable_parallel_tool_use") is True else {}
    return {"tool_choice": choice, **alone}


def _output_config(value: Any, path: str) -> dict[str, Any]:
    """OpenAI's `response_format` and `reasoning_effort`, as far as they are set."""
    config = check_object(value, path)
    params = _output_format(config["format"], f"{path}.format") if config.get("format") is not None else {}
    if config.get("effort") is not None:
        params["reasoning_effort"] = check_choice(config["effort"], f"{path}.effort", EFFORTS)
    return params


def _output_format(value: Any, path: str) -> dict[str, Any]:
    """OpenAI's `response_format`: a schema that the model must keep to."""
    check_choice(check_object(value, path).get("type"), f"{path}.type", ("json_schema",))
    schema = {"name": "output", "schema": check_object(value.get("schema"), f"{path}.schema"), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _stops(value: Any, path: str) -> list[str]:
    return [check_string(stop, f"{path}[{index}]") for index, stop in enumerate(check_list(value, path, 100, low=0))]


FIELDS: Mapping[str, Check] = {
    "messages": _messages,
    "system": _system,
    "max_tokens": lambda value, path: check_whole(value, path, 1, MAX_TOKENS),
    "temperature": lambda value, path: check_number(value, path, 0, 1),
    "top_p": lambda value, path: check_number(value, path, 0, 1),
    "stop_sequences": _stops,
    "stream": check_boolean,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "metadata": check_object,
    "omni": check_omni,
    "output_config": _output_config,
    "output_format": _output_format,  # The name of `output_config.format` while it was a beta.
}
"""Field -> its check; a field that is not here (`thinking`, `top_k`, `service_tier`, …) is ignored."""
