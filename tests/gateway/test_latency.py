"""Measured latency: what counts, what does not, how it fades, and how a choice goes by it."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from math import ceil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.errors import OmniError
from omni_app.gateway.gateway import Gateway
from omni_app.gateway.latency import (
    CLIP,
    ENOUGH,
    ENOUGH_FOR_P95,
    HALF_LIFE_S,
    MOST,
    Histogram,
    Latencies,
    Sample,
    spread_of,
)
from omni_app.gateway.situation import snapshot_of
from omni_app.gateway.types import ChatRequest
from omni_app.providers.base import Completion, Delta, Deltas, FaultKind, ProviderFault, ProviderRequest
from omni_app.registry import build_registry
from omni_app.routing.expected import size_class
from omni_app.routing.types import Case, Policy, SizeClass, Snapshot, Task
from omni_app.storage.rollups import BUCKET_BASE, latency_bucket
from omni_app.storage.snapshots import SnapshotRecord
from omni_app.storage.spool import decode, encode
from tests.gateway.scripted import CALLER, DOWN, FLEET, HELLO, OK, ScriptedProvider, deployment, facts, gateway
from tests.routing.models import asking

SMALL = "alpha/small"
PLACE = (SMALL, SizeClass.SMALL_BRIEF)
LARGE = (SMALL, SizeClass.LARGE_BRIEF)
BUCKET_ERROR = BUCKET_BASE**0.5 - 1 + 1e-9
"""A bucket's middle is at most this far from any latency in it: 2 %."""
LONG_PROMPT = ChatRequest(messages=[{"role": "user", "content": "Tell me about it. " * 5_000}], endpoint="chat")


def counted(latencies: Latencies, *samples_ms: int, now_s: float = 0.0, place: tuple[str, SizeClass] = PLACE) -> None:
    for latency_ms in samples_ms:
        latencies.count(place, total_ms=latency_ms, first_token_ms=None, now_s=now_s)


def average_ms(latencies: Latencies, *, now_s: float = 0.0) -> float:
    return latencies.measured(now_s=now_s)[PLACE].total.average_ms


def expected_ms(latencies: Latencies, *, now_s: float = 0.0) -> float:
    """What a choice goes by; the prior is 500 ms."""
    return latencies.expected_ms(FLEET, now_s=now_s).get(SMALL, {}).get(SizeClass.SMALL_BRIEF, 500.0)


# What a histogram tells


@given(st.lists(st.integers(1, 600_000), min_size=int(ENOUGH_FOR_P95), max_size=300))
def test_median_and_p95_are_within_two_percent_of_the_true_quantiles(samples: list[int]) -> None:
    histogram = Histogram({}, now_s=0.0)
    for latency_ms in samples:
        histogram.add(latency_ms, now_s=0.0)
    told = spread_of(histogram.at(0.0))
    assert told is not None and told.p95_ms is not None
    ordered, count = sorted(samples), len(samples)
    assert told.p50_ms == pytest.approx(ordered[ceil(count / 2) - 1], rel=BUCKET_ERROR)
    assert told.p95_ms == pytest.approx(ordered[ceil(count * 95 / 100) - 1], rel=BUCKET_ERROR)


SAMPLES = st.builds(
    Sample,
    place=st.sampled_from([PLACE, LARGE, ("beta/medium", SizeClass.SMALL_BRIEF)]),
    total=st.dictionaries(st.integers(0, 400), st.floats(0.001, 500), max_size=20),
    first_token=st.dictionaries(st.integers(0, 400), st.floats(0.001, 500), max_size=20),
    at_s=st.floats(-10 * HALF_LIFE_S, 0),
)


@given(st.lists(SAMPLES, max_size=12), st.randoms())
def test_it_does_not_matter_in_which_order_workers_are_heard(samples: list[Sample], random: object) -> None:
    shuffled = samples.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = Latencies(), Latencies()
    one.hear(samples)
    other.hear(shuffled)
    assert one.measured(now_s=99.0) == other.measured(now_s=99.0)
    assert one.expected_ms(FLEET, now_s=99.0) == other.expected_ms(FLEET, now_s=99.0)


@given(st.lists(st.tuples(st.integers(1, 60_000), st.booleans()), min_size=1, max_size=200))
def test_two_workers_know_together_what_one_would_know_alone(samples: list[tuple[int, bool]]) -> None:
    alone, first, second = Latencies(), Latencies(), Latencies()
    for latency_ms, to_first in samples:
        counted(alone, latency_ms)
        counted(first if to_first else second, latency_ms)
    second.hear([first.own(place, now_s=0.0) for place in first.news()])
    assert second.measured(now_s=0.0) == alone.measured(now_s=0.0)


