"""Limits of tokens per window: held before a model is asked, settled when it has answered."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from omni_app.errors import InvalidRequest, ProviderError, RateLimited
from omni_app.gateway.gateway import Gateway
from omni_app.gateway.rate_limits import tokens_needed
from omni_app.gateway.types import EMBEDDINGS, Answer, ChatRequest, Opened
from omni_app.limits import MemoryLimiter, Quota, Verdict
from omni_app.providers.base import Completion, Usage
from omni_app.routing.types import Task
from tests.gateway.scripted import CALLER, DOWN, HELLO, ScriptedProvider, gateway, records

PROMPT_TOKENS = 8
"""Of `HELLO`, by our estimate."""
SHORT = replace(HELLO, max_tokens=92)
"""May use 100 tokens."""


def limited(folder: Path, *providers: ScriptedProvider, tokens: int) -> Gateway:
    served = gateway(folder, *providers)
    served.limits = replace(served.limits, token_max=tokens)
    return served


def answering(tokens_in: int, tokens_out: int, *, delay_s: float = 0.0) -> ScriptedProvider:
    answer = Completion(text="fine", usage=Usage(input=tokens_in, output=tokens_out))
    return ScriptedProvider("alpha", [answer], delay_s=delay_s)


async def left(served: Gateway, request: ChatRequest = SHORT) -> int:
    """What remains beside one more request."""
    verdict = (await served.chat(CALLER, request)).tokens_left
    assert verdict is not None
    return verdict.remaining


async def test_what_a_request_may_use_is_held_and_what_it_did_not_use_goes_back(tmp_path: Path) -> None:
    served = limited(tmp_path, answering(5, 15), tokens=1_000)
    assert served.decide(CALLER, SHORT).explanation.case.request.input_tokens == PROMPT_TOKENS
    assert await left(served) == 900
    assert await left(served) == 880, "twenty were used, and a hundred are held"


async def test_an_answer_that_is_longer_than_was_held_counts_in_full(tmp_path: Path) -> None:
    served = limited(tmp_path, answering(100, 850), tokens=1_000)
    assert await left(served) == 900
    with pytest.raises(RateLimited, match="may use 100, 50 are left"):
        await served.chat(CALLER, SHORT)


async def test_over_the_limit_no_provider_is_called_and_there_is_no_row(tmp_path: Path) -> None:
    provider = answering(50, 50, delay_s=0.05)
    served = limited(tmp_path, provider, tokens=1_000)
    ended = await asyncio.gather(*(served.chat(CALLER, SHORT) for _ in range(500)), return_exceptions=True)
    assert Counter(map(type, ended)) == {Answer: 10, RateLimited: 490}
    refused = next(one for one in ended if isinstance(one, RateLimited))
    assert refused.headers["x-ratelimit-limit-tokens"] == "1000"
    assert refused.headers["Retry-After"] == refused.headers["x-ratelimit-reset-tokens"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert len(provider.asked) == len(records(tmp_path)) == 10


async def test_a_request_larger_than_the_limit_is_told_that_waiting_does_not_help(tmp_path: Path) -> None:
    served = limited(tmp_path, answering(5, 5), tokens=99)
    with pytest.raises(InvalidRequest, match=r"may use 100 tokens .* the limit is 99 in 60 seconds") as refused:
        await served.chat(CALLER, SHORT)
    assert "Retry-After" not in refused.value.headers
    assert records(tmp_path) == []


async def test_without_max_tokens_an_answer_is_taken_to_fit_into_the_limit(tmp_path: Path) -> None:
    served = limited(tmp_path, answering(5, 5), tokens=50)
    assert await left(served, HELLO) == 0
    generous = limited(tmp_path, answering(5, 5), tokens=10_000)
    ceiling = generous.policy.output_ceiling_tokens
    assert await left(generous, HELLO) == 10_000 - PROMPT_TOKENS - ceiling
    with pytest.raises(InvalidRequest, match="may use 8 tokens"):
        await limited(tmp_path, answering(5, 5), tokens=7).chat(CALLER, HELLO)


async def test_several_answers_count_as_several(tmp_path: Path) -> None:
    served = limited(tmp_path, answering(5, 5), tokens=1_000)
    assert await left(served, replace(SHORT, params={"n": 3})) == 1_000 - PROMPT_TOKENS - 3 * 92


async def test_a_keys_own_limit_holds_beside_its_orgs_and_takes_nothing_from_it(tmp_path: Path) -> None:
    served = limited(tmp_path, answering(50, 50), tokens=1_000)
    key, other = replace(CALLER, token_limit=150), replace(CALLER, key_id=CALLER.org_id)
    answer = await served.chat(key, SHORT)
    assert answer.tokens_left is not None and answer.tokens_left.limit == 150
    for _ in range(3):
        with pytest.raises(RateLimited, match="over the limit of 150 tokens"):
            await served.chat(key, SHORT)
    found = (await served.chat(other, SHORT)).tokens_left
    assert found is not None and (found.limit, found.remaining) == (1_000, 800)


async def test_a_failed_request_gives_back_what_nobody_used(tmp_path: Path) -> None:
    served = limited(tmp_path, ScriptedProvider("alpha", [DOWN]), tokens=100)
    for _ in range(3):
        with pytest.raises(ProviderError):
            await served.chat(CALLER, SHORT)


async def test_a_caller_that_leaves_gives_back_what_was_held(tmp_path: Path) -> None:
    served = limited(tmp_path, answering(5, 5, delay_s=9), tokens=100)
    for _ in range(3):
        task = asyncio.create_task(served.chat(CALLER, SHORT))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_stream_tells_what_is_left_and_settles(tmp_path: Path) -> None:
    served = limited(tmp_path, answering(5, 15), tokens=1_000)
    for remaining in (900, 880):
        pieces = [piece async for piece in served.stream(CALLER, SHORT)]
        told = [piece.tokens_left for piece in pieces if isinstance(piece, Opened | Answer)]
        assert [one.remaining for one in told if one] == [remaining] * 2


class CountingLimiter(MemoryLimiter):
    """Remembers what it was asked."""

    asked: list[tuple[Quota, ...]]

    def count(self, *quotas: Quota, amount: int = 1) -> Verdict:
        self.asked.append(quotas)
        return super().count(*quotas, amount=amount)


async def test_without_a_token_limit_the_limiter_is_asked_once_a_request_for_org_and_key_together(
    tmp_path: Path,
) -> None:
    served = gateway(tmp_path, answering(5, 5))
    served.limiter = limiter = CountingLimiter()
    limiter.asked = []
    caller = replace(CALLER, rate_limit=7)
    await served.admit(caller)
    assert (await served.chat(caller, SHORT)).tokens_left is None
    assert [[quota.limit for quota in quotas] for quotas in limiter.asked] == [[1_000, 7]]


@pytest.mark.parametrize(
    ("request_", "tokens"),
    [
        (replace(HELLO, task=Task.IMAGE), PROMPT_TOKENS),
        (ChatRequest(messages=[], endpoint=EMBEDDINGS, params={"input": [[1] * 40, [2] * 2]}), 42),
    ],
)
def test_where_no_words_are_written_the_input_is_held_only(tmp_path: Path, request_: ChatRequest, tokens: int) -> None:
    served = gateway(tmp_path, answering(5, 5))
    assert tokens_needed(served.decide(CALLER, request_), at_most=9_999) == tokens
