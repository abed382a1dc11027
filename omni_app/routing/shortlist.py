"""Who may answer at all: the limits that hold for a kind of request, whatever its size.

A `RoutingTable` keeps the shortlists it has made, because thousands of requests in a row share one: same task,
same needs, same size class, same policy, same operational snapshot. What depends on the exact size is in `rank`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from omni_app.routing.expected import expected_latency_ms, size_class
from omni_app.routing.score import LogScale, cost_scale, latency_scale, weights_for
from omni_app.routing.types import (
    SUBTASKS,
    Case,
    Deployment,
    LatencyPref,
    Policy,
    Rating,
    RouteRequest,
    SizeClass,
    Snapshot,
    Task,
    Weights,
)

KEPT_SHORTLISTS = 1024
"""How many shortlists a table keeps before it starts anew: bounds its memory."""
IMAGES_ONLY = frozenset({Task.IMAGE})


class Limit(StrEnum):
    """What can exclude a deployment, in the order in which it is asked: the first that applies is the one told.

    What a model is stands before whether it can be called now, so that a missing provider key is named only where
    setting it would help.
    """

    PINNED = "pinned"
    TASK = "task"
    IMAGE_MAKING = "image_making"
    VISION = "vision"
    TOOLS = "tools"
    RESPONSE_SCHEMA = "response_schema"
    DEPRECATED = "deprecated"
    DISABLED = "disabled"
    ALLOWED = "allowed"
    UNAVAILABLE = "unavailable"
    CONTEXT = "context"
    MAX_COST = "max_cost"


class Exclusion(NamedTuple):
    """Why one deployment cannot answer."""

    limit: Limit
    words: str


@dataclass(slots=True)
class Row:
    """A deployment with all that scoring reads of it, worked out once; never changed after it is made."""

    deployment: Deployment
    id: str
    provider: str
    input_price: int
    output_price: int
    context_window: int
    max_output: int
    rating: Rating
    task_quality: float
    overall_quality: float
    latency_ms: float
    latency_term: float
    score_without_cost: float


@dataclass(slots=True)
class Shortlist:
    """The deployments that may answer this kind of request, in tie-break order, and why the others may not."""

    policy: Policy
    snapshot: Snapshot
    weights: Weights
    cost_scale: LogScale
    rows: tuple[Row, ...]
    excluded: tuple[tuple[Row, Exclusion], ...]
    smallest_window: int


class RoutingTable:
    """A fixed set of deployments with the shortlists made from it; the gateway keeps one per registry and key kind.

    Not part of any decision's meaning: a plain sequence of the same deployments gives the same decisions, slower.
    """

    def __init__(self, deployments: Sequence[Deployment]) -> None:
        self.deployments = tuple(deployments)
        self._rated_subtasks = frozenset(name for one in self.deployments for name in one.subtask_ratings)
        self._shortlists: dict[tuple[object, ...], Shortlist] = {}

    def shortlist(self, case: Case) -> Shortlist:
        """The shortlist for this kind of request, made when first asked for and after each new policy or snapshot."""
        request, task, policy, snapshot = case
        kind = (
            task,
            size_class(case),
            request.subtask if request.subtask in self._rated_subtasks else "",
            request.priority,
            request.latency_pref,
            request.needs_vision,
            request.needs_functions,
            request.needs_response_schema,
            request.allowed_models,
            request.disabled_models,
            request.pinned,
            policy.version,
            snapshot.ground,
        )
        kept = self._shortlists.get(kind)
        if kept is None or kept.snapshot is not snapshot or (kept.policy is not policy and kept.policy != policy):
            kept = make_shortlist(self.deployments, case)
            if len(self._shortlists) >= KEPT_SHORTLISTS:
                self._shortlists.clear()
            self._shortlists[kind] = kept
        return kept


def make_shortlist(deployments: Sequence[Deployment], case: Case) -> Shortlist:
    """Asks every deployment every limit and prepares what scoring reads."""
    policy, snapshot = case.policy, case.snapshot
    weights = weights_for(case.request, policy)
    scale, size = latency_scale(policy), size_class(case)
    rows: list[Row] = []
    excluded: list[tuple[Row, Exclusion]] = []
    for deployment in deployments:
        row = make_row(deployment, case, size, weights=weights, scale=scale)
        found = exclusion(deployment, case)
        if found is None:
            rows.append(row)
        else:
            excluded.append((row, found))
    rows.sort(key=lambda row: tie_break(row, case.request))
    excluded.sort(key=lambda pair: pair[0].id)
    return Shortlist(
        policy=policy,
        snapshot=snapshot,
        weights=weights,
        cost_scale=cost_scale(policy),
        rows=tuple(rows),
        excluded=tuple(excluded),
        smallest_window=min((row.context_window for row in rows), default=0),
    )


def make_row(deployment: Deployment, case: Case, size: SizeClass, *, weights: Weights, scale: LogScale) -> Row:
    """A deployment's figures for one kind of request."""
    rating = rating_for(deployment, case)
    latency_ms = expected_latency_ms(deployment, case, size)
    latency_term = 1 - scale.norm(latency_ms)
    overall = deployment.overall.percentile
    return Row(
        deployment=deployment,
        id=deployment.id,
        provider=deployment.provider,
        input_price=deployment.price.input,
        output_price=deployment.price.output,
        context_window=deployment.context_window,
        max_output=deployment.max_output_tokens,
        rating=rating,
        task_quality=rating.percentile,
        overall_quality=overall,
        latency_ms=latency_ms,
        latency_term=latency_term,
        score_without_cost=(
            weights.latency * latency_term + weights.task * rating.percentile + weights.quality * overall
        ),
    )


