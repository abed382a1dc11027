"""What the outcomes of our own calls say about each deployment: whether to leave it alone for a while.

A breaker opens after `FAULTS_TO_OPEN` faults in a row, or at once when the provider says how long to wait
(`Retry-After`) or that the model or our key is wrong. After the cooldown one call is let through as a probe: it
closes the breaker or opens it again for twice as long, up to `COOLDOWN_CEILING_S`.
"""

from dataclasses import dataclass

from omni_app.providers.base import FaultKind, ProviderFault

FAULTS_TO_OPEN = 3
COOLDOWN_S = 5.0
COOLDOWN_CEILING_S = 60.0

OPENS_AT_ONCE = frozenset({FaultKind.AUTHENTICATION, FaultKind.MODEL_NOT_FOUND, FaultKind.RATE_LIMITED})
CALLERS_OWN = frozenset(
    {FaultKind.BAD_REQUEST, FaultKind.CONTENT_POLICY, FaultKind.CONTEXT_LENGTH, FaultKind.UNSUPPORTED_PARAMETER}
)
"""Faults that say something about the request, not about the deployment."""


@dataclass(slots=True)
class _State:
    faults_in_a_row: int = 0
    cooldown_s: float = 0.0
    open_until_s: float = 0.0
    kind: str = ""


class Health:
    """Breakers, per deployment id. Times are `time.monotonic()` seconds, passed in."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}

    def _of(self, model: str) -> _State:
        return self._states.setdefault(model, _State())

    def succeeded(self, model: str) -> None:
        """Counts an answer: it closes the breaker."""
        state = self._of(model)
        state.faults_in_a_row = 0
        state.cooldown_s = state.open_until_s = 0.0

    def failed(self, model: str, fault: ProviderFault, *, now_s: float) -> None:
        """Counts a fault, unless it is the request's own."""
        if fault.kind in CALLERS_OWN:
            return
        state = self._of(model)
        state.faults_in_a_row += 1
        if fault.kind not in OPENS_AT_ONCE and state.faults_in_a_row < FAULTS_TO_OPEN:
            return
        state.cooldown_s = min(COOLDOWN_CEILING_S, max(COOLDOWN_S, state.cooldown_s * 2, fault.retry_after_s or 0.0))
        state.open_until_s = now_s + state.cooldown_s
        state.kind = fault.kind.value

    def cooling(self, *, now_s: float) -> dict[str, float]:
        """Deployment id -> seconds until its breaker lets a probe through."""
        return {
            model: state.open_until_s - now_s for model, state in self._states.items() if state.open_until_s > now_s
        }

    def probing(self, model: str, *, now_s: float) -> None:
        """A call is about to go to `model`: when its cooldown has just ended, others wait for the probe's outcome."""
        state = self._states.get(model)
        if state is not None and 0.0 < state.open_until_s <= now_s:
            state.open_until_s = now_s + COOLDOWN_S