@given(st.lists(st.tuples(st.integers(1, 60_000), st.floats(0, 50_000)), min_size=1, max_size=60))
def test_a_sample_weighs_half_as_much_after_each_half_life(samples: list[tuple[int, float]]) -> None:
    histogram, now_s = Histogram({}, now_s=0.0), 0.0
    truth: dict[int, float] = {}
    for latency_ms, wait_s in samples:
        now_s += wait_s
        truth = {bucket: weight * 0.5 ** (wait_s / HALF_LIFE_S) for bucket, weight in truth.items()}
        truth[latency_bucket(latency_ms)] = truth.get(latency_bucket(latency_ms), 0.0) + 1
        histogram.add(latency_ms, now_s=now_s)
    assert histogram.at(now_s) == pytest.approx(truth)


def test_with_much_traffic_the_newest_few_hundred_answers_count() -> None:
    latencies = Latencies()
    counted(latencies, *[1_000] * 100_000)
    counted(latencies, *[4_000] * int(MOST))
    told = latencies.measured(now_s=0.0)[PLACE].total
    assert MOST / 2 <= told.weight <= MOST
    assert told.p50_ms == pytest.approx(4_000, rel=BUCKET_ERROR)


def test_what_is_far_in_the_past_is_no_error_and_nothing_any_more() -> None:
    latencies = Latencies()
    counted(latencies, *[100] * 50)
    assert latencies.measured(now_s=1e12) == {}
    counted(latencies, 200, now_s=1e12)
    assert latencies.measured(now_s=1e12)[PLACE].total.weight == 1


# Outliers


