"""What would change a decision: the nearest changes that would choose another model, solved from the linear score.

With A the cost term and B the rest of the score per unit of the other weights, a candidate's score at cost weight w,
the others keeping their proportions, is w*A + (1-w)*B: two candidates cross where w = dB / (dB - dA). A price enters
through the logarithmic cost term only, so the price that closes a gap is found by inverting that scale.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from math import ceil, floor
from typing import Literal, NamedTuple

from omni_app.routing.rank import Ranking, near_best, rank
from omni_app.routing.shortlist import RoutingTable
from omni_app.routing.size import least_worst_cost
from omni_app.routing.types import Case, Priority
from omni_app.routing.wording import exact_dollars, percent

NOISE = 1e-12
"""Differences of scores below this are rounding: equal scores fall to the cheaper model."""

ChangeKind = Literal[
    "cost_weight_below", "cost_weight_above", "price_falls", "price_rises", "max_cost_below", "priority"
]


class Change(NamedTuple):
    """One change that would choose another model.

    `cost_weight_*`: `value` is the weight beyond which `model` wins, the other weights keeping their proportions.
    `price_falls`: `model` wins once its prices are below `value` times today's. `price_rises`: `model` wins once the
    selected one's prices are above `value` times today's. `max_cost_below`: below `value` pico-dollars `model` is left
    out, and another is chosen than now. `priority`: the priority that `text` names takes `model`; no value.
    Figures in `text` are rounded to the side where the change does happen.
    """

    kind: ChangeKind
    model: str
    value: float
    text: str


def changes(case: Case, ranking: Ranking, table: RoutingTable) -> tuple[Change, ...]:
    """All that is near: none when the caller named the models.

    No weights and prices where an agent session stays with a model: leaving it is not a matter of the score alone.
    """
    if case.request.pinned or not ranking.order:
        return ()
    prices: Iterator[Change] = iter(())
    weights: Iterator[Change] = iter(())
    if ranking.stayed is not None:
        pass
    elif case.request.priority is Priority.CHEAP:
        prices = cost_price_changes(ranking)
    elif case.request.priority is not Priority.BEST:
        weights, prices = weight_changes(ranking), scored_price_changes(ranking)
    elif runner_up_is_near_best(case, ranking):
        prices = cost_price_changes(ranking)
    return (*weights, *prices, *limit_changes(case, ranking), *priority_changes(case, ranking, table))


def runner_up_is_near_best(case: Case, ranking: Ranking) -> bool:
    """Whether, with `best`, cost alone has decided between the first two."""
    ratings = [row.task_quality for row in ranking.rows]
    return all(ratings[place] >= near_best(max(ratings), case) for place in ranking.order[:2])


def rivals(ranking: Ranking) -> Sequence[int]:
    """Everyone who could win by score: the preferred ones besides the first."""
    return ranking.order[1 : ranking.preferred]


def weight_changes(ranking: Ranking) -> Iterator[Change]:
    """The nearest cost weights, below and above today's, at which another model would win."""
    today = ranking.shortlist.weights.cost
    crossings = [(weight, rival) for rival in rivals(ranking) if (weight := crossing(ranking, rival)) is not None]
    below = max((found for found in crossings if found[0] <= today), default=None)
    above = min((found for found in crossings if found[0] > today), default=None)
    if below is not None:
        model, weight = ranking.rows[below[1]].id, floor(below[0] * 1000) / 1000
        yield Change("cost_weight_below", model, below[0], f"{model} wins when the cost weight falls below {weight}")
    if above is not None:
        model, weight = ranking.rows[above[1]].id, ceil(above[0] * 1000) / 1000
        yield Change("cost_weight_above", model, above[0], f"{model} wins when the cost weight rises above {weight}")


def crossing(ranking: Ranking, rival: int) -> float | None:
    """The cost weight in (0, 1) at which the rival draws level with the first; None when it never does."""
    first, weight = ranking.order[0], ranking.shortlist.weights.cost
    if weight >= 1:
        return None
    cost_lead = cost_term(ranking, first) - cost_term(ranking, rival)
    rest_lead = (ranking.scores[first] - ranking.scores[rival] - weight * cost_lead) / (1 - weight)
    if min(abs(cost_lead), abs(rest_lead)) < NOISE or cost_lead * rest_lead > 0:
        return None
    return rest_lead / (rest_lead - cost_lead)


