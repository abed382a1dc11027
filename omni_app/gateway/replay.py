"""Past decisions made again: under the policy of their time, exactly; under another one, to see what it would change.

Nothing is asked of a model. A decision is made from its request's figures (`metering.features`), the policy, the
registry and the operational snapshot of its time; all four are kept, so the same function gives the same decision.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.gateway.embedding import without_window
from omni_app.gateway.situation import snapshot_of
from omni_app.providers.base import Usage
from omni_app.registry import Registry
from omni_app.registry.store import registries_at
from omni_app.routing.caches import cached_and_written
from omni_app.routing.cost import actual_cost
from omni_app.routing.decide import choose_task, decide
from omni_app.routing.expected import expected_latency_ms, size_class
from omni_app.routing.shortlist import RoutingTable
from omni_app.routing.types import (
    AgentSession,
    Case,
    Decision,
    KeyKind,
    LatencyPref,
    Policy,
    Priority,
    RouteRequest,
    Snapshot,
    Task,
)
from omni_app.storage.policies import policies_at
from omni_app.storage.replays import KeptDecision, kept_decision, last_decisions
from omni_app.storage.snapshots import SnapshotRecord, read_snapshots

READABLE = (2, 3)
"""The formats of `metering.features` that hold all that a replay needs."""
SLICE = 25
"""Requests decided before other work gets its turn."""
NO_LOG = "its routing log is not kept any more"
OLD_FORMAT = "it was recorded before everything a replay needs was kept"
NO_SNAPSHOT = "the state of the models at that time is not kept"
NO_REGISTRY = "the list of models of that time is not kept"
NO_POLICY = "the policy of that time is not kept"


@dataclass(frozen=True, slots=True)
class PastCase:
    """One request as it was decided, with all that the decision was made from."""

    kept: KeptDecision
    request: RouteRequest
    policy: Policy
    snapshot: Snapshot
    registry: Registry
    table: RoutingTable
    chain: tuple[str, ...]
    """What was decided: deployment ids in the order they were to be tried."""

    def under(self, policy: Policy) -> Decision:
        """The decision that this policy would have made then."""
        return decide(
            self.request,
            deployments=self.table,
            policy=policy,
            snapshot=self.snapshot,
            registry_version=self.registry.version,
        )

    @property
    def usage(self) -> Usage:
        """What was billed."""
        kept = self.kept
        return Usage(
            input=kept.tokens_input,
            output=kept.tokens_output,
            cached_input=kept.tokens_cached,
            cache_write=kept.tokens_cache_write,
            images=kept.images,
        )

    def usage_with(self, model: str) -> Usage:
        """The same tokens as another model would have read them: within an agent session it has a cache of its own."""
        session, usage, deployment = self.request.session, self.usage, self.registry.get(model)
        if session is None or deployment is None:
            return usage
        cached, written = cached_and_written(deployment, session, usage.input)
        return replace(usage, cached_input=cached, cache_write=written)

    def latency_ms(self, model: str) -> float:
        """What was expected of the model at that time, for a request of this size."""
        deployment = self.registry.get(model)
        case = Case(self.request, choose_task(self.request, self.policy), self.policy, self.snapshot)
        return expected_latency_ms(deployment, case, size_class(case)) if deployment else 0.0


@dataclass(frozen=True, slots=True)
class Past:
    """The requests of a scope that can be replayed, newest first, and why others cannot: reason -> how many."""

    cases: Sequence[PastCase]
    missing: Mapping[str, int]

    @property
    def read(self) -> int:
        """How many requests were looked at."""
        return len(self.cases) + sum(self.missing.values())


async def past_decisions(
    session: AsyncSession,
    *,
    org_id: UUID,
    mode: KeyKind,
    limit: int,
    key_id: UUID | None = None,
    registry: Registry | None = None,
) -> Past:
    """The last `limit` requests of an org or of one of its keys. At most four queries, whatever the limit.

    `registry`: one that is at hand; decisions made under its version need no reading.
    """
    kept = await last_decisions(session, org_id=org_id, mode=mode, limit=limit, key_id=key_id)
    return await _past(session, kept, registry)


async def stored_decision(session: AsyncSession, *, org_id: UUID, request_id: str) -> Decision | None:
    """A request's decision, made again; None when the org has no such request or it cannot be replayed."""
    kept = await kept_decision(session, org_id=org_id, request_id=request_id)
    past = await _past(session, [kept] if kept else [], None)
    return past.cases[0].under(past.cases[0].policy) if past.cases else None


