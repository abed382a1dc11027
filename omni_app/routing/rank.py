"""The order of the models that may answer one request, and the chain that is tried.

Flat lists over the shortlist's rows, one number per row: this runs for every request. Everything in words is made
in `explain`, when someone reads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from omni_app.routing.score import minimum_quality
from omni_app.routing.shortlist import Exclusion, RoutingTable, Row, Shortlist
from omni_app.routing.size import expected_costs, screen
from omni_app.routing.types import Case, Priority


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


def rank(case: Case, table: RoutingTable) -> Ranking:
    """Screens by size, scores every row that is left and puts them in the order of choice."""
    shortlist = table.shortlist(case)
    rows, too_small = screen(shortlist, case)
    costs = expected_costs(rows, case)
    weight, norm = shortlist.weights.cost, shortlist.cost_scale.norm
    scores = [row.score_without_cost + weight * (1 - norm(cost)) for row, cost in zip(rows, costs, strict=True)]
    by_cost = sorted(range(len(rows)), key=costs.__getitem__)
    if case.request.pinned:
        order, preferred = as_named(by_cost, rows, case.request.pinned), len(rows)
    else:
        able, behind = split_by_quality(by_cost, rows, minimum=minimum_quality(case))
        order, preferred = in_order_of_choice(able, rows, scores, case) + behind, len(able)
    return Ranking(shortlist, rows, too_small, costs, scores, order, preferred)


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


def chain(ranking: Ranking, case: Case) -> Sequence[int]:
    """Places to try, in order: the primary, a backup at another provider where there is one, the cheapest left.

    Those held back for their quality come in only when nobody else is left. Pinned models: exactly as named.
    """
    order, rows = ranking.order, ranking.rows
    if case.request.pinned or len(order) < 2:
        return order
    primary = order[0]
    elsewhere = (place for place in order if rows[place].provider != rows[primary].provider)
    backup = next(elsewhere, order[1])
    capable, able = without(order[: ranking.preferred], primary, backup), without(order, primary, backup)
    left = capable or able
    return [primary, backup, min(left, key=ranking.costs.__getitem__)] if left else [primary, backup]


def without(places: Sequence[int], *taken: int) -> Sequence[int]:
    """The places that are not taken."""
    left = list(places)
    for place in taken:
        if place in left:
            left.remove(place)
    return left