def scored_price_changes(ranking: Ranking) -> Iterator[Change]:
    """The smallest fall of a rival's price, and the rise of the first one's own, that would choose another model."""
    if ranking.shortlist.weights.cost <= 0 or not rivals(ranking):
        return
    first, runner_up = ranking.order[0], rivals(ranking)[0]
    if ranking.scores[first] - ranking.scores[runner_up] < NOISE:
        yield from cost_price_changes(ranking)
        return
    falls = [(factor, rival) for rival in rivals(ranking) if (factor := closing_factor(ranking, rival)) is not None]
    if falls:
        factor, rival = max(falls)
        yield price_fall(ranking, rival, factor)
    scale = ranking.shortlist.cost_scale
    norm = scale.norm(ranking.costs[first]) + gap_in_cost_terms(ranking, runner_up)
    if norm < 1 and ranking.costs[first]:
        yield price_rise(ranking, runner_up, scale.value(norm) / ranking.costs[first])


def closing_factor(ranking: Ranking, rival: int) -> float | None:
    """The factor of its price at which the rival draws level with the first; None when even a free one would lose."""
    scale, cost = ranking.shortlist.cost_scale, ranking.costs[rival]
    norm = scale.norm(cost) - gap_in_cost_terms(ranking, rival)
    return scale.value(norm) / cost if norm > NOISE and cost else None


def gap_in_cost_terms(ranking: Ranking, rival: int) -> float:
    """How much the cost term of the rival must gain, or that of the first lose, until their scores are equal."""
    return (ranking.scores[ranking.order[0]] - ranking.scores[rival]) / ranking.shortlist.weights.cost


def cost_price_changes(ranking: Ranking) -> Iterator[Change]:
    """Where cost alone decides (`cheap`, as good as the best, equal scores): the runner-up wins once it costs less."""
    if not rivals(ranking):
        return
    first, runner_up = ranking.order[0], rivals(ranking)[0]
    if ranking.costs[first]:
        yield price_fall(ranking, runner_up, ranking.costs[first] / ranking.costs[runner_up])
        yield price_rise(ranking, runner_up, ranking.costs[runner_up] / ranking.costs[first])


def price_fall(ranking: Ranking, rival: int, factor: float) -> Change:
    """The rival's price falls to below `factor` times today's."""
    model = ranking.rows[rival].id
    return Change("price_falls", model, factor, f"{model} wins when its price falls by more than {percent(1 - factor)}")


def price_rise(ranking: Ranking, runner_up: int, factor: float) -> Change:
    """The selected one's price rises to above `factor` times today's."""
    model, first = ranking.rows[runner_up].id, ranking.rows[ranking.order[0]].id
    told = f"{model} wins when the price of {first} rises by more than {percent(factor - 1)}"
    return Change("price_rises", model, factor, told)


def limit_changes(case: Case, ranking: Ranking) -> Iterator[Change]:
    """The `max_cost` below which another one is chosen: the first, or with `best` a better one, is left out."""
    own = ranking.order[0]
    least = least_worst_cost(ranking.rows[own], case)
    if case.request.priority is Priority.BEST and ranking.stayed is None:
        least, own = limit_of_best(case, ranking)
    if least:
        model = ranking.rows[own].id
        yield Change(
            "max_cost_below", model, float(least), f"a max_cost below {exact_dollars(least)} leaves {model} out"
        )


def limit_of_best(case: Case, ranking: Ranking) -> tuple[int, int]:
    """The highest `max_cost` below which `best` chooses another one, and the place of the one that it leaves out.

    Everyone is measured against the highest rated: when that one is left out, cheaper ones become good enough. Places
    are let in again from the cheapest up, with the highest rating of all and of those who would stand before the first.
    """
    rows, costs, first = ranking.rows, ranking.costs, ranking.order[0]
    cheaper = {p for p in ranking.order[: ranking.preferred] if (costs[p], p) < (costs[first], first)}
    limits = [least_worst_cost(row, case) for row in rows]
    found, highest, nearest = (limits[first], first), 0.0, -1.0
    for limit, places in groupby(sorted(range(len(rows)), key=limits.__getitem__), key=limits.__getitem__):
        together = list(places)
        if limit > limits[first] and nearest >= near_best(highest, case):
            found = limit, max(together, key=lambda place: rows[place].task_quality)
        highest = max(highest, *(rows[place].task_quality for place in together))
        nearest = max(nearest, *(rows[place].task_quality for place in together if place in cheaper), -1.0)
    return found


def priority_changes(case: Case, ranking: Ranking, table: RoutingTable) -> Iterator[Change]:
    """What the other priorities would take, where that is another model."""
    today = ranking.rows[ranking.order[0]].id
    for priority in Priority:
        model = chosen(case._replace(request=replace(case.request, priority=priority)), table)
        if model is not None and model != today:
            yield Change("priority", model, 0.0, f"priority {priority.value} takes {model}")


def chosen(case: Case, table: RoutingTable) -> str | None:
    """Who would be chosen in this case; None when nobody could answer."""
    ranking = rank(case, table)
    return ranking.rows[ranking.order[0]].id if ranking.order else None


def cost_term(ranking: Ranking, place: int) -> float:
    """The cost term of a row's score."""
    return 1 - ranking.shortlist.cost_scale.norm(ranking.costs[place])