async def _past(session: AsyncSession, kept: Sequence[KeptDecision], registry: Registry | None) -> Past:
    readable = [one for one in kept if not _unreadable(one)]
    at_hand = {registry.version: registry} if registry else {}
    versions = {one.registry_version or "" for one in readable} - at_hand.keys()
    records = await read_snapshots(session, ids={one.snapshot_id or "" for one in readable}) if readable else {}
    registries = at_hand | (await registries_at(session, versions) if versions else {})
    policies = await policies_at(session, versions={one.policy_version or "" for one in readable})
    around = Surroundings(registries, policies)
    cases: list[PastCase] = []
    missing: Counter[str] = Counter()
    for place, one in enumerate(kept):
        reason = _unreadable(one) or around.missing(one)
        record = records.get(one.snapshot_id or "")
        if reason or record is None:
            missing[reason or NO_SNAPSHOT] += 1
            continue
        cases.append(around.case(one, record))
        if place % SLICE == SLICE - 1:
            await asyncio.sleep(0)
    return Past(cases, missing)


def _unreadable(kept: KeptDecision) -> str:
    """Why its features are not enough; empty when they are."""
    if kept.features is None:
        return NO_LOG
    return "" if kept.features.get("format") in READABLE else OLD_FORMAT


@dataclass(slots=True)
class Surroundings:
    """Registries, policies and snapshots that the cases share: each is made once."""

    registries: Mapping[str, Registry]
    policies: Mapping[str, Policy]
    _tables: dict[tuple[str, KeyKind, bool], RoutingTable] = field(default_factory=dict)
    _snapshots: dict[tuple[str, str], Snapshot] = field(default_factory=dict)

    def missing(self, kept: KeptDecision) -> str:
        """Which of them is not kept; empty when both are there."""
        if kept.registry_version not in self.registries:
            return NO_REGISTRY
        return "" if kept.policy_version in self.policies else NO_POLICY

    def case(self, kept: KeptDecision, record: SnapshotRecord) -> PastCase:
        """The whole case; what it needs is not `missing`."""
        features = kept.features or {}
        request = route_request_of(features, kept.task_scores or {}, key_kind=kept.key_kind)
        registry = self.registries[kept.registry_version or ""]
        return PastCase(
            kept=kept,
            request=request,
            policy=self.policies[kept.policy_version or ""],
            snapshot=self._snapshot(record, registry),
            registry=registry,
            table=self._table(registry, request),
            chain=tuple(features["chain"]),
        )

    def _snapshot(self, record: SnapshotRecord, registry: Registry) -> Snapshot:
        """The snapshot over the deployments of its registry; the same one for the same state."""
        place = (record.id, registry.version)
        if place not in self._snapshots:
            self._snapshots[place] = snapshot_of(record, registry.deployments)
        return self._snapshots[place]

    def _table(self, registry: Registry, request: RouteRequest) -> RoutingTable:
        place = (registry.version, request.key_kind, request.embeds)
        if place not in self._tables:
            kind, embeds = request.key_kind, request.embeds
            served = without_window(registry.embedding(kind)) if embeds else registry.serving(kind)
            self._tables[place] = RoutingTable(served)
        return self._tables[place]


def route_request_of(
    features: Mapping[str, Any], task_scores: Mapping[str, float], *, key_kind: KeyKind
) -> RouteRequest:
    """The inverse of `metering.features`. Tasks stand in their own order, as the classifier gives them: JSON's may not.

    Raises `KeyError` when something is missing.
    """
    allowed, forced = features["allowed_models"], features["forced_task"]
    return RouteRequest(
        task_scores={task: task_scores[task.value] for task in Task if task.value in task_scores},
        input_tokens=features["input_tokens"],
        input_tokens_bound=features["input_tokens_bound"],
        key_kind=key_kind,
        max_tokens=features["max_tokens"],
        priority=Priority(features["priority"]),
        latency_pref=LatencyPref(features["latency_pref"]),
        max_cost=features["max_cost"],
        forced_task=Task(forced) if forced else None,
        needs_functions=features["needs_functions"],
        needs_vision=features["needs_vision"],
        needs_response_schema=features["needs_response_schema"],
        images=features["images"],
        choices=features["choices"],
        bounded=features["bounded"],
        embeds=features["embeds"],
        allowed_models=None if allowed is None else frozenset(allowed),
        disabled_models=frozenset(features["disabled_models"]),
        pinned=tuple(features["pinned"]),
        signals=tuple(features["signals"]),
        difficulty=features["difficulty"],
        subtask=features["subtask"],
        session=session_of(features.get("session")),
    )


