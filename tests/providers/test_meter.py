"""When a stream is stopped: it goes on beyond `max_tokens`, on either wire, in any kind of piece."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from omni_app.providers import anthropic_answers, openai_answers
from omni_app.providers.base import Completion, Delta, FaultKind, ProviderFault, ProviderRequest, Usage
from omni_app.providers.gathering import STOPPED, Gathering, Gatherings, deltas_of
from omni_app.providers.meter import Meter
from tests.gateway.scripted import FLEET
from tests.providers.asking import HELLO, QUICK

LIMIT = 40
INDENTED = ("\n" + " " * 24 + "return x") * 50
"""200 tokens of cl100k; with each space counted the estimate would be 631, and is 103."""


def asked(*, metered: bool = True, **params: Any) -> ProviderRequest:
    return ProviderRequest(
        deployment=FLEET[0], messages=HELLO, params={"max_tokens": LIMIT} | params, timeouts=QUICK, metered=metered
    )


async def lines(*events: Any) -> AsyncIterator[list[bytes]]:
    """Seven at a time."""
    told = [b"data: " + json.dumps(one).encode() for one in events]
    for start in range(0, len(told), 7):
        yield told[start : start + 7]


def chunk(number: int = 0, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": number, "delta": delta}]}


def block(kind: str, name: str, text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": kind, name: text}}


async def by_openai(request: ProviderRequest, *events: Any) -> tuple[list[Delta], Completion]:
    gatherings = Gatherings(request)
    read = deltas_of(lines(*events), lambda data: openai_answers.read_event(data, gatherings), gatherings)
    deltas = [delta async for batch in read for delta in batch]
    return deltas, gatherings.completion()


async def by_anthropic(request: ProviderRequest, *events: Any) -> tuple[list[Delta], Completion]:
    gathering = Gathering(request)
    read = deltas_of(lines(*events), anthropic_answers.EventReader(gathering).read, gathering)
    deltas = [delta async for batch in read for delta in batch]
    return deltas, gathering.completion()


def words(count: int) -> Iterator[str]:
    return (f"word{number} " for number in range(count))


async def test_openai_s_stream_ends_with_the_first_piece_that_is_too_many() -> None:
    deltas, whole = await by_openai(asked(), *(chunk(content=word) for word in words(500)))
    assert len(deltas) == LIMIT + 1
    assert (whole.text, whole.finish_reason) == ("".join(words(LIMIT + 1)), "length")
    assert (whole.stopped, whole.warnings) == (True, (STOPPED,))
    assert whole.usage.estimated and whole.usage.output >= LIMIT


async def test_anthropic_s_stream_ends_with_the_first_piece_that_is_too_many() -> None:
    deltas, whole = await by_anthropic(asked(), *(block("text_delta", "text", word) for word in words(500)))
    assert len(deltas) == LIMIT + 1 and (whole.finish_reason, whole.stopped) == ("length", True)
    assert whole.usage.estimated and whole.usage.output >= LIMIT


async def test_large_pieces_are_found_out_by_the_estimate() -> None:
    piece = "The quick brown fox jumps over the lazy dog and is not seen again in these parts. "
    deltas, whole = await by_anthropic(asked(), *[block("text_delta", "text", piece)] * 100)
    assert 4 <= len(deltas) <= 8 and whole.stopped


async def test_thoughts_count() -> None:
    _, whole = await by_openai(
        asked(), *(chunk(reasoning_content=word) for word in words(30)), *(chunk(content=word) for word in words(30))
    )
    assert whole.text == "".join(words(11)) and whole.usage.reasoning > 30
    _, whole = await by_anthropic(
        asked(), *(block("thinking_delta", "thinking", word) for word in words(LIMIT + 1)),
        block("text_delta", "text", "never read"),
    )  # fmt: skip
    assert whole.text == "" and whole.usage.reasoning >= LIMIT


async def test_thoughts_that_are_told_while_it_writes_count() -> None:
    def told(output: int, **delta: Any) -> dict[str, Any]:
        return {**chunk(**delta), "usage": {"prompt_tokens": 900, "completion_tokens": output}}

    deltas, whole = await by_openai(asked(), *(told(18 + 9 * number, content="word ") for number in range(9)))
    assert len(deltas) == 4 and whole.stopped and whole.usage == Usage(900, 45)
    ended = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": told(70)["usage"]}
    _, whole = await by_openai(asked(), told(30, content="word "), ended)
    assert (whole.stopped, whole.usage) == (False, Usage(900, 70)), "what has come whole is not stopped"


async def test_when_one_of_several_answers_goes_on_all_are_stopped() -> None:
    events = [chunk(number, content=word) for word in words(500) for number in (0, 1)]
    deltas, whole = await by_openai(asked(n=2), *events)
    assert len(deltas) == 2 * LIMIT + 1 and whole.stopped and whole.warnings == (STOPPED,)
    assert [whole.finish_reason, whole.others[0].finish_reason] == ["length", "length"]


async def test_a_tool_call_that_is_cut_is_a_fault_with_its_tokens() -> None:
    opened = {"index": 0, "id": "c1", "function": {"name": "find", "arguments": '{"a": "'}}
    more = [{"index": 0, "function": {"arguments": word}} for word in words(500)]
    with pytest.raises(ProviderFault) as caught:
        await by_openai(asked(), *(chunk(tool_calls=[one]) for one in (opened, *more)))
    assert caught.value.kind is FaultKind.MALFORMED
    assert caught.value.usage is not None and caught.value.usage.output >= LIMIT


async def test_an_answer_within_the_limit_and_one_without_a_promise_come_to_their_own_end() -> None:
    ended = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    for request, count in ((asked(), LIMIT), (asked(metered=False), 500)):
        _, whole = await by_openai(request, *(chunk(content=word) for word in words(count)), ended)
        assert (whole.finish_reason, whole.stopped, whole.warnings) == ("stop", False, ())


def test_indented_code_is_not_taken_for_three_times_as_long() -> None:
    honest, dishonest = Meter(200), Meter(50)
    honest.add(INDENTED)
    dishonest.add(INDENTED)
    assert not honest.is_over and dishonest.is_over
