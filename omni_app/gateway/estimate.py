"""What routing would have cost for requests that were made elsewhere: computed from what is given, nothing is kept.

Both sides are list prices times the same tokens. What a request cost is its own model's price; what it would have cost
is the price of the model that `decide` takes over the whole catalogue, as if every provider were configured and well.
The choice is made as it would be for a live request: without knowing how long the answer will be.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from uuid import UUID

from omni_app.gateway.gateway import route_request
from omni_app.gateway.types import Caller, ChatRequest
from omni_app.providers.base import Usage
from omni_app.registry import Registry
from omni_app.routing.cost import actual_cost
from omni_app.routing.decide import choose_task, decide
from omni_app.routing.shortlist import RoutingTable
from omni_app.routing.types import Decision, Deployment, Policy, Priority, Rating, RouteRequest, Snapshot, Task

NOBODY = Caller(org_id=UUID(int=0), key_id=UUID(int=0), kind="live")
DATED = re.compile(r"-20\d\d-\d\d-\d\d$")
"""How OpenAI names a frozen version of a model: `gpt-5.1-2025-11-13`."""
BOUND_FACTOR = 2
"""Of an average request only the mean is known; the bound serves the context window alone."""
UNKNOWN_MODEL = "not in our registry, so its price is not known here"
NO_MODEL = "no model is named"
PICTURE = "asks for a picture, which is priced per picture"
UNRATED = "has no public rating for its task, so no model can be called as good"
NOT_ROUTABLE = "no model of the catalogue can do it within its limits"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request with its text. `usage` is what was billed, None where the file does not say."""

    model: str
    request: ChatRequest
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Billed:
    """Many requests of one model, known by their tokens alone: counted as that many average requests of `tasks`."""

    model: str
    requests: int
    usage: Usage
    tasks: tuple[Task, ...]
    """The requests are taken to be spread evenly over these."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is summed together: the model of the file, whose price counts for it, the task, and the model chosen."""

    model: str
    priced_as: str
    task: Task
    chosen: str