@pytest.mark.parametrize("count", [20, 50, 200])
def test_one_call_that_takes_a_hundred_times_as_long_moves_the_average_little(count: int) -> None:
    usual = [800 + 400 * number // count for number in range(count)]
    calm, shaken = Latencies(), Latencies()
    counted(calm, *usual)
    counted(shaken, *usual, 100_000)
    before, after = average_ms(calm), average_ms(shaken)
    bound = CLIP * 1.2 / (count + 1)
    assert before < after < before * (1 + bound), "unclipped it would be a hundred times as much over the count"
    assert expected_ms(shaken) == pytest.approx(after, rel=0.06)


def test_an_outlier_stays_out_of_the_p95_and_a_few_samples_have_none() -> None:
    latencies = Latencies()
    counted(latencies, *[1_000] * 19)
    assert latencies.measured(now_s=0.0)[PLACE].total.p95_ms is None
    counted(latencies, 1_000, 100_000)
    assert latencies.measured(now_s=0.0)[PLACE].total.p95_ms == pytest.approx(1_000, rel=BUCKET_ERROR)


def test_a_model_that_has_become_slow_is_believed() -> None:
    latencies = Latencies()
    counted(latencies, *[1_000] * 20)
    counted(latencies, *[10_000] * 60, now_s=60.0)
    assert average_ms(latencies, now_s=60.0) > 7_000


# From the prior to the measured figure and back


def test_the_measured_average_takes_over_by_degrees() -> None:
    latencies, seen = Latencies(), [500.0]
    for _ in range(8):
        counted(latencies, 2_000)
        seen.append(expected_ms(latencies))
    assert seen[:6] == sorted(set(seen[:6])), "each of the first five brings it nearer"
    assert seen[5] == seen[8] == pytest.approx(2_000, rel=0.03)
    assert seen[1] == pytest.approx(500 + 1_500 / ENOUGH, rel=0.04)


def test_without_new_calls_the_prior_returns_by_degrees() -> None:
    latencies = Latencies()
    counted(latencies, *[2_000] * 10)
    half_lives = [expected_ms(latencies, now_s=number * HALF_LIFE_S) for number in range(12)]
    assert half_lives[0] == half_lives[1] == pytest.approx(2_000, rel=0.03)
    assert half_lives == sorted(half_lives, reverse=True)
    assert half_lives[-1] == 500 and latencies.measured(now_s=11 * HALF_LIFE_S) == {}


def test_sizes_do_not_mix() -> None:
    latencies = Latencies()
    counted(latencies, *[300] * 30)
    counted(latencies, *[20_000] * 30, place=LARGE)
    by_size = latencies.expected_ms(FLEET, now_s=0.0)[SMALL]
    assert by_size.keys() == {SizeClass.SMALL_BRIEF, SizeClass.LARGE_BRIEF}
    assert by_size[SizeClass.SMALL_BRIEF] == pytest.approx(300, rel=0.05)
    assert by_size[SizeClass.LARGE_BRIEF] == pytest.approx(20_000, rel=0.05)
    whole, parts = latencies.of_model(SMALL, now_s=0.0)
    assert whole is not None and whole.total.weight == 60
    assert {size: told.total.weight for size, told in parts.items()} == {PLACE[1]: 30, LARGE[1]: 30}


def test_what_is_simulated_or_unknown_is_never_expected_as_measured() -> None:
    latencies = Latencies()
    simulated = replace(FLEET[0], id="sandbox/x", simulated=True)
    for model in (SMALL, "sandbox/x", "gone/model"):
        counted(latencies, *[300] * 30, place=(model, SizeClass.SMALL_BRIEF))
    assert latencies.expected_ms([*FLEET, simulated], now_s=0.0).keys() == {SMALL}


# What the gateway counts


def weights(served: Gateway) -> dict[tuple[str, SizeClass], float]:
    now_s = served.clock()
    return {place: round(told.total.weight) for place, told in served.latencies.measured(now_s=now_s).items()}


async def test_answers_count_under_their_size_and_failures_do_not(tmp_path: Path) -> None:
    served = gateway(tmp_path, ScriptedProvider("alpha", [DOWN]), ScriptedProvider("beta", delay_s=0.02))
    for _ in range(3):
        await served.chat(CALLER, HELLO)
    await served.chat(CALLER, LONG_PROMPT)
    assert weights(served) == {("beta/medium", SizeClass.SMALL_BRIEF): 3, ("beta/medium", SizeClass.LARGE_BRIEF): 1}
    told = served.latencies.measured(now_s=served.clock())[("beta/medium", SizeClass.SMALL_BRIEF)]
    assert told.total.p50_ms >= 19 and told.first_token is None


async def test_a_burst_of_failures_moves_nothing(tmp_path: Path) -> None:
    alpha = ScriptedProvider("alpha", delay_s=0.01)
    served = gateway(tmp_path, alpha, ScriptedProvider("beta", reason="down"))
    for _ in range(6):
        await served.chat(CALLER, HELLO)
    before = served.latencies.measured(now_s=0.0)
    alpha.script, alpha.delay_s = [ProviderFault(FaultKind.SERVER_ERROR, "no")], 0.05
    for _ in range(10):
        with pytest.raises(OmniError):
            await served.chat(CALLER, HELLO)
    assert served.latencies.measured(now_s=0.0) == before


class Speaker(ScriptedProvider):
    """Says two words, then that it is done; breaks off after the first word when told to."""

    breaks = False

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Deltas | Completion, None]:
        await asyncio.sleep(0.1)
        yield (Delta(text="fi"),)
        if self.breaks:
            raise ProviderFault(FaultKind.INTERRUPTED, "gone")
        await asyncio.sleep(0.2)
        yield (Delta(text="ne"),)
        yield OK


async def streamed(served: Gateway, *, pause_s: float = 0.0, pieces: int = 99) -> None:
    stream = served.stream(CALLER, HELLO)
    count = 0
    async for _ in stream:
        if pause_s:
            await asyncio.sleep(pause_s)
        count += 1
        if count == pieces:
            break
    await stream.aclose()


async def test_a_stream_tells_its_first_token_and_its_whole_time(tmp_path: Path) -> None:
    served = gateway(tmp_path, Speaker("alpha"), ScriptedProvider("beta", reason="down"))
    await streamed(served)
    (told,) = served.latencies.measured(now_s=served.clock()).values()
    assert told.first_token is not None
    assert told.first_token.p50_ms >= 98
    assert told.total.p50_ms >= told.first_token.p50_ms + 190


async def test_cut_streams_hung_up_callers_and_slow_readers_tell_nothing(tmp_path: Path) -> None:
    speaker = Speaker("alpha")
    served = gateway(tmp_path, speaker, ScriptedProvider("beta", reason="down"))
    await streamed(served, pieces=2)
    await streamed(served, pause_s=0.1)
    speaker.breaks = True
    with pytest.raises(OmniError):
        await streamed(served)
    assert weights(served) == {}
    speaker.breaks = False
    await streamed(served)
    assert weights(served) == {PLACE: 1}


