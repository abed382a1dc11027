"""The tokens that each provider tells at the end of a stream are the ones that are billed; else ours, and marked."""

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
from anthropic.types import RawMessageDeltaEvent
from openai.types.chat import ChatCompletionChunk

from omni_app.providers.anthropic_answers import EventReader
from omni_app.providers.base import Completion, ProviderFault
from omni_app.providers.gathering import Gathering, Gatherings, deltas_of
from omni_app.providers.openai_answers import read_event
from omni_app.providers.usage import counted
from tests.providers.asking import ask
from tests.providers.terminal_chunks import (
    ANTHROPIC_ENDINGS,
    ANTHROPIC_UNTOLD,
    HI,
    OPENAI_ENDINGS,
    UNTOLD,
    Ending,
    bare,
    chunk,
)


async def lines(events: Sequence[dict[str, Any]]) -> AsyncGenerator[list[bytes], None]:
    for event in events:
        yield [b"data: " + json.dumps(event).encode(), b""]


async def whole(ending: Ending, *, anthropic: bool = False) -> Completion:
    if anthropic:
        gathering = Gathering(ask())
        _ = [deltas async for deltas in deltas_of(lines(ending.events), EventReader(gathering).read, gathering)]
        return gathering.completion()
    gatherings = Gatherings(ask())
    events = lines([HI, *ending.events])
    _ = [deltas async for deltas in deltas_of(events, lambda data: read_event(data, gatherings), gatherings)]
    return gatherings.completion()


def tokens_of(answer: Completion) -> tuple[int, int, int, int, int]:
    usage = answer.usage
    return (usage.input, usage.output, usage.cached_input, usage.cache_write, usage.reasoning)


@pytest.mark.parametrize("ending", OPENAI_ENDINGS, ids=lambda ending: ending.name)
def test_golden_chunks_are_what_openais_own_types_accept(ending: Ending) -> None:
    for event in ending.events:
        ChatCompletionChunk.model_validate(event)


@pytest.mark.parametrize("ending", ANTHROPIC_ENDINGS, ids=lambda ending: ending.name)
def test_golden_events_are_what_anthropics_own_types_accept(ending: Ending) -> None:
    for event in ending.events:
        if event["type"] == "message_delta":
            RawMessageDeltaEvent.model_validate(event)


@pytest.mark.parametrize("ending", [*OPENAI_ENDINGS, *ANTHROPIC_ENDINGS], ids=lambda ending: ending.name)
async def test_what_a_provider_tells_at_the_end_is_billed(ending: Ending) -> None:
    answer = await whole(ending, anthropic=ending in ANTHROPIC_ENDINGS)
    assert tokens_of(answer) == ending.tokens and not answer.usage.estimated
    assert (answer.text, answer.finish_reason) == ("Hi.", ending.finish_reason)


@pytest.mark.parametrize("ending", [*UNTOLD, *ANTHROPIC_UNTOLD], ids=lambda ending: ending.name)
async def test_what_nobody_can_believe_is_counted_here_and_marked(ending: Ending) -> None:
    answer = await whole(ending, anthropic=ending in ANTHROPIC_UNTOLD)
    assert answer.usage == counted(ask(), "Hi.") and answer.usage.estimated


async def test_a_stream_that_groq_stops_early_is_broken() -> None:
    ending = Ending("error", (chunk("stop", x_groq={"id": "r", "error": "over capacity"}), bare()), (0, 0, 0, 0, 0))
    with pytest.raises(ProviderFault, match="over capacity"):
        await whole(ending)
