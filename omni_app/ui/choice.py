"""Why a stored request went where it went, as the request's page shows it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from omni_app.gateway.types import EMBEDDING_TASK
from omni_app.registry import Registry
from omni_app.routing.score import weighted_sum, weights_for
from omni_app.routing.types import Candidate, Decision, LatencyPref, Policy, Priority, RouteRequest, Terms, Weights
from omni_app.storage.ledger import RequestRecord, RoutingRecord
from omni_app.ui import text
from omni_app.ui.components.basics import Row
from omni_app.ui.ranking import SHOWN, scored

CLOSE = 1e-9
"""Scores are sums of a few products: so near they are the same."""
NO_WEIGHTS = Weights(0.0, 0.0, 0.0, 0.0)
LIKELY_TASKS = 3
UNLIKELY = 0.01
"""A task below this probability is not named."""
NOT_DECIDED = "This request ended before a model was chosen."
ONLY_KEPT = (
    "These are the best candidates as they were kept with the request. What the decision was made from is not kept "
    "in full, so the others and what would change it cannot be worked out again."
)


@dataclass(frozen=True, slots=True)
class Choice:
    """Reason, bars, the table behind them, and what would change the choice. `note` says what is missing, and why."""

    reason: str
    tasks: list[Row] = field(default_factory=list)
    best: list[Row] = field(default_factory=list)
    table: list[Row] = field(default_factory=list)
    stacked: bool = True
    """Whether the weights are known, so that the bars show their terms."""
    hints: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def counted(self) -> str:
        """What the table holds: `12 candidates and 5 that could not be taken, with every figure`."""
        out = sum(row["excluded"] == "yes" for row in self.table)
        others = f" and {out} that could not be taken" if out else ""
        return f"{len(self.table) - out} candidates{others}, with every figure"


def choice_of(record: RequestRecord, decision: Decision | None, *, policy: Policy, registry: Registry) -> Choice:
    """From the decision made again, where it gives what was kept; else from what was kept.

    `policy`: the server's, in case it was the request's; `registry`: says of a model whether it is simulated.
    """
    routing = record.routing
    if routing is None:
        return Choice(NOT_DECIDED)
    tasks = [] if record.task == EMBEDDING_TASK else task_rows(routing.task_scores)
    if decision is None or not agrees(decision, routing):
        return _kept_choice(routing, tasks, policy=policy, registry=registry)
    rows = scored(
        decision.candidates,
        weights=decision.weights,
        chosen=decision.selected,
        note=lambda model: kind_of(registry, model),
    )
    able = sum(one.eligible for one in decision.candidates)
    return Choice(
        reason=routing.reason,
        tasks=tasks,
        best=rows[: min(SHOWN, able)],
        table=rows,
        hints=list(decision.what_would_change_it),
    )


def agrees(decision: Decision, routing: RoutingRecord) -> bool:
    """Whether the decision made again has the best candidates and scores that were kept with the request."""
    kept = [kept_candidate(one) for one in routing.considered_models]
    again = decision.top(len(kept))
    return len(again) == len(kept) and all(
        one.model == other.model and abs(one.score - other.score) < CLOSE
        for one, other in zip(kept, again, strict=True)
    )


def _kept_choice(routing: RoutingRecord, tasks: list[Row], *, policy: Policy, registry: Registry) -> Choice:
    kept = [kept_candidate(one) for one in routing.considered_models]
    weights = _weights_that_fit(kept, routing.features, policy)
    rows = scored(
        kept,
        weights=weights or NO_WEIGHTS,
        chosen=kept[0].model if kept else None,
        note=lambda model: kind_of(registry, model),
    )
    note = ONLY_KEPT if kept else ""
    return Choice(reason=routing.reason, tasks=tasks, best=rows, table=rows, stacked=weights is not None, note=note)


def kept_candidate(one: dict[str, Any]) -> Candidate:
    """A candidate of the routing log; its worst case was not kept."""
    terms = one.get("terms") or {}
    return Candidate(
        model=str(one.get("model", "")),
        score=float(one.get("score", 0.0)),
        terms=Terms(*(float(terms.get(name, 0.0)) for name in ("cost", "latency", "task", "quality"))),
        expected_cost=int(one.get("expected_cost", 0)),
        worst_cost=0,
        latency_ms=float(one.get("latency_ms", 0.0)),
        eligible=True,
    )


def _weights_that_fit(kept: Sequence[Candidate], features: dict[str, Any], policy: Policy) -> Weights | None:
    """The policy's weights for such a request, if they give the kept scores; None when it had another policy."""
    try:
        request = RouteRequest(
            task_scores={},
            input_tokens=0,
            input_tokens_bound=0,
            key_kind="test",
            priority=Priority(features.get("priority", "")),
            latency_pref=LatencyPref(features.get("latency_pref", "")),
        )
    except ValueError:
        return None
    weights = weights_for(request, policy)
    fits = all(abs(weighted_sum(one.terms, weights) - one.score) < CLOSE for one in kept)
    return weights if fits else None


def task_rows(scores: dict[str, float]) -> list[Row]:
    """Tasks by probability, likely ones first."""
    likely = sorted(scores.items(), key=lambda item: -item[1])[:LIKELY_TASKS]
    return [{"task": text.task_name(task), "share": f"{share:.0%}"} for task, share in likely if share >= UNLIKELY]


def kind_of(registry: Registry, model: str) -> str:
    """A word about a model: `simulated`, `local`, or none."""
    found = registry.get(model)
    if found is None:
        return ""
    return "simulated" if found.simulated else "local" if found.provider == "local" else ""
