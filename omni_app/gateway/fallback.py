"""Walking the chain: one attempt after the other, inside one deadline, until a model answers.

Which faults move on to the next model is data (`AFTER_FAULT`), not code.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from omni_app.errors import InvalidRequest, OmniError, ProviderError
from omni_app.gateway.health import Health
from omni_app.gateway.types import Attempt, ChatRequest
from omni_app.providers.base import Completion, FaultKind, Provider, ProviderFault, ProviderRequest, Timeouts, Usage
from omni_app.routing.cost import actual_cost
from omni_app.routing.types import Deployment, Step


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


@dataclass(slots=True)
class Walk:
    """One request on its way down its chain. `attempts` grows as they happen, so that a cancelled walk tells them too.

    `on_attempt` is called before the next step is taken: the ledger's line is on disk before the reply is.
    """

    providers: Mapping[str, Provider]
    health: Health
    request: ChatRequest
    deadline_s: float
    """`time.monotonic()` seconds."""
    on_attempt: Callable[[Attempt], None]
    clock: Callable[[], float] = time.monotonic
    attempts: list[Attempt] = field(default_factory=list)

    async def run(self, chain: Iterable[tuple[Deployment, Step]]) -> tuple[Completion, Deployment]:
        """The first whole answer, and who gave it. Raises what `chain_failed` makes of the last fault."""
        larger_than = 0
        fault = ProviderFault(FaultKind.TOTAL_TIMEOUT, "the deadline had passed before a model could be called")
        for deployment, step in chain:
            if deployment.context_window <= larger_than:
                continue
            if self.clock() >= self.deadline_s:
                break
            try:
                return await self._attempt(deployment, step), deployment
            except ProviderFault as met:
                fault = met
            after = AFTER_FAULT[fault.kind]
            if after is After.STOP:
                break
            if after is After.LARGER_WINDOW:
                larger_than = deployment.context_window
        raise chain_failed(tuple(self.attempts), fault)

    async def _attempt(self, deployment: Deployment, step: Step) -> Completion:
        started_s = self.clock()
        played = self._played_fault()
        provider = self.providers["sandbox" if played else deployment.provider]
        self.health.probing(deployment.id, now_s=started_s)
        try:
            async with asyncio.timeout(self.deadline_s - started_s):
                completion = await provider.complete(self._call(deployment, step, played, started_s))
        except TimeoutError:
            fault = ProviderFault(FaultKind.TOTAL_TIMEOUT, "the request's deadline passed")
        except ProviderFault as met:
            fault = met
        except asyncio.CancelledError:
            self._note(deployment, started_s, outcome="cancelled")
            raise
        else:
            latency_ms = self._note(deployment, started_s, outcome="ok", usage=completion.usage)
            self.health.succeeded(deployment.id, latency_ms=latency_ms)
            return completion
        self._note(deployment, started_s, outcome=fault.kind.value, detail=fault.detail, usage=fault.usage)
        if not played:
            self.health.failed(deployment.id, fault, now_s=self.clock())
        raise fault

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
        )

    def _note(
        self, deployment: Deployment, started_s: float, *, outcome: str, detail: str = "", usage: Usage | None = None
    ) -> int:
        latency_ms = round((self.clock() - started_s) * 1000)
        attempt = Attempt(
            model=deployment.id,
            provider=deployment.provider,
            outcome=outcome,
            latency_ms=latency_ms,
            detail=detail,
            usage=usage,
            cost=actual_cost(deployment.price, usage) if usage else 0,
        )
        self.attempts.append(attempt)
        self.on_attempt(attempt)
        return latency_ms


def chain_failed(attempts: tuple[Attempt, ...], fault: ProviderFault) -> OmniError:
    """The error of a chain that gave no answer: the caller's own fault, or what each attempt met."""
    if attempts and fault.kind in CALLERS_FAULTS:
        return InvalidRequest(f"{attempts[-1].provider} refused the request: {fault.detail}")
    met = "; ".join(f"{attempt.model}: {attempt.outcome} ({attempt.detail})" for attempt in attempts)
    timed_out = all(attempt.outcome in TIMEOUTS for attempt in attempts)
    return ProviderError(f"No model answered. {met or fault.detail}", status=504 if timed_out else 502)
