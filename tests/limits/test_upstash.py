"""The limiter of many workers: exact together over a real Redis, and still there when Redis is not."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upstash_redis.asyncio import Redis
from upstash_redis.errors import UpstashError

from omni_app.limits import MemoryLimiter, Quota, Verdict, build_limiter
from omni_app.limits.base import Limiter
from omni_app.limits.door import FAILURES_TO_OPEN, PAUSE_S, TIMEOUT_S
from omni_app.limits.upstash import RECALL_S, UpstashLimiter
from tests.limits.test_memory import Clock
from tests.product import free_port
from tests.servers.upstash import TOKEN, Mood, UpstashServer, running_upstash

PATIENT_S = 20.0
"""For a busy test machine; the product's own patience is `TIMEOUT_S`."""


@pytest.fixture(scope="module")
def upstash() -> Iterator[UpstashServer]:
    with running_upstash() as server:
        yield server


@pytest.fixture
def subject() -> str:
    """A caller of this test only: the Redis is one for all."""
    return uuid4().hex


@asynccontextmanager
async def limiting(
    url: str, *, workers: int = 1, timeout_s: float = PATIENT_S, clock: Clock | None = None, token: str = TOKEN
) -> AsyncIterator[UpstashLimiter]:
    redis = Redis(url=url, token=token, rest_retries=0, allow_telemetry=False)
    limiter = UpstashLimiter(redis, workers=workers, timeout_s=timeout_s, clock=clock or time.monotonic)
    try:
        yield limiter
    finally:
        await limiter.aclose()


async def test_the_shim_speaks_upstashs_protocol(upstash: UpstashServer, subject: str) -> None:
    async with Redis(url=upstash.url, token=TOKEN, allow_telemetry=False) as client:
        await client.set(subject, "wörds")
        assert await client.get(subject) == "wörds"
        assert await client.get("nothing") is None
        assert await client.eval("return {1, 'two', {3}}") == [1, "two", [3]]
        with pytest.raises(UpstashError, match=r"(?i)unknown command"):
            await client.execute(["NONSENSE"])
    async with Redis(url=upstash.url, token="wrong", allow_telemetry=False, rest_retries=0) as client:
        with pytest.raises(UpstashError, match="WRONGPASS"):
            await client.get(subject)


async def test_of_five_hundred_requests_at_once_exactly_the_limit_is_allowed(
    upstash: UpstashServer, subject: str
) -> None:
    async with limiting(upstash.url) as limiter:
        verdicts = await asyncio.gather(*(limiter.take(Quota(subject, 100, 60)) for _ in range(500)))
    assert Counter(one.allowed for one in verdicts) == {True: 100, False: 400}
    assert {one.mode for one in verdicts} == {"shared"}
    assert sorted(one.remaining for one in verdicts if one.allowed) == list(range(100))
    assert all(0 < one.reset_s <= 60 for one in verdicts if not one.allowed)


async def test_many_workers_share_one_limit(upstash: UpstashServer, subject: str) -> None:
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(limiting(upstash.url)) for _ in range(4)]
        hits = [worker.take(Quota(subject, 30, 60)) for _ in range(15) for worker in workers]
        verdicts = await asyncio.gather(*hits)
    assert Counter(one.allowed for one in verdicts) == {True: 30, False: 30}


async def test_who_waits_as_long_as_told_is_allowed_again(upstash: UpstashServer, subject: str) -> None:
    async with limiting(upstash.url) as limiter:
        assert [(await limiter.take(Quota(subject, 2, 0.4))).allowed for _ in range(3)] == [True, True, False]
        refused = await limiter.take(Quota(subject, 2, 0.4))
        assert 0 < refused.reset_s <= 0.4
        await asyncio.sleep(refused.reset_s + 0.01)
        assert (await limiter.take(Quota(subject, 2, 0.4))).allowed


async def test_a_lowered_limit_tells_the_wait_until_it_really_allows(upstash: UpstashServer, subject: str) -> None:
    async with limiting(upstash.url) as limiter:
        for _ in range(3):
            await limiter.take(Quota(subject, 3, 0.5))
            await asyncio.sleep(0.05)
        refused = await limiter.take(Quota(subject, 1, 0.5))
        assert not refused.allowed and refused.remaining == 0
        await asyncio.sleep(refused.reset_s + 0.01)
        assert (await limiter.take(Quota(subject, 1, 0.5))).allowed


