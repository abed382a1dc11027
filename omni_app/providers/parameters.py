"""Which parameters go to which kind of model, and what is said when one has to be left out."""

from collections.abc import Collection, Mapping
from typing import Any

from omni_app.providers.base import ProviderRequest

COMMON = ("stop", "tools", "tool_choice", "response_format", "seed", "parallel_tool_calls", "user")
SAMPLING = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs")
"""For models that sample as they are told; reasoning models refuse them."""
REASONING = ("reasoning_effort",)
"""For models that reason; the others refuse it."""
OPTIONAL = frozenset({*COMMON, *SAMPLING, *REASONING})


def accepted(request: ProviderRequest, *, unknown: Collection[str] = ()) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request's optional parameters that this model takes, and a warning for each other one.

    `unknown` are those that the provider has no word for. `max_tokens` is not among them: every lane has its own name
    for it.
    """
    asked: Mapping[str, Any] = {name: value for name, value in request.params.items() if name in OPTIONAL}
    if not asked:
        return {}, ()
    deployment = request.deployment
    foreign = {*unknown, *deployment.refuses, *(REASONING if deployment.sees_temperature else SAMPLING)}
    taken = {name: value for name, value in asked.items() if name not in foreign}
    dropped = sorted(asked.keys() & foreign)
    return taken, tuple(f"{name} was dropped: {deployment.id} does not take it" for name in dropped)