async def test_a_cancelled_call_and_several_choices_tell_nothing(tmp_path: Path) -> None:
    served = gateway(tmp_path, ScriptedProvider("alpha", delay_s=0.05), ScriptedProvider("beta", reason="down"))
    call = asyncio.create_task(served.chat(CALLER, HELLO))
    await asyncio.sleep(0.01)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await served.chat(CALLER, replace(HELLO, params={"n": 2}))
    assert weights(served) == {}


async def test_simulated_models_tell_nothing(tmp_path: Path) -> None:
    served = gateway(tmp_path, ScriptedProvider("sandbox"), ScriptedProvider("local"))
    sandbox = replace(deployment("sandbox/small", usd_in=1), simulated=True)
    served.use_registry(build_registry([sandbox, deployment("local/real", usd_in=9)]))
    for model in ("sandbox/small", "local/real"):
        await served.chat(replace(CALLER, kind="test"), replace(HELLO, pinned=(model,)))
    assert weights(served) == {("local/real", SizeClass.SMALL_BRIEF): 1}


# The choice goes by the request's own size


async def test_a_model_that_becomes_slow_for_long_prompts_loses_only_those(tmp_path: Path) -> None:
    served = gateway(tmp_path, ScriptedProvider("alpha"), ScriptedProvider("beta"))
    assert served.decide(CALLER, HELLO).selected == served.decide(CALLER, LONG_PROMPT).selected == SMALL
    counted(served.latencies, *[60_000] * 20, now_s=served.clock(), place=LARGE)
    counted(served.latencies, *[400] * 20, now_s=served.clock())
    served.use_registry(served.registry)  # begins with a new snapshot at once
    assert served.decide(CALLER, HELLO).selected == SMALL
    assert served.decide(CALLER, LONG_PROMPT).selected == "beta/medium"
    assert served.decide(CALLER, HELLO).selected == SMALL, "each size has its own shortlist"


@pytest.mark.parametrize(
    ("tokens", "max_tokens", "expected"),
    [
        (1_000, None, SizeClass.SMALL_BRIEF),
        (1_001, None, SizeClass.MEDIUM_BRIEF),
        (10_000, 4_096, SizeClass.MEDIUM_BRIEF),
        (10_001, None, SizeClass.LARGE_BRIEF),
    ],
)
def test_sizes_of_prompts(tokens: int, max_tokens: int | None, expected: SizeClass) -> None:
    assert sized(Task.CHAT, tokens, max_tokens) is expected


@pytest.mark.parametrize(
    ("max_tokens", "expected"), [(None, "medium_full"), (257, "medium_full"), (256, "medium_brief")]
)
def test_sizes_of_answers(max_tokens: int | None, expected: str) -> None:
    assert sized(Task.CODING, 2_000, max_tokens) == expected


def sized(task: Task, tokens: int, max_tokens: int | None) -> SizeClass:
    request = asking(task, tokens=tokens, max_tokens=max_tokens)
    return size_class(Case(request, task, Policy(), Snapshot("s")))


# Kept states


async def test_the_measured_figures_of_a_state_are_kept_and_come_back(tmp_path: Path) -> None:
    served = gateway(tmp_path, ScriptedProvider("alpha"), ScriptedProvider("beta"))
    counted(served.latencies, *[900] * 20, now_s=served.clock())
    await served.chat(CALLER, HELLO)
    (kept,) = [fact for fact in facts(tmp_path) if isinstance(fact, SnapshotRecord)]
    decided_in = served.decide(CALLER, HELLO).explanation.case.snapshot
    assert snapshot_of(kept, FLEET) == decided_in
    assert decided_in.latency_ms[SMALL].keys() == {SizeClass.SMALL_BRIEF}
    assert decode(encode(kept)) == kept


def test_a_state_of_an_earlier_version_has_one_figure_for_every_size(tmp_path: Path) -> None:
    record = SnapshotRecord("s", {SMALL: 1200.0}, {}, "2026-03-01", datetime(2026, 3, 1, tzinfo=UTC))
    line = encode(record)
    kept = decode(line)
    assert isinstance(kept, SnapshotRecord)
    assert snapshot_of(kept, FLEET).latency_ms == {SMALL: dict.fromkeys(SizeClass, 1200.0)}
