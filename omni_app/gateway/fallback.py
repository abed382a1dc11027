"""Walking the chain: one attempt after the other, inside one deadline, until a model answers.

Which faults move on to the next model is data (`AFTER_FAULT`), not code.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import Enum

from omni_app.errors import InvalidRequest, OmniError, ProviderError, StreamInterrupted
from omni_app.gateway.health import Health
from omni_app.gateway.latency import Latencies
from omni_app.gateway.types import Attempt, ChatRequest, Opened, Whole
from omni_app.providers.base import (
    Completion,
    Delta,
    FaultKind,
    Provider,
    ProviderFault,
    ProviderRequest,
    Timeouts,
    Usage,
)
from omni_app.providers.choices import complete_choices, produced, stream_choices
from omni_app.routing.cost import actual_cost
from omni_app.routing.types import Deployment, SizeClass, Step


class After(Enum):
    """What follows a fault."""

    NEXT = "the next model of the chain"
    LARGER_WINDOW = "the next model whose context window is larger"
    STOP = "nothing: another model would meet the same"


AFTER_FAULT: Mapping[FaultKind, After] = {
    **dict.fromkeys(FaultKind, After.NEXT),
    FaultKind.CONTEXT_LENGTH: After.LARGER_WINDOW,
    FaultKind.BAD_REQUEST: After.STOP,
    FaultKind.CONTENT_POLICY: After.STOP,
    FaultKind.LOOP: After.STOP,
}

TIMEOUTS = frozenset(
    {FaultKind.CONNECT_TIMEOUT.value, FaultKind.FIRST_BYTE_TIMEOUT.value, FaultKind.TOTAL_TIMEOUT.value}
)
CALLERS_FAULTS = frozenset({FaultKind.BAD_REQUEST, FaultKind.CONTENT_POLICY, FaultKind.CONTEXT_LENGTH})

FIRST_BYTE_S = 60.0
"""A whole answer's first byte comes when it is written; the local model may have to start first."""
SLOW_READER = 0.1
"""A stream whose reader held it up for more than this part of its time says nothing of the model's."""


