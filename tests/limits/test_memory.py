"""The limiter of one process: exact in every window."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from omni_app.limits import MemoryLimiter, Quota, build_limiter
from omni_app.limits import memory as memory_module


@dataclass
class Clock:
    """Stands still until it is moved. Eighths of a second, so that sums are exact."""

    now_s: float = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_subjects_are_forgotten_once_nothing_of_them_counts() -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock=clock)
    for number in range(100):
        clock.now_s += 1
        for _ in range(3):
            assert limiter.count(Quota(f"org {number}", 3, 10.0), Quota(f"key {number}", 5, 10.0)).allowed
    assert len(limiter._logs) <= 2 * 11, "those of the last ten seconds, and of this one"
    assert not limiter.count(Quota("org 99", 3, 10.0)).allowed, "which still count"


steps = st.lists(st.integers(0, 24).map(lambda eighths: eighths / 8), max_size=120)


@given(steps=steps, limit=st.integers(1, 7), window_s=st.integers(1, 40).map(lambda eighths: eighths / 8))
def test_no_window_ever_holds_more_than_the_limit_and_no_request_is_refused_without_need(
    steps: list[float], limit: int, window_s: float
) -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock=clock)
    allowed_at_s: list[float] = []
    for step_s in steps:
        clock.now_s += step_s
        in_window = sum(moment > clock.now_s - window_s for moment in allowed_at_s)
        verdict = limiter.count(Quota("key", limit, window_s))
        assert verdict.allowed == (in_window < limit)
        assert verdict.remaining == max(0, limit - in_window - 1)
        if verdict.allowed:
            allowed_at_s.append(clock.now_s)
    for start_s in allowed_at_s:
        assert sum(start_s <= moment < start_s + window_s for moment in allowed_at_s) <= limit


@given(steps=steps, limit=st.integers(1, 7), lower=st.integers(1, 7))
def test_a_refused_caller_who_waits_as_long_as_told_is_allowed_and_not_before(
    steps: list[float], limit: int, lower: int
) -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock=clock)
    for step_s in steps:
        clock.now_s += step_s
        limiter.count(Quota("key", limit, 2.0))
    verdict = limiter.count(Quota("key", lower, 2.0))
    if verdict.allowed:
        assert verdict.reset_s == 0 or not verdict.remaining
        return
    assert 0 < verdict.reset_s <= 2.0
    clock.now_s += verdict.reset_s - 1 / 16
    assert not limiter.count(Quota("key", lower, 2.0)).allowed
    clock.now_s += 1 / 16
    assert limiter.count(Quota("key", lower, 2.0)).allowed


amounts = st.lists(st.tuples(st.integers(0, 24), st.integers(1, 6), st.none() | st.integers(0, 8)), max_size=120)


@given(draws=amounts, limits=st.tuples(st.integers(1, 12), st.integers(1, 12)))
def test_amounts_count_against_all_quotas_or_none_and_settling_changes_only_what_is_in_the_window(
    draws: list[tuple[int, int, int | None]], limits: tuple[int, int]
) -> None:
    clock, window_s = Clock(), 2.0
    limiter = MemoryLimiter(clock=clock)
    taken: list[list[float]] = []
    for eighths, amount, settled in draws:
        clock.now_s += eighths / 8
        used = sum(one for at_s, one in taken if at_s > clock.now_s - window_s)
        verdict = limiter.count(*(Quota(str(n), limit, window_s) for n, limit in enumerate(limits)), amount=amount)
        assert verdict.allowed == (used + amount <= min(limits))
        if not verdict.allowed:
            assert verdict.limit in limits and used + amount > verdict.limit
            continue
        assert (verdict.limit, verdict.remaining) == (min(limits), min(limits) - used - amount)
        taken.append([clock.now_s, amount])
        if settled is not None:
            limiter.settle(verdict, settled)
            taken[-1][1] = settled


@given(amount=st.integers(1, 9), settled=st.integers(0, 9), later=st.integers(0, 20))
def test_who_settles_late_changes_nothing_any_more(amount: int, settled: int, later: int) -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock=clock)
    verdict = limiter.count(Quota("key", 9, 1.0), amount=amount)
    clock.now_s += later / 8
    limiter.settle(verdict, settled)
    limiter.settle(limiter.count(Quota("key", 1, 1.0), amount=2), 0)  # a refusal took nothing
    found = limiter.count(Quota("key", 20, 1.0))
    assert found.remaining == 19 - (settled if later < 8 else 0)


async def test_subjects_do_not_share_their_limits() -> None:
    limiter = MemoryLimiter()
    assert [(await limiter.take(Quota(key, 1, 60))).allowed for key in "aabb"] == [True, False, True, False]
    assert (await limiter.take(Quota("a", 1, 60))).mode == "memory"
    assert await limiter.ping() == ""
    await limiter.aclose()


def test_memory_is_bounded_and_the_quietest_subject_is_forgotten_first() -> None:
    limiter = MemoryLimiter()
    limiter.count(Quota("busy", 2, 60))
    for number in range(memory_module.MAX_SUBJECTS + 10):
        limiter.count(Quota(f"quiet {number}", 1, 60))
        if number % 1_000 == 0:
            limiter.count(Quota("busy", 2, 60))
    assert len(limiter._logs) == memory_module.MAX_SUBJECTS
    assert not limiter.count(Quota("busy", 2, 60)).allowed
    assert limiter.count(Quota("quiet 0", 1, 60)).allowed


def test_without_an_address_the_limiter_is_the_one_in_memory() -> None:
    assert isinstance(build_limiter("", ""), MemoryLimiter)