async def test_a_quiet_subject_leaves_nothing_in_redis(upstash: UpstashServer, subject: str) -> None:
    async with limiting(upstash.url) as limiter:
        await limiter.take(Quota(subject, 2, 0.1))
    await asyncio.sleep(0.15)
    async with Redis(url=upstash.url, token=TOKEN, allow_telemetry=False) as client:
        assert await client.exists(f"omni:limit:{subject}") == 0


async def test_what_one_quota_refuses_counts_in_none(upstash: UpstashServer, subject: str) -> None:
    org = Quota(f"org {subject}", 10, 60)
    async with limiting(upstash.url) as limiter:
        verdicts = [await limiter.take(org, Quota(subject, 2, 60)) for _ in range(5)]
        assert [(one.allowed, one.limit, one.remaining) for one in verdicts[:3]] == [
            (True, 2, 1), (True, 2, 0), (False, 2, 0),
        ]  # fmt: skip
        assert (await limiter.take(org)).remaining == 7


DRAWS = st.lists(
    st.tuples(st.sampled_from(("org", "one", "both")), st.integers(1, 9), st.none() | st.integers(0, 12)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draws=DRAWS, limits=st.tuples(st.integers(1, 20), st.integers(1, 20)))
def test_redis_and_memory_decide_alike(
    upstash: UpstashServer, draws: list[tuple[str, int, int | None]], limits: tuple[int, int]
) -> None:
    """Amounts against one or two quotas; some are settled to another amount before the next comes."""

    async def play(limiter: Limiter) -> list[tuple[bool, object]]:
        run = uuid4().hex
        org, one = Quota(f"org {run}", limits[0], 60), Quota(f"one {run}", limits[1], 60)
        verdicts: list[tuple[bool, object]] = []
        for which, amount, settled in draws:
            verdict = await limiter.take(*{"org": (org,), "one": (one,), "both": (org, one)}[which], amount=amount)
            told = (
                verdict.allowed or which != "both"
            )  # which of two that refuse takes longer is a matter of microseconds
            verdicts.append((verdict.allowed, told and (verdict.limit, verdict.remaining)))
            if settled is not None:
                limiter.settle(verdict, settled)
                if isinstance(limiter, UpstashLimiter):
                    await limiter.tell()
        return verdicts

    async def both() -> None:
        async with limiting(upstash.url) as limiter:
            assert await play(limiter) == await play(MemoryLimiter())

    asyncio.run(both())


async def test_amounts_that_were_settled_leave_the_window_with_what_they_came_to(
    upstash: UpstashServer, subject: str
) -> None:
    quota = Quota(subject, 10, 0.4)
    async with limiting(upstash.url) as limiter:
        first = await limiter.take(quota, amount=8)
        refused = await limiter.take(quota, amount=4)
        assert (refused.allowed, refused.remaining) == (False, 2) and 0 < refused.reset_s <= 0.4
        limiter.settle(first, 5)
        await limiter.tell()
        assert (await limiter.take(quota, amount=4)).remaining == 1
        await asyncio.sleep(0.42)
        assert (await limiter.take(quota, amount=10)).remaining == 0
        limiter.settle(first, 0)
        await limiter.tell()
        assert not (await limiter.take(quota)).allowed, "what has left the window gives nothing back"


async def test_with_nobody_at_the_address_each_worker_enforces_its_share_without_delay() -> None:
    started_s = time.monotonic()
    async with limiting(f"http://127.0.0.1:{free_port()}", workers=4, timeout_s=TIMEOUT_S) as limiter:
        verdicts = [await limiter.take(Quota("key", 40, 60)) for _ in range(50)]
        assert await limiter.ping() == ""
    assert time.monotonic() - started_s < 2
    assert [one.allowed for one in verdicts] == [True] * 10 + [False] * 40
    assert {one.mode for one in verdicts} == {"local"}


@pytest.mark.parametrize(
    ("limit", "workers", "share"), [(10, 1, 10), (10, 3, 3), (11, 3, 3), (12, 3, 4), (3, 3, 1), (3, 8, 1)]
)
async def test_a_share_is_rounded_down_and_at_least_one_request(limit: int, workers: int, share: int) -> None:
    async with limiting(f"http://127.0.0.1:{free_port()}", workers=workers, timeout_s=TIMEOUT_S) as limiter:
        verdicts = [await limiter.take(Quota("key", limit, 60)) for _ in range(limit + 1)]
    assert sum(one.allowed for one in verdicts) == share
    assert workers > limit or share * workers <= limit, "together they stay within the limit"


async def test_a_share_of_tokens_is_at_least_one_request_however_large() -> None:
    async with limiting(f"http://127.0.0.1:{free_port()}", workers=4, timeout_s=TIMEOUT_S) as limiter:
        verdicts = [await limiter.take(Quota("key", 100, 60), amount=amount) for amount in (60, 1, 25)]
        assert [one.allowed for one in verdicts] == [True, False, False]
        limiter.settle(verdicts[0], 5)
        assert (await limiter.take(Quota("key", 100, 60), amount=20)).allowed


async def test_a_burst_against_a_hanging_redis_is_over_soon_and_says_so_once(
    moody: UpstashServer, subject: str, caplog: pytest.LogCaptureFixture
) -> None:
    moody.mood = "hangs"
    started_s = time.monotonic()
    async with limiting(moody.url, timeout_s=TIMEOUT_S) as limiter:
        quotas = [Quota(f"{subject} {number}", 100, 60) for number in range(4)]
        verdicts = await asyncio.gather(*(limiter.take(quota) for quota in quotas for _ in range(300)))
        assert time.monotonic() - started_s < 2
        assert Counter(one.allowed for one in verdicts) == {True: 400, False: 800}
        assert limiter.count(quotas[0]) is not None, "nobody waits any more"
    assert len(caplog.records) == 1


@pytest.fixture
def moody(upstash: UpstashServer) -> Iterator[UpstashServer]:
    """The shared server; well again afterwards."""
    yield upstash
    upstash.mood = "well"


async def fail(limiter: UpstashLimiter) -> None:
    """Opens the breaker: each asks for somebody of whom nothing is known."""
    for _ in range(FAILURES_TO_OPEN):
        assert (await limiter.take(Quota(uuid4().hex, 100, 60))).mode == "local"


@pytest.mark.parametrize("mood", ["hangs", "hangs up", "answers nonsense"])
async def test_a_redis_that_misbehaves_is_left_alone_for_a_while_and_hears_then_what_was_used(
    moody: UpstashServer, subject: str, mood: Mood
) -> None:
    clock, quota = Clock(), Quota(subject, 100, 60)
    async with limiting(moody.url, timeout_s=0.5, clock=clock) as limiter:
        before = [await limiter.take(quota) for _ in range(40)]
        assert {one.mode for one in before} == {"shared"}
        moody.mood = mood
        await fail(limiter)
        started_s = time.monotonic()
        verdicts = [await limiter.take(quota) for _ in range(200)]
        assert time.monotonic() - started_s < 0.4, "nobody waits for a Redis that is known to be away"
        assert sum(one.allowed for one in (*before, *verdicts)) == 100, "what was used before counts"
        assert verdicts[-1].mode == "local" and 0 < verdicts[-1].reset_s <= 60
        moody.mood = "well"
        assert (await limiter.take(quota)).mode == "local", "the pause is not over"
        clock.now_s += PAUSE_S
        assert (await limiter.take(quota)).mode == "local", "nobody waits for the one who looks"
        recovered = await until_shared(limiter, quota)
    assert (recovered.allowed, recovered.remaining) == (False, 0), "Redis has heard of what was used without it"


async def until_shared(limiter: UpstashLimiter, quota: Quota) -> Verdict:
    """The first verdict that is Redis's again."""
    async with asyncio.timeout(10):
        while True:
            verdict = await limiter.take(quota)
            if verdict.mode == "shared":
                return verdict
            await asyncio.sleep(0.01)


async def test_while_redis_hangs_nobody_waits_for_it_but_those_who_found_out(
    moody: UpstashServer, subject: str
) -> None:
    clock = Clock()
    async with limiting(moody.url, timeout_s=0.5, clock=clock) as limiter:
        moody.mood = "hangs"
        await fail(limiter)
        started_s = time.monotonic()
        for _ in range(20):
            clock.now_s += PAUSE_S
            assert (await limiter.take(Quota(subject, 100, 60))).mode == "local"
        assert time.monotonic() - started_s < 0.4, "twenty pauses, and nobody waited half a second"


async def test_who_finds_out_that_redis_hangs_waits_a_tenth_of_a_second(moody: UpstashServer) -> None:
    moody.mood = "hangs"
    async with limiting(moody.url, timeout_s=TIMEOUT_S) as limiter:

        async def waited_s(after_s: float) -> float:
            await asyncio.sleep(after_s)
            began_s = time.monotonic()
            assert (await limiter.take(Quota("one", 100, 60))).allowed
            return time.monotonic() - began_s

        waits_s = await asyncio.gather(*(waited_s(0.01 * number) for number in range(40)))
    assert max(waits_s) < 1.0, "0.11 on a machine of its own"


async def test_a_loop_that_is_busy_itself_does_not_take_redis_for_away(upstash: UpstashServer, subject: str) -> None:
    async with limiting(upstash.url, timeout_s=TIMEOUT_S) as limiter:
        asking = [asyncio.create_task(limiter.take(Quota(f"{subject} {n}", 9, 60))) for n in range(5)]
        while not all(one.done() for one in asking):
            time.sleep(0.15)  # noqa: ASYNC251 the loop is kept busy on purpose
            await asyncio.sleep(0)
        assert {one.result().mode for one in asking} == {"shared"}


@dataclass(frozen=True)
class Admission:
    """When a request was sent and answered; it counts from somewhere between."""

    sent_s: float
    answered_s: float
    amount: int


def fullest(admissions: list[Admission], window_s: float) -> int:
    """The most that was surely admitted within one window."""
    return max(
        sum(one.amount for one in admissions if one.sent_s >= first.sent_s and one.answered_s < first.sent_s + window_s)
        for first in admissions
    )


@pytest.mark.parametrize("seed", range(3))
async def test_no_window_of_any_position_holds_more_than_the_limit_across_workers(
    upstash: UpstashServer, subject: str, seed: int
) -> None:
    """Three workers, two keys of one org, bursts and pauses for six windows; every other request needs no Redis."""
    random, window_s = Random(seed), 0.5
    org = Quota(f"org {subject}", 60, window_s)
    keys = [Quota(f"{subject} {number}", 45, window_s) for number in range(2)]
    admitted: dict[Quota, list[Admission]] = {org: [], keys[0]: [], keys[1]: []}
    ends_s, at_once = time.monotonic() + 6 * window_s, 0
    windows: set[int] = set()
    """In which somebody asked: fewer than six where the machine stood still."""

    async def ask(limiter: UpstashLimiter) -> None:
        nonlocal at_once
        key, amount, sent_s = random.choice(keys), random.randint(1, 3), time.monotonic()
        windows.add(int((ends_s - sent_s) / window_s))
        verdict = limiter.count(org, key, amount=amount)
        at_once += verdict is not None
        verdict = verdict or await limiter.take(org, key, amount=amount)
        if verdict.allowed:
            used = Admission(sent_s, time.monotonic(), amount)
            admitted[org].append(used)
            admitted[key].append(used)

    async def call(limiter: UpstashLimiter) -> None:
        while time.monotonic() < ends_s:
            await asyncio.gather(*(ask(limiter) for _ in range(random.choice((1, 1, 2, 9)))))
            await asyncio.sleep(random.choice((0.0, 0.01, 0.05, 0.3)))

    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(limiting(upstash.url)) for _ in range(3)]
        await asyncio.gather(*(call(worker) for worker in workers))
    for quota, admissions in admitted.items():
        assert fullest(admissions, window_s) <= quota.limit
    assert at_once, "leases had their part in it"
    assert sum(one.amount for one in admitted[org]) > len(windows) * org.limit / 2, "and little was held in vain"


