"""What `POST /v1/responses` accepts: OpenAI's Responses API, turned into the shape that the gateway knows.

Nothing is stored here, as with `store: false` at OpenAI: the conversation comes whole each time.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from omni_app.api.chat_schema import CHAT_FIELDS, MAX_MESSAGES, MAX_PARTS, MAX_TOOLS, sandbox_fail
from omni_app.api.checks import (
    Check,
    check_boolean,
    check_choice,
    check_id,
    check_list,
    check_object,
    check_string,
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
from omni_app.routing.types import Deployment, KeyKind

NOT_TAKEN: Mapping[str, str] = {
    "include": "there is nothing more to tell",
    "store": "nothing is stored here",
    "top_logprobs": "send the request to /v1/chat/completions",
    "truncation": "send less: nothing of the input is left out",
    "text.verbosity": "say it in the prompt",
    "reasoning.summary": "thoughts are not shown",
}
"""Fields of OpenAI's, and fields in fields, that ask for what is not done here, with what to do instead."""
NOT_STORED: Mapping[str, str] = {
    "previous_response_id": "nothing is stored here: send the whole conversation as input",
    "conversation": "nothing is stored here: send the whole conversation as input",
    "prompt": "nothing is stored here: send its text as instructions and input",
    "background": "nothing is stored here: wait for the answer, or stream it",
}
"""Fields without which the request would mean something else: refused."""
LEFT_OUT = ("reasoning", "image_generation_call")
"""Items of earlier answers: thoughts, which only the model that had them can read, and pictures."""
TEXTS = ("input_text", "output_text")
SHOWING = ("user", "tool")
"""Whose content may hold images."""
DETAILS = ("auto", "low", "high", "original")


@dataclass(frozen=True, slots=True)
class Responses:
    """A parsed `/v1/responses` request."""

    request: ChatRequest
    repeated: Mapping[str, Any]
    """The caller's own fields, as the answer repeats them."""


def parse_responses(
    body: Mapping[str, Any], *, deployments: Collection[Deployment], key_kind: KeyKind, timeout_s: float | None
) -> Responses:
    """The request. Raises `InvalidRequest` naming the first wrong field, `NotFound` for an unknown model."""
    for name, advice in NOT_STORED.items():
        if body.get(name):
            raise wrong(name, advice)
    if body.get("input") is None:
        raise wrong("input", "a text or a list of items is required")
    values = {name: FIELDS[name](value, name) for name, value in body.items() if value is not None and name in FIELDS}
    model = parse_model(body.get("model"), deployments)
    metadata = values.get("metadata", {})
    request = ChatRequest(
        messages=[*values.get("instructions", []), *values["input"]],
        endpoint="responses",
        max_tokens=values.get("max_output_tokens"),
        params=_params(values),
        metadata=metadata,
        timeout_s=timeout_s,
        stream=values.get("stream", False),
        sandbox_fail=sandbox_fail(metadata, key_kind),
        warnings=ignored({**body, **_inner(body)}, NOT_TAKEN),
        **own_options(values.get("omni", {}), model),
    )
    return Responses(request, _repeated(body))


