"""What `POST /v1/embeddings` accepts: OpenAI's fields, checked; everything else ignored."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from omni_app.api.chat_schema import CHAT_FIELDS, sandbox_fail
from omni_app.api.checks import Check, check_choice, check_list, check_string, check_whole, wrong
from omni_app.api.openai_schema import AUTO, COMPLETION_FIELDS
from omni_app.errors import NotFound
from omni_app.gateway.embedding import Input, same_model
from omni_app.gateway.types import EMBEDDINGS, ChatRequest
from omni_app.routing.types import Deployment, KeyKind

MAX_INPUTS = 2_048
"""OpenAI's limit, too."""
MAX_TOKENS_OF_AN_INPUT = 100_000
MAX_DIMENSIONS = 16_384
TOKEN_IDS = 10_000_000
"""No vocabulary is larger."""


def _input(value: Any, path: str) -> list[Input]:
    """Every form as a list: a text, texts, the tokens of a text, the tokens of texts."""
    if isinstance(value, str):
        return [_text(value, path)]
    inputs = check_list(value, path, MAX_TOKENS_OF_AN_INPUT)
    if isinstance(inputs[0], int):
        return [_tokens(inputs, path)]
    check_list(inputs, path, MAX_INPUTS)
    read = _tokens if isinstance(inputs[0], list) else _text
    return [read(one, f"{path}[{index}]") for index, one in enumerate(inputs)]


def _text(value: Any, path: str) -> str:
    if not check_string(value, path):
        raise wrong(path, "must not be empty")
    return str(value)


def _tokens(value: Any, path: str) -> list[int]:
    tokens = check_list(value, path, MAX_TOKENS_OF_AN_INPUT)
    return [check_whole(one, f"{path}[{index}]", 0, TOKEN_IDS) for index, one in enumerate(tokens)]


FIELDS: Mapping[str, Check] = {
    "input": _input,
    "encoding_format": lambda value, path: check_choice(value, path, ("float", "base64")),
    "dimensions": lambda value, path: check_whole(value, path, 1, MAX_DIMENSIONS),
    "metadata": CHAT_FIELDS["metadata"],
    "omni": COMPLETION_FIELDS["omni"],
}
"""Field -> its check; a field that is not here (`user`, …) is ignored."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A parsed `/v1/embeddings` request; `as_base64`: whether vectors go out as base64 and not as lists of numbers."""

    request: ChatRequest
    as_base64: bool


def parse_embeddings(
    body: Mapping[str, Any], *, deployments: Collection[Deployment], key_kind: KeyKind, timeout_s: float | None
) -> Embeddings:
    """The request. Raises `InvalidRequest` naming the first wrong field, `NotFound` for an unknown model."""
    if body.get("input") is None:
        raise wrong("input", "at least one text is required")
    values = {name: FIELDS[name](value, name) for name, value in body.items() if value is not None and name in FIELDS}
    options, metadata = values.get("omni", {}), values.get("metadata", {})
    request = ChatRequest(
        messages=[],
        endpoint=EMBEDDINGS,
        max_cost=options.get("max_cost"),
        params={name: values[name] for name in ("input", "dimensions") if name in values},
        metadata=metadata,
        session_id=options.get("session_id", ""),
        step_id=options.get("step_id", ""),
        pinned=parse_embedder(body.get("model"), deployments),
        timeout_s=timeout_s,
        sandbox_fail=sandbox_fail(metadata, key_kind),
    )
    return Embeddings(request, as_base64=values.get("encoding_format") == "base64")


def parse_embedder(value: Any, deployments: Collection[Deployment]) -> tuple[str, ...]:
    """The deployments that `model` means: one by its id, all of a model by its bare name; none for `auto`.

    Raises `InvalidRequest` or `NotFound`.
    """
    if value is None or (isinstance(value, str) and value in AUTO):
        return ()
    if not isinstance(value, str):
        raise wrong("model", "must be auto or one model: vectors of different models cannot be compared")
    if any(one.id == value for one in deployments):
        return (value,)
    if found := same_model(value, deployments):
        return found
    known = ", ".join(one.id for one in deployments) or "no model"
    raise NotFound(
        f"model: {value[:100]!r} makes no embeddings for this key; use auto, or one of: {known}", param="model"
    )