@dataclass(slots=True)
class Sums:
    """Of one kind. Money in pico-dollars."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    routed_cost: int = 0

    def add(self, requests: int, usage: Usage, *, cost: int, routed_cost: int) -> None:
        """Counts these requests in."""
        self.requests += requests
        self.input_tokens += usage.input
        self.output_tokens += usage.output
        self.cost += cost
        self.routed_cost += routed_cost


@dataclass(slots=True)
class Tally:
    """The sums, and what was left out of them: (model, reason) -> requests."""

    kinds: dict[Kind, Sums] = field(default_factory=dict)
    left_out: dict[tuple[str, str], int] = field(default_factory=dict)

    def leave_out(self, model: str, reason: str, requests: int = 1) -> None:
        """Counts requests that are in no sum."""
        place = (model, reason)
        self.left_out[place] = self.left_out.get(place, 0) + requests


class Estimator:
    """Adds requests to a tally, over one registry on one day."""

    def __init__(self, registry: Registry, policy: Policy, *, today: date) -> None:
        self._registry = registry
        self._policy = policy
        self._table = RoutingTable(registry.serving("live"))
        self._live = {one.id for one in self._table.deployments}
        self._snapshot = Snapshot(id="estimate", today=today)
        self._as_good: dict[tuple[str, Task], frozenset[str]] = {}
        self._names = {one.model_name: one for one in reversed(self._table.deployments)}

    def price_of(self, model: str) -> Deployment | None:
        """The deployment whose price counts for a model of a file: by id, as OpenAI's, by bare name, then undated."""
        found = self._registry.get(model) or self._registry.get(f"openai/{model}") or self._names.get(model)
        if found is None and DATED.search(model):
            return self.price_of(DATED.sub("", model))
        return found if found is not None and found.id in self._live else None

    def add(self, asked: Asked, tally: Tally, *, as_good: bool) -> None:
        """One request: classified and routed by its own text; `as_good`: see `_at_least_as_good`."""
        priced = self._priced(asked.model, 1, tally)
        if priced is None:
            return
        route = route_request(NOBODY, asked.request)
        task = choose_task(route, self._policy)
        if reason := PICTURE if task is Task.IMAGE else UNRATED if as_good and not _is_rated(priced, task) else "":
            tally.leave_out(asked.model, reason)
            return
        decision = self._decide(route, priced if as_good else None)
        usage = asked.usage or self._expected(route, decision.task)
        self._count(asked.model, priced, decision, 1, usage, tally)

    def add_billed(self, billed: Billed, priority: Priority, tally: Tally, *, as_good: bool) -> None:
        """A row of a bill: so many average requests of each task."""
        priced = self._priced(billed.model, billed.requests, tally)
        if priced is None:
            return
        for task, requests, usage in _spread(billed):
            if as_good and not _is_rated(priced, task):
                tally.leave_out(billed.model, UNRATED, requests)
                continue
            route = RouteRequest(
                task_scores={task: 1.0},
                input_tokens=max(1, usage.input // requests),
                input_tokens_bound=max(1, BOUND_FACTOR * usage.input // requests),
                key_kind="live",
                max_tokens=max(1, usage.output // requests),
                priority=priority,
                forced_task=task,
            )
            decision = self._decide(route, priced if as_good else None)
            self._count(billed.model, priced, decision, requests, usage, tally)

    def _priced(self, model: str, requests: int, tally: Tally) -> Deployment | None:
        priced = self.price_of(model) if model else None
        if priced is None:
            tally.leave_out(model, UNKNOWN_MODEL if model else NO_MODEL, requests)
        return priced

    def _at_least_as_good(self, than: Deployment, task: Task) -> frozenset[str]:
        """The model itself and those with a public rating for the task that is no lower than its own."""
        if (than.id, task) not in self._as_good:
            least = _rating(than, task).percentile
            rated = (one for one in self._table.deployments if _is_rated(one, task))
            found = (one.id for one in rated if _rating(one, task).percentile >= least)
            self._as_good[than.id, task] = frozenset((than.id, *found))
        return self._as_good[than.id, task]

    def _decide(self, route: RouteRequest, than: Deployment | None) -> Decision:
        """The choice over the catalogue; with `than`, among the models that are at least as good."""
        if than is not None:
            task = choose_task(route, self._policy)
            route = replace(route, allowed_models=self._at_least_as_good(than, task))
        return decide(
            route,
            deployments=self._table,
            policy=self._policy,
            snapshot=self._snapshot,
            registry_version=self._registry.version,
        )

    def _expected(self, route: RouteRequest, task: Task) -> Usage:
        """The stated prior for the task, no longer than the caller's `max_tokens`."""
        prior = self._policy.expected_output[task]
        output = prior if route.max_tokens is None else min(prior, route.max_tokens)
        return Usage(input=route.input_tokens, output=output, estimated=True)

    def _count(
        self, model: str, priced: Deployment, decision: Decision, requests: int, usage: Usage, tally: Tally
    ) -> None:
        chosen = self._registry.get(decision.selected or "")
        if chosen is None:
            tally.leave_out(model, NOT_ROUTABLE, requests)
            return
        kind = Kind(model, priced.id, decision.task, chosen.id)
        sums = tally.kinds.setdefault(kind, Sums())
        cost, routed_cost = actual_cost(priced.price, usage), actual_cost(chosen.price, usage)
        sums.add(requests, usage, cost=cost, routed_cost=routed_cost)


def _rating(deployment: Deployment, task: Task) -> Rating:
    return deployment.ratings.get(task, deployment.overall)


def _is_rated(deployment: Deployment, task: Task) -> bool:
    """Whether its rating for the task is a public figure, not one that was derived from its price."""
    return not _rating(deployment, task).prior


def _spread(billed: Billed) -> Iterator[tuple[Task, int, Usage]]:
    """The row in equal parts, one per task; nothing is lost to rounding, and no part is without a request."""
    tasks = billed.tasks[: billed.requests]
    counts = _parts(billed.requests, len(tasks))
    usage = billed.usage
    columns = (_parts(number, len(tasks)) for number in (usage.input, usage.output, usage.cached_input))
    for task, requests, tokens_in, tokens_out, cached in zip(tasks, counts, *columns, strict=True):
        yield task, requests, replace(usage, input=tokens_in, output=tokens_out, cached_input=cached)


def _parts(total: int, count: int) -> Sequence[int]:
    each, rest = divmod(total, count)
    return [each + (place < rest) for place in range(count)]
