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
from omni_app.routing.types import Deployment


class Step(Enum):
    """What follows a fault."""

    NEXT = "the next model of the chain"
    LARGER_WINDOW = "the next model whose context window is larger"
    STOP = "nothing: another model would meet the same"


AFTER_FAULT: Mapping[FaultKind, Step] = {
    **dict.fromkeys(FaultKind, Step.NEXT),
    FaultKind.CONTEXT_LENGTH: Step.LARGER_WINDOW,
    FaultKind.BAD_REQUEST: Step.STOP,
    FaultKind.CONTENT_POLICY: Step.STOP,
    FaultKind.LOOP: Step.STOP,
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
    max_tokens: int | None
    on_attempt: Callable[[Attempt], None]
    clock: Callable[[], float] = time.monotonic
    attempts: list[Attempt] = field(default_factory=list)

    async def run(self, chain: Iterable[Deployment]) -> Completion:
        """The first whole answer. Raises what `chain_failed` makes of the last fault."""
        larger_than = 0
        fault = ProviderFault(FaultKind.TOTAL_TIMEOUT, "the deadline had passed before a model could be called")
        for deployment in chain:
            if deployment.context_window <= larger_than:
                continue
            if self.clock() >= self.deadline_s:
                break
            try:
                return await self._attempt(deployment)
            except ProviderFault as met:
                fault = met
            step = AFTER_FAULT[fault.kind]
            if step is Step.STOP:
                break
            if step is Step.LARGER_WINDOW:
                larger_than = deployment.context_window
        raise chain_failed(tuple(self.attempts), fault)

    async def _attempt(self, deployment: Deployment) -> Completion:
        started_s = self.clock()
        self.health.probing(deployment.id, now_s=started_s)
        try:
            async with asyncio.timeout(self.deadline_s - started_s):
                completion = await self._provider(deployment).complete(self._call(deployment, started_s))
        except TimeoutError:
            fault = ProviderFault(FaultKind.TOTAL_TIMEOUT, "the request's deadline passed")
            self._failed(deployment, started_s, fault)
            raise fault from None
        except ProviderFault as fault:
            self._failed(deployment, started_s, fault)
            raise
        except asyncio.CancelledError:
            self._note(deployment, started_s, outcome="cancelled")
            raise
        latency_ms = self._note(deployment, started_s, outcome="ok", usage=completion.usage)
        self.health.succeeded(deployment.id, latency_ms=latency_ms)
        return completion

    def _provider(self, deployment: Deployment) -> Provider:
        return self.providers["sandbox" if self._plays_fault() else deployment.provider]

    def _plays_fault(self) -> bool:
        """Whether the caller asked for this attempt to fail; the sandbox plays the fault in any model's place."""
        asked = self.request.sandbox_fail
        return asked.startswith("all:") or (bool(asked) and not self.attempts)

    def _call(self, deployment: Deployment, now_s: float) -> ProviderRequest:
        left_s = self.deadline_s - now_s
        params = dict(self.request.params)
        if self.max_tokens is not None:
            params["max_tokens"] = min(self.max_tokens, deployment.max_output_tokens)
        return ProviderRequest(
            deployment=deployment,
            messages=self.request.messages,
            params=params,
            timeouts=Timeouts(first_byte_s=min(FIRST_BYTE_S, left_s), total_s=left_s),
            sandbox_fail=self.request.sandbox_fail.removeprefix("all:") if self._plays_fault() else "",
        )

    def _failed(self, deployment: Deployment, started_s: float, fault: ProviderFault) -> None:
        self._note(deployment, started_s, outcome=fault.kind.value, detail=fault.detail, usage=fault.usage)
        if not self._fault_was_played():
            self.health.failed(deployment.id, fault, now_s=self.clock())

    def _fault_was_played(self) -> bool:
        asked = self.request.sandbox_fail
        return asked.startswith("all:") or (bool(asked) and len(self.attempts) == 1)

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
