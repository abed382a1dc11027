"""The order of the models that may answer one request, and the chain that is tried.

Flat lists over the shortlist's rows, one number per row: this runs for every request. Everything in words is made
in `explain`, when someone reads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from omni_app.routing.caches import costs_once_read, worth_leaving
from omni_app.routing.score import minimum_quality
from omni_app.routing.shortlist import Exclusion, RoutingTable, Row, Shortlist
from omni_app.routing.size import expected_costs, may_overflow, screen, step_size
from omni_app.routing.types import AgentSession, Case, LatencyPref, Priority, Task


@dataclass(frozen=True, slots=True)
class Ranking:
    """The rows that may answer, with their figures in parallel lists, and the order of choice.

    `order` holds places in `rows`, best first. Its first `preferred` places reach the quality that the request asks
    for (or are the highest rated, when none does); the others are able too, but stand behind.
    """

    shortlist: Shortlist
    rows: Sequence[Row]
    too_small: Sequence[tuple[Row, Exclusion]]
    """Excluded by this request's size: context window and `max_cost`."""
    costs: Sequence[int]
    """Expected pico-dollars of the request as asked."""
    scores: Sequence[float]
    order: Sequence[int]
    preferred: int
    stayed: int | None = None
    """The place of the model that the agent session stays with unless leaving it costs no more; None without one."""
    wished: int | None = None
    """The place that this step would go to if there were nobody to stay with; None where there is nobody."""


def rank(case: Case, table: RoutingTable) -> Ranking:
    """Screens by size, scores every row that is left and puts them in the order of choice."""
    shortlist = table.shortlist(case)
    rows, too_small = screen(shortlist, case)
    costs = expected_costs(rows, case)
    scores = scores_at(costs, rows, shortlist)
    by_cost = sorted(range(len(rows)), key=costs.__getitem__)
    if case.request.pinned:
        order, preferred = as_named(by_cost, rows, case.request.pinned), len(rows)
    else:
        able, behind = split_by_quality(by_cost, rows, minimum=minimum_quality(case))
        order, preferred = in_order_of_choice(able, rows, scores, case) + behind, len(able)
    session, stayed, wished = case.request.session, None, None
    if session is not None:
        able = order[:preferred]
        stayed = stays_with(session, able, rows, case)
        if stayed is not None:
            wished = order[0]
            first = next_in_session(session, stayed, able, shortlist, rows, case)
            order = [first, *without(order, first)]
    return Ranking(shortlist, rows, too_small, costs, scores, order, preferred, stayed, wished)


def scores_at(costs: Sequence[int], rows: Sequence[Row], shortlist: Shortlist) -> list[float]:
    """The rows' scores at these costs."""
    weight, norms = shortlist.weights.cost, shortlist.cost_scale.norms(costs)
    return [row.score_without_cost + weight * (1 - norm) for row, norm in zip(rows, norms, strict=True)]


# Orders take places sorted by cost and keep that order among equals; places of equal cost are in tie-break order.


def as_named(by_cost: list[int], rows: Sequence[Row], pinned: tuple[str, ...]) -> list[int]:
    """The caller's own order."""
    return sorted(by_cost, key=lambda place: pinned.index(rows[place].id))


def split_by_quality(by_cost: list[int], rows: Sequence[Row], *, minimum: float) -> tuple[list[int], list[int]]:
    """Those that reach the quality asked for, and the others, best first. The highest rated when none reaches it."""
    if minimum <= 0:
        return by_cost, []
    bar = min(minimum, max((row.task_quality for row in rows), default=0.0))
    behind = [place for place in by_cost if rows[place].task_quality < bar]
    behind.sort(key=lambda place: -rows[place].task_quality)
    return [place for place in by_cost if rows[place].task_quality >= bar], behind


def in_order_of_choice(by_cost: list[int], rows: Sequence[Row], scores: Sequence[float], case: Case) -> list[int]:
    """`cheap`: by cost. `best`: near the highest percentile by cost, then by quality. Otherwise by score."""
    if case.request.priority is Priority.CHEAP:
        return by_cost
    if case.request.priority is Priority.BEST:
        bar = near_best(max((row.task_quality for row in rows), default=0.0), case)
        return sorted(by_cost, key=lambda place: max(0.0, bar - rows[place].task_quality))
    return sorted(by_cost, key=scores.__getitem__, reverse=True)


