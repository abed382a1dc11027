from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.routing.score import LogScale, cost_scale, latency_scale, minimum_quality, weighted_sum, weights_for
from omni_app.routing.types import Case, LatencyPref, Policy, Priority, Rating, Snapshot, Task, Terms, Weights
from tests.routing.models import GENIUS, TINY, asking, decided

POLICY = Policy()


def needed(**asked: object) -> float:
    return minimum_quality(Case(asking(**asked), Task.CODING, POLICY, Snapshot("s")))  # type: ignore[arg-type]


def test_the_score_is_the_weighted_sum_of_its_terms() -> None:
    assert weighted_sum(Terms(0.5, 0.25, 1, 0), Weights(0.4, 0.3, 0.3, 0)) == pytest.approx(0.2 + 0.075 + 0.3)


def test_every_preset_sums_to_one_and_fast_moves_weight_to_latency() -> None:
    for priority in Priority:
        normal = weights_for(asking(priority=priority), POLICY)
        fast = weights_for(asking(priority=priority, latency_pref=LatencyPref.FAST), POLICY)
        for weights in (normal, fast):
            assert weights.cost + weights.latency + weights.task + weights.quality == pytest.approx(1)
        if priority in (Priority.BALANCED, Priority.QUALITY):
            assert fast.cost == pytest.approx(normal.cost - 0.1) and fast.latency == pytest.approx(normal.latency + 0.1)


def test_costs_are_placed_by_their_logarithm_between_the_policys_references() -> None:
    scale = cost_scale(POLICY)  # from $0.000001 to $1
    assert [round(scale.norm(10**exponent), 6) for exponent in (6, 9, 12)] == [0, 0.5, 1]
    assert scale.norm(0) == 0 and scale.norm(10**15) == 1


def test_latencies_are_placed_likewise() -> None:
    scale = latency_scale(POLICY)
    assert scale.norm(50) == 0 and scale.norm(100_000) == 1
    assert scale.norm((100 * 60_000) ** 0.5) == pytest.approx(0.5)


@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_a_dearer_request_never_stands_lower_on_the_scale(one: int, other: int) -> None:
    scale = cost_scale(POLICY)
    assert scale.norm(min(one, other)) <= scale.norm(max(one, other))


@given(st.floats(0.001, 0.999))
def test_the_scale_can_be_read_backwards(norm: float) -> None:
    scale = LogScale(10**6, 10**12)
    assert scale.norm(scale.value(norm)) == pytest.approx(norm)


def test_a_score_does_not_depend_on_who_else_is_there() -> None:
    everyone = {candidate.model: candidate for candidate in decided(asking()).candidates}
    for candidate in everyone.values():
        alone = decided(
            asking(), *[one for one in decided(asking()).explanation.table.deployments if one.id == candidate.model]
        )
        assert alone.candidates[0].score == candidate.score


def test_easy_requests_ask_for_no_quality_and_hard_ones_for_more() -> None:
    assert needed(difficulty=0.5) == 0
    assert needed(difficulty=0.8) == pytest.approx(0.25)
    assert needed(difficulty=1.0) == pytest.approx(0.5)
    assert needed(difficulty=0.1, subtask="mathematics") == pytest.approx(0.2)
    assert needed(difficulty=0.1, subtask="exam") == needed(difficulty=0.1, subtask="science") == pytest.approx(0.2)


def test_a_model_rated_exactly_as_asked_is_good_enough() -> None:
    for tenths in range(6, 11):
        difficulty = tenths / 10
        exact = replace(TINY, overall=Rating(0.5 * (tenths - 6) / 4, "test"), ratings={})
        for noise in (-1e-15, 0.0, 1e-15):
            decision = decided(asking(difficulty=min(1.0, difficulty + noise), tokens=10), exact, GENIUS)
            assert not any(one.held_back for one in decision.candidates), difficulty


def test_the_floor_of_cheap_is_asked_by_cheap_alone() -> None:
    policy = replace(POLICY, cheap_quality_floor=0.6)
    for priority, floor in ((Priority.CHEAP, 0.6), (Priority.BALANCED, 0.0)):
        assert minimum_quality(Case(asking(priority=priority), Task.CODING, policy, Snapshot("s"))) == floor
