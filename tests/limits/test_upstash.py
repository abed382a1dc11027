"""The limiter of many workers: exact together over a real Redis, and still there when Redis is not."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upstash_redis.asyncio import Redis
from upstash_redis.errors import UpstashError

from omni_app.limits import MemoryLimiter, Quota, Verdict, build_limiter
from omni_app.limits.base import Limiter
from omni_app.limits.upstash import FAILURES_TO_OPEN, PAUSE_S, TIMEOUT_S, UpstashLimiter
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
    yield limiter
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
        assert await client.exists(f"omni:rate:{subject}") == 0


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


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draws=DRAWS, limits=st.tuples(st.integers(1, 20), st.integers(1, 20)))
def test_redis_and_memory_decide_alike(
    upstash: UpstashServer, draws: list[tuple[str, int, int | None]], limits: tuple[int, int]
) -> None:
    """Amounts against one or two quotas; some are settled to another amount before the next comes."""

    async def play(limiter: Limiter) -> list[tuple[bool, int, int]]:
        run = uuid4().hex
        org, one = Quota(f"org {run}", limits[0], 60), Quota(f"one {run}", limits[1], 60)
        verdicts = []
        for which, amount, settled in draws:
            verdict = await limiter.take(*{"org": (org,), "one": (one,), "both": (org, one)}[which], amount=amount)
            verdicts.append((verdict.allowed, verdict.limit, verdict.remaining))
            if settled is not None:
                limiter.settle(verdict, settled)
                if isinstance(limiter, UpstashLimiter):
                    await asyncio.gather(*limiter._background)
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
        await asyncio.gather(*limiter._background)
        assert (await limiter.take(quota, amount=4)).remaining == 1
        await asyncio.sleep(0.42)
        assert (await limiter.take(quota, amount=10)).remaining == 0
        limiter.settle(first, 0)
        await asyncio.gather(*limiter._background)
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
        verdicts = await asyncio.gather(*(limiter.take(Quota(subject, 100, 60)) for _ in range(300)))
    assert time.monotonic() - started_s < 2
    assert Counter(one.allowed for one in verdicts) == {True: 100, False: 200}
    assert len(caplog.records) == 1


@pytest.fixture
def moody(upstash: UpstashServer) -> Iterator[UpstashServer]:
    """The shared server; well again afterwards."""
    yield upstash
    upstash.mood = "well"


@pytest.mark.parametrize("mood", ["hangs", "hangs up", "answers nonsense"])
async def test_a_redis_that_misbehaves_is_left_alone_for_a_while_and_asked_again_later(
    moody: UpstashServer, subject: str, mood: Mood
) -> None:
    clock = Clock()
    async with limiting(moody.url, timeout_s=0.5, clock=clock) as limiter:
        assert (await limiter.take(Quota(subject, 100, 60))).mode == "shared"
        moody.mood = mood
        for _ in range(FAILURES_TO_OPEN):
            assert (await limiter.take(Quota(subject, 100, 60))).mode == "local"
        started_s = time.monotonic()
        verdicts = [await limiter.take(Quota(subject, 100, 60)) for _ in range(200)]
        assert time.monotonic() - started_s < 0.4, "nobody waits for a Redis that is known to be away"
        assert sum(one.allowed for one in verdicts) == 100 - FAILURES_TO_OPEN
        moody.mood = "well"
        assert (await limiter.take(Quota(subject, 100, 60))).mode == "local", "the pause is not over"
        clock.now_s += PAUSE_S
        assert (await limiter.take(Quota(subject, 100, 60))).mode == "local", "nobody waits for the one who looks"
        recovered = await until_shared(limiter, subject)
    assert (recovered.allowed, recovered.remaining) == (True, 98)


async def until_shared(limiter: UpstashLimiter, subject: str) -> Verdict:
    """The first verdict that is Redis's again."""
    async with asyncio.timeout(10):
        while True:
            verdict = await limiter.take(Quota(subject, 100, 60))
            if verdict.mode == "shared":
                return verdict
            await asyncio.sleep(0.01)


async def test_while_redis_hangs_nobody_waits_for_it_but_those_who_found_out(
    moody: UpstashServer, subject: str
) -> None:
    clock = Clock()
    async with limiting(moody.url, timeout_s=0.5, clock=clock) as limiter:
        moody.mood = "hangs"
        for _ in range(FAILURES_TO_OPEN):
            await limiter.take(Quota(subject, 100, 60))
        started_s = time.monotonic()
        for _ in range(20):
            clock.now_s += PAUSE_S
            assert (await limiter.take(Quota(subject, 100, 60))).mode == "local"
        assert time.monotonic() - started_s < 0.4, "twenty pauses, and nobody waited half a second"


async def test_a_wrong_token_is_no_reason_to_fail_requests(upstash: UpstashServer, subject: str) -> None:
    async with limiting(upstash.url, token="wrong") as limiter:
        verdict = await limiter.take(Quota(subject, 2, 60))
    assert (verdict.allowed, verdict.mode) == (True, "local")


async def test_one_failure_does_not_open_the_breaker(moody: UpstashServer, subject: str) -> None:
    moods: tuple[Mood, ...] = ("hangs up", "well", "hangs up", "well")
    async with limiting(moody.url) as limiter:
        for mood in moods:
            moody.mood = mood
            verdict = await limiter.take(Quota(subject, 100, 60))
            assert verdict.mode == ("shared" if mood == "well" else "local")


def test_with_an_address_the_limiter_is_upstashs() -> None:
    assert isinstance(build_limiter("https://redis.invalid", "token"), UpstashLimiter)
