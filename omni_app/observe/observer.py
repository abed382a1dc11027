"""The one place that hears how each request ended: the gateway tells its record, the API's outermost layer the answer.

Both happen on the event loop, so neither does more than count and put into a queue; lines and spans are made and sent
off the request's path.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from omni_app.gateway.types import Attempt
from omni_app.observe import families as of
from omni_app.observe.metrics import Figures, Sample
from omni_app.storage.ledger import RequestRecord


@dataclass(slots=True)
class Seen:
    """One HTTP request, from the outermost layer's point of view; the gateway adds what it recorded of it."""

    method: str
    route: str
    traceparent: str = ""
    """The caller's, as it came."""
    request_id: str = ""
    status: int = 0
    """0 when nothing was answered: the caller had gone."""
    duration_s: float = 0.0
    ended_ns: int = 0
    """Since 1970."""
    record: RequestRecord | None = None
    attempts: Sequence[Attempt] = ()


class Reporter(Protocol):
    """Carries what it hears to somewhere else, off the request's path."""

    def hear(self, seen: Seen) -> None:
        """Puts a request in line; never waits."""
        ...

    def samples(self) -> Iterable[Sample]:
        """What of it was lost."""
        ...

    async def run(self, stopping: asyncio.Event) -> None:
        """Carries until it is to stop, then what is left."""
        ...


CURRENT: ContextVar[Seen | None] = ContextVar("omni_seen", default=None)
"""The HTTP request that this task serves; None in the playground, which has none."""


@dataclass(slots=True)
class Observer:
    """One worker's. `reporters` hear of each whole request; `sources` tell figures that are read when asked for.

    `counts`: whether anybody may read the figures; where nobody may, a request is spared some thirty increments.
    """

    counts: bool = True
    figures: Figures = field(default_factory=Figures)
    reporters: Sequence[Reporter] = ()
    sources: list[Callable[[], Iterable[Sample]]] = field(default_factory=list)

    @property
    def listens(self) -> bool:
        """Whether anything becomes of what it is told."""
        return self.counts or bool(self.reporters)

    def finished(self, record: RequestRecord, attempts: Sequence[Attempt]) -> None:
        """The gateway's: a request has its record."""
        if self.counts:
            self._count(record, attempts)
        seen = CURRENT.get()
        if seen is not None:
            seen.record, seen.attempts = record, tuple(attempts)
        elif self.reporters:
            seen = Seen("", record.endpoint, request_id=record.request_id, record=record, attempts=tuple(attempts))
            seen.duration_s, seen.ended_ns = record.latency_ms / 1000, time.time_ns()
            self._tell(seen)

    def answered(self, seen: Seen) -> None:
        """The outermost layer's: an HTTP request is over."""
        if self.counts:
            self.figures.add(of.ANSWERS, (seen.route, str(seen.status)))
        if self.reporters:
            seen.ended_ns = time.time_ns()
            self._tell(seen)

    def samples(self) -> list[Sample]:
        """What the sources say now."""
        return [sample for source in self.sources for sample in source()]

    def _tell(self, seen: Seen) -> None:
        for reporter in self.reporters:
            reporter.hear(seen)

    def _count(self, record: RequestRecord, attempts: Sequence[Attempt]) -> None:
        figures, endpoint, mode = self.figures, record.endpoint, record.key_kind
        figures.add(of.REQUESTS, (endpoint, record.task, mode, record.error_code or "ok"))
        if record.success and record.rescued:
            figures.add(of.RESCUED, (endpoint, mode))
        for attempt in attempts:
            model = attempt.provider, attempt.model
            figures.add(of.ATTEMPTS, (*model, attempt.outcome))
            figures.observe(of.ATTEMPT_TIME, (attempt.provider,), attempt.latency_ms)
            if attempt.usage is not None:
                figures.add(of.TOKENS, (*model, mode, "input"), attempt.usage.input)
                figures.add(of.TOKENS, (*model, mode, "output"), attempt.usage.output)
                figures.add(of.COST, (*model, mode), attempt.cost)
            if attempt.overrun:
                figures.add(of.OVERRUN, (*model, mode), attempt.overrun)
        figures.add(of.BASELINE, (mode,), record.premium_cost)
        figures.observe(of.DURATION, (endpoint,), record.latency_ms)
        figures.observe(of.OVERHEAD, (endpoint,), max(0, record.latency_ms - attempts_ms(attempts)))
        figures.observe(of.ROUTING, (), record.routing_us)
        if record.first_token_ms is not None:
            figures.observe(of.FIRST_TOKEN, (endpoint,), record.first_token_ms)


def attempts_ms(attempts: Sequence[Attempt]) -> int:
    """What the providers took, one after the other."""
    return sum(attempt.latency_ms for attempt in attempts)
