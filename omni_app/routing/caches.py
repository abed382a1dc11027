"""What a step of an agent session costs with each model, when some of them hold its beginning in their prompt cache.

A step sends the whole conversation again. The model that answered before reads the part it holds at its price for
cached input, any other model reads everything anew: that is the cost of switching (docs/decisions/0013-sessions.md).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from omni_app.routing.shortlist import Row
from omni_app.routing.types import AgentSession, Deployment


class Tariff(NamedTuple):
    """What a model charges within a session, in pico-dollars a token."""

    cached: int
    """For a token that it holds."""
    fresh: int
    """For one that it has not read yet."""
    output: int


class StepSize(NamedTuple):
    """A step in tokens: the prompt, and the answer that is expected."""

    given: int
    made: int


def tariff(row: Row, held: Mapping[str, int]) -> Tariff:
    """Its prices within this session.

    A token that is new to it costs what writing it to the cache costs, where that has a price of its own. One that is
    known to hold nothing although it could (its provider reported no hit) does not cache: everything at plain price.
    """
    price = row.deployment.price
    if held.get(row.id) == 0:
        return Tariff(price.input, price.input, price.output)
    cached = price.input if price.cached_input is None else price.cached_input
    fresh = price.input if price.cache_write is None else price.cache_write
    return Tariff(cached, fresh, price.output)


def step_cost(row: Row, held: Mapping[str, int], size: StepSize) -> int:
    """Pico-dollars for one answer: what it holds at the cached price, never more than the prompt; the rest as new."""
    prices, cached = tariff(row, held), min(held.get(row.id, 0), size.given)
    made = min(size.made, row.max_output)
    return prices.cached * cached + prices.fresh * (size.given - cached) + prices.output * made


def step_costs(rows: Sequence[Row], session: AgentSession, size: StepSize) -> list[int]:
    """`step_cost` of each row."""
    held = dict(session.held)
    return [step_cost(row, held, size) for row in rows]


def cached_and_written(deployment: Deployment, session: AgentSession, given: int) -> tuple[int, int]:
    """How many of a prompt's tokens it reads from its cache, and how many it writes there at a price of their own."""
    held = dict(session.held).get(deployment.id)
    cached = min(held or 0, given)
    return cached, 0 if held == 0 or deployment.price.cache_write is None else given - cached


def costs_once_read(rows: Sequence[Row], session: AgentSession, size: StepSize) -> list[int]:
    """What the step would cost if every model had read as much of the session as the one that has read most of it.

    It says who is cheap in the long run, whoever came first; those that are known not to cache still do not.
    """
    known = dict(session.held)
    begun = min(size.given, max(known.values(), default=size.given))
    return [step_cost(row, {row.id: 0 if known.get(row.id) == 0 else begun}, size) for row in rows]


def never_dearer(row: Row, other: Row, held: Mapping[str, int]) -> bool:
    """Whether none of a model's prices within the session is above the other's: then no later step is dearer either."""
    return all(one <= two for one, two in zip(tariff(row, held), tariff(other, held), strict=True))


def worth_leaving(row: Row, stayed: Row, held: Mapping[str, int], size: StepSize) -> bool:
    """Whether this step may go to `row` instead of `stayed` so that the session never comes to cost more than staying.

    Nobody knows how many steps follow. So the step itself must not be dearer, and either no later one can be, or the
    way back is paid for as well: what `stayed` does not read now it must read later, so it is counted as if it had
    read all of the prompt before.
    """
    there, here = step_cost(row, held, size), step_cost(stayed, held, size)
    if there > here:
        return False
    return never_dearer(row, stayed, held) or there <= step_cost(stayed, {**held, stayed.id: size.given}, size)
