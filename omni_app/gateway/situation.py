"""The operational state that decisions are made in, as one value that is rebuilt only when something changed."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime

from omni_app.gateway.health import Health
from omni_app.gateway.latency import Latencies
from omni_app.providers.base import Provider
from omni_app.registry import Registry
from omni_app.routing.types import Deployment, KeyKind, SizeClass, Snapshot, Task
from omni_app.storage.snapshots import SnapshotRecord

REBUILD_S = 1.0
"""A measured latency reaches the choice within this time; an opened breaker does at once."""

GROUNDS = itertools.count(1)


class Situations:
    """Builds and keeps the current `Snapshot` of one registry."""

    def __init__(
        self,
        registry: Registry,
        providers: Mapping[str, Provider],
        health: Health,
        latencies: Latencies,
        expected_output: Callable[[], Mapping[Task, int]],
    ) -> None:
        self._ground = next(GROUNDS)
        self._registry = registry
        self._providers = providers
        self._health = health
        self._latencies = latencies
        self._expected_output = expected_output
        self._current: Snapshot | None = None
        self._built_at_s = 0.0
        self._cooling: frozenset[str] = frozenset()
        self._premium: dict[tuple[KeyKind, str], Deployment | None] = {}
        self._unconfigured: dict[str, str] = {}

    def snapshot(self, *, now_s: float, today: date) -> Snapshot:
        """The current one; `now_s` is `time.monotonic()`."""
        cooling = frozenset(self._health.cooling(now_s=now_s))
        fresh = self._current is not None and now_s - self._built_at_s < REBUILD_S
        if self._current is None or not fresh or cooling != self._cooling:
            self._unconfigured = self._without_provider()
            self._premium.clear()
            unavailable = self._unconfigured | dict.fromkeys(cooling, "cooling down after faults")
            built = self._snapshot(unavailable, now_s=now_s, today=today)
            if self._current is None or built.id != self._current.id:  # the same value spares the same shortlists
                self._current = built
            self._built_at_s, self._cooling = now_s, cooling
        return self._current

    def snapshot_without_breakers(self, *, now_s: float, today: date) -> Snapshot:
        """As if every breaker were closed: tells a refusal by limits from one by faults."""
        return self._snapshot(self._without_provider(), now_s=now_s, today=today)

    def premium(self, kind: KeyKind, configured: str) -> Deployment | None:
        """The baseline for this kind of key; breakers do not move it."""
        asked = (kind, configured)
        if asked not in self._premium:
            self._unconfigured = self._unconfigured or self._without_provider()
            self._premium[asked] = self._registry.premium(configured, kind, self._unconfigured)
        return self._premium[asked]

    def _without_provider(self) -> dict[str, str]:
        reasons = {name: provider.unavailable_reason() for name, provider in self._providers.items()}
        missing = "its provider is not built in"
        found = {one.id: reasons.get(one.provider, missing) for one in self._registry.deployments}
        return {model: reason for model, reason in found.items() if reason}

    def _snapshot(self, unavailable: Mapping[str, str], *, now_s: float, today: date) -> Snapshot:
        latencies = self._latencies.expected_ms(self._registry.deployments, now_s=now_s)
        outputs = dict(self._expected_output())
        states = (unavailable, latencies, outputs)
        content = repr((self._registry.version, *(sorted(state.items()) for state in states), today))
        return Snapshot(
            id=hashlib.sha256(content.encode()).hexdigest()[:16],
            latency_ms=latencies,
            unavailable=unavailable,
            expected_output=outputs,
            today=today,
            ground=self._ground,
        )


def snapshot_record(snapshot: Snapshot, deployments: Iterable[Deployment], *, created_at: datetime) -> SnapshotRecord:
    """The snapshot as it is kept. A reason that all deployments of a provider share is kept once, under its name."""
    by_provider: dict[str, set[str]] = {}
    for one in deployments:
        by_provider.setdefault(one.provider, set()).add(snapshot.unavailable.get(one.id, ""))
    shared = {name: next(iter(found)) for name, found in by_provider.items() if len(found) == 1 and found != {""}}
    single = {model: why for model, why in snapshot.unavailable.items() if shared.get(model.partition("/")[0]) != why}
    return SnapshotRecord(
        id=snapshot.id,
        latency_ms={
            model: {size.value: latency_ms for size, latency_ms in by_size.items()}
            for model, by_size in snapshot.latency_ms.items()
        },
        unavailable=shared | single,
        today=snapshot.today.isoformat() if snapshot.today else "",
        created_at=created_at,
        expected_output={task.value: tokens for task, tokens in snapshot.expected_output.items()},
    )


def snapshot_of(record: SnapshotRecord, deployments: Iterable[Deployment]) -> Snapshot:
    """The snapshot that was kept, over the deployments of its time."""
    reasons = record.unavailable
    found = {one.id: reasons.get(one.id, reasons.get(one.provider, "")) for one in deployments}
    return Snapshot(
        id=record.id,
        latency_ms={model: _by_size(kept) for model, kept in record.latency_ms.items()},
        unavailable={model: why for model, why in found.items() if why},
        expected_output={Task(task): tokens for task, tokens in record.expected_output.items()},
        today=date.fromisoformat(record.today) if record.today else None,
    )


def _by_size(kept: float | Mapping[str, float]) -> dict[SizeClass, float]:
    """One deployment's latencies; an earlier version kept one figure for every size."""
    if isinstance(kept, Mapping):
        return {SizeClass(size): latency_ms for size, latency_ms in kept.items()}
    return dict.fromkeys(SizeClass, float(kept))
