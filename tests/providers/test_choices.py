"""Several answers to one request: in one call where the provider takes `n`, else in calls of their own; one attempt."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest

from omni_app.providers.base import (
    Completion,
    Delta,
    Deltas,
    FaultKind,
    Provider,
    ProviderFault,
    ProviderRequest,
    Usage,
)
from omni_app.providers.choices import complete_choices, parts_of, produced, stream_choices
from omni_app.providers.openai_wire import OpenAIWire
from omni_app.providers.sandbox import Sandbox
from omni_app.providers.transport import Transport
from tests.providers.asking import WEATHER_TOOL, ask, model
from tests.servers.upstream import KEY, TEXT, Upstream

THREE = {"n": 3}


@dataclass
class PerChoice:
    """Answers each choice by its number; those in `faulty` break off after their first word."""

    faulty: frozenset[int] = frozenset()
    delay_s: float = 0.0
    name: str = "sandbox"
    simulated: bool = True
    asked: list[ProviderRequest] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)

    def unavailable_reason(self) -> str:
        return ""

    async def complete(self, request: ProviderRequest) -> Completion:
        self.asked.append(request)
        await asyncio.sleep(self.delay_s)
        if request.choice in self.faulty:
            raise ProviderFault(FaultKind.SERVER_ERROR, "broken", usage=Usage(10, 1))
        return Completion(text=f"answer {request.choice}", usage=Usage(10, 2, cached_input=4))

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Deltas | Completion, None]:
        try:
            yield (Delta(text="answer "),)
            await asyncio.sleep(self.delay_s)
            if request.choice in self.faulty:
                raise ProviderFault(FaultKind.INTERRUPTED, "cut")
            yield (Delta(text=str(request.choice)),)
            yield await self.complete(request)
        finally:
            self.closed.append(request.choice)

    async def aclose(self) -> None:
        """Nothing to close."""


async def pieces_of(provider: Provider, request: ProviderRequest) -> list[Deltas | Completion]:
    async with aclosing(stream_choices(provider, request)) as pieces:
        return [piece async for piece in pieces]


def texts(answer: Completion) -> list[str]:
    return [answer.text, *(one.text for one in answer.others)]


async def test_each_choice_is_a_call_of_its_own_and_the_usage_is_the_sum() -> None:
    answer = await complete_choices(PerChoice(), ask(params=THREE))
    assert texts(answer) == ["answer 0", "answer 1", "answer 2"]
    assert answer.usage == Usage(30, 6, cached_input=12)


async def test_the_calls_go_out_at_once() -> None:
    async with asyncio.timeout(0.5):
        await complete_choices(PerChoice(delay_s=0.2), ask(params=THREE))


async def test_a_seed_is_one_of_its_own_for_each_choice_and_n_stays_here() -> None:
    params = [part.params for part in parts_of(ask(params={"n": 3, "seed": 7, "temperature": 1}))]
    assert params == [{"seed": seed, "temperature": 1} for seed in (7, 8, 9)]


async def test_one_failed_call_fails_the_attempt_and_tells_what_the_others_used() -> None:
    with pytest.raises(ProviderFault, match="broken") as failed:
        await complete_choices(PerChoice(frozenset({1})), ask(params=THREE))
    assert failed.value.usage == Usage(30, 5, cached_input=8)


async def test_a_stream_numbers_its_pieces_and_ends_with_all_answers() -> None:
    *deltas, whole = await pieces_of(PerChoice(), ask(params=THREE))
    assert isinstance(whole, Completion) and texts(whole) == ["answer 0", "answer 1", "answer 2"]
    for number in range(3):
        said = [one.text for piece in deltas if isinstance(piece, tuple) for one in piece if one.choice == number]
        assert "".join(said) == f"answer {number}"


async def test_a_stream_of_which_one_choice_breaks_is_broken_and_counts_what_came() -> None:
    provider = PerChoice(frozenset({2}))
    with pytest.raises(ProviderFault, match="cut") as failed:
        await pieces_of(provider, ask(params=THREE))
    assert failed.value.usage is not None and failed.value.usage.estimated and failed.value.usage.output > 0
    assert sorted(provider.closed) == [0, 1, 2], "no call is left open"


async def test_closing_the_stream_closes_every_call() -> None:
    provider = PerChoice(delay_s=30)
    async with aclosing(stream_choices(provider, ask(params=THREE))) as pieces:
        await anext(pieces)
    assert sorted(provider.closed) == [0, 1, 2]


async def test_cancelling_the_plain_call_cancels_every_call() -> None:
    task = asyncio.create_task(complete_choices(PerChoice(delay_s=30), ask(params=THREE)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(asyncio.all_tasks()) == 1


async def test_the_sandbox_says_something_else_for_each_choice() -> None:
    answer = await complete_choices(Sandbox(speed=0), ask(params=THREE, deployment=model("sandbox/general")))
    assert len(set(texts(answer))) == 3


def wire(upstream: Upstream, transport: Transport, *, takes_choices: bool) -> OpenAIWire:
    return OpenAIWire(
        "openai", upstream.openai_url, KEY, "OPENAI_API_KEY", transport=transport, takes_choices=takes_choices
    )


@pytest.mark.parametrize(("takes_choices", "calls", "tokens"), [(True, 1, (12, 7)), (False, 3, (36, 21))])
async def test_n_is_sent_on_where_it_is_taken(
    transport: Transport, *, takes_choices: bool, calls: int, tokens: tuple[int, int]
) -> None:
    async with Upstream() as upstream:
        provider = wire(upstream, transport, takes_choices=takes_choices)
        plain = await complete_choices(provider, ask(params=THREE))
        assert len(upstream.calls) == calls
        assert [call.body.get("n") for call in upstream.calls] == ([3] if takes_choices else [None] * 3)
        *deltas, streamed = await pieces_of(provider, ask(params=THREE))
    assert isinstance(streamed, Completion)
    assert texts(plain) == texts(streamed) == [TEXT] * 3
    assert (plain.usage.input, plain.usage.output) == (streamed.usage.input, streamed.usage.output) == tokens
    assert {one.choice for piece in deltas if isinstance(piece, tuple) for one in piece} == {0, 1, 2}


async def test_tool_calls_of_every_choice_are_whole(transport: Transport) -> None:
    async with Upstream() as upstream:
        request = ask(params={"n": 2, "tools": [WEATHER_TOOL]})
        *_, whole = await pieces_of(wire(upstream, transport, takes_choices=True), request)
    assert isinstance(whole, Completion)
    assert [one.tool_calls[0]["function"]["arguments"] for one in (whole, *whole.others)] == ['{"city": "Paris"}'] * 2


async def test_fewer_answers_than_asked_for_is_a_fault_that_is_billed(transport: Transport) -> None:
    one: dict[str, Any] = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Only me."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }
    async with Upstream(answer=one) as upstream:
        provider = wire(upstream, transport, takes_choices=True)
        with pytest.raises(ProviderFault, match="3 answers were asked for, 1 came") as failed:
            await complete_choices(provider, ask(params=THREE))
        assert failed.value.usage == Usage(9, 3)
        with pytest.raises(ProviderFault):
            await pieces_of(provider, ask(params=THREE))


async def test_a_cut_stream_of_several_choices_is_a_fault(transport: Transport) -> None:
    for fault in ("mid_close", "mid_end", "mid_error", "mid_bad_json"):
        async with Upstream(fault=fault) as upstream:
            with pytest.raises(ProviderFault) as failed:
                await pieces_of(wire(upstream, transport, takes_choices=True), ask(params=THREE))
            assert failed.value.usage is not None and failed.value.usage.output > 0, fault


def test_tool_calls_that_came_before_the_end_are_counted() -> None:
    request = ask()
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "write", "arguments": ""}}
    more = [Delta(tool_call={"index": 0, "function": {"arguments": "many words to write " * 20}})]
    begun, written = produced(PerChoice(), request, [Delta(tool_call=call)]), produced(PerChoice(), request, more)
    assert begun is not None and written is not None and written.output > begun.output + 50
    assert produced(PerChoice(), request, []) is None


def test_each_of_several_calls_has_read_the_prompt() -> None:
    one = produced(PerChoice(), ask(), [Delta(text="word")])
    three = produced(PerChoice(), ask(params=THREE), [Delta(text="word")])
    assert one is not None and three is not None and three.input == 3 * one.input


async def test_several_pictures_are_a_call_each(transport: Transport) -> None:
    painter = model("openai/painter", makes_images=True)
    async with Upstream() as upstream:
        provider = wire(upstream, transport, takes_choices=True)
        answer = await complete_choices(provider, ask(params=THREE, deployment=painter))
        *_, streamed = await pieces_of(provider, ask(params=THREE, deployment=painter))
        assert [call.path for call in upstream.calls] == ["/v1/images/generations"] * 6
    assert isinstance(streamed, Completion)
    for whole in (answer, streamed):
        assert [len(one.images) for one in (whole, *whole.others)] == [1, 1, 1] and whole.usage.images == 3
