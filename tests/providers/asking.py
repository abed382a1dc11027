"""A model to ask, a request to ask it with, and what came of it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from omni_app.providers.anthropic_wire import AnthropicWire
from omni_app.providers.base import Completion, Delta, Deltas, Provider, ProviderFault, ProviderRequest, Timeouts
from omni_app.providers.openai_wire import OpenAIWire
from omni_app.providers.transport import Transport
from omni_app.routing.types import Deployment, Message, Price, Rating, Task
from tests.servers.upstream import Upstream

QUICK = Timeouts(connect_s=1, first_byte_s=0.3, between_chunks_s=0.3, total_s=5)
HELLO: Sequence[Message] = ({"role": "user", "content": "Say hello."},)
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TOOL_TALK: Sequence[Message] = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Weather in Paris and Rome?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}},
            {"id": "c2", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}},
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "sun"},
    {"role": "tool", "tool_call_id": "c2", "content": "rain"},
)


def talk_of(*ids: str) -> Sequence[Message]:
    """A talk with a call for each id, and an answer to each."""
    calls = [{"id": one, "type": "function", "function": {"name": "now", "arguments": "{}"}} for one in ids]
    answers = [{"role": "tool", "tool_call_id": one, "content": "noon"} for one in ids]
    return (
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        *answers,
    )


FOREIGN_IDS = ("call_0fypS1hVX", "toolu_01A09q90qw", "functions.now:0", "D681PevKs")
"""Ids of calls as OpenAI, Anthropic, Kimi and Mistral make them."""
PNG_URL = "data:image/png;base64,iVBORw0KGgo="
PICTURE: Sequence[Message] = (
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": PNG_URL, "detail": "low"}},
        ],
    },
)


def model(model_id: str = "openai/m", *, sees_temperature: bool = True, makes_images: bool = False) -> Deployment:
    provider, _, name = model_id.partition("/")
    rating = Rating(0.5, "a measure")
    return Deployment(
        id=model_id,
        provider=provider,
        model_name=name,
        price=Price(1, 1),
        context_window=8_192,
        max_output_tokens=1_000,
        ratings=dict.fromkeys(Task, rating),
        overall=rating,
        prior_latency_ms=100,
        makes_images=makes_images,
        sees_temperature=sees_temperature,
    )


def ask(
    messages: Sequence[Message] = HELLO,
    params: Mapping[str, Any] | None = None,
    *,
    deployment: Deployment | None = None,
    timeouts: Timeouts = QUICK,
) -> ProviderRequest:
    return ProviderRequest(deployment or model(), messages, params or {}, timeouts)


def wire(kind: str, upstream: Upstream, transport: Transport) -> OpenAIWire | AnthropicWire:
    """One of our two wires (`openai`, `anthropic`), pointed at the upstream."""
    if kind == "anthropic":
        return AnthropicWire(upstream.anthropic_url, upstream.key, "ANTHROPIC_API_KEY", transport)
    return OpenAIWire("openai", upstream.openai_url, upstream.key, "OPENAI_API_KEY", transport)


async def fault_met(provider: Provider, request: ProviderRequest) -> ProviderFault:
    with pytest.raises(ProviderFault) as met:
        await provider.complete(request)
    return met.value


async def stream_fault(provider: Any, request: ProviderRequest) -> ProviderFault:
    """What a stream met."""
    with pytest.raises(ProviderFault) as met:
        await streamed(provider, request)
    return met.value


async def streamed(provider: Any, request: ProviderRequest) -> tuple[list[Delta], Completion]:
    """A stream's deltas and its whole answer."""
    stream: AsyncGenerator[Deltas | Completion, None] = provider.stream(request)
    pieces = [piece async for piece in stream]
    whole = pieces.pop()
    assert isinstance(whole, Completion)
    return [delta for piece in pieces if isinstance(piece, tuple) for delta in piece], whole


def told_arguments(deltas: Sequence[Delta]) -> dict[int, str]:
    """Each call's arguments as the deltas tell them, by its number."""
    told: dict[int, str] = {}
    for call in [delta.tool_call for delta in deltas if delta.tool_call]:
        told[call["index"]] = told.get(call["index"], "") + call["function"]["arguments"]
    return told


def within(request: ProviderRequest, **seconds: float) -> ProviderRequest:
    return replace(request, timeouts=replace(request.timeouts, **seconds))


async def eventually(condition: Callable[[], bool], *, within_s: float = 5) -> None:
    """Returns when the condition holds; fails when it never does."""
    for _ in range(round(within_s / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")
