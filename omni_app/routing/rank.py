"""The order of the models that may answer one request, and the chain that is tried.

Flat lists over the shortlist's rows, one number per row: this runs for every request. Everything in words is made
in `explain`, when someone reads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from omni_app.routing.cost import output_that_fits, worst_cost
from omni_app.routing.score import minimum_quality
from omni_app.routing.shortlist import Exclusion, Limit, RoutingTable, Row, Shortlist
from omni_app.routing.types import Policy, Priority, RouteRequest, Snapshot, Step, Task

CHAIN_LENGTH = 3
"""Primary, backup, cheapest capable."""


@dataclass(slots=True)
class Ranking:
    """The rows that may answer, with their figures in parallel lists, and the order of choice.

    `order` holds places in `rows`, best first. Its first `preferred` places reach the quality that the request asks
    for (or are the highest rated, when none does); the others are able too, but stand behind.
    """

    shortlist: Shortlist
    rows: Sequence[Row]
    costs: list[int]
    """Expected pico-dollars of the request as asked."""
    scores: list[float]
    order: list[int]
    preferred: int
    minimum_quality: float
    too_small: tuple[tuple[Row, Exclusion], ...]
    """Excluded by this request's size: context window and `max_cost`."""

    def row(self, place: int) -> Row:
        """The row at a place in the order of choice, 0 = first."""
        return self.rows[self.order[place]]

    def cost(self, place: int) -> int:
        """The expected cost at a place in the order of choice."""
        return self.costs[self.order[place]]


def rank(request: RouteRequest, *, table: RoutingTable, task: Task, policy: Policy, snapshot: Snapshot) -> Ranking:
    """Screens by size, scores every row that is left and puts them in the order of choice."""
    shortlist = table.shortlist(request, task=task, policy=policy, snapshot=snapshot)
    rows, too_small = screen(shortlist, request, task=task, policy=policy)
    costs = expected_costs(rows, request, task=task, policy=policy, snapshot=snapshot, shortlist=shortlist)
    weight, norm = shortlist.weights.cost, shortlist.cost_scale.norm
    scores = [row.score_without_cost + weight * (1 - norm(cost)) for row, cost in zip(rows, costs, strict=True)]
    asked = minimum_quality(request, task, policy)
    ranking = Ranking(shortlist, rows, costs, scores, [], 0, asked, too_small)
    put_in_order(ranking, request, policy)
    return ranking


def expected_output_tokens(request: RouteRequest, *, task: Task, policy: Policy, snapshot: Snapshot) -> int:
    """`max_tokens` when given, else the median of our own traffic, else the policy's prior for the task."""
    if request.max_tokens is not None:
        return request.max_tokens
    measured = snapshot.expected_output.get(task)
    return policy.expected_output.get(task, 0) if measured is None else measured


def expected_costs(
    rows: Sequence[Row], request: RouteRequest, *, task: Task, policy: Policy, snapshot: Snapshot, shortlist: Shortlist
) -> list[int]:
    """Expected pico-dollars per row, before any clamp by `max_cost` (which would let a dearer model look cheaper)."""
    given = request.input_tokens
    made = expected_output_tokens(request, task=task, policy=policy, snapshot=snapshot)
    if task is Task.IMAGE:
        images = request.images
        return [row.input_price * given + row.image_price * images for row in rows]
    if made <= shortlist.smallest_output_limit:
        return [row.input_price * given + row.output_price * made for row in rows]
    return [row.input_price * given + row.output_price * min(made, row.max_output) for row in rows]


def put_in_order(ranking: Ranking, request: RouteRequest, policy: Policy) -> None:
    """Fills `order` and `preferred`. Sorts are stable: ties fall to the cheaper, then to the earlier row."""
    rows, costs = ranking.rows, ranking.costs
    by_cost = sorted(range(len(rows)), key=costs.__getitem__)
    if request.pinned:
        ranking.order = sorted(by_cost, key=lambda place: request.pinned.index(rows[place].id))
        ranking.preferred = len(rows)
        return
    first, behind = split_by_quality(by_cost, ranking)
    ranking.preferred = len(first)
    if request.priority is Priority.BEST:
        first = best_first(first, rows, within=policy.best_within)
    elif request.priority is not Priority.CHEAP:
        scores = ranking.scores
        first.sort(key=lambda place: -scores[place])
    behind.sort(key=lambda place: -rows[place].task_quality)
    ranking.order = first + behind


def split_by_quality(by_cost: list[int], ranking: Ranking) -> tuple[list[int], list[int]]:
    """Those that reach the quality asked for and those that do not; the highest rated when none reaches it."""
    minimum = ranking.minimum_quality
    if minimum <= ranking.shortlist.lowest_quality:
        return by_cost, []
    rows = ranking.rows
    highest = max((row.task_quality for row in rows), default=0.0)
    bar = min(minimum, highest)
    return (
        [place for place in by_cost if rows[place].task_quality >= bar],
        [place for place in by_cost if rows[place].task_quality < bar],
    )