async def test_a_wrong_token_is_no_reason_to_fail_requests(upstash: UpstashServer, subject: str) -> None:
    async with limiting(upstash.url, token="wrong") as limiter:
        verdicts = [await limiter.take(Quota(subject, 20, 60)) for _ in range(30)]
    assert [one.allowed for one in verdicts] == [True] * 20 + [False] * 10
    assert {one.mode for one in verdicts} == {"local"}


async def test_one_failure_does_not_open_the_breaker(moody: UpstashServer, subject: str) -> None:
    moods: tuple[Mood, ...] = ("hangs up", "well", "hangs up", "well")
    async with limiting(moody.url) as limiter:
        for number, mood in enumerate(moods):
            moody.mood = mood
            verdict = await limiter.take(Quota(f"{subject} {number}", 100, 60))
            assert verdict.mode == ("shared" if mood == "well" else "local")


async def test_what_others_used_counts_when_redis_goes(moody: UpstashServer, subject: str) -> None:
    """Four workers; one of them has used three quarters, and all have heard of it: together they use what was left."""
    quota = Quota(subject, 100, 60)
    async with AsyncExitStack() as stack:
        first, *others = [await stack.enter_async_context(limiting(moody.url, workers=4)) for _ in range(4)]
        used = [await first.take(quota) for _ in range(72)]
        used += [await other.take(quota) for other in others]
        moody.mood = "hangs up"
        for limiter in (first, *others):
            await fail(limiter)
            used += [await limiter.take(quota) for _ in range(100)]
    assert 90 <= sum(one.allowed for one in used) <= 100 + 100 // 4


