"""What is different about a request for embeddings: what routing is told of it, and what a model cannot do."""

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from omni_app.errors import InvalidRequest, PromptTooLong
from omni_app.gateway.types import Caller, ChatRequest
from omni_app.routing.tokens import PER_MESSAGE_TOKENS, PER_REQUEST_TOKENS, byte_count, expected_tokens
from omni_app.routing.types import Deployment, Priority, RouteRequest, Task

SURELY_TOO_LONG = 1.5
"""A text is refused here from this many times the window on, by our estimate; below that the provider knows better."""

Input = str | Sequence[int]
"""A text, or its tokens."""


def embedding_route(caller: Caller, request: ChatRequest) -> RouteRequest:
    """What routing needs to know: tokens and terms. The task is the one that `decide` wants, and stands for nothing."""
    inputs: Sequence[Input] = request.params["input"]
    return RouteRequest(
        task_scores={},
        input_tokens=sum(map(length_of, inputs)),
        input_tokens_bound=sum(map(bound_of, inputs), PER_REQUEST_TOKENS),
        key_kind=caller.kind,
        priority=Priority.CHEAP,
        max_cost=request.max_cost,
        forced_task=Task.CHAT,
        allowed_models=caller.allowed_models,
        disabled_models=caller.disabled_models,
        pinned=request.pinned,
        embeds=True,
    )


def length_of(one: Input) -> int:
    """Tokens: counted where they are given, else our estimate."""
    return expected_tokens(one) if isinstance(one, str) else len(one)


def bound_of(one: Input) -> int:
    """Tokens that the input cannot exceed."""
    return (byte_count(one) if isinstance(one, str) else len(one)) + PER_MESSAGE_TOKENS


def model_of(deployment: Deployment) -> str:
    """The model's own name, the same at every provider: some put its maker before it (`openai/…`)."""
    return deployment.model_name.rpartition("/")[2]


def same_model(name: str, deployments: Iterable[Deployment]) -> tuple[str, ...]:
    """The ids of the deployments of this model, cheapest first."""
    found = [one for one in deployments if model_of(one) == name]
    return tuple(one.id for one in sorted(found, key=lambda one: (one.price.input, one.id)))


def fitting(params: Mapping[str, Any], deployments: Collection[Deployment]) -> dict[str, Any]:
    """The parameters as the model takes them. Raises `InvalidRequest` or `PromptTooLong` for what it cannot do."""
    fitted = dict(params)
    for deployment in deployments:
        refuse_too_long(params["input"], deployment)
        wanted = params.get("dimensions")
        if wanted is None:
            continue
        if wanted > deployment.vector_size or (wanted < deployment.vector_size and not deployment.shortens_vectors):
            fewer = "1 to " if deployment.shortens_vectors else "always "
            told = f"{deployment.id} makes {fewer}{deployment.vector_size} of them, not {wanted}"
            raise InvalidRequest(f"dimensions: {told}", param="dimensions")
        if not deployment.shortens_vectors:
            fitted.pop("dimensions", None)
    return fitted


def refuse_too_long(inputs: Sequence[Input], deployment: Deployment) -> None:
    """Raises `PromptTooLong` for the first input that no window of the model can hold."""
    for index, one in enumerate(inputs):
        window, length = deployment.context_window, length_of(one)
        if length > window * (SURELY_TOO_LONG if isinstance(one, str) else 1):
            told = f"has about {length:,} tokens, {deployment.id} takes {window:,}"
            raise PromptTooLong(f"input[{index}]: {told}", param="input")


def without_window(deployments: Iterable[Deployment]) -> list[Deployment]:
    """For routing: the window holds for each input, not for their sum, and was asked before."""
    return [replace(one, context_window=sys.maxsize) for one in deployments]