def best_first(by_cost: list[int], rows: Sequence[Row], *, within: float) -> list[int]:
    """Those within `within` of the highest percentile by cost, then the others by quality."""
    bar = max((rows[place].task_quality for place in by_cost), default=0.0) - within
    near = [place for place in by_cost if rows[place].task_quality >= bar]
    others = [place for place in by_cost if rows[place].task_quality < bar]
    return near + sorted(others, key=lambda place: -rows[place].task_quality)


def chain(ranking: Ranking, request: RouteRequest) -> list[int]:
    """Places to try, in order: the primary, a backup at another provider where there is one, the cheapest left.

    Those held back for their quality come in only when nobody else is left. Pinned models: exactly as named.
    """
    order, rows = ranking.order, ranking.rows
    if request.pinned or len(order) < CHAIN_LENGTH - 1:
        return order
    primary = order[0]
    elsewhere = (place for place in order[1:] if rows[place].provider != rows[primary].provider)
    backup = next(elsewhere, order[1])
    capable = [place for place in order[: ranking.preferred] if place not in (primary, backup)]
    left = capable or [place for place in order[ranking.preferred :] if place != backup]
    return [primary, backup, *sorted(left, key=ranking.costs.__getitem__)[: CHAIN_LENGTH - 2]]


# What depends on the request's size: context window, max_cost, and the max_tokens that keeps both.


def context_tokens(request: RouteRequest, policy: Policy) -> int:
    """The prompt's tokens to hold against a context window: the estimate with a margin, never above the bound.

    The bound itself would turn away every English prompt above a quarter of the window. Where the margin is not
    enough the provider says so, and the gateway goes on to the next model.
    """
    return min(request.input_tokens_bound, int(request.input_tokens * policy.context_margin))


def useful_output(request: RouteRequest, policy: Policy, task: Task) -> int:
    """The fewest output tokens that make an answer worth paying for."""
    if task is Task.IMAGE:
        return 0
    return min(request.max_tokens or policy.useful_output_tokens, policy.useful_output_tokens)


def screen(
    shortlist: Shortlist, request: RouteRequest, *, task: Task, policy: Policy
) -> tuple[Sequence[Row], tuple[tuple[Row, Exclusion], ...]]:
    """The rows whose window and price allow a useful answer, and the others with the reason."""
    small = context_tokens(request, policy) + useful_output(request, policy, task) <= shortlist.smallest_window
    if request.max_cost is None and small:
        return shortlist.rows, ()
    found = [(row, size_exclusion(row, request, task=task, policy=policy)) for row in shortlist.rows]
    kept = [row for row, reason in found if reason is None]
    return kept, tuple((row, reason) for row, reason in found if reason is not None)


def size_exclusion(row: Row, request: RouteRequest, *, task: Task, policy: Policy) -> Exclusion | None:
    """Whether the row's context window or the caller's `max_cost` is too small for a useful answer."""
    prompt, answer = context_tokens(request, policy), useful_output(request, policy, task)
    if prompt + answer > row.context_window:
        return Exclusion(
            Limit.CONTEXT, f"the prompt has about {request.input_tokens:,} tokens, its window {row.context_window:,}"
        )
    if request.max_cost is not None and least_worst_cost(row, request, task=task, policy=policy) > request.max_cost:
        return Exclusion(Limit.MAX_COST, "could cost more than max_cost even with a short answer")
    return None


def least_worst_cost(row: Row, request: RouteRequest, *, task: Task, policy: Policy) -> int:
    """The smallest `max_cost` in pico-dollars under which this row may answer: its worst case with a short answer."""
    output = min(useful_output(request, policy, task), row.max_output)
    return worst_cost(row.deployment.price, request.input_tokens_bound, output, images=_images(request, task))


def planned_output(row: Row, request: RouteRequest, *, task: Task, policy: Policy) -> int | None:
    """What to send as `max_tokens`: the caller's, lowered to the model's limit, its window and `max_cost`.

    None when the caller gave neither `max_tokens` nor `max_cost`: the model's own limit holds then.
    """
    if task is Task.IMAGE or (request.max_tokens is None and request.max_cost is None):
        return None
    asked = policy.output_ceiling_tokens if request.max_tokens is None else request.max_tokens
    planned = min(asked, row.max_output, row.context_window - context_tokens(request, policy))
    if request.max_cost is None:
        return planned
    fits = output_that_fits(row.deployment.price, input_tokens=request.input_tokens_bound, budget=request.max_cost)
    return planned if fits is None else min(planned, fits)


def worst_case(row: Row, request: RouteRequest, *, task: Task, policy: Policy) -> int:
    """Pico-dollars that one attempt cannot exceed, with `max_tokens` as planned, else with the policy's ceiling."""
    planned = planned_output(row, request, task=task, policy=policy)
    output = min(row.max_output, policy.output_ceiling_tokens) if planned is None else max(0, planned)
    price, images = row.deployment.price, _images(request, task)
    return worst_cost(price, request.input_tokens_bound, 0 if images else output, images=images)


def step(row: Row, request: RouteRequest, *, task: Task, policy: Policy) -> Step:
    """The row as one link of the chain."""
    return Step(
        model=row.id,
        max_tokens=planned_output(row, request, task=task, policy=policy),
        worst_cost=worst_case(row, request, task=task, policy=policy),
    )


def _images(request: RouteRequest, task: Task) -> int:
    return request.images if task is Task.IMAGE else 0
