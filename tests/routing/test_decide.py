from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_app.routing.cost import worst_cost
from omni_app.routing.decide import decide
from omni_app.routing.shortlist import KEPT_SHORTLISTS, RoutingTable
from omni_app.routing.types import (
    Case,
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
from tests.routing.models import (
    CODER,
    GENIUS,
    MODELS,
    OLD,
    PAINTER,
    QUICK,
    SOLID,
    TINY,
    TODAY,
    UNRATED,
    asking,
    decided,
    only,
)
from tests.routing.strategies import cached_registries, deployments, registries, requests, steps

MANY = settings(max_examples=150, deadline=None)


def run(request: RouteRequest, models: tuple[Deployment, ...], policy: Policy | None = None) -> Decision:
    return decided(request, *models, policy=policy)


def expected_cost_of_choice(decision: Decision) -> int:
    return decision.top(1)[0].expected_cost


# Which task


def test_the_likeliest_task_is_taken() -> None:
    assert decided(asking(Task.TRANSLATION)).task is Task.TRANSLATION


def test_a_forced_task_stands_whatever_the_text_says() -> None:
    assert decided(asking(Task.CHAT, forced_task=Task.AGENT_STEP)).task is Task.AGENT_STEP


def test_an_image_is_made_only_when_that_is_all_but_certain() -> None:
    unsure = dict.fromkeys(Task, 0.02) | {Task.IMAGE: 0.6, Task.CODING: 0.3}
    assert decided(asking(task_scores=unsure)).task is Task.CODING
    assert decided(asking(Task.IMAGE)).task is Task.IMAGE


# Who is excluded, and by which words


@pytest.mark.parametrize(
    ("request_", "model", "words"),
    [
        (asking(pinned=("alpha/quick",)), GENIUS, "is not among the models that the request names"),
        (asking(Task.CHAT), PAINTER, "does not serve chat"),
        (asking(Task.IMAGE), GENIUS, "cannot make images"),
        (asking(needs_vision=True), QUICK, "cannot see images"),
        (asking(needs_functions=True), TINY, "cannot call tools"),
        (asking(needs_response_schema=True), QUICK, "cannot follow a response schema"),
        (asking(), OLD, "is deprecated since 2026-01-31"),
        (asking(allowed_models=frozenset({"alpha/quick"})), GENIUS, "is not allowed for this key"),
        (asking(tokens=9_000), TINY, "the prompt has about 9,000 tokens, its context window 8,192"),
        (asking(max_cost=10**8), GENIUS, "could cost more than max_cost even with a short answer"),
    ],
)
def test_an_excluded_model_is_listed_with_the_limit_that_excluded_it(
    request_: RouteRequest, model: Deployment, words: str
) -> None:
    found = {candidate.model: candidate for candidate in decided(request_).candidates}[model.id]
    assert not found.eligible
    assert found.excluded_by == words


def test_the_reason_of_an_unavailable_model_is_passed_on() -> None:
    snapshot = Snapshot("s", unavailable={GENIUS.id: "ALPHA_API_KEY is not set"})
    decision = decided(asking(), GENIUS, QUICK, snapshot=snapshot)
    assert decision.candidates[-1].excluded_by == "ALPHA_API_KEY is not set"


def test_without_a_date_nothing_is_deprecated() -> None:
    assert decided(asking(), OLD, snapshot=Snapshot("s")).selected == OLD.id
    assert decided(asking(), OLD, snapshot=Snapshot("s", today=date(2026, 1, 30))).selected == OLD.id
    assert decided(asking(), OLD, snapshot=Snapshot("s", today=date(2026, 1, 31))).selected is None


def test_a_model_whose_window_only_the_bound_exceeds_is_still_asked() -> None:
    assert decided(asking(tokens=5_000), TINY).selected == TINY.id


def test_every_model_is_a_candidate_once() -> None:
    models = [candidate.model for candidate in decided(asking()).candidates]
    assert sorted(models) == sorted(model.id for model in MODELS)


def test_no_model_at_all_is_a_decision_too() -> None:
    decision = decide(asking(), deployments=(), policy=Policy(), snapshot=TODAY, registry_version="empty")
    assert (decision.selected, decision.fallback_chain, decision.candidates, decision.reason) == (None, (), (), "")
    assert "none is registered" in decision.no_eligible_reason


# Who is chosen


def test_a_measured_latency_replaces_the_assumed_one() -> None:
    slow = replace(TODAY, latency_ms={CODER.id: dict.fromkeys(SizeClass, 50_000.0)})
    assert decided(asking()).selected == CODER.id
    assert decided(asking(), snapshot=slow).selected != CODER.id


def test_best_takes_the_cheapest_within_one_point_of_the_highest() -> None:
    rival = replace(
        GENIUS, id="beta/rival", provider="beta", price=Price(10, 10), ratings={Task.CODING: Rating(0.95, "t")}
    )
    assert decided(asking(priority=Priority.BEST), *MODELS, rival).selected == rival.id
    far = replace(rival, ratings={Task.CODING: Rating(0.94, "t")})
    assert decided(asking(priority=Priority.BEST), *MODELS, far).selected == GENIUS.id


def test_cheap_stays_above_its_floor() -> None:
    floor = Policy(cheap_quality_floor=0.8)
    assert decided(asking(priority=Priority.CHEAP), policy=floor).selected == CODER.id


def test_fast_breaks_ties_for_cheap_and_best() -> None:
    better = replace(
        TINY, id="alpha/better", provider="alpha", ratings={Task.CODING: Rating(0.255, "t")}, prior_latency_ms=900
    )
    for priority in (Priority.CHEAP, Priority.BEST):
        normal = decided(asking(priority=priority), TINY, better)
        fast = decided(asking(priority=priority, latency_pref=LatencyPref.FAST), TINY, better)
        assert (normal.selected, fast.selected) == (better.id, TINY.id)


def test_ties_fall_to_the_smaller_id() -> None:
    twin = replace(QUICK, id="alpha/a-twin")
    for priority in Priority:
        assert decided(asking(priority=priority), QUICK, twin).selected == "alpha/a-twin"


def test_a_hard_request_holds_the_weak_back_and_says_so() -> None:
    decision = decided(asking(difficulty=1.0))
    held = {candidate.model: candidate.held_back for candidate in decision.candidates if candidate.held_back}
    assert held.keys() == {TINY.id, UNRATED.id}
    assert held[TINY.id] == "rated 0.25 for coding, the request asks for 0.50"
    assert all(candidate.eligible for candidate in decision.candidates if candidate.held_back)
    assert "2 models rated below the 0.50 that this request asks for stand behind" in decision.reason


def test_when_nobody_reaches_the_quality_the_highest_rated_answers() -> None:
    assert decided(asking(difficulty=1.0), TINY, UNRATED).selected == UNRATED.id


def test_the_score_shown_is_the_formula_over_the_terms_shown() -> None:
    decision = decided(asking())
    for candidate in decision.candidates:
        terms, weights = candidate.terms, decision.weights
        formula = weights.cost * terms.cost + weights.latency * terms.latency
        formula += weights.task * terms.task + weights.quality * terms.quality
        assert candidate.score == pytest.approx(formula, abs=1e-12)


# The fallback chain


def test_the_chain_is_primary_then_another_provider_then_the_cheapest_left() -> None:
    assert decided(asking()).fallback_chain == (CODER.id, QUICK.id, TINY.id)
    assert decided(asking(priority=Priority.BEST)).fallback_chain == (GENIUS.id, CODER.id, TINY.id)


def test_with_one_provider_the_next_best_is_the_backup() -> None:
    assert decided(asking(), GENIUS, QUICK).fallback_chain == (QUICK.id, GENIUS.id)


def test_those_held_back_come_in_where_nobody_else_is_left() -> None:
    assert decided(asking(difficulty=1.0), SOLID, TINY, UNRATED).fallback_chain == (SOLID.id, UNRATED.id, TINY.id)


def test_a_backup_at_another_provider_may_be_one_that_is_held_back() -> None:
    """One at the same provider that is rated high enough comes after it; one elsewhere comes before it."""
    near = replace(SOLID, id="beta/solid-too")
    decision = decided(asking(difficulty=1.0), SOLID, near, UNRATED)
    assert decision.fallback_chain == (SOLID.id, UNRATED.id, near.id)
    assert [one.model for one in decision.candidates if one.held_back] == [UNRATED.id]
    assert decided(asking(difficulty=1.0), SOLID, near, UNRATED, GENIUS).fallback_chain[1] == GENIUS.id


def test_states_that_take_turns_keep_their_shortlists_each() -> None:
    table = RoutingTable(MODELS)
    cases = [
        Case(asking(), Task.CODING, Policy(), replace(TODAY, id=f"snap-{ground}", ground=ground)) for ground in (1, 2)
    ]
    first = [table.shortlist(case) for case in cases]
    again = [table.shortlist(case) for case in cases]
    assert all(one is two for one, two in zip(first, again, strict=True))
    later = cases[0]._replace(snapshot=replace(cases[0].snapshot, id="snap-3", unavailable={CODER.id: "gone"}))
    assert len(table.shortlist(later).excluded) > len(first[0].excluded)
    assert len(table._shortlists) == 2, "a new state takes the place of the one before it"


@MANY
@given(registries | cached_registries, requests | steps)
def test_a_chain_has_no_duplicates_and_changes_provider_when_it_can(
    models: tuple[Deployment, ...], request: RouteRequest
) -> None:
    decision = run(request, models)
    able = [candidate.model for candidate in decision.candidates if candidate.eligible]
    chain = decision.fallback_chain
    assert set(chain) <= set(able)
    windows = {model.id: model.context_window for model in models}
    three = min(3, len(able))
    assert len(set(chain)) == len(chain) and three <= len(chain) <= 4
    assert all(windows[one] > windows[chain[0]] >= max(windows[other] for other in chain[:3]) for one in chain[3:])
    if len({model.split("/")[0] for model in able}) > 1:
        assert chain[0].split("/")[0] != chain[1].split("/")[0]


LONG = asking(tokens=60_000)
"""It may have 240,000."""


def test_a_prompt_that_may_be_too_long_for_the_primary_has_a_larger_window_behind_it() -> None:
    assert decided(LONG).fallback_chain == (CODER.id, QUICK.id, UNRATED.id, GENIUS.id), "none of 128,000 will do then"
    wide = replace(SOLID, context_window=300_000)
    assert decided(LONG, QUICK, CODER, UNRATED, wide, GENIUS).fallback_chain[3] == wide.id, "the cheapest that holds it"
    assert decided(LONG, QUICK, CODER, UNRATED, SOLID).fallback_chain[3] == SOLID.id, "the largest there is"


def test_no_larger_window_is_added_where_it_is_of_no_use() -> None:
    short = asking(tokens=30_000)
    assert len(decided(short).fallback_chain) == 3, "120,000 at most fit"
    assert len(decided(replace(short, max_tokens=10_000)).fallback_chain) == 4, "not with an answer of 10,000"
    backed = decided(LONG, QUICK, CODER, replace(UNRATED, context_window=200_000), GENIUS)
    assert backed.fallback_chain == (CODER.id, QUICK.id, UNRATED.id), "one is there already"
    assert len(decided(LONG, QUICK, CODER, UNRATED, OLD).fallback_chain) == 3, "there is none"
    named = (CODER.id, QUICK.id)
    assert decided(replace(LONG, pinned=named)).fallback_chain == named


@MANY
@given(registries | cached_registries, requests | steps)
def test_a_larger_window_is_in_every_chain_that_may_need_it(
    models: tuple[Deployment, ...], request: RouteRequest
) -> None:
    decision, windows = run(request, models), {model.id: model.context_window for model in models}
    if not decision.steps:
        return
    primary, *others = decision.fallback_chain
    able = [candidate.model for candidate in decision.candidates if candidate.eligible]
    needed = request.input_tokens_bound + (decision.steps[0].max_tokens or 0) > windows[primary]
    if needed and any(windows[model] > windows[primary] for model in able):
        assert any(windows[model] > windows[primary] for model in others)


# The promise


@MANY
@given(registries, requests.filter(lambda request: request.max_cost is not None))
def test_no_step_can_cost_more_than_max_cost(models: tuple[Deployment, ...], request: RouteRequest) -> None:
    prices = {model.id: model.price for model in models}
    for step in run(request, models).steps:
        assert step.max_tokens is not None and step.max_tokens >= 1
        assert step.worst_cost == worst_cost(prices[step.model], request.input_tokens_bound, step.max_tokens)
        assert request.max_cost is not None and step.worst_cost <= request.max_cost


@MANY
@given(registries | cached_registries, requests | steps)
def test_what_is_sent_is_never_more_than_asked_nor_than_the_model_can_write(
    models: tuple[Deployment, ...], request: RouteRequest
) -> None:
    limits = {model.id: model.max_output_tokens for model in models}
    for step in run(request, models).steps:
        if step.max_tokens is not None:
            assert step.max_tokens <= limits[step.model]
            assert request.max_tokens is None or step.max_tokens <= request.max_tokens
        else:
            assert request.max_tokens is None and request.max_cost is None


def test_the_smallest_max_cost_that_is_named_is_enough_and_one_less_is_not() -> None:
    limit = next(change for change in decided(asking(), SOLID).explanation.changes if change.kind == "max_cost_below")
    assert decided(asking(max_cost=int(limit.value)), SOLID).selected == SOLID.id
    assert decided(asking(max_cost=int(limit.value) - 1), SOLID).selected is None


def test_a_lowered_max_tokens_is_said_with_its_cause() -> None:
    dear = decided(asking(max_cost=2 * 10**9, max_tokens=4_000), CODER)
    assert dear.warnings == (
        f"max_tokens is {dear.max_tokens:,} instead of 4,000, so that the answer cannot cost more than max_cost $0.002",
    )
    long = decided(asking(max_tokens=20_000), CODER)
    assert long.warnings == ("max_tokens is 16,384 instead of 20,000, the most that gamma/coder can write",)
    tight = decided(asking(tokens=6_000, max_tokens=4_000), TINY)
    assert tight.warnings == (
        "max_tokens is 992 instead of 4,000, so that prompt and answer fit the context window of beta/tiny",
    )


def test_an_image_is_priced_by_the_piece() -> None:
    decision = decided(asking(Task.IMAGE, images=3))
    assert expected_cost_of_choice(decision) == 3 * PAINTER.price.image
    assert decided(asking(Task.IMAGE, images=3, max_cost=3 * PAINTER.price.image - 1)).selected is None


# Properties of the choice


@MANY
@given(registries | cached_registries, requests | steps)
def test_the_same_values_give_the_same_decision(models: tuple[Deployment, ...], request: RouteRequest) -> None:
    one, other = run(request, models), run(request, tuple(reversed(models)))
    assert one == other
    assert one.candidates == other.candidates
    assert (one.reason, one.what_would_change_it) == (other.reason, other.what_would_change_it)


@MANY
@given(registries | cached_registries, requests | steps)
def test_a_table_changes_nothing_but_the_time(models: tuple[Deployment, ...], request: RouteRequest) -> None:
    table = RoutingTable(models)
    plain = decide(request, deployments=models, policy=Policy(), snapshot=TODAY, registry_version="reg-1")
    for _ in range(2):
        kept = decide(request, deployments=table, policy=Policy(), snapshot=TODAY, registry_version="reg-1")
        assert kept == plain and kept.candidates == plain.candidates


def test_a_table_notices_a_new_policy_and_a_new_snapshot() -> None:
    table = RoutingTable(MODELS)

    def selected(policy: Policy, snapshot: Snapshot) -> str | None:
        return decide(asking(), deployments=table, policy=policy, snapshot=snapshot, registry_version="r").selected

    assert selected(Policy(), TODAY) == CODER.id
    assert selected(Policy(), Snapshot("other", unavailable={CODER.id: "down"})) != CODER.id
    assert selected(Policy(balanced=Weights(0, 0, 1, 0)), TODAY) == GENIUS.id
    assert selected(Policy(), TODAY) == CODER.id


def test_a_table_is_bounded() -> None:
    table = RoutingTable(MODELS)
    for number in range(3 * KEPT_SHORTLISTS):
        request = asking(pinned=(f"alpha/model-{number}",))
        decide(request, deployments=table, policy=Policy(), snapshot=TODAY, registry_version="r")
    assert len(table._shortlists) <= KEPT_SHORTLISTS


@MANY
@given(registries, requests, st.floats(0, 1), st.floats(0, 1))
def test_more_cost_weight_never_raises_the_expected_cost(
    models: tuple[Deployment, ...], request: RouteRequest, one: float, other: float
) -> None:
    request = replace(request, priority=Priority.BALANCED)
    lighter, heavier = sorted((one, other))
    costs = []
    for weight in (lighter, heavier):
        rest = Weights(weight, (1 - weight) / 2, (1 - weight) / 4, (1 - weight) / 4)
        decision = run(request, models, Policy(balanced=rest, balanced_fast=rest))
        costs.append(expected_cost_of_choice(decision) if decision.steps else 0)
    assert costs[1] <= costs[0] or heavier - lighter < 1e-9


@MANY
@given(registries, requests, st.data())
def test_a_dominated_model_changes_nothing(
    models: tuple[Deployment, ...], request: RouteRequest, data: st.DataObject
) -> None:
    better = data.draw(st.sampled_from(models))
    worse = data.draw(dominated(better))
    assert run(request, models).selected == run(request, (*models, worse)).selected


@st.composite
def dominated(draw: st.DrawFn, better: Deployment) -> Deployment:
    """No better in anything than the other, and dearer."""
    lower = st.floats(0, 1)
    ratings = {task: better.ratings.get(task, better.overall).percentile * draw(lower) for task in Task}
    return replace(
        better,
        id=draw(st.sampled_from(["alpha/a", "gamma/zz"])),
        price=Price(
            better.price.input + draw(st.integers(1, 10**6)), better.price.output + draw(st.integers(1, 10**6))
        ),
        ratings={task: Rating(percentile, "test") for task, percentile in ratings.items()},
        overall=Rating(better.overall.percentile * draw(lower), "test"),
        prior_latency_ms=better.prior_latency_ms + draw(st.integers(0, 1000)),
        context_window=better.context_window,
        supports_vision=draw(st.booleans()),
    )


@MANY
@given(deployments() | deployments(cached=True), requests | steps, st.integers(0, 10**6), st.integers(0, 10**6))
def test_raising_a_price_never_raises_a_score(
    model: Deployment, request: RouteRequest, more_input: int, more_output: int
) -> None:
    price = model.price
    dearer = replace(model, price=replace(price, input=price.input + more_input, output=price.output + more_output))
    assert run(request, (dearer,)).candidates[0].score <= run(request, (model,)).candidates[0].score


def test_key_kind_and_signals_do_not_enter_the_choice() -> None:
    plain = decided(asking())
    assert decided(asking(signals=("code_thing",), key_kind="test")).fallback_chain == plain.fallback_chain


def test_the_scores_of_the_request_are_kept_in_the_decision() -> None:
    assert decided(asking()).task_scores == only(Task.CODING)