async def test_the_usual_request_asks_nobody(upstash: UpstashServer, subject: str) -> None:
    quotas = Quota(f"org {subject}", 10_000, 60), Quota(subject, 5_000, 60)
    async with limiting(upstash.url) as limiter:
        asked = 0
        for _ in range(2_000):
            if limiter.count(*quotas) is None:
                asked += 1
                assert (await limiter.take(*quotas)).allowed
        assert asked < 30
        remaining = limiter.count(*quotas)
        assert remaining is not None and remaining.remaining == 2_999
    async with limiting(upstash.url) as other:
        assert (await other.take(*quotas)).remaining == 2_998, "what was left of the leases has gone back"


async def test_what_an_idle_worker_holds_comes_back_when_others_need_it(upstash: UpstashServer, subject: str) -> None:
    quota = Quota(subject, 100, 60)
    async with limiting(upstash.url) as idle, limiting(upstash.url) as busy:
        for _ in range(20):
            assert (await idle.take(quota)).allowed
        held = idle._shares[subject].lease
        assert held is not None and held.left > 0
        verdicts = await asyncio.gather(*(busy.take(quota) for _ in range(200)))
    assert sum(one.allowed for one in verdicts) == 80


async def test_what_a_dead_worker_held_delays_a_refusal_once(upstash: UpstashServer, subject: str) -> None:
    quota = Quota(subject, 16, 60)
    async with limiting(upstash.url) as dead, limiting(upstash.url) as alive:
        await dead.take(quota)
        assert dead._keeper is not None
        dead._keeper.cancel()
        verdicts = await asyncio.gather(*(alive.take(quota) for _ in range(20)))
        held = dead._shares[subject].lease
        assert held is not None and sum(one.allowed for one in verdicts) == 15 - held.left
        began_s = time.monotonic()
        assert not (await alive.take(quota)).allowed
        assert time.monotonic() - began_s < RECALL_S / 2
        dead._keeper = None


