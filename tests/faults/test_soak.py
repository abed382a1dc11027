"""The harness of the soak, and that nothing is left open after a load. `make soak` is the long form."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.soak import Change, Findings, Sample, change, compared, cpu_ms, slope, soaked, staged, windows

AT_REST = Sample(0.0, 150.0, 0.0, 0, 30, 10, 13, 30_000, 1.0, 1.0)
STEADY = Change(1.0, 1.0, 0.0)


def with_memory(*mib: float) -> Findings:
    """An hour with these samples."""
    step_s = 3600 / (len(mib) - 1)
    samples = [Sample(number * step_s, one, 0.0, 0, 30, 10, 13, 30_000, 1.0, 1.0) for number, one in enumerate(mib)]
    return Findings(60.0, AT_REST, AT_REST, samples, STEADY, STEADY, STEADY)


def test_a_slope_is_that_of_the_line_and_its_error_that_of_the_noise() -> None:
    found = slope([(0, 10.0), (1800, 11.0), (3600, 12.0)])
    assert found.per_hour == pytest.approx(2.0) and found.error == pytest.approx(0.0)
    assert slope([(0, 10.0), (1200, 11.0), (2400, 10.0), (3600, 11.0)]).error > 0.5


def test_a_leak_is_told_from_noise() -> None:
    assert with_memory(150, 151, 150, 151, 150, 151, 150, 151).memory_flat
    assert not with_memory(150, 151, 152, 153, 154, 155, 156, 157).memory_flat


def test_what_is_left_open_is_noticed() -> None:
    def ending_with(descriptors: int, tasks: int) -> Findings:
        after = replace(AT_REST, descriptors=descriptors, tasks=tasks)
        return Findings(60.0, AT_REST, after, (), STEADY, STEADY, STEADY)

    assert ending_with(30, 13).counts_flat
    assert not ending_with(31, 13).counts_flat and not ending_with(30, 14).counts_flat


def test_what_gets_slower_is_told_from_a_machine_that_is_busy_for_a_while() -> None:
    calm = [100.0, 104.0, 97.0, 101.0, 99.0, 103.0, 98.0, 102.0, 100.0, 101.0, 96.0, 100.0]
    assert change(calm, [*calm[:10], 15_000.0, 2_000.0]).is_small, "two windows of twelve were spoilt"
    assert not change(calm, [1.2 * one for one in calm]).is_small
    assert change([50.0, 200.0, 90.0], [60.0, 220.0, 120.0]).is_small, "nothing can be told of such noise"


def test_parts_are_compared_window_by_window() -> None:
    assert [list(one) for one in windows([1, 2, 3, 4])] == [[1, 2], [3, 4]]
    growing = [1.0 + number // 12 for number in range(36)]
    assert (compared(growing).first, compared(growing).last) == (1.0, 3.0)
    samples = [replace(AT_REST, cpu_s=number * 0.5, done=number * 100) for number in range(5)]
    assert [cpu_ms(one) for one in windows(samples, overlap=1)] == [5.0, 5.0]


async def test_after_everything_at_once_nothing_is_wrong_and_nothing_left_open(tmp_path: Path) -> None:
    async with staged(tmp_path, seed=3) as stage:
        found = await soaked(stage, minutes=0.2, rate=15, every_s=1.0)
        traffic = stage.traffic
    assert not traffic.wrong, traffic.wrong[:5]
    assert len({kind for kind, _ in traffic.outcomes}) > 10 and traffic.outcomes.total() > 100
    assert len(found.samples) >= 5 and min(one.tasks for one in found.samples) > 0
    assert found.counts_flat, (found.before, found.after)
