from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from omni_app.money import usd_text
from omni_app.routing.change import Change
from omni_app.routing.types import Decision, Deployment, Policy, Price, Priority, RouteRequest, Snapshot, Task, Weights
from omni_app.routing.wording import beside, count_of, dollars, exact_dollars, listed, percent
from tests.routing.models import CODER, GENIUS, MODELS, QUICK, SOLID, TINY, TODAY, UNRATED, asking, decided, model
from tests.routing.strategies import registries, requests

SOME = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


def change_of(decision: Decision, kind: str) -> Change | None:
    return next((change for change in decision.explanation.changes if change.kind == kind), None)


# Why this one


def test_the_reason_names_task_model_cost_and_what_it_is_measured_against() -> None:
    assert decided(asking()).reason == (
        "Chosen for coding: gamma/coder costs about $0.0013 here, 17 times less than alpha/genius "
        "at 96 % of its coding rating and about 4,000 ms sooner."
    )


def test_the_highest_rated_is_measured_against_the_cheapest() -> None:
    assert decided(asking(priority=Priority.BEST)).reason == (
        "Chosen for coding: alpha/genius costs about $0.022 here; of 6 models able to do this none is rated higher, "
        "and it costs 200 times more than beta/tiny."
    )


def test_an_assumed_rating_is_no_ground_for_a_claim() -> None:
    reason = decided(asking(), UNRATED, SOLID, policy=Policy(balanced=Weights(1, 0, 0, 0))).reason
    assert "of its coding rating" not in reason
    assert "some are assumed" in reason


def test_a_simulated_model_is_called_simulated() -> None:
    assert "alpha/quick (simulated) costs" in decided(asking(), replace(QUICK, simulated=True)).reason


def test_a_free_model_costs_nothing() -> None:
    free = replace(QUICK, price=Price(0, 0))
    assert decided(asking(), free).reason == (
        "Chosen for coding: alpha/quick costs nothing here and is the only model that can do this now."
    )


def test_the_reason_of_a_named_model_is_that_it_was_named() -> None:
    assert decided(asking(pinned=(QUICK.id,))).reason == "The request names it: alpha/quick costs about $0.0011 here."


def test_the_cost_told_is_never_above_max_cost() -> None:
    assert "costs about $0.0020 here" in decided(asking(max_cost=2 * 10**9, max_tokens=4_000), CODER).reason


def test_the_reason_can_be_made_again_from_what_is_stored() -> None:
    decision = decided(asking())
    case = decision.explanation.case
    again = decided(replace(case.request), *MODELS, policy=Policy(), snapshot=replace(TODAY))
    assert (again, again.reason, again.candidates) == (decision, decision.reason, decision.candidates)


def test_the_top_candidates_are_the_first_of_all() -> None:
    decision = decided(asking())
    assert decision.top(5) == decision.candidates[:5]
    assert [candidate.eligible for candidate in decision.top(100)] == [True] * 6


# What would change it: applying the change flips the choice, a little less does not.


def reweighted(weights: Weights, cost: float) -> Policy:
    """The policy with another cost weight, the other weights keeping their proportions."""
    scale = (1 - cost) / (1 - weights.cost)
    changed = Weights(cost, weights.latency * scale, weights.task * scale, weights.quality * scale)
    return Policy(balanced=changed, balanced_fast=changed, quality=changed, quality_fast=changed)


SCORED = requests.map(
    lambda request: replace(
        request, priority=Priority.BALANCED, max_cost=None, input_tokens=request.input_tokens + 1_000, max_tokens=1_000
    )
)


@SOME
@given(registries, SCORED, st.sampled_from(["cost_weight_below", "cost_weight_above"]))
def test_beyond_the_stated_cost_weight_the_named_model_wins(
    models: tuple[Deployment, ...], request: RouteRequest, kind: str
) -> None:
    decision = decided(request, *models)
    change = change_of(decision, kind)
    assume(change is not None and abs(change.value - decision.weights.cost) > 1e-3)
    assert change is not None
    step = (change.value - decision.weights.cost) * 0.01
    short = decided(request, *models, policy=reweighted(decision.weights, change.value - step))
    assert short.selected == decision.selected
    beyond = min(1.0, max(0.0, change.value + step))
    assume(beyond != change.value)
    flipped = decided(request, *models, policy=reweighted(decision.weights, beyond))
    assert flipped.selected != decision.selected