def _inner(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the objects that are taken in part, by their paths."""
    return {f"{name}.{part}": value for name in PARTLY for part, value in (body.get(name) or {}).items()}


def _repeated(body: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's own fields, as far as they are taken."""
    parts = {name: (body.get(name) or {}).get(part) for name, part in PARTLY.items()}
    whole = {name: body[name] for name in REPEATED if body.get(name) is not None}
    return whole | {name: {PARTLY[name]: value} for name, value in parts.items() if value is not None}


def _params(values: Mapping[str, Any]) -> dict[str, Any]:
    """What goes on to the provider, by the names of chat completions."""
    params: dict[str, Any] = {name: values[name] for name in ("temperature", "top_p") if name in values}
    params |= tool_params(values)
    user = values.get("safety_identifier", values.get("user"))
    if user:
        params["user"] = user
    return {**params, **values.get("text", {}), **values.get("reasoning", {})}


# The conversation


def _instructions(value: Any, path: str) -> list[dict[str, Any]]:
    text = check_string(value, path)
    return [{"role": "system", "content": text}] if text else []


def _input(value: Any, path: str) -> list[dict[str, Any]]:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    messages: list[dict[str, Any]] = []
    unseen: list[Mapping[str, Any]] = []  # images of outputs, which follow the last of them
    for index, item in enumerate(check_list(value, path, MAX_MESSAGES)):
        here = f"{path}[{index}]"
        kind = check_object(item, here).get("type", "message")
        if kind == "function_call_output":
            output, images = _call_output(item, here)
            messages.append(output)
            unseen += images
        elif kind not in LEFT_OUT:
            _show(unseen, messages)
            _add(messages, item, kind, here)
    _show(unseen, messages)
    if not messages:
        raise wrong(path, "at least one message is required")
    return messages


def _show(images: list[Mapping[str, Any]], messages: list[dict[str, Any]]) -> None:
    if images:
        messages.append({"role": "user", "content": [*images]})
        images.clear()


def _add(messages: list[dict[str, Any]], item: Mapping[str, Any], kind: Any, path: str) -> None:
    """A message, or a call that the model made."""
    if kind == "message":
        messages.append(_message(item, path))
    elif kind == "function_call":
        _add_call(messages, _call(item, path))
    elif kind == "item_reference":
        raise wrong(path, "nothing is stored here: send the item itself")
    else:
        raise wrong(f"{path}.type", f"must be message, function_call, function_call_output, {' or '.join(LEFT_OUT)}")


def _message(item: Mapping[str, Any], path: str) -> dict[str, Any]:
    role = check_choice(item.get("role"), f"{path}.role", ("user", "assistant", "system", "developer"))
    content = item.get("content")
    if isinstance(content, str):
        return {"role": role, "content": content}
    parts = [
        _part(part, f"{path}.content[{index}]", role)
        for index, part in enumerate(check_list(content, f"{path}.content", MAX_PARTS))
    ]
    if role == "user":
        return {"role": role, "content": parts}
    return {"role": role, "content": "".join(part["text"] for part in parts)}


def _part(part: Any, path: str, role: str) -> dict[str, Any]:
    kind = check_object(part, path).get("type")
    if kind in TEXTS:
        return {"type": "text", "text": check_string(part.get("text"), f"{path}.text")}
    if kind == "refusal" and role == "assistant":
        return {"type": "text", "text": check_string(part.get("refusal"), f"{path}.refusal")}
    if kind == "input_image" and role in SHOWING:
        return _image(part, path)
    raise wrong(f"{path}.type", "must be input_text or input_image" if role in SHOWING else "must be a text")


def _image(part: Mapping[str, Any], path: str) -> dict[str, Any]:
    if part.get("file_id"):
        raise wrong(f"{path}.file_id", "nothing is stored here: send an image_url")
    url = check_string(part.get("image_url"), f"{path}.image_url")
    if not url.startswith(("data:image/", "https://")):
        raise wrong(f"{path}.image_url", "must be a data:image/… or an https:// URL")
    image = {"url": url}
    if part.get("detail") is not None:
        image["detail"] = check_choice(part["detail"], f"{path}.detail", DETAILS)
    return {"type": "image_url", "image_url": image}


def _call(item: Mapping[str, Any], path: str) -> dict[str, Any]:
    function = {
        "name": check_id(item.get("name"), f"{path}.name"),
        "arguments": check_string(item.get("arguments"), f"{path}.arguments"),
    }
    return {"id": check_id(item.get("call_id"), f"{path}.call_id"), "type": "function", "function": function}


def _add_call(messages: list[dict[str, Any]], call: dict[str, Any]) -> None:
    """A call belongs to the message of the model's before it; without one it makes its own."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": ""})
    messages[-1].setdefault("tool_calls", []).append(call)


def _call_output(item: Mapping[str, Any], path: str) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    """The output's message, and its images."""
    output = item.get("output")
    if isinstance(output, str):
        parts = [{"type": "text", "text": output}]
    else:
        listed = check_list(output, f"{path}.output", MAX_PARTS, low=0)
        parts = [_part(part, f"{path}.output[{index}]", "tool") for index, part in enumerate(listed)]
    text, images = split_result(parts)
    return {"role": "tool", "tool_call_id": check_id(item.get("call_id"), f"{path}.call_id"), "content": text}, images


# Tools and the form of the answer


def _tools(value: Any, path: str) -> list[dict[str, Any]]:
    """Functions, as chat completions name them. An empty list is none, as at OpenAI."""
    tools = []
    for index, tool in enumerate(check_list(value, path, MAX_TOOLS, low=0)):
        here = f"{path}[{index}]"
        if check_object(tool, here).get("type") != "function":
            raise wrong(f"{here}.type", "must be function: nothing is searched or run here")
        function: dict[str, Any] = {"name": check_id(tool.get("name"), f"{here}.name")}
        for name, check in TOOL_FIELDS.items():
            if tool.get(name) is not None:
                function[name] = check(tool[name], f"{here}.{name}")
        tools.append({"type": "function", "function": function})
    return tools


def _tool_choice(value: Any, path: str) -> Any:
    if isinstance(value, str):
        return check_choice(value, path, ("auto", "none", "required"))
    check_choice(check_object(value, path).get("type"), f"{path}.type", ("function",))
    return {"type": "function", "function": {"name": check_id(value.get("name"), f"{path}.name")}}


def _text(value: Any, path: str) -> dict[str, Any]:
    """Chat completions' `response_format`, where one is set."""
    wanted = check_object(value, path).get("format")
    if wanted is None:
        return {}
    here = f"{path}.format"
    kind = check_choice(check_object(wanted, here).get("type"), f"{here}.type", ("text", "json_object", "json_schema"))
    if kind != "json_schema":
        return {"response_format": {"type": kind}} if kind == "json_object" else {}
    schema: dict[str, Any] = {
        "name": check_id(wanted.get("name"), f"{here}.name"),
        "schema": check_object(wanted.get("schema"), f"{here}.schema"),
    }
    for name in TOOL_FIELDS.keys() - {"parameters"}:
        if wanted.get(name) is not None:
            schema[name] = TOOL_FIELDS[name](wanted[name], f"{here}.{name}")
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _reasoning(value: Any, path: str) -> dict[str, Any]:
    """Chat completions' `reasoning_effort`, where one is set."""
    effort = check_object(value, path).get("effort")
    return {} if effort is None else {"reasoning_effort": check_choice(effort, f"{path}.effort", EFFORTS)}


TOOL_FIELDS: Mapping[str, Check] = {"description": check_string, "parameters": check_object, "strict": check_boolean}
FIELDS: Mapping[str, Check] = {
    "input": _input,
    "instructions": _instructions,
    "max_output_tokens": CHAT_FIELDS["max_tokens"],
    "temperature": CHAT_FIELDS["temperature"],
    "top_p": CHAT_FIELDS["top_p"],
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": check_boolean,
    "text": _text,
    "reasoning": _reasoning,
    "metadata": CHAT_FIELDS["metadata"],
    "stream": check_boolean,
    "user": check_user,
    "safety_identifier": check_user,
    "omni": check_omni,
}
"""Field -> its check; a field that is not here (`service_tier`, `prompt_cache_key`, …) is ignored."""
REPEATED = (
    *("instructions", "max_output_tokens", "temperature", "top_p", "tools", "tool_choice", "parallel_tool_calls"),
    *("metadata", "user", "safety_identifier"),
)
PARTLY: Mapping[str, str] = {"text": "format", "reasoning": "effort"}
"""Objects of which one field is taken."""
