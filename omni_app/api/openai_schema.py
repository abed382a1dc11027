"""What the OpenAI-compatible routes accept: OpenAI's fields as strictly as ours, everything else ignored.

Their clients send fields that we do not know; those never reach a provider, because only the allow-list does.
Our own options travel in the object `omni`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omni_app.api.chat_schema import AGENT_STEP_FIELDS, CHAT_FIELDS, MESSAGE_FIELDS, check_messages, sandbox_fail
from omni_app.api.checks import (
    Check,
    check_boolean,
    check_choice,
    check_list,
    check_number,
    check_object,
    check_string,
    check_whole,
    wrong,
)
from omni_app.errors import NotFound
from omni_app.gateway.types import ChatRequest
from omni_app.providers.parameters import OPTIONAL
from omni_app.routing.types import Deployment, KeyKind, LatencyPref, Priority, Task

OMNI_FIELDS: Mapping[str, Check] = {
    name: AGENT_STEP_FIELDS[name] for name in ("priority", "latency_pref", "max_cost", "session_id", "step_id")
}
MAX_MODELS = 10
MAX_USER_LENGTH = 512
MAX_CHOICES = 8
"""Answers to one request; where a provider does not take `n`, each is a call of its own."""
IMAGE = "[image]"
"""Stands in a tool's result for an image, which follows as the user's."""
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def _messages(value: Any, path: str) -> list[dict[str, Any]]:
    """Messages without the fields that only OpenAI's own answers have (`annotations`, …); a refusal is said text."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        return check_messages(value, path)
    return check_messages([_known(one) for one in value], path)


def _known(message: dict[str, Any]) -> dict[str, Any]:
    if message.keys() <= MESSAGE_FIELDS and None not in message.values():
        return message
    known = {name: value for name, value in message.items() if name in MESSAGE_FIELDS and value is not None}
    refused = "content" not in known and isinstance(message.get("refusal"), str)
    return known | {"content": message["refusal"]} if refused else known


def check_user(value: Any, path: str) -> str:
    """The caller's own name for their user, which providers watch for abuse."""
    name = check_string(value, path)
    if not 0 < len(name) <= MAX_USER_LENGTH:
        raise wrong(path, f"must be 1 to {MAX_USER_LENGTH} characters")
    return name


def _stream_options(value: Any, path: str) -> bool:
    wanted = check_object(value, path).get("include_usage", False)
    return check_boolean(wanted, f"{path}.include_usage")


def check_omni(value: Any, path: str) -> dict[str, Any]:
    """Our own options, in any format's request."""
    options = check_object(value, path)
    for name in options.keys() - OMNI_FIELDS.keys():
        raise wrong(f"{path}.{name[:80]}", "unknown field")
    return {name: OMNI_FIELDS[name](one, f"{path}.{name}") for name, one in options.items() if one is not None}


COMPLETION_FIELDS: Mapping[str, Check] = {
    **{name: check for name, check in CHAT_FIELDS.items() if name not in OMNI_FIELDS},
    "messages": _messages,
    "tools": lambda value, path: [] if value == [] else CHAT_FIELDS["tools"](value, path),
    "n": lambda value, path: check_whole(value, path, 1, MAX_CHOICES),
    "max_completion_tokens": CHAT_FIELDS["max_tokens"],
    "stream_options": _stream_options,
    "parallel_tool_calls": check_boolean,
    "frequency_penalty": lambda value, path: check_number(value, path, -2, 2),
    "presence_penalty": lambda value, path: check_number(value, path, -2, 2),
    "logprobs": check_boolean,
    "top_logprobs": lambda value, path: check_whole(value, path, 0, 20),
    "reasoning_effort": lambda value, path: check_choice(value, path, EFFORTS),
    "user": check_user,
    "omni": check_omni,
}
"""Field -> its check; a field that is not here is ignored."""

NOT_TAKEN: Mapping[str, str] = {
    "audio": "answers are text",
    "function_call": "send tool_choice",
    "functions": "send tools",
    "logit_bias": "the models do not share a vocabulary",
    "prediction": "most models do not take one",
    "verbosity": "say it in the prompt",
    "web_search_options": "nothing is searched here",
}
"""Fields of OpenAI's that change the answer and are not taken, with what to do instead."""


@dataclass(frozen=True, slots=True)
class Completions:
    """A parsed `/v1/chat/completions` request."""

    request: ChatRequest
    include_usage: bool


