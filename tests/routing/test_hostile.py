"""Whatever the figures are, a decision is made, keeps its promise, and can be told in words."""

import time
from dataclasses import replace
from datetime import date
from math import isfinite
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_app.routing.decide import decide
from omni_app.routing.shortlist import RoutingTable
from omni_app.routing.types import (
    Decision,
    Deployment,
    LatencyPref,
    Policy,
    Price,
    Priority,
    Rating,
    RouteRequest,
    SizeClass,
    Snapshot,
    Task,
    Weights,
)
from tests.routing.models import MODELS, QUICK, asking, decided

COUNT = 3_000
ODD = (0, 1, 10**9, 10**15)
ENDS = st.sampled_from((0.0, 1.0)) | st.floats(0, 1)


def everything(decision: Decision) -> tuple[Any, ...]:
    """All that can be read of a decision."""
    told = decision.explanation
    words = (decision.reason, decision.no_eligible_reason, decision.what_would_change_it, decision.warnings)
    return (*words, decision.candidates, told.margin, told.fragile)


@st.composite
def odd_models(draw: st.DrawFn) -> tuple[Deployment, ...]:
    """Free, priceless, instant, endless, tiny and equal models."""
    made = []
    for number in range(draw(st.integers(0, 6))):
        provider = draw(st.sampled_from(["alpha", "beta"]))
        rating = Rating(draw(ENDS), "test")
        made.append(
            replace(
                QUICK,
                id=f"{provider}/{number}",
                provider=provider,
                price=Price(draw(st.sampled_from(ODD)), draw(st.sampled_from(ODD)), image=draw(st.sampled_from(ODD))),
                prior_latency_ms=draw(st.sampled_from(ODD)),
                context_window=draw(st.sampled_from(ODD)),
                max_output_tokens=draw(st.sampled_from(ODD[1:])),
                ratings={},
                overall=rating,
                makes_images=draw(st.booleans()),
                deprecated_on=draw(st.none() | st.just(date(2026, 1, 1))),
            )
        )
    return tuple(made)


odd_requests = st.builds(
    RouteRequest,
    task_scores=st.sampled_from([{}, {Task.CHAT: 1.0}, {Task.IMAGE: 1.0}, dict.fromkeys(Task, 0.0)]),
    input_tokens=st.sampled_from(ODD),
    input_tokens_bound=st.just(4 * 10**15),
    key_kind=st.just("live"),
    max_tokens=st.sampled_from((None, *ODD[1:])),
    max_cost=st.sampled_from((None, 1, 10**21, 10**40)),
    priority=st.sampled_from(list(Priority)),
    latency_pref=st.sampled_from(list(LatencyPref)),
    difficulty=ENDS,
    subtask=st.sampled_from(["", "mathematics", "alchemy"]),
    choices=st.sampled_from([1, 8]),
    allowed_models=st.none() | st.just(frozenset({"alpha/0", "no/such-model"})),
    pinned=st.sampled_from([(), ("alpha/0",), ("no/such-model",)]),
)
odd_policies = st.builds(
    Policy,
    balanced=st.sampled_from([Weights(0, 0, 0, 1), Weights(1, 0, 0, 0), Weights(0, 1, 0, 0), Weights(0, 0, 0, 0)]),
    best_within=ENDS,
    hard_from=ENDS,
    hard_quality=ENDS,
    cheap_quality_floor=ENDS,
    output_ceiling_tokens=st.sampled_from([1, 10**6]),
    useful_output_tokens=st.sampled_from([1, 10**6]),
    expected_output=st.sampled_from([{}, dict.fromkeys(Task, 10**6)]),
)
odd_moments = st.sampled_from([0.0, 1e-9, 1e300, float("inf")]).map(
    lambda ms: Snapshot("odd", latency_ms={"alpha/0": dict.fromkeys(SizeClass, ms)}, today=date(2026, 6, 1))
)


@settings(max_examples=400, deadline=None)
@given(odd_models(), odd_requests, odd_policies, odd_moments)
def test_odd_figures_give_a_decision_that_keeps_its_promise_and_can_be_told(
    models: tuple[Deployment, ...], request: RouteRequest, policy: Policy, moment: Snapshot
) -> None:
    table = RoutingTable(models)
    decision, again = (
        decide(request, deployments=table, policy=policy, snapshot=moment, registry_version="odd") for _ in range(2)
    )
    assert everything(decision) == everything(again)
    assert all(isfinite(candidate.score) for candidate in decision.candidates)
    for step in decision.steps:
        assert step.max_tokens is None or step.max_tokens > 0
        assert request.max_cost is None or step.worst_cost <= request.max_cost


@pytest.mark.parametrize("priority", Priority)
@pytest.mark.parametrize("kind", ["equal", "ladder"])
def test_thousands_of_models_are_chosen_from_and_explained_within_a_moment(priority: Priority, kind: str) -> None:
    step = int(kind == "ladder")
    many = [
        replace(
            QUICK,
            id=f"alpha/{number:05}",
            price=Price(10**6 - step * number, 10**6 - step * number),
            ratings={},
            overall=Rating(0.9 - step * number * 1e-7, "test"),
        )
        for number in range(COUNT)
    ]
    began_s = time.process_time()
    decision = decided(asking(priority=priority), *many)
    everything(decision)
    assert time.process_time() - began_s < 3
    assert decision.selected in {"alpha/00000", f"alpha/{COUNT - 1:05}"}


def test_an_allow_list_of_unknown_models_leaves_nobody() -> None:
    decision = decided(asking(allowed_models=frozenset({"no/such-model"})), *MODELS)
    assert decision.selected is None and "is not allowed for this key" in decision.no_eligible_reason