async def test_a_limit_that_is_changed_holds_from_the_next_request_on(upstash: UpstashServer, subject: str) -> None:
    async with limiting(upstash.url) as limiter:
        for _ in range(30):
            assert (await limiter.take(Quota(subject, 100, 60))).allowed
        held = limiter._shares[subject].lease
        assert held is not None and held.left > 0
        assert not (await limiter.take(Quota(subject, 30, 60))).allowed
        assert [(await limiter.take(Quota(subject, 31, 60))).allowed for _ in range(2)] == [True, False]


async def test_whatever_happens_nobody_is_left_waiting(upstash: UpstashServer, subject: str) -> None:
    async with limiting(upstash.url) as limiter:
        limiter._decide = None  # type: ignore[assignment,method-assign]
        async with asyncio.timeout(5):
            verdicts = await asyncio.gather(*(limiter.take(Quota(subject, 2, 60)) for _ in range(3)))
        await asyncio.gather(*limiter._background, return_exceptions=True)
    assert [one.allowed for one in verdicts] == [True, True, False]


async def test_a_caller_that_leaves_while_it_is_decided_takes_nothing(upstash: UpstashServer, subject: str) -> None:
    quota = Quota(subject, 3, 60)
    async with limiting(upstash.url) as limiter:
        leaving = asyncio.create_task(limiter.take(quota))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait((leaving,))
        await asyncio.gather(*limiter._background)
        await limiter.tell()
        assert [(await limiter.take(quota)).allowed for _ in range(4)] == [True, True, True, False]


async def test_memory_is_bounded_and_who_was_not_seen_for_a_window_is_forgotten(upstash: UpstashServer) -> None:
    clock = Clock()
    async with limiting(upstash.url, clock=clock) as limiter:
        for number in range(30):
            clock.now_s += 1
            await limiter.take(Quota(f"{number} {uuid4().hex}", 3, 10.0))
        assert len(limiter._shares) <= 11


def test_with_an_address_the_limiter_is_upstashs() -> None:
    assert isinstance(build_limiter("https://redis.invalid", "token"), UpstashLimiter)