def near_best(highest: float, case: Case) -> float:
    """The percentile from which `best` takes a model for as good as the highest."""
    return round(highest - case.policy.best_within, 9)


def stays_with(session: AgentSession, able: Sequence[int], rows: Sequence[Row], case: Case) -> int | None:
    """The place of the session's home, else of the model that answered last; None when neither will do for this step.

    None too where something else than cost decides: the caller named the models, or put time before money (`fast`).
    """
    if case.request.pinned or case.request.latency_pref is LatencyPref.FAST or case.task is Task.IMAGE:
        return None
    bar = quality_to_stay(session, able, rows, case)
    places = {rows[place].id: place for place in able if rows[place].task_quality >= bar}
    return next((places[model] for model in (session.home, session.last) if model in places), None)


def quality_to_stay(session: AgentSession, able: Sequence[int], rows: Sequence[Row], case: Case) -> float:
    """The percentile from which a model may be stayed with.

    `best`: near the highest. `quality`: near that of whom the step would go to by itself. Otherwise any.
    """
    if case.request.priority is Priority.BEST:
        return near_best(max((row.task_quality for row in rows), default=0.0), case)
    if case.request.priority is Priority.QUALITY and able and session.rules > 1:
        return near_best(rows[able[0]].task_quality, case)
    return 0.0


def next_in_session(
    session: AgentSession, stayed: int, able: Sequence[int], shortlist: Shortlist, rows: Sequence[Row], case: Case
) -> int:
    """The place that the step goes to: the first that is worth leaving `stayed` for, else `stayed`.

    The order is that of the long run, when all have read the session: a warm cache keeps a dear model no longer than
    leaving it would cost more.
    """
    held, size = dict(session.held), step_size(case)
    costs = costs_once_read(rows, session, size)
    by_cost = sorted(sorted(able), key=costs.__getitem__)
    wished = in_order_of_choice(by_cost, rows, scores_at(costs, rows, shortlist), case)
    ahead = wished[: wished.index(stayed)]
    return next((place for place in ahead if worth_leaving(rows[place], rows[stayed], held, size)), stayed)


def chain(ranking: Ranking, case: Case) -> Sequence[int]:
    """Places to try, in order: the primary, a backup at another provider where there is one, the cheapest left.

    The backup is at another provider even where only those held back for their quality are there; otherwise they come
    in when nobody else is left. Pinned models: exactly as named. Where the prompt may be too long for the primary's
    window a model with a larger one is among them.
    """
    order, rows = ranking.order, ranking.rows
    if case.request.pinned or len(order) < 2:
        return order
    primary = order[0]
    elsewhere = (place for place in order if rows[place].provider != rows[primary].provider)
    backup = next(elsewhere, order[1])
    left = without(order[: ranking.preferred], primary, backup) or without(order, primary, backup)
    if not left:
        return [primary, backup]
    found = [primary, backup, min(left, key=ranking.costs.__getitem__)]
    return [*found, *larger_window(ranking, found, case)] if may_overflow(rows[primary], case) else found


def larger_window(ranking: Ranking, found: Sequence[int], case: Case) -> Sequence[int]:
    """The place to go on to when the primary's provider finds the prompt too long; none where one is found already.

    The cheapest whose window holds the prompt whatever its length is, else the one with the largest.
    """
    rows, order = ranking.rows, ranking.order
    window = rows[found[0]].context_window
    if any(rows[place].context_window > window for place in found):
        return ()
    larger = [place for place in order if rows[place].context_window > window]
    larger = [place for place in order[: ranking.preferred] if place in larger] or larger
    holding = [place for place in larger if not may_overflow(rows[place], case)]
    if holding:
        return [min(holding, key=ranking.costs.__getitem__)]
    return [max(larger, key=lambda place: rows[place].context_window)] if larger else ()


def without(places: Sequence[int], *taken: int) -> Sequence[int]:
    """The places that are not taken."""
    left = list(places)
    for place in taken:
        if place in left:
            left.remove(place)
    return left