@dataclass(slots=True)
class Walk:
    """One request on its way down its chain. `attempts` grows as they happen, so that a cancelled walk tells them too.

    `on_attempt` is called before the next step is taken: the ledger's line is on disk before the reply is.
    """

    providers: Mapping[str, Provider]
    health: Health
    latencies: Latencies
    request: ChatRequest
    size: SizeClass
    """What its answer's time is filed under."""
    deadline_s: float
    """`time.monotonic()` seconds."""
    on_attempt: Callable[[Attempt], None]
    began_s: float
    """When the request arrived, in the same seconds."""
    clock: Callable[[], float] = time.monotonic
    attempts: list[Attempt] = field(default_factory=list)
    _fault: ProviderFault = field(
        default_factory=lambda: ProviderFault(
            FaultKind.TOTAL_TIMEOUT, "the deadline had passed before a model could be called"
        )
    )
    """What the newest failed attempt met."""

    async def run(self, chain: Iterable[tuple[Deployment, Step]]) -> Whole:
        """The first whole answer. Raises what `chain_failed` makes of the last fault."""
        for deployment, step in self._tried(chain):
            try:
                return Whole(await self._attempt(deployment, step), deployment)
            except ProviderFault as fault:
                self._fault = fault
        raise chain_failed(tuple(self.attempts), self._fault)

    async def stream(self, chain: Iterable[tuple[Deployment, Step]]) -> AsyncGenerator[Opened | Delta | Whole, None]:
        """Who answers, the pieces, the whole answer. Another model takes over until the first piece has come.

        Raises `StreamInterrupted` after it, else what `chain_failed` makes of the last fault.
        """
        for deployment, step in self._tried(chain):
            opened = False
            try:
                async with aclosing(self._stream_attempt(deployment, step)) as pieces:
                    async for piece in pieces:
                        if not opened:
                            opened = True
                            yield Opened(deployment, fallbacks=self._failures())
                        yield Whole(piece, deployment) if isinstance(piece, Completion) else piece
                return
            except ProviderFault as fault:
                if opened:
                    raise StreamInterrupted(f"{deployment.id} broke off: {fault.detail}") from fault
                self._fault = fault
        raise chain_failed(tuple(self.attempts), self._fault)

    def _failures(self) -> int:
        return sum(attempt.failed for attempt in self.attempts)

    def _tried(self, chain: Iterable[tuple[Deployment, Step]]) -> Iterator[tuple[Deployment, Step]]:
        """The steps that are worth trying, given what the ones before them met."""
        larger_than = 0
        for deployment, step in chain:
            if deployment.context_window <= larger_than:
                continue
            if self.clock() >= self.deadline_s:
                return
            yield deployment, step
            after = AFTER_FAULT[self._fault.kind]
            if after is After.STOP:
                return
            if after is After.LARGER_WINDOW:
                larger_than = deployment.context_window

    async def _attempt(self, deployment: Deployment, step: Step) -> Completion:
        attempt = self._begin(deployment, step)
        try:
            async with asyncio.timeout(self.deadline_s - attempt.started_s):
                completion = await complete_choices(attempt.provider, attempt.call)
        except TimeoutError:
            fault = ProviderFault(FaultKind.TOTAL_TIMEOUT, "the request's deadline passed")
            raise self._failed(attempt, fault) from None
        except ProviderFault as fault:
            raise self._failed(attempt, fault) from None
        except asyncio.CancelledError:
            self._note(attempt, outcome="cancelled")
            raise
        self._succeeded(attempt, completion)
        return completion

    async def _stream_attempt(self, deployment: Deployment, step: Step) -> AsyncGenerator[Delta | Completion, None]:
        """As `_attempt`; the provider keeps the deadline, for none may span a `yield`."""
        attempt = self._begin(deployment, step)
        said: list[Delta] = []
        completed = False
        try:
            async with aclosing(stream_choices(attempt.provider, attempt.call)) as pieces:
                async for piece in pieces:
                    came_s = self.clock()
                    if isinstance(piece, Completion):
                        completed = True
                        self._succeeded(attempt, piece)
                    else:
                        said.append(piece)
                        if attempt.first_piece_s is None:
                            attempt.first_piece_s = came_s
                    yield piece
                    attempt.held_s += self.clock() - came_s
        except ProviderFault as fault:
            raise self._failed(attempt, fault) from None
        except (asyncio.CancelledError, GeneratorExit):
            if not completed:
                usage = produced(attempt.provider, attempt.call, said)
                self._note(attempt, outcome="cancelled", usage=usage)
            raise

    def _begin(self, deployment: Deployment, step: Step) -> "_Attempt":
        started_s = self.clock()
        played = self._played_fault()
        self.health.probing(deployment.id, now_s=started_s)
        return _Attempt(
            deployment=deployment,
            provider=self.providers["sandbox" if played else deployment.provider],
            call=self._call(deployment, step, played, started_s),
            started_s=started_s,
        )

    def _succeeded(self, attempt: "_Attempt", completion: Completion) -> None:
        latency_ms = self._note(attempt, outcome="ok", usage=completion.usage)
        self.health.succeeded(attempt.deployment.id)
        if self._tells_a_time(attempt, latency_ms):
            first_s = attempt.first_piece_s
            self.latencies.count(
                (attempt.deployment.id, self.size),
                total_ms=latency_ms,
                first_token_ms=None if first_s is None else round((first_s - attempt.started_s) * 1000),
                now_s=self.clock(),
            )

    def _tells_a_time(self, attempt: "_Attempt", latency_ms: int) -> bool:
        """Whether the attempt says how long the model takes for one answer."""
        simulated = attempt.deployment.simulated or attempt.call.sandbox_fail
        held_up = attempt.held_s * 1000 > SLOW_READER * latency_ms
        return not simulated and not held_up and self.request.choices == 1

    def _failed(self, attempt: "_Attempt", fault: ProviderFault) -> ProviderFault:
        self._note(attempt, outcome=fault.kind.value, detail=fault.detail, usage=fault.usage)
        if not attempt.call.sandbox_fail:
            self.health.failed(attempt.deployment.id, fault, now_s=self.clock())
        return fault

    def _played_fault(self) -> str:
        """The fault that the caller asked for at this attempt; the sandbox plays it in any model's place."""
        asked = self.request.sandbox_fail
        everywhere = asked.startswith("all:")
        return asked.removeprefix("all:") if everywhere or not self.attempts else ""

    def _call(self, deployment: Deployment, step: Step, played: str, now_s: float) -> ProviderRequest:
        left_s = self.deadline_s - now_s
        params = dict(self.request.params)
        if step.max_tokens is not None:
            params["max_tokens"] = step.max_tokens
        return ProviderRequest(
            deployment=deployment,
            messages=self.request.messages,
            params=params,
            timeouts=Timeouts(first_byte_s=min(FIRST_BYTE_S, left_s), total_s=left_s),
            sandbox_fail=played,
            keep_prompt=bool(self.request.session_id),
        )

    def _note(self, attempt: "_Attempt", *, outcome: str, detail: str = "", usage: Usage | None = None) -> int:
        """Keeps an attempt that has ended; gives its latency in ms."""
        deployment = attempt.deployment
        latency_ms = round((self.clock() - attempt.started_s) * 1000)
        ended = Attempt(
            model=deployment.id,
            provider=deployment.provider,
            outcome=outcome,
            latency_ms=latency_ms,
            detail=detail,
            usage=usage,
            cost=actual_cost(deployment.price, usage) if usage else 0,
            started_ms=round((attempt.started_s - self.began_s) * 1000),
        )
        self.attempts.append(ended)
        self.on_attempt(ended)
        return latency_ms


@dataclass(slots=True)
class _Attempt:
    """One call under way."""

    deployment: Deployment
    provider: Provider
    call: ProviderRequest
    started_s: float
    first_piece_s: float | None = None
    held_s: float = 0.0
    """How long the stream's reader took over the pieces."""


def chain_failed(attempts: tuple[Attempt, ...], fault: ProviderFault) -> OmniError:
    """The error of a chain that gave no answer: the caller's own fault, or what each attempt met."""
    if attempts and fault.kind in CALLERS_FAULTS:
        return InvalidRequest(f"{attempts[-1].provider} refused the request: {fault.detail}")
    met = "; ".join(f"{attempt.model}: {attempt.outcome} ({attempt.detail})" for attempt in attempts)
    timed_out = all(attempt.outcome in TIMEOUTS for attempt in attempts)
    return ProviderError(f"No model answered. {met or fault.detail}", status=504 if timed_out else 502)
