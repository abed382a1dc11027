"""From a provider's HTTP error to a `ProviderFault`: what the status and the body's words mean for the next step."""

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import orjson

from omni_app.providers.base import FaultKind, ProviderFault
from omni_app.providers.transport import Reply, cleaned, retry_after_s

BY_STATUS: Mapping[int, FaultKind] = {
    400: FaultKind.BAD_REQUEST,
    401: FaultKind.AUTHENTICATION,
    402: FaultKind.AUTHENTICATION,
    403: FaultKind.AUTHENTICATION,
    404: FaultKind.MODEL_NOT_FOUND,
    408: FaultKind.FIRST_BYTE_TIMEOUT,
    409: FaultKind.SERVER_ERROR,
    410: FaultKind.MODEL_NOT_FOUND,
    413: FaultKind.CONTEXT_LENGTH,
    422: FaultKind.BAD_REQUEST,
    429: FaultKind.RATE_LIMITED,
    508: FaultKind.LOOP,
}
"""The rest: 4xx is the request's fault, everything else the server's."""

BY_CODE: Mapping[str, FaultKind] = {
    "context_length_exceeded": FaultKind.CONTEXT_LENGTH,
    "string_above_max_length": FaultKind.UNSUPPORTED_PARAMETER,
    "request_too_large": FaultKind.CONTEXT_LENGTH,
    "unsupported_parameter": FaultKind.UNSUPPORTED_PARAMETER,
    "unsupported_value": FaultKind.UNSUPPORTED_PARAMETER,
    "unknown_parameter": FaultKind.UNSUPPORTED_PARAMETER,
    "content_policy_violation": FaultKind.CONTENT_POLICY,
    "content_filter": FaultKind.CONTENT_POLICY,
    "invalid_prompt": FaultKind.CONTENT_POLICY,
    "model_not_found": FaultKind.MODEL_NOT_FOUND,
    "model_decommissioned": FaultKind.MODEL_NOT_FOUND,
    "not_found_error": FaultKind.MODEL_NOT_FOUND,
    "insufficient_quota": FaultKind.RATE_LIMITED,
    "rate_limit_exceeded": FaultKind.RATE_LIMITED,
    "rate_limit_error": FaultKind.RATE_LIMITED,
    "overloaded_error": FaultKind.SERVER_ERROR,
    "authentication_error": FaultKind.AUTHENTICATION,
    "permission_error": FaultKind.AUTHENTICATION,
    "exceed_context_size_error": FaultKind.CONTEXT_LENGTH,
    "omni_loop": FaultKind.LOOP,
}
"""Error codes and types of OpenAI, Anthropic, Groq, OpenRouter and llama.cpp that say more than the status.

A text above its length is a parameter (`user`, an id) that other providers take longer, unless it is a message's.
"""

BY_WORDS: tuple[tuple[str, FaultKind], ...] = (
    ("context length", FaultKind.CONTEXT_LENGTH),
    ("maximum context", FaultKind.CONTEXT_LENGTH),
    ("context window", FaultKind.CONTEXT_LENGTH),
    ("context size", FaultKind.CONTEXT_LENGTH),
    ("prompt is too long", FaultKind.CONTEXT_LENGTH),
    ("maximum prompt length", FaultKind.CONTEXT_LENGTH),
    ("exceed context limit", FaultKind.CONTEXT_LENGTH),
    ("unsupported parameter", FaultKind.UNSUPPORTED_PARAMETER),
    ("is not supported with this model", FaultKind.UNSUPPORTED_PARAMETER),
    ("function calling with a response mime type", FaultKind.UNSUPPORTED_PARAMETER),
    ("does not support", FaultKind.UNSUPPORTED_PARAMETER),
    ("content policy", FaultKind.CONTENT_POLICY),
    ("content management policy", FaultKind.CONTENT_POLICY),
    ("safety system", FaultKind.CONTENT_POLICY),
    ("maximum number of tokens allowed", FaultKind.CONTEXT_LENGTH),
    ("api key not valid", FaultKind.AUTHENTICATION),
    ("api key expired", FaultKind.AUTHENTICATION),
    ("user location is not supported", FaultKind.AUTHENTICATION),
    ("credit balance", FaultKind.AUTHENTICATION),
)
"""Words of a 400's message, where the provider gives no code."""

MESSAGE_TEXT = re.compile(r"messages\[\d+\]\.content\b")
"""How OpenAI names the text of a message."""
ONLY_FROM_A_REFUSAL = frozenset({400, 413, 422})


def fault_of(reply: Reply) -> ProviderFault:
    """The fault of an answer that is not a success."""
    error = error_object(reply.body)
    message = error.get("message")
    return ProviderFault(
        kind_of(reply.status, error),
        cleaned(message if isinstance(message, str) else f"HTTP {reply.status}") or f"HTTP {reply.status}",
        http_status=reply.status,
        retry_after_s=retry_after_s(reply.headers),
    )


def kind_of(status: int, error: Mapping[str, Any]) -> FaultKind:
    """The kind, from the most telling of code, type, words and status."""
    by_status = BY_STATUS.get(status, FaultKind.BAD_REQUEST if 400 <= status < 500 else FaultKind.SERVER_ERROR)
    for field in ("code", "type"):
        value = error.get(field)
        if isinstance(value, str) and value in BY_CODE:
            too_long = value == "string_above_max_length" and MESSAGE_TEXT.match(str(error.get("param")))
            return FaultKind.CONTEXT_LENGTH if too_long else BY_CODE[value]
    if status in ONLY_FROM_A_REFUSAL:
        words = str(error.get("message", "")).lower()
        return next((kind for text, kind in BY_WORDS if text in words), by_status)
    return by_status


def error_object(body: bytes) -> Mapping[str, Any]:
    """The error that a body tells of; empty when it tells of none."""
    try:
        return error_in(orjson.loads(body))
    except orjson.JSONDecodeError:
        return {}


def error_in(value: Any) -> Mapping[str, Any]:
    """`{"error": {…}}`, `{"error": "text"}` or Mistral's `{"object": "error", …}`; empty when it is none of them."""
    if not isinstance(value, dict):
        return {}
    error = value if value.get("object") == "error" else value.get("error")
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


class _AsDocumented:
    """Around the reading of an answer: a field of another type than the format has is a `ProviderFault`.

    A class, for it stands around each event of each stream: a generator would take thrice as long.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, AttributeError | KeyError | TypeError | ValueError):
            raise ProviderFault(FaultKind.MALFORMED, "a field of the answer is not what it should be") from error


as_documented = _AsDocumented()


def as_text(value: Any) -> str:
    """A piece of an answer that is to be text; what is none is a fault, as `as_documented` has it."""
    if not isinstance(value, str):
        raise TypeError("a piece of text is none")
    return value