def rating_for(deployment: Deployment, case: Case) -> Rating:
    """Its rating for the sub-task where there is one, else for the task, else overall."""
    subtask = case.request.subtask
    finer = deployment.subtask_ratings.get(subtask) if SUBTASKS.get(subtask) is case.task else None
    return finer or deployment.ratings.get(case.task, deployment.overall)


def tie_break(row: Row, request: RouteRequest) -> tuple[float, float, float, str]:
    """Who stands first among equals: the better model, then the faster one (`fast`: the other way), then by id."""
    if request.latency_pref is LatencyPref.FAST:
        return (row.latency_ms, -row.task_quality, -row.overall_quality, row.id)
    return (-row.task_quality, -row.overall_quality, row.latency_ms, row.id)


def exclusion(deployment: Deployment, case: Case) -> Exclusion | None:
    """The first limit that excludes the deployment, in the order of `Limit`; None when it may answer.

    A model that the caller named is not held to its usual tasks (unless all it does is make images), nor to its
    deprecation date: it may still be served.
    """
    request, task = case.request, case.task
    pinned = bool(request.pinned)
    if pinned and deployment.id not in request.pinned:
        return Exclusion(Limit.PINNED, "is not among the models that the request names")
    served = deployment.tasks
    if served is not None and task not in served and (not pinned or served == IMAGES_ONLY):
        return Exclusion(Limit.TASK, f"does not serve {task.value}")
    return (
        _inability(deployment, request, task)
        or (None if pinned else _deprecation(deployment, case.snapshot))
        or _refusal(deployment, request, case.snapshot)
    )


def _inability(deployment: Deployment, request: RouteRequest, task: Task) -> Exclusion | None:
    if task is Task.IMAGE and not deployment.makes_images:
        return Exclusion(Limit.IMAGE_MAKING, "cannot make images")
    if request.needs_vision and not deployment.supports_vision:
        return Exclusion(Limit.VISION, "cannot see images")
    if request.needs_functions and not deployment.supports_functions:
        return Exclusion(Limit.TOOLS, "cannot call tools")
    if request.needs_response_schema and not deployment.supports_response_schema:
        return Exclusion(Limit.RESPONSE_SCHEMA, "cannot follow a response schema")
    return None


def _deprecation(deployment: Deployment, snapshot: Snapshot) -> Exclusion | None:
    ends = deployment.deprecated_on
    if ends is None or snapshot.today is None or snapshot.today < ends:
        return None
    return Exclusion(Limit.DEPRECATED, f"is deprecated since {ends.isoformat()}")


def _refusal(deployment: Deployment, request: RouteRequest, snapshot: Snapshot) -> Exclusion | None:
    if deployment.id in request.disabled_models:
        return Exclusion(Limit.DISABLED, "is switched off for this org")
    if request.allowed_models is not None and deployment.id not in request.allowed_models:
        return Exclusion(Limit.ALLOWED, "is not allowed for this key")
    reason = snapshot.unavailable.get(deployment.id)
    return Exclusion(Limit.UNAVAILABLE, reason) if reason else None
