"""The walk down the chain: who is called, for how long, and what the breakers learn of it."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from omni_app.errors import OmniError, ProviderError
from omni_app.gateway.gateway import Gateway
from omni_app.gateway.health import COOLDOWN_S, FAULTS_TO_OPEN
from omni_app.gateway.types import Answer, ChatRequest, Opened
from omni_app.providers.anthropic_wire import AnthropicWire
from omni_app.providers.base import Completion, Delta, Deltas, FaultKind, ProviderFault, ProviderRequest
from omni_app.providers.gathering import Gathering
from omni_app.providers.transport import Transport
from tests.gateway.scripted import CALLER, DOWN, HELLO, OK, ScriptedProvider, gateway, records
from tests.servers.upstream import Upstream

PATIENT = replace(HELLO, timeout_s=3.0)
HASTY = replace(HELLO, timeout_s=0.2)
FOREVER_S = 60.0


@dataclass
class Mumbling(ScriptedProvider):
    """Its streams begin with a word where `begins`, then say no more."""

    begins: bool = False

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Deltas | Completion, None]:
        self.asked.append(request)
        if self.begins:
            yield (Delta(text="Well, "),)
        await asyncio.sleep(FOREVER_S)
        yield OK


class Pondering(ScriptedProvider):
    """Thinks aloud, and begins no answer."""

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Deltas | Completion, None]:
        gathering = Gathering(request)
        request.heard.append(gathering)
        gathering.think("Let me see. " * 500)
        await asyncio.sleep(FOREVER_S)
        yield OK


async def told(served: Gateway, request: ChatRequest = PATIENT) -> list[object]:
    async with aclosing(served.stream(CALLER, request)) as pieces:
        return [piece async for piece in pieces]


async def one_answer(served: Gateway) -> list[object]:
    return [await served.chat(CALLER, HELLO)]


async def test_a_primary_that_hangs_leaves_time_for_the_next_one(tmp_path: Path) -> None:
    hanging, beta = ScriptedProvider("alpha", delay_s=FOREVER_S), ScriptedProvider("beta")
    began_s = time.monotonic()
    answer = await gateway(tmp_path, hanging, beta, total_s=30).chat(CALLER, PATIENT)
    assert answer.model == "beta/medium" and answer.attempts[0].outcome == "total_timeout"
    assert time.monotonic() - began_s < 3.1


async def test_a_stream_that_does_not_begin_leaves_time_for_the_next_one(tmp_path: Path) -> None:
    opened, *_, whole = await told(gateway(tmp_path, Mumbling("alpha"), ScriptedProvider("beta")))
    assert isinstance(opened, Opened) and opened.deployment.id == "beta/medium" and opened.fallbacks == 1
    assert getattr(whole, "model", "") == "beta/medium"


async def test_thoughts_that_took_all_the_time_are_paid_for(tmp_path: Path) -> None:
    *_, whole = await told(gateway(tmp_path, Pondering("alpha"), ScriptedProvider("beta")))
    assert isinstance(whole, Answer)
    first, last = whole.attempts
    assert (first.outcome, last.outcome) == ("first_byte_timeout", "ok")
    assert first.usage is not None and first.usage.reasoning > 1_000 and first.cost > 0


async def test_a_stream_that_has_begun_may_take_all_the_time(tmp_path: Path) -> None:
    served = gateway(tmp_path, Mumbling("alpha", begins=True), ScriptedProvider("beta"))
    pieces = served.stream(CALLER, PATIENT)
    began_s = time.monotonic()
    async with aclosing(pieces):
        assert isinstance(await anext(pieces), Opened)
        with suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                assert await anext(pieces) == (Delta(text="Well, "),)
                await anext(pieces)
    assert time.monotonic() - began_s >= 2.0, "nobody can take over any more, so its share does not end it"


@pytest.mark.parametrize("whole_s", [0.2, 3.0, 5.0])
async def test_the_last_of_the_chain_is_given_all_that_is_left(tmp_path: Path, whole_s: float) -> None:
    alpha, beta = ScriptedProvider("alpha", [DOWN]), ScriptedProvider("beta")
    chain = replace(HELLO, timeout_s=whole_s, pinned=("alpha/small", "beta/medium"))
    await gateway(tmp_path, alpha, beta).chat(CALLER, chain)
    assert alpha.asked[0].timeouts.total_s < whole_s * 0.95
    assert beta.asked[0].timeouts.total_s > whole_s * 0.7


async def test_no_further_model_is_called_when_too_little_time_is_left(tmp_path: Path) -> None:
    alpha, beta = ScriptedProvider("alpha", [DOWN], delay_s=0.12), ScriptedProvider("beta")
    chain = replace(HELLO, timeout_s=0.2, pinned=("alpha/small", "beta/medium"))
    with pytest.raises(ProviderError, match="alpha/small"):
        await gateway(tmp_path, alpha, beta).chat(CALLER, chain)
    assert not beta.asked


async def test_hasty_requests_do_not_open_the_breaker_of_a_healthy_model(tmp_path: Path) -> None:
    alpha = ScriptedProvider("alpha", delay_s=0.3)
    served = gateway(tmp_path, alpha, ScriptedProvider("beta", delay_s=0.3))
    for _ in range(2 * FAULTS_TO_OPEN):
        with pytest.raises(ProviderError):
            await served.chat(CALLER, HASTY)
    assert not served.health.cooling(now_s=served.clock())
    assert (await served.chat(CALLER, HELLO)).model == "alpha/small"


async def test_time_outs_that_were_fair_do_open_it(tmp_path: Path) -> None:
    served = gateway(tmp_path, ScriptedProvider("alpha", delay_s=FOREVER_S), ScriptedProvider("beta"))
    answers = await asyncio.gather(*(served.chat(CALLER, PATIENT) for _ in range(FAULTS_TO_OPEN)))
    assert {answer.model for answer in answers} == {"beta/medium"}
    assert set(served.health.cooling(now_s=served.clock())) == {"alpha/small"}


async def test_of_many_requests_at_once_to_a_dead_primary_few_call_it(tmp_path: Path) -> None:
    alpha, beta = ScriptedProvider("alpha", [DOWN]), ScriptedProvider("beta")
    served = gateway(tmp_path, alpha, beta)
    answers = await asyncio.gather(*(served.chat(CALLER, HELLO) for _ in range(100)))
    assert {answer.model for answer in answers} == {"beta/medium"}
    assert max(served.health.cooling(now_s=served.clock()).values()) <= COOLDOWN_S, "one burst is one failure"


async def test_a_model_whose_breaker_opens_while_a_request_is_under_way_is_passed_over(tmp_path: Path) -> None:
    alpha, beta = ScriptedProvider("alpha", [DOWN], delay_s=0.1), ScriptedProvider("beta", [DOWN])
    served = gateway(tmp_path, alpha, beta)
    under_way = asyncio.create_task(
        served.chat(CALLER, replace(HELLO, pinned=("alpha/small", "beta/medium", "alpha/large")))
    )
    await asyncio.sleep(0.02)
    for _ in range(FAULTS_TO_OPEN):
        served.health.begin("beta/medium", now_s=served.clock()).failed(DOWN, now_s=served.clock())
    with pytest.raises(ProviderError, match=r"alpha/small.*alpha/large"):
        await under_way
    assert not beta.asked


async def test_after_the_cooldown_one_of_many_requests_probes(tmp_path: Path) -> None:
    alpha, beta = ScriptedProvider("alpha", [DOWN]), ScriptedProvider("beta")
    served = gateway(tmp_path, alpha, beta)
    for _ in range(FAULTS_TO_OPEN):
        await served.chat(CALLER, HELLO)
    later = served.clock() + COOLDOWN_S
    served.clock = lambda: later
    alpha.script, alpha.delay_s, asked = [OK], 0.2, len(alpha.asked)
    answers = await asyncio.gather(*(served.chat(CALLER, HELLO) for _ in range(50)))
    assert len(alpha.asked) == asked + 1 and sum(answer.model == "alpha/small" for answer in answers) == 1
    assert not served.health.cooling(now_s=later), "the probe has closed the breaker"
    pinned = replace(HELLO, pinned=("alpha/small", "beta/medium"))
    answers = await asyncio.gather(*(served.chat(CALLER, pinned) for _ in range(50)))
    assert {answer.model for answer in answers} == {"alpha/small"}, "so all are let through again"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_an_answer_closes_the_breaker_and_then_all_may_call_again(tmp_path: Path, stream: Any) -> None:
    alpha, beta = ScriptedProvider("alpha", [DOWN]), ScriptedProvider("beta")
    served = gateway(tmp_path, alpha, beta)
    for _ in range(FAULTS_TO_OPEN):
        await served.chat(CALLER, HELLO)
    later = served.clock() + COOLDOWN_S
    served.clock = lambda: later
    alpha.script = [OK]
    await (told(served, HELLO) if stream else one_answer(served))
    alpha.delay_s, asked = 0.05, len(alpha.asked)
    await asyncio.gather(*((told(served, HELLO) if stream else one_answer(served)) for _ in range(20)))
    assert len(alpha.asked) == asked + 20 and not beta.asked[FAULTS_TO_OPEN:]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_faults_with_answers_between_them_open_no_breaker(tmp_path: Path, stream: Any) -> None:
    alpha, beta = ScriptedProvider("alpha", [DOWN, OK] * 9), ScriptedProvider("beta")
    served = gateway(tmp_path, alpha, beta)
    for _ in range(16):
        await (told(served, HELLO) if stream else one_answer(served))
    assert len(alpha.asked) == 16 and len(beta.asked) == 8


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_probe_whose_caller_leaves_makes_room_for_the_next(tmp_path: Path, stream: Any) -> None:
    alpha, beta = ScriptedProvider("alpha", [DOWN]), ScriptedProvider("beta")
    served = gateway(tmp_path, alpha, beta)
    for _ in range(FAULTS_TO_OPEN):
        await served.chat(CALLER, HELLO)
    later = served.clock() + COOLDOWN_S
    served.clock = lambda: later
    alpha.script, alpha.delay_s = [OK], 5.0
    leaving = asyncio.create_task(told(served, HELLO) if stream else one_answer(served))
    await asyncio.sleep(0.05)
    assert served.health.cooling(now_s=later), "it probes"
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert not served.health.cooling(now_s=later)
    assert records(tmp_path)[-1].error_code == "cancelled"


async def test_calls_whose_callers_left_open_no_breaker(tmp_path: Path) -> None:
    served = gateway(tmp_path, ScriptedProvider("alpha", delay_s=FOREVER_S), ScriptedProvider("beta"))
    for _ in range(2 * FAULTS_TO_OPEN):
        leaving = asyncio.create_task(served.chat(CALLER, HELLO))
        await asyncio.sleep(0.01)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
    assert not served.health.cooling(now_s=served.clock())


async def test_when_every_model_says_to_slow_down_the_caller_is_told_how_long_to_wait(tmp_path: Path) -> None:
    busy = ProviderFault(FaultKind.RATE_LIMITED, "slow down", retry_after_s=7)
    alpha, beta = ScriptedProvider("alpha", [busy]), ScriptedProvider("beta", [busy])
    served = gateway(tmp_path, alpha, beta)
    for _ in range(2):
        with pytest.raises(OmniError) as refused:
            await served.chat(CALLER, HELLO)
        assert (refused.value.status, refused.value.code) == (503, "provider_error")
        assert 6 <= int(refused.value.headers["Retry-After"]) <= 7
    assert len(alpha.asked) + len(beta.asked) == 3, "the second request called nobody"


async def test_a_parameter_that_every_model_refuses_is_the_callers_to_mend_and_others_are_not(tmp_path: Path) -> None:
    refusal = ProviderFault(FaultKind.UNSUPPORTED_PARAMETER, "temperature does not support 0.2 with this model")
    refusing = ScriptedProvider("alpha", [refusal] * 5), ScriptedProvider("beta", [refusal] * 5)
    with pytest.raises(OmniError, match="temperature does not support") as met:
        await gateway(tmp_path, *refusing).chat(CALLER, HELLO)
    assert met.value.status == 400

    one_is_down = ScriptedProvider("alpha", [DOWN] * 5), ScriptedProvider("beta", [refusal] * 5)
    with pytest.raises(ProviderError) as met:
        await gateway(tmp_path / "again", *one_is_down).chat(CALLER, HELLO)
    assert met.value.status == 502


async def test_a_caller_who_leaves_pays_for_the_input_that_the_provider_told(tmp_path: Path) -> None:
    counts = {"input_tokens": 21, "cache_read_input_tokens": 4_000, "output_tokens": 7}
    async with Upstream(usage=counts, fault="mid_hang") as upstream:
        alpha = AnthropicWire(upstream.anthropic_url, upstream.key, "ALPHA_KEY", Transport(), name="alpha")
        async with aclosing(gateway(tmp_path, alpha).stream(CALLER, PATIENT)) as pieces:
            assert isinstance(await anext(pieces), Opened)
            await anext(pieces)
        await alpha.transport.aclose()
    (record,) = records(tmp_path)
    assert (record.error_code, record.tokens_input, record.estimated) == ("cancelled", 4_021, True)
