"""Walking the chain: one attempt after the other, inside one deadline, until a model answers.

Which faults move on to the next model is data (`AFTER_FAULT`), not code.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import Enum
from math import ceil
from typing import Any

from omni_app.deadline import Deadline
from omni_app.errors import InvalidRequest, OmniError, PromptTooLong, ProviderError, StreamInterrupted
from omni_app.gateway.deadlines import WORTH_TRYING_S, share_s, tells, timeouts
from omni_app.gateway.health import Health, Trial
from omni_app.gateway.latency import Latencies
from omni_app.gateway.types import Attempt, ChatRequest, Opened, Whole
from omni_app.providers.base import (
    Completion,
    Delta,
    Deltas,
    FaultKind,
    Provider,
    ProviderFault,
    ProviderRequest,
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
CALLERS_FAULTS = frozenset({FaultKind.BAD_REQUEST, FaultKind.CONTENT_POLICY})

NOBODY_CALLED = ProviderFault(FaultKind.TOTAL_TIMEOUT, "the deadline had passed before a model could be called")
"""Told of, never raised."""
SLOW_READER = 0.1
"""A stream whose reader held it up for more than this part of its time says nothing of the model's."""

Link = tuple[Deployment, Step]
"""One model of the chain, and what to ask of it."""


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
    affords: Callable[[Step], bool]
    """Whether a step's worst case still fits beside what the attempts so far may have cost."""
    charges: Callable[[int], int]
    """What of an attempt's cost is the caller's: all of it, as long as the promises hold."""
    needs_s: Callable[[Deployment], float]
    """In how many seconds a deployment nearly always answers this request."""
    clock: Callable[[], float] = time.monotonic
    attempts: list[Attempt] = field(default_factory=list)
    own_providers: frozenset[str] = frozenset()
    """Those that are called with the org's own key."""
    promised: bool = False
    """Whether the request may cost so much and no more: its streams are metered."""
    _fault: ProviderFault = NOBODY_CALLED
    """What the newest failed attempt met."""

    async def run(self, chain: Sequence[Link]) -> Whole:
        """The first whole answer. Raises what `_failure` makes of the last fault."""
        for attempt in self._tried(chain, streamed=False):
            try:
                return Whole(await self._whole(attempt), attempt.deployment)
            except ProviderFault as fault:
                self._fault = fault
        raise self._failure(chain)

    async def stream(self, chain: Sequence[Link]) -> AsyncGenerator[Opened | Deltas | Whole, None]:
        """Who answers, the pieces, the whole answer. Another model takes over until the first piece has come.

        Raises `StreamInterrupted` after it, else what `_failure` makes of the last fault.
        """
        for attempt in self._tried(chain, streamed=True):
            opened = False
            try:
                async with aclosing(self._pieces(attempt)) as pieces:
                    async for piece in pieces:
                        if not opened:
                            opened = True
                            yield Opened(attempt.deployment, fallbacks=self._failures())
                        yield Whole(piece, attempt.deployment) if isinstance(piece, Completion) else piece
                return
            except ProviderFault as fault:
                if opened:
                    raise StreamInterrupted(f"{attempt.deployment.id} broke off: {fault.detail}") from fault
                self._fault = fault
        raise self._failure(chain)

    def _failures(self) -> int:
        return sum([attempt.failed for attempt in self.attempts])

    def _tried(self, chain: Sequence[Link], *, streamed: bool) -> Iterator["_Attempt"]:
        """The attempts that are worth making, each begun, given what the ones before them met."""
        left = list(chain)
        while left := [link for link in left if self._worth(link)]:
            left_s = self.deadline_s - self.clock()
            if left_s <= (WORTH_TRYING_S if self.attempts else 0.0):
                return
            (deployment, step), *left = left
            yield self._begin(deployment, step, later=left, left_s=left_s, streamed=streamed)
            after = AFTER_FAULT[self._fault.kind]
            if after is After.STOP:
                return
            if after is After.LARGER_WINDOW:
                left = [link for link in left if link[0].context_window > deployment.context_window]

    def _worth(self, link: Link) -> bool:
        """Whether a step could be taken now: breakers open, and money is spent, while the chain is walked."""
        deployment, step = link
        return self.affords(step) and self.health.admits(deployment.id, now_s=self.clock())

    async def _whole(self, attempt: "_Attempt") -> Completion:
        try:
            with Deadline(attempt.time_s):
                completion = await complete_choices(attempt.provider, attempt.call)
        except TimeoutError:
            fault = ProviderFault(FaultKind.TOTAL_TIMEOUT, f"no whole answer in {attempt.time_s:.3g} s")
            raise self._failed(attempt, fault) from None
        except ProviderFault as fault:
            raise self._failed(attempt, fault) from None
        except asyncio.CancelledError:
            self._note(attempt, outcome="cancelled")
            raise
        else:
            self._succeeded(attempt, completion)
            return completion
        finally:
            attempt.trial.left()

    async def _pieces(self, attempt: "_Attempt") -> AsyncGenerator[Deltas | Completion, None]:
        """As `_whole`; once it has begun the provider keeps the deadline, for none may span a `yield`."""
        said: list[Delta] = []
        completed = False
        try:
            async with aclosing(stream_choices(attempt.provider, attempt.call)) as pieces:
                while (piece := await self._next(pieces, attempt)) is not None:
                    came_s = self.clock()
                    if isinstance(piece, Completion):
                        completed = True
                        self._succeeded(attempt, piece)
                    else:
                        if not attempt.call.heard:
                            said += piece
                        if attempt.first_piece_s is None:
                            attempt.first_piece_s = came_s
                            attempt.time_s = self.deadline_s - attempt.started_s
                    yield piece
                    attempt.held_s += self.clock() - came_s
        except ProviderFault as fault:
            fault.usage = fault.usage or produced(attempt.provider, attempt.call, said)
            raise self._failed(attempt, fault) from None
        except (asyncio.CancelledError, GeneratorExit):
            if not completed:
                usage = produced(attempt.provider, attempt.call, said)
                self._note(attempt, outcome="cancelled", usage=usage)
            raise
        finally:
            attempt.trial.left()

    async def _next(
        self, pieces: AsyncGenerator[Deltas | Completion, None], attempt: "_Attempt"
    ) -> Deltas | Completion | None:
        """The next piece, None at the end; the first one within the attempt's time. Raises `ProviderFault`."""
        if attempt.first_piece_s is not None:
            return await anext(pieces, None)
        try:
            with Deadline(attempt.ends_s - self.clock()):
                return await anext(pieces, None)
        except TimeoutError:
            detail = f"no piece of the answer in {attempt.time_s:.3g} s"
            raise ProviderFault(FaultKind.FIRST_BYTE_TIMEOUT, detail) from None

    def _begin(
        self, deployment: Deployment, step: Step, *, later: Sequence[Link], left_s: float, streamed: bool
    ) -> "_Attempt":
        played, needs_s = self._played_fault(), self.needs_s(deployment)
        time_s = share_s(left_s, needs_s, [self.needs_s(one) for one, _ in later] if later else ())
        return _Attempt(
            deployment=deployment,
            provider=self.providers["sandbox" if played else deployment.provider],
            call=ProviderRequest(
                deployment=deployment,
                messages=self.request.messages,
                params=self._params(step),
                timeouts=timeouts(time_s, left_s, needs_s, streamed=streamed),
                sandbox_fail=played,
                keep_prompt=self.request.keep_prompt or bool(self.request.session_id),
                metered=self.promised,
            ),
            trial=self.health.begin(deployment.id, now_s=self.deadline_s - left_s),
            started_s=self.deadline_s - left_s,
            time_s=time_s,
            needs_s=needs_s,
        )

    def _params(self, step: Step) -> Mapping[str, Any]:
        params = self.request.params
        return params if step.max_tokens is None else {**params, "max_tokens": step.max_tokens}

    def _succeeded(self, attempt: "_Attempt", completion: Completion) -> None:
        latency_ms = self._note(attempt, outcome="ok", usage=completion.usage)
        if overrun := self._overrun(attempt, completion):
            attempt.trial.failed(ProviderFault(FaultKind.OVERRUN, overrun), now_s=self.clock())
        else:
            attempt.trial.succeeded(now_s=self.clock())
        if self._tells_a_time(attempt, latency_ms):
            first_s = attempt.first_piece_s
            self.latencies.count(
                (attempt.deployment.id, self.size),
                total_ms=latency_ms,
                first_token_ms=None if first_s is None else round((first_s - attempt.started_s) * 1000),
                now_s=self.clock(),
            )

    def _overrun(self, attempt: "_Attempt", completion: Completion) -> str:
        """How the provider broke what was promised, in words; "" when it did not. A count of ours accuses nobody."""
        if completion.stopped:
            return "it wrote on beyond max_tokens"
        if not self.promised or completion.usage.estimated:
            return ""
        limit = attempt.call.params.get("max_tokens")
        if limit is not None and completion.usage.output > limit * self.request.choices:
            return "it counts more tokens than max_tokens"
        return "it counts more than the request may cost" if self.attempts[-1].overrun else ""

    def _tells_a_time(self, attempt: "_Attempt", latency_ms: int) -> bool:
        """Whether the attempt says how long the model takes for one answer."""
        simulated = attempt.deployment.simulated or attempt.call.sandbox_fail
        held_up = attempt.held_s * 1000 > SLOW_READER * latency_ms
        return not simulated and not held_up and self.request.choices == 1

    def _failed(self, attempt: "_Attempt", fault: ProviderFault) -> ProviderFault:
        self._note(attempt, outcome=fault.kind.value, detail=fault.detail, usage=fault.usage)
        if not attempt.call.sandbox_fail and self._to_blame(attempt):
            attempt.trial.failed(fault, now_s=self.clock())
        return fault

    def _to_blame(self, attempt: "_Attempt") -> bool:
        """Whether a fault is the deployment's own, and not that of a request with too little time for it."""
        return self.clock() < attempt.ends_s or tells(attempt.time_s, attempt.needs_s)

    def _played_fault(self) -> str:
        """The fault that the caller asked for at this attempt; the sandbox plays it in any model's place."""
        asked = self.request.sandbox_fail
        everywhere = asked.startswith("all:")
        return asked.removeprefix("all:") if everywhere or not self.attempts else ""

    def _note(self, attempt: "_Attempt", *, outcome: str, detail: str = "", usage: Usage | None = None) -> int:
        """Keeps an attempt that has ended; gives its latency in ms."""
        deployment = attempt.deployment
        latency_ms = round((self.clock() - attempt.started_s) * 1000)
        counted = actual_cost(deployment.price, usage) if usage else 0
        charged = self.charges(counted)
        ended = Attempt(
            model=deployment.id,
            provider=deployment.provider,
            outcome=outcome,
            latency_ms=latency_ms,
            detail=detail,
            usage=usage,
            cost=charged,
            overrun=counted - charged,
            byok=deployment.provider in self.own_providers and not attempt.call.sandbox_fail,
            started_ms=round((attempt.started_s - self.began_s) * 1000),
        )
        self.attempts.append(ended)
        self.on_attempt(ended)
        return latency_ms

    def _failure(self, chain: Sequence[Link]) -> OmniError:
        """The error of a chain that gave no answer: how long to wait, where that is all to be said, or what it met."""
        waits = self.health.cooling(now_s=self.clock())
        only_limits = all(attempt.outcome == FaultKind.RATE_LIMITED for attempt in self.attempts)
        cooling = [waits[deployment.id] for deployment, _ in chain if deployment.id in waits]
        if cooling and only_limits:
            return all_cooling(min(cooling))
        return chain_failed(tuple(self.attempts), self._fault)


