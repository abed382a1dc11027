"""Agent sessions: what a model holds is priced as held; a switch happens only where it costs no more on the whole."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from omni_app.routing.cost import actual_cost
from omni_app.routing.decide import decide
from omni_app.routing.shortlist import RoutingTable
from omni_app.routing.size import expected_tokens
from omni_app.routing.types import (
    AgentSession,
    Candidate,
    Decision,
    Deployment,
    LatencyPref,
    Policy,
    Price,
    Priority,
    RouteRequest,
    SizeClass,
    Snapshot,
    Task,
)
from tests.routing.models import GENIUS, QUICK, SOLID, TODAY, UNRATED, asking, decided
from tests.routing.strategies import cached_registries, steps

MANY = settings(max_examples=300, deadline=None)
CENTS = Price(1_000_000, 4_000_000, cached_input=100_000)
"""$1 in, $4 out, $0.10 from the cache, per million tokens."""
HOLDER = replace(QUICK, price=CENTS)
WRITER = replace(SOLID, price=Price(2_000_000, 8_000_000, cached_input=200_000, cache_write=2_500_000))
ANSWER = 150
"""The policy's prior for an agent's step."""


def step(session: AgentSession | None, *, tokens: int = 10_000, **more: object) -> RouteRequest:
    return replace(asking(Task.AGENT_STEP, tokens=tokens), session=session, **more)  # type: ignore[arg-type]


def candidate(decision: Decision, model: Deployment) -> Candidate:
    return next(one for one in decision.candidates if one.model == model.id)


def in_session(home: Deployment, *held: tuple[Deployment, int]) -> AgentSession:
    return AgentSession(home.id, home.id, tuple(sorted((model.id, tokens) for model, tokens in held)))


# What a step costs


def test_what_a_model_holds_is_priced_as_cached_and_the_rest_as_new() -> None:
    found = candidate(decided(step(in_session(HOLDER, (HOLDER, 9_000))), HOLDER), HOLDER)
    assert found.expected_cost == 9_000 * 100_000 + 1_000 * 1_000_000 + ANSWER * 4_000_000


def test_what_is_held_is_never_more_than_the_prompt() -> None:
    found = candidate(decided(step(in_session(HOLDER, (HOLDER, 90_000))), HOLDER), HOLDER)
    assert found.expected_cost == 10_000 * 100_000 + ANSWER * 4_000_000


def test_a_model_that_holds_nothing_pays_for_writing_its_cache() -> None:
    found = candidate(decided(step(in_session(HOLDER, (HOLDER, 9_000))), HOLDER, WRITER), WRITER)
    assert found.expected_cost == 10_000 * 2_500_000 + ANSWER * 8_000_000


def test_a_model_that_is_known_not_to_cache_pays_plain_prices() -> None:
    found = candidate(decided(step(in_session(WRITER, (WRITER, 0))), WRITER), WRITER)
    assert found.expected_cost == 10_000 * 2_000_000 + ANSWER * 8_000_000


def test_several_answers_read_the_cache_each() -> None:
    one, two = (decided(step(in_session(HOLDER, (HOLDER, 9_000)), choices=n), HOLDER) for n in (1, 2))
    assert candidate(two, HOLDER).expected_cost == 2 * candidate(one, HOLDER).expected_cost


def test_promises_do_not_count_on_a_cache() -> None:
    cold, warm = (decided(step(session), HOLDER) for session in (None, in_session(HOLDER, (HOLDER, 9_000))))
    assert warm.steps == cold.steps


@MANY
@given(cached_registries, steps)
def test_the_tokens_that_are_told_give_the_cost_that_is_told(
    models: Sequence[Deployment], request: RouteRequest
) -> None:
    decision = decided(request, *models)
    case, by_id = decision.explanation.case, {one.id: one for one in models}
    for one in decision.candidates:
        tokens = expected_tokens(by_id[one.model], case)
        assert actual_cost(by_id[one.model].price, tokens) == one.expected_cost


# Who takes the step

CHEAPER = replace(HOLDER, id="gamma/cheaper", provider="gamma", price=Price(900_000, 3_600_000, cached_input=90_000))
"""A tenth cheaper in everything, and otherwise the same: it wins every first step."""


def test_a_cheaper_model_does_not_take_over_when_it_must_read_everything_anew() -> None:
    assert decided(step(None), HOLDER, CHEAPER).selected == CHEAPER.id
    decision = decided(step(in_session(HOLDER, (HOLDER, 9_000))), HOLDER, CHEAPER)
    assert decision.selected == HOLDER.id
    assert decision.home_after(HOLDER.id) == HOLDER.id


def test_it_takes_over_when_most_of_the_prompt_is_new_to_everyone() -> None:
    decision = decided(step(in_session(HOLDER, (HOLDER, 100))), HOLDER, CHEAPER)
    assert decision.selected == CHEAPER.id
    assert decision.home_after(CHEAPER.id) == CHEAPER.id


def test_after_a_gap_nobody_holds_anything_and_the_cheaper_one_takes_over() -> None:
    assert decided(step(in_session(HOLDER)), HOLDER, CHEAPER).selected == CHEAPER.id


def test_a_warm_cache_keeps_a_dear_model_no_longer_than_leaving_it_costs_more() -> None:
    genius = replace(GENIUS, price=replace(GENIUS.price, cached_input=1_000_000))
    assert decided(step(None), genius, QUICK).selected == QUICK.id
    assert decided(step(in_session(genius, (genius, 9_900))), genius, QUICK).selected == QUICK.id


def test_a_step_that_needs_more_quality_goes_elsewhere_and_the_session_keeps_its_home() -> None:
    hard = step(in_session(HOLDER, (HOLDER, 9_900)), difficulty=1.0)
    weak = replace(HOLDER, ratings={})
    assert decided(hard, weak, SOLID).selected == HOLDER.id, "rated 0.55, asked for 0.5"
    weaker = replace(weak, overall=replace(weak.overall, percentile=0.4))
    decision = decided(hard, weaker, SOLID)
    assert decision.selected == SOLID.id
    assert decision.home_after(SOLID.id) == HOLDER.id
    assert decision.staying is not None and not decision.staying.stays
    assert "alpha/quick, whose prompt cache holds 9,900 tokens of this session, is rated below" in decision.reason


def test_without_its_home_the_session_stays_with_who_answered_last() -> None:
    session = AgentSession("gone/away", HOLDER.id, ((HOLDER.id, 9_000),))
    decision = decided(step(session), HOLDER, CHEAPER)
    assert decision.selected == HOLDER.id
    assert decision.home_after(HOLDER.id) == "gone/away", "it comes back when it can"


def test_when_a_fallback_answers_the_home_does_not_change() -> None:
    decision = decided(step(in_session(HOLDER, (HOLDER, 100))), HOLDER, CHEAPER, SOLID)
    assert decision.selected == CHEAPER.id
    assert decision.home_after(SOLID.id) == HOLDER.id


def test_who_asks_for_speed_is_not_held_back_by_cost() -> None:
    late = Snapshot("s", latency_ms={HOLDER.id: dict.fromkeys(SizeClass, 50_000.0)}, today=TODAY.today)
    session = in_session(HOLDER, (HOLDER, 9_900))
    quick = replace(CHEAPER, price=HOLDER.price)
    assert decided(step(session), HOLDER, quick, snapshot=late).selected == HOLDER.id
    assert decided(step(session, latency_pref=LatencyPref.FAST), HOLDER, quick, snapshot=late).selected == quick.id


def test_the_models_that_a_caller_names_are_taken_as_named() -> None:
    pinned = step(in_session(HOLDER, (HOLDER, 9_900)), pinned=(SOLID.id, HOLDER.id))
    assert decided(pinned, HOLDER, SOLID).fallback_chain == (SOLID.id, HOLDER.id)


def test_a_generous_max_tokens_is_no_reason_to_leave() -> None:
    """With 4,000 tokens written the cheaper answers would pay for reading everything anew; usually 150 are."""
    session = in_session(HOLDER, (HOLDER, 9_900))
    chatty = replace(CHEAPER, price=replace(CHEAPER.price, output=1_000_000))
    assert decided(step(session, max_tokens=4_000), HOLDER, chatty).selected == HOLDER.id


def test_a_model_that_is_cheaper_once_and_dearer_ever_after_is_not_gone_to() -> None:
    """A long result of a tool is read anew by everyone; without a cache it would be read anew in every later step."""
    reader = replace(CHEAPER, price=Price(400_000, 1_600_000))
    session = in_session(HOLDER, (HOLDER, 300))
    decision = decided(step(session, tokens=21_000), HOLDER, reader)
    assert candidate(decision, reader).expected_cost < candidate(decision, HOLDER).expected_cost
    assert decision.selected == HOLDER.id


def test_a_model_that_costs_less_than_the_whole_prompt_from_the_cache_is_gone_to_and_come_back_from() -> None:
    reader = replace(CHEAPER, price=Price(90_000, 5_000_000, cached_input=90_000))
    decision = decided(step(in_session(HOLDER, (HOLDER, 9_000)), tokens=30_000), HOLDER, reader)
    assert decision.selected == reader.id
    assert decision.home_after(reader.id) == HOLDER.id, "its answers are dearer"


def test_who_asks_for_quality_does_not_stay_with_a_weaker_home() -> None:
    asked = step(in_session(QUICK, (QUICK, 9_000)), priority=Priority.QUALITY)
    alone = decided(replace(asked, session=None), GENIUS, QUICK)
    decision = decided(asked, GENIUS, QUICK)
    assert decision.selected == alone.selected == GENIUS.id
    assert decision.home_after(GENIUS.id) == QUICK.id, "later steps that ask for less come back"
    assert "alpha/quick, whose prompt cache holds 9,000 tokens of this session, is not taken" in decision.reason
    assert decided(replace(asked, priority=Priority.BALANCED), GENIUS, QUICK).selected == QUICK.id


def test_who_asks_for_quality_stays_with_who_is_as_good() -> None:
    priced = replace(GENIUS, price=replace(GENIUS.price, cached_input=1_000_000))
    twin = replace(priced, id="beta/twin", provider="beta", price=replace(priced.price, input=priced.price.input - 1))
    asked = step(in_session(priced, (priced, 9_000)), priority=Priority.QUALITY)
    assert decided(replace(asked, session=None), priced, twin).selected == twin.id
    assert decided(asked, priced, twin).selected == priced.id


def test_a_step_that_was_decided_by_the_first_rules_stays_whatever_quality_it_asks_for() -> None:
    session = replace(in_session(QUICK, (QUICK, 9_000)), rules=1)
    assert decided(step(session, priority=Priority.QUALITY), GENIUS, QUICK).selected == QUICK.id


# What is told


def test_staying_without_any_cache_is_told_where_the_step_alone_would_go_elsewhere() -> None:
    decision = decided(step(in_session(UNRATED)), UNRATED, QUICK)
    assert decided(step(None), UNRATED, QUICK).selected == QUICK.id
    assert decision.selected == UNRATED.id
    assert decision.reason.endswith(
        "; the session stays with it unless leaving costs no more: by itself this step would go to alpha/quick."
    )
    assert "session" not in decided(step(in_session(QUICK)), UNRATED, QUICK).reason


def test_staying_tells_what_it_saves_and_why() -> None:
    decision = decided(step(in_session(HOLDER, (HOLDER, 9_000))), HOLDER, CHEAPER)
    costs = {one.model: one.expected_cost for one in decision.candidates}
    staying = decision.staying
    assert staying is not None
    assert (staying.home, staying.stays, staying.cached_tokens) == (HOLDER.id, True, 9_000)
    assert staying.saves == costs[CHEAPER.id] - costs[HOLDER.id] == 7_040_000_000
    assert staying.words == (
        "staying with alpha/quick saves about $0.0070 beside gamma/cheaper: "
        "its prompt cache holds 9,000 tokens of this session"
    )
    assert decision.reason.endswith(f"; {staying.words}.")


def test_leaving_tells_what_it_saves() -> None:
    decision = decided(step(in_session(HOLDER, (HOLDER, 100))), HOLDER, CHEAPER)
    staying = decision.staying
    assert staying is not None
    assert (staying.stays, staying.saves, staying.cached_tokens) == (False, 970_000_000, 0)
    assert staying.words == (
        "leaving alpha/quick saves about $0.00097, although its prompt cache holds 100 tokens of this session"
    )


def test_outside_of_a_session_nothing_is_told() -> None:
    assert decided(step(None), HOLDER, CHEAPER).staying is None
    assert "session" not in decided(step(None), HOLDER, CHEAPER).reason


def test_a_first_choice_that_the_score_did_not_make_claims_no_margin() -> None:
    explanation = decided(step(in_session(HOLDER, (HOLDER, 9_000))), HOLDER, CHEAPER).explanation
    assert explanation.margin is None
    assert {change.kind for change in explanation.changes} <= {"max_cost_below", "priority"}


# Whatever the run


@MANY
@given(cached_registries, steps)
def test_a_step_never_costs_more_than_staying_for_it(models: Sequence[Deployment], request: RouteRequest) -> None:
    """Where the home could serve it as well, and nobody asked for speed or named models."""
    request = replace(request, latency_pref=LatencyPref.NORMAL, max_tokens=None)
    decision = decided(request, *models)
    ranking = decision.explanation.ranking
    if ranking.stayed is not None:
        assert decision.candidates[0].expected_cost <= ranking.costs[ranking.stayed]


@dataclass
class Caches:
    """Every model's prompt cache over one run, as a provider with a cache tariff has it."""

    models: dict[str, Deployment]
    held: dict[str, int] = field(default_factory=dict)
    cost: int = 0

    def pay(self, model: str, tokens: int) -> None:
        """One step with this model: what it holds at the cached price, the rest written, then it holds the prompt."""
        price, output = self.models[model].price, min(ANSWER, self.models[model].max_output_tokens)
        cached = min(self.held.get(model, 0), tokens) if price.cached_input is not None else 0
        fresh = price.input if price.cache_write is None else price.cache_write
        self.cost += cached * (price.cached_input or 0) + (tokens - cached) * fresh + output * price.output
        if price.cached_input is not None:
            self.held[model] = tokens


