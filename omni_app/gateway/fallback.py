"""Walking the chain: which faults move on to the next model is data, not code."""

from collections.abc import Mapping
from enum import Enum

from omni_app.errors import InvalidRequest, OmniError, ProviderError
from omni_app.gateway.types import Attempt
from omni_app.providers.base import FaultKind, ProviderFault


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


def chain_failed(attempts: tuple[Attempt, ...], fault: ProviderFault) -> OmniError:
    """The error of a chain that gave no answer: the caller's own fault, or what each attempt met."""
    if fault.kind in (FaultKind.BAD_REQUEST, FaultKind.CONTENT_POLICY, FaultKind.CONTEXT_LENGTH):
        return InvalidRequest(f"{attempts[-1].provider} refused the request: {fault.detail}")
    met = "; ".join(f"{attempt.model}: {attempt.outcome} ({attempt.detail})" for attempt in attempts)
    timed_out = all(attempt.outcome in TIMEOUTS for attempt in attempts)
    return ProviderError(f"No model answered. {met}", status=504 if timed_out else 502)