def session_of(kept: Mapping[str, Any] | None) -> AgentSession | None:
    """The inverse of `metering.session_features`; what names no rules was decided by the first ones."""
    if kept is None:
        return None
    return AgentSession(kept["home"], kept["last"], tuple(sorted(kept["held"].items())), kept.get("rules", 1))


# What if


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request before and after. Models are deployment ids, "" where none could answer; cost in pico-dollars.

    `old_cost` is what was paid. `new_cost` is the same while the choice is the same; else the tokens that were billed
    at the new model's price: an estimate, since another model writes another answer. Latencies are those expected at
    the time. Within an agent session another model reads from its cache what it was believed to hold then.
    `counts`: it was answered and would be again, so that cost and latency can be set side by side.
    """

    request_id: str
    created_at: datetime
    task: str
    old_model: str
    new_model: str
    old_cost: int
    new_cost: int
    old_latency_ms: float
    new_latency_ms: float
    counts: bool

    @property
    def flipped(self) -> bool:
        """Whether another model would be asked first."""
        return self.old_model != self.new_model


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a policy would have done to past requests, newest first.

    `inexact` counts those whose replay under the policy of their time did not give the decision that was recorded.
    """

    outcomes: Sequence[Outcome]
    missing: Mapping[str, int]
    inexact: int

    @property
    def flips(self) -> list[Outcome]:
        """Those that another model would be asked for."""
        return [one for one in self.outcomes if one.flipped]

    @property
    def counted(self) -> list[Outcome]:
        """Those whose cost and latency can be set side by side."""
        return [one for one in self.outcomes if one.counts]

    def mix(self) -> list[tuple[str, int, int]]:
        """Model, requests before, requests after; the most used first."""
        before = Counter(one.old_model for one in self.outcomes)
        after = Counter(one.new_model for one in self.outcomes)
        models = sorted(before.keys() | after.keys(), key=lambda model: (-max(before[model], after[model]), model))
        return [(model, before[model], after[model]) for model in models]


async def what_if(past: Past, policy: Policy) -> WhatIf:
    """Every case decided again under its own policy and under this one; other work gets its turn in between."""
    outcomes: list[Outcome] = []
    inexact = 0
    for begin in range(0, len(past.cases), SLICE):
        part = past.cases[begin : begin + SLICE]
        inexact += sum(not is_exact(case) for case in part)
        outcomes += outcomes_of(part, policy)
        await asyncio.sleep(0)
    return WhatIf(outcomes, past.missing, inexact)


def is_exact(case: PastCase) -> bool:
    """Whether the policy of its time gives the chain that was recorded."""
    return case.under(case.policy).fallback_chain == case.chain


def outcomes_of(cases: Iterable[PastCase], policy: Policy) -> list[Outcome]:
    """What this policy would have done to each of them."""
    return [_outcome(case, case.under(policy).selected or "") for case in cases]


def _outcome(case: PastCase, new_model: str) -> Outcome:
    kept, old_model = case.kept, case.chain[0] if case.chain else ""
    taken = case.registry.get(new_model)
    same = new_model == old_model
    return Outcome(
        request_id=kept.request_id,
        created_at=kept.created_at,
        task=kept.task,
        old_model=old_model,
        new_model=new_model,
        old_cost=kept.cost,
        new_cost=kept.cost if same or taken is None else actual_cost(taken.price, case.usage_with(new_model)),
        old_latency_ms=case.latency_ms(old_model),
        new_latency_ms=case.latency_ms(new_model),
        counts=kept.success and bool(old_model and new_model),
    )
