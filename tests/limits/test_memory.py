"""The limiter of one process: exact in every window."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from omni_app.limits import MemoryLimiter, build_limiter
from omni_app.limits import memory as memory_module


@dataclass
class Clock:
    """Stands still until it is moved. Eighths of a second, so that sums are exact."""

    now_s: float = 1_000.0

    def __call__(self) -> float:
        return self.now_s


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
        verdict = limiter.count("key", limit=limit, window_s=window_s)
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
        limiter.count("key", limit=limit, window_s=2.0)
    verdict = limiter.count("key", limit=lower, window_s=2.0)
    if verdict.allowed:
        assert verdict.reset_s == 0 or not verdict.remaining
        return
    assert 0 < verdict.reset_s <= 2.0
    clock.now_s += verdict.reset_s - 1 / 16
    assert not limiter.count("key", limit=lower, window_s=2.0).allowed
    clock.now_s += 1 / 16
    assert limiter.count("key", limit=lower, window_s=2.0).allowed


async def test_subjects_do_not_share_their_limits() -> None:
    limiter = MemoryLimiter()
    assert [(await limiter.hit(key, limit=1, window_s=60)).allowed for key in "aabb"] == [True, False, True, False]
    assert (await limiter.hit("a", limit=1, window_s=60)).mode == "memory"
    assert await limiter.ping() == ""
    await limiter.aclose()


def test_memory_is_bounded_and_the_quietest_subject_is_forgotten_first() -> None:
    limiter = MemoryLimiter()
    limiter.count("busy", limit=2, window_s=60)
    for number in range(memory_module.MAX_SUBJECTS + 10):
        limiter.count(f"quiet {number}", limit=1, window_s=60)
        if number % 1_000 == 0:
            limiter.count("busy", limit=2, window_s=60)
    assert len(limiter._hits) == memory_module.MAX_SUBJECTS
    assert not limiter.count("busy", limit=2, window_s=60).allowed
    assert limiter.count("quiet 0", limit=1, window_s=60).allowed


def test_without_an_address_the_limiter_is_the_one_in_memory() -> None:
    assert isinstance(build_limiter("", ""), MemoryLimiter)
