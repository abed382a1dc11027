"""Token counts that can be believed, and our own where a provider's cannot."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omni_app.providers.base import ProviderRequest, Usage
from omni_app.routing.tokens import estimate_tokens

ABSURD_TOKENS = 10_000_000
"""No answer of one call has more; a larger count is a provider's mistake."""


def sane_tokens(value: Any) -> int | None:
    """A whole count from 0 to `ABSURD_TOKENS`, else None."""
    if type(value) is int:  # nearly every one
        return value if 0 <= value <= ABSURD_TOKENS else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return int(value) if 0 <= value <= ABSURD_TOKENS else None


def counted(request: ProviderRequest, text: str, calls: tuple[Mapping[str, Any], ...] = ()) -> Usage:
    """Our own estimate of a call's tokens, marked as such."""
    tokens_in, _ = estimate_tokens(request.messages, request.params.get("tools") or ())
    written = text + "".join(call["function"]["name"] + call["function"]["arguments"] for call in calls)
    tokens_out, _ = estimate_tokens([{"role": "assistant", "content": written}], ())
    return Usage(input=tokens_in, output=tokens_out, estimated=True)


def with_told(ours: Usage, told: Usage | None) -> Usage:
    """Our count of an answer, beside what its provider told of the input."""
    return ours if told is None else replace(told, output=ours.output, estimated=True)