RATES = st.sampled_from([1, 2, 5, 10, 20, 50])
NEAR = st.builds(
    lambda given, made, cached, write: Price(
        10 * given, 10 * made, cached_input=min(cached, 10 * given) or None, cache_write=write and 12 * given
    ),
    *(RATES, RATES, st.just(0) | RATES, st.none() | st.just(1)),
)
"""Prices so near each other that many models are worth a thought; some without a cache."""
ADDED = st.sampled_from([20, 100, 300, 1_000, 5_000, 20_000])
runs = st.lists(st.tuples(ADDED, st.integers(0, 9).map(lambda digit: digit == 0)), min_size=2, max_size=10)
"""Tokens that each step adds, and whether every cache has lapsed before it."""


@settings(max_examples=1_000, deadline=None)
@given(st.lists(NEAR, min_size=2, max_size=4), runs, st.sampled_from([Priority.CHEAP, Priority.BALANCED]))
def test_a_run_never_costs_more_than_staying_with_its_first_model(
    prices: Sequence[Price], run: Sequence[tuple[int, bool]], priority: Priority
) -> None:
    """All models reach the quality asked, and every answer has the expected length: then no run is dearer than staying.

    Caches live until a gap in which all lapse. Checked after every step, since nobody knows which one is the last.
    """
    models = tuple(
        replace(QUICK, id=f"alpha/model-{place}", price=price, context_window=10**7, prior_latency_ms=500 + 100 * place)
        for place, price in enumerate(prices)
    )
    by_id = {one.id: one for one in models}
    routed, stayed = Caches(by_id), Caches(by_id)
    table = RoutingTable(models)
    home = last = first = ""
    tokens = 0
    for added, gap in run:
        tokens += added
        if gap:
            routed.held.clear()
            stayed.held.clear()
        session = AgentSession(home, last, tuple(sorted(routed.held.items()))) if home else None
        request = step(session, tokens=tokens, priority=priority, forced_task=Task.AGENT_STEP)
        decision = decide(request, deployments=table, policy=Policy(), snapshot=TODAY, registry_version="reg-1")
        assert decision.selected is not None
        home, last = decision.home_after(decision.selected), decision.selected
        first = first or decision.selected
        routed.pay(decision.selected, tokens)
        stayed.pay(first, tokens)
        assert routed.cost <= stayed.cost
