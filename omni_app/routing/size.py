"""What the request's size decides: whether a window and a budget are large enough, and the `max_tokens` to send.

A promise (`max_cost`) is counted with the prompt's bound, which cannot be exceeded. A context window is counted with
the estimate and a margin: the bound would turn away every English prompt above a quarter of the window, and where
the margin is not enough the provider says so and the gateway goes on to a larger one.
"""

from collections.abc import Sequence
from typing import NamedTuple

from omni_app.routing.caches import StepSize, cached_and_written, step_costs
from omni_app.routing.cost import expected_cost, output_that_fits, worst_cost
from omni_app.routing.expected import expected_output_tokens, usual_output_tokens
from omni_app.routing.shortlist import Exclusion, Limit, Row, Shortlist
from omni_app.routing.types import Case, Deployment, Step, Task


def step_size(case: Case) -> StepSize:
    """The step's tokens as leaving a model is weighed: a generous `max_tokens` makes no answer longer than usual."""
    return StepSize(case.request.input_tokens, min(expected_output_tokens(case), usual_output_tokens(case)))


def expected_costs(rows: Sequence[Row], case: Case) -> list[int]:
    """Expected pico-dollars per row, before any clamp by `max_cost` (which would let a dearer model look cheaper).

    Within an agent session what a model holds in its prompt cache costs it less.
    """
    given, choices = case.request.input_tokens, case.request.choices
    if case.task is Task.IMAGE:
        images = case.request.images
        return [expected_cost(row.deployment.price, given, 0, images=images) * choices for row in rows]
    made = expected_output_tokens(case)
    if case.request.session is None:
        # A comparison, not min(): a call per row would take half the time of a decision's busiest line.
        costs = [
            row.input_price * given + row.output_price * (made if made < row.max_output else row.max_output)  # noqa: FURB136
            for row in rows
        ]
    else:
        costs = step_costs(rows, case.request.session, StepSize(given, made))
    return costs if choices == 1 else [cost * choices for cost in costs]


class ExpectedTokens(NamedTuple):
    """What `expected_costs` counts for one deployment, of all answers together."""

    input: int
    """Of the prompt, cached and written ones included."""
    output: int
    images: int
    cached_input: int = 0
    cache_write: int = 0


def expected_tokens(deployment: Deployment, case: Case) -> ExpectedTokens:
    """The tokens and images behind the expected cost."""
    request = case.request
    if case.task is Task.IMAGE:
        return ExpectedTokens(request.input_tokens * request.choices, 0, request.images * request.choices)
    given, made = request.input_tokens, min(expected_output_tokens(case), deployment.max_output_tokens)
    cached, written = (0, 0) if request.session is None else cached_and_written(deployment, request.session, given)
    return ExpectedTokens(*(tokens * request.choices for tokens in (given, made, 0, cached, written)))


def context_tokens(case: Case) -> int:
    """The prompt's tokens to hold against a context window: the estimate with a margin, never above the bound."""
    return min(case.request.input_tokens_bound, int(case.request.input_tokens * case.policy.context_margin))


def useful_output(case: Case) -> int:
    """The fewest output tokens that make an answer worth paying for."""
    if case.task is Task.IMAGE:
        return 0
    useful = case.policy.useful_output_tokens
    return useful if case.request.max_tokens is None else min(case.request.max_tokens, useful)


def screen(shortlist: Shortlist, case: Case) -> tuple[Sequence[Row], Sequence[tuple[Row, Exclusion]]]:
    """The rows whose window and price allow a useful answer, and the others with the reason."""
    answer = useful_output(case)
    needed = context_tokens(case) + answer
    if case.request.max_cost is None and needed <= shortlist.smallest_window:
        return shortlist.rows, ()
    found = [(row, size_exclusion(row, case, needed=needed, answer=answer)) for row in shortlist.rows]
    kept = [row for row, reason in found if reason is None]
    return kept, [(row, reason) for row, reason in found if reason is not None]


def size_exclusion(row: Row, case: Case, *, needed: int, answer: int) -> Exclusion | None:
    """Whether the context window (for `needed` tokens) or `max_cost` (for an answer of `answer`) is too small."""
    if needed > row.context_window:
        about, window = case.request.input_tokens, row.context_window
        return Exclusion(Limit.CONTEXT, f"the prompt has about {about:,} tokens, its context window {window:,}")
    limit = case.request.max_cost
    if limit is not None and _worst_cost(row, case, output=min(answer, row.max_output)) > limit:
        return Exclusion(Limit.MAX_COST, "could cost more than max_cost even with a short answer")
    return None


def least_worst_cost(row: Row, case: Case) -> int:
    """The smallest `max_cost` in pico-dollars under which this row may answer: its worst case with a short answer."""
    return _worst_cost(row, case, output=min(useful_output(case), row.max_output))


def planned_output(row: Row, case: Case) -> int | None:
    """What to send as `max_tokens`: the caller's, lowered to the model's limit, its window and `max_cost`.

    None when the caller gave neither `max_tokens` nor `max_cost` and no budget holds: the model's own limit does then.
    """
    request = case.request
    unbounded = request.max_tokens is None and request.max_cost is None and not request.bounded
    if case.task is Task.IMAGE or unbounded:
        return None
    asked = case.policy.output_ceiling_tokens if request.max_tokens is None else request.max_tokens
    planned = min(asked, row.max_output, row.context_window - context_tokens(case))
    if request.max_cost is None:
        return planned
    budget = request.max_cost // request.choices
    fits = output_that_fits(row.deployment.price, input_tokens=request.input_tokens_bound, budget=budget)
    return planned if fits is None else min(planned, fits)


def may_overflow(row: Row, case: Case) -> bool:
    """Whether prompt and answer may be more than the row's window holds: the estimate can be off, the bound cannot."""
    bound, window = case.request.input_tokens_bound, row.context_window
    return bound + row.max_output > window and bound + (planned_output(row, case) or 0) > window


def worst_case(row: Row, case: Case) -> int:
    """Pico-dollars that one attempt cannot exceed, with `max_tokens` as planned, else with the policy's ceiling."""
    return step(row, case).worst_cost


def step(row: Row, case: Case) -> Step:
    """The row as one link of the chain."""
    planned = planned_output(row, case)
    output = min(row.max_output, case.policy.output_ceiling_tokens) if planned is None else max(0, planned)
    return Step(row.id, planned, _worst_cost(row, case, output=output))


def _worst_cost(row: Row, case: Case, *, output: int) -> int:
    price, bound, choices = row.deployment.price, case.request.input_tokens_bound, case.request.choices
    if case.task is Task.IMAGE:
        return worst_cost(price, bound, 0, images=case.request.images) * choices
    return worst_cost(price, bound, output) * choices