def parse_completions(
    body: Mapping[str, Any], *, deployments: Collection[Deployment], key_kind: KeyKind, timeout_s: float | None
) -> Completions:
    """The request. Raises `InvalidRequest` naming the first wrong field, `NotFound` for an unknown model."""
    if body.get("messages") is None:
        raise wrong("messages", "at least one message is required")
    values = {
        name: COMPLETION_FIELDS[name](value, name)
        for name, value in body.items()
        if value is not None and name in COMPLETION_FIELDS
    }
    model = parse_model(body.get("model"), deployments)
    metadata = values.get("metadata", {})
    request = ChatRequest(
        messages=values["messages"],
        endpoint="chat/completions",
        max_tokens=values.get("max_completion_tokens", values.get("max_tokens")),
        params=provider_params(values),
        metadata=metadata,
        timeout_s=timeout_s,
        stream=values.get("stream", False),
        sandbox_fail=sandbox_fail(metadata, key_kind),
        warnings=ignored(body, NOT_TAKEN),
        **own_options(values.get("omni", {}), model),
    )
    return Completions(request, include_usage=values.get("stream_options", False))


def own_options(omni: Mapping[str, Any], model: "Wanted") -> dict[str, Any]:
    """The fields of `ChatRequest` that the object `omni` and the model's name say; `omni` stands above the name."""
    return {
        "priority": model.priority,
        "latency_pref": model.latency_pref,
        "pinned": model.pinned,
        "task": Task.AGENT_STEP if "session_id" in omni else None,
        **omni,
    }


OFF = ("disabled", {"type": "disabled"})


def ignored(body: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, ...]:
    """A warning for each field that asks for something which is not done here, so that nothing is lost in silence."""
    if names.keys().isdisjoint(body):
        return ()
    asked = (name for name in names if body.get(name) and body[name] not in OFF)
    return tuple(f"{name} was ignored: {names[name]}" for name in asked)


def provider_params(values: Mapping[str, Any]) -> dict[str, Any]:
    """What goes on to the provider: the allow-list, and `n` where several answers are wanted."""
    params = {name: value for name, value in values.items() if name in OPTIONAL and name not in OF_TOOLS}
    params |= tool_params(values)
    return params | {"n": values["n"]} if values.get("n", 1) > 1 else params


def split_result(parts: Sequence[Mapping[str, Any]]) -> tuple[str, list[Mapping[str, Any]]]:
    """A tool's result as text, and its images, which no message of role `tool` holds: `IMAGE` stands in their place."""
    text = "\n".join(part.get("text", IMAGE) for part in parts)
    return text, [part for part in parts if part["type"] == "image_url"]


OF_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")


def tool_params(values: Mapping[str, Any]) -> dict[str, Any]:
    """The tools and how to call them. Without any, `auto` and `none` ask for nothing; another choice is refused."""
    if values.get("tools"):
        return {name: values[name] for name in OF_TOOLS if name in values}
    if values.get("tool_choice", "none") not in ("auto", "none"):
        raise wrong("tool_choice", "needs tools")
    return {}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `model` asks for: a way to choose, or a chain of the caller's own."""

    priority: Priority = Priority.BALANCED
    latency_pref: LatencyPref = LatencyPref.NORMAL
    pinned: tuple[str, ...] = ()


AUTO: Mapping[str, Wanted] = {
    "auto": Wanted(),
    "auto:balanced": Wanted(),
    "auto:cheap": Wanted(priority=Priority.CHEAP),
    "auto:fast": Wanted(latency_pref=LatencyPref.FAST),
    "auto:best": Wanted(priority=Priority.BEST),
    "auto:quality": Wanted(priority=Priority.QUALITY),
}


def parse_model(value: Any, deployments: Collection[Deployment]) -> Wanted:
    """`auto`, `auto:…`, one model or a list of them. Raises `InvalidRequest` or `NotFound`."""
    if value is None:
        return AUTO["auto"]
    if isinstance(value, str) and value in AUTO:
        return AUTO[value]
    if isinstance(value, str):
        return Wanted(pinned=(pin(value, deployments),))
    pinned = [pin(name, deployments) for name in check_list(value, "model", MAX_MODELS)]
    return Wanted(pinned=tuple(dict.fromkeys(pinned)))


def pin(name: Any, deployments: Collection[Deployment]) -> str:
    """The deployment that a name means: its id, or a bare model name as OpenAI's clients send it."""
    if not isinstance(name, str):
        raise wrong("model", f"must be {', '.join(AUTO)}, a model id or a list of model ids")
    for deployment in deployments:
        if deployment.id == name:
            return deployment.id
    for deployment in deployments:
        if deployment.model_name == name:
            return deployment.id
    raise NotFound(
        f"model: {name[:100]!r} is not served to this key; use auto, or an id of GET /v1/models", param="model"
    )