@SOME
@given(registries, SCORED, st.sampled_from(list(Priority)))
def test_beyond_the_stated_fall_of_its_price_the_named_model_wins(
    models: tuple[Deployment, ...], request: RouteRequest, priority: Priority
) -> None:
    request = replace(request, priority=priority)
    decision = decided(request, *models)
    change = change_of(decision, "price_falls")
    assume(change is not None and 0.05 < change.value < 0.99)
    assert change is not None
    assert repriced(models, change.model, change.value * 0.99, request).selected == change.model
    assert repriced(models, change.model, change.value * 1.01, request).selected == decision.selected


@SOME
@given(registries, SCORED, st.sampled_from(list(Priority)))
def test_beyond_the_stated_rise_of_its_price_the_selected_model_loses(
    models: tuple[Deployment, ...], request: RouteRequest, priority: Priority
) -> None:
    request = replace(request, priority=priority)
    decision = decided(request, *models)
    change = change_of(decision, "price_rises")
    assume(change is not None and 1.01 < change.value < 1000)
    assert change is not None and decision.selected is not None
    assert repriced(models, decision.selected, change.value * 1.01, request).selected == change.model
    assert repriced(models, decision.selected, change.value * 0.99, request).selected == decision.selected


@SOME
@given(registries, requests)
def test_below_the_stated_max_cost_another_is_chosen_and_from_it_on_the_same(
    models: tuple[Deployment, ...], request: RouteRequest
) -> None:
    generous = Policy(best_within=0.2)

    def selected(max_cost: int | None) -> str | None:
        return decided(replace(request, max_cost=max_cost), *models, policy=generous).selected

    decision = decided(request, *models, policy=generous)
    change = change_of(decision, "max_cost_below")
    assume(change is not None)
    assert change is not None
    limit = round(change.value)
    assert selected(limit - 1) != decision.selected
    for enough in (limit, limit + limit // 100):
        if request.max_cost is None or enough <= request.max_cost:
            assert selected(enough) == decision.selected
    assert f"below ${usd_text(limit)} " in change.text


def test_best_is_chosen_otherwise_when_a_limit_leaves_out_the_one_it_was_measured_against() -> None:
    peak, near, cheap = (
        model(name, prices=(price, price), rating=rating, latency_ms=1000)
        for name, price, rating in (("a/peak", "10", 0.95), ("b/near", "2", 0.94), ("c/cheap", "1", 0.935))
    )
    decision = decided(asking(priority=Priority.BEST), peak, near, cheap)
    change = change_of(decision, "max_cost_below")
    assert (decision.selected, change and change.model) == ("b/near", "a/peak")
    limited = decided(asking(priority=Priority.BEST, max_cost=round(change.value) - 1 if change else 0), near, cheap)
    assert limited.selected == "c/cheap"


@SOME
@given(registries, requests)
def test_every_priority_that_takes_another_model_is_named_with_it(
    models: tuple[Deployment, ...], request: RouteRequest
) -> None:
    decision = decided(request, *models)
    told = {
        change.text.split()[1]: change.model for change in decision.explanation.changes if change.kind == "priority"
    }
    others = {one.value: decided(replace(request, priority=one), *models).selected for one in Priority}
    assert told == {name: model for name, model in others.items() if model != decision.selected}


@SOME
@given(registries, SCORED, st.sampled_from([Priority.BALANCED, Priority.QUALITY]))
def test_the_margin_is_what_the_first_score_is_above_the_second(
    models: tuple[Deployment, ...], request: RouteRequest, priority: Priority
) -> None:
    decision = decided(replace(request, priority=priority), *models)
    able = [one for one in decision.candidates if one.eligible and not one.held_back]
    margin = decision.explanation.margin
    assert (margin is None) is (len(able) < 2)
    if margin is not None:
        assert margin == pytest.approx(able[0].score - able[1].score, abs=1e-12) and margin >= 0
        assert decision.explanation.fragile is (margin < Policy().fragile_margin)


def repriced(models: tuple[Deployment, ...], name: str, factor: float, request: RouteRequest) -> Decision:
    """The decision with one model's prices multiplied, all prices in thousandths so that rounding does not matter."""
    fine = 1_000_000

    def price(model: Deployment) -> Price:
        by = factor if model.id == name else 1.0
        return Price(round(model.price.input * fine * by), round(model.price.output * fine * by))

    policy = Policy(cost_floor_pico=1_000_000 * fine, cost_ceiling_pico=1_000_000_000_000 * fine)
    return decided(request, *(replace(model, price=price(model)) for model in models), policy=policy)


def test_the_other_priorities_are_named_with_what_they_would_take() -> None:
    told = decided(asking()).what_would_change_it
    assert "priority best takes alpha/genius" in told
    assert "priority cheap takes beta/tiny" in told
    assert not any("balanced" in sentence for sentence in told)


def test_figures_are_rounded_to_the_side_where_the_change_happens() -> None:
    decision = decided(asking())
    fall, above = change_of(decision, "price_falls"), change_of(decision, "cost_weight_above")
    assert fall is not None and above is not None
    assert float(fall.text.split()[-2]) >= (1 - fall.value) * 100
    assert float(above.text.split()[-1]) >= above.value


def test_a_lead_that_a_breath_would_turn_is_called_fragile() -> None:
    twin = replace(CODER, id="alpha/twin", provider="alpha", prior_latency_ms=2010)
    assert decided(asking(), CODER, twin).explanation.fragile
    assert not decided(asking()).explanation.fragile
    assert decided(asking(priority=Priority.CHEAP)).explanation.margin is None


def test_named_models_have_no_changes() -> None:
    assert decided(asking(pinned=(QUICK.id, TINY.id))).what_would_change_it == ()


# Why nobody


def test_a_refusal_names_every_limit_with_the_models_it_excluded() -> None:
    snapshot = Snapshot("s", unavailable={SOLID.id: "BETA_API_KEY is not set"}, today=TODAY.today)
    decision = decided(asking(needs_vision=True, max_cost=10**8), GENIUS, SOLID, QUICK, snapshot=snapshot)
    assert decision.no_eligible_reason == (
        "no model can do this request (coding): alpha/genius: max_cost $0.0001 is too low, the cheapest possible here "
        "is $0.01056 (alpha/genius); beta/solid: BETA_API_KEY is not set; alpha/quick: cannot see images"
    )


def test_a_refusal_for_length_gives_the_counted_tokens_and_the_largest_window() -> None:
    reason = decided(asking(tokens=2_000_000), QUICK, SOLID).no_eligible_reason
    assert "about 2,000,000 tokens" in reason and "the largest of these is 200,000" in reason


def test_the_figure_that_a_refusal_names_is_enough() -> None:
    reason = decided(asking(max_cost=1), QUICK).no_eligible_reason
    assert "$0.000528" in reason
    assert decided(asking(max_cost=528_000_000), QUICK).selected == QUICK.id


def test_models_that_the_caller_did_not_name_are_not_listed() -> None:
    snapshot = Snapshot("s", unavailable={QUICK.id: "ALPHA_API_KEY is not set"})
    reason = decided(asking(pinned=(QUICK.id, "beta/gone")), *MODELS, snapshot=snapshot).no_eligible_reason
    assert reason == (
        "no model can do this request (coding): alpha/quick: ALPHA_API_KEY is not set; "
        "beta/gone: not a model that this key can reach"
    )


@SOME
@given(registries, requests)
def test_there_is_a_reason_or_a_refusal_never_both(models: tuple[Deployment, ...], request: RouteRequest) -> None:
    decision = decided(request, *models)
    assert bool(decision.reason) != bool(decision.no_eligible_reason)
    assert bool(decision.reason) == (decision.selected is not None)


# Words


@pytest.mark.parametrize(
    ("pico", "words"),
    [
        (0, "$0"),
        (1, "$0.0000000000010"),
        (123_456_789, "$0.00012"),
        (999_000_000_000, "$1.0"),
        (3_100_000_000_000, "$3.10"),
    ],
)
def test_small_sums_keep_two_digits(pico: int, words: str) -> None:
    assert dollars(pico) == words


def test_limits_are_told_to_the_last_digit() -> None:
    assert exact_dollars(123_456_789) == "$0.000123456789"


@pytest.mark.parametrize(
    ("amount", "other", "words"),
    [
        (10, 80, "8 times less than"),
        (30, 10, "3 times more than"),
        (90, 100, "10 % less than"),
        (5, 5, "as much as"),
        (0, 5, "less than"),
    ],
)
def test_two_amounts_are_compared_in_words(amount: int, other: int, words: str) -> None:
    assert beside(amount, other) == words


def test_long_lists_are_counted() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert (count_of(1, "model"), count_of(1200, "model")) == ("1 model", "1,200 models")
    assert percent(0.1801) == "18.1 %"


def test_the_task_reads_well_in_a_sentence() -> None:
    assert decided(asking(Task.IMAGE)).reason.startswith("Chosen for making images: gamma/painter")