@dataclass(slots=True)
class _Attempt:
    """One call under way."""

    deployment: Deployment
    provider: Provider
    call: ProviderRequest
    trial: Trial
    started_s: float
    time_s: float
    """How long it may take: until its first piece as long as another model could take over, then all that is left."""
    needs_s: float
    first_piece_s: float | None = None
    held_s: float = 0.0
    """How long the stream's reader took over the pieces."""

    @property
    def ends_s(self) -> float:
        return self.started_s + self.time_s


def all_cooling(wait_s: float) -> ProviderError:
    """The error while every model that could answer is left alone."""
    seconds = max(1, ceil(wait_s))
    return ProviderError(
        f"every model that could answer is cooling down after faults; try again in {seconds} s",
        status=503,
        headers={"Retry-After": str(seconds)},
    )


def chain_failed(attempts: tuple[Attempt, ...], fault: ProviderFault) -> OmniError:
    """The error of a chain that gave no answer: the caller's own fault, or what each attempt met."""
    if attempts and fault.kind is FaultKind.CONTEXT_LENGTH:
        told = f"the prompt is too long: {attempts[-1].provider} refused the request: {fault.detail}"
        return PromptTooLong(f"{told}; shorten it, or name a model with a larger context window")
    refused = attempts and all(attempt.outcome == FaultKind.UNSUPPORTED_PARAMETER for attempt in attempts)
    if refused or (attempts and fault.kind in CALLERS_FAULTS):
        return InvalidRequest(f"{attempts[-1].provider} refused the request: {fault.detail}")
    met = "; ".join(f"{attempt.model}: {attempt.outcome} ({attempt.detail})" for attempt in attempts)
    timed_out = all(attempt.outcome in TIMEOUTS for attempt in attempts)
    return ProviderError(f"No model answered. {met or fault.detail}", status=504 if timed_out else 502)
