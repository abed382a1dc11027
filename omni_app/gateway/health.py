"""What the outcomes of our own calls say about each deployment: whether to leave it alone for a while.

A breaker opens after `FAULTS_TO_OPEN` faults in a row, or at once when the provider says how long to wait
(`Retry-After`), that the model or our key is wrong, or when it goes on beyond what a request may cost. After the
cooldown one call is let through as a probe, and no other until it has ended or took `PROBE_HOLDS_S`: it closes the
breaker or opens it again for twice as long, up to `COOLDOWN_CEILING_S`. What a provider says itself counts instead, up
to the same ceiling. Calls that were under way when a breaker opened change nothing any more: a hundred of them that
fail together are one failure.
"""

import logging
from dataclasses import dataclass, field

from omni_app.providers.base import FaultKind, ProviderFault

log = logging.getLogger(__name__)

FAULTS_TO_OPEN = 3
COOLDOWN_S = 5.0
COOLDOWN_CEILING_S = 60.0
PROBE_HOLDS_S = COOLDOWN_CEILING_S
"""A probe that takes longer (a long answer, a reader that sleeps) keeps nobody else out; what it tells still counts."""
NEVER_S = float("-inf")
PROBE_S = 1.0
"""What a caller is told to wait while a probe is under way."""
LATELY_S = 300.0
"""What was seen of a deployment says for so long whether it is down."""

OPENS_AT_ONCE = frozenset(
    {FaultKind.AUTHENTICATION, FaultKind.MODEL_NOT_FOUND, FaultKind.RATE_LIMITED, FaultKind.OVERRUN}
)
CALLERS_OWN = frozenset(
    {FaultKind.BAD_REQUEST, FaultKind.CONTENT_POLICY, FaultKind.CONTEXT_LENGTH, FaultKind.UNSUPPORTED_PARAMETER}
)
"""Faults that say something about the request, not about the deployment."""


@dataclass(slots=True)
class _Breaker:
    """Closed while `open_until_s` is 0."""

    model: str
    faults_in_a_row: int = 0
    cooldown_s: float = 0.0
    open_until_s: float = 0.0
    probes: "set[Trial]" = field(default_factory=set)
    """Under way; the newest keeps others out until `probed_until_s`."""
    probed_until_s: float = 0.0
    opened_s: float = NEVER_S
    openings: int = 0
    """In a row: without an answer between them."""
    answered_s: float = NEVER_S

    def admits(self, now_s: float) -> bool:
        """Whether a call may go out now."""
        return self.open_until_s <= now_s and (not self.probes or self.probed_until_s <= now_s)

    def open(self, fault: ProviderFault, *, now_s: float) -> None:
        wished_s = fault.retry_after_s or max(COOLDOWN_S, 2 * self.cooldown_s)
        self.cooldown_s = min(COOLDOWN_CEILING_S, wished_s)
        self.opened_s = now_s
        self.openings += 1
        self.open_until_s = now_s + self.cooldown_s
        self.probes.clear()
        log.warning("%s is left alone for %.0f s: %s", self.model, self.cooldown_s, fault.kind.value)

    def close(self, *, now_s: float) -> None:
        self.answered_s = now_s
        self.faults_in_a_row = self.openings = 0
        self.cooldown_s = self.open_until_s = 0.0
        self.probes.clear()

    def is_down(self, now_s: float) -> bool | None:
        """None when nothing seen lately says so or so: one fault that opened it says it for its cooldown alone."""
        if not self.open_until_s:
            return False if now_s - self.answered_s < LATELY_S else None
        stays_down = self.openings > 1 and now_s - self.opened_s < LATELY_S
        return True if stays_down or not self.admits(now_s) else None


@dataclass(eq=False, slots=True)
class Trial:
    """One call under way. It ends in one of three ways; whatever is told after that changes nothing."""

    _breaker: _Breaker
    _ended: bool = False

    def succeeded(self, *, now_s: float) -> None:
        """It was answered."""
        if self._counts():
            self._breaker.close(now_s=now_s)

    def failed(self, fault: ProviderFault, *, now_s: float) -> None:
        """It met a fault; the request's own says nothing."""
        probes = self in self._breaker.probes
        if fault.kind in CALLERS_OWN:
            self.left()
        elif self._counts():
            self._breaker.faults_in_a_row += 1
            at_once = fault.kind in OPENS_AT_ONCE or bool(fault.retry_after_s)
            if probes or at_once or self._breaker.faults_in_a_row >= FAULTS_TO_OPEN:
                self._breaker.open(fault, now_s=now_s)

    def left(self) -> None:
        """It ended without saying anything of the deployment: the next call may probe."""
        self._ended = True
        self._breaker.probes.discard(self)

    def _counts(self) -> bool:
        """Whether its outcome is news: it probes, or the breaker has not opened since it began."""
        first, self._ended = not self._ended, True
        return first and (self in self._breaker.probes or not self._breaker.open_until_s)


@dataclass(slots=True)
class Health:
    """Breakers, per deployment id. Times are `time.monotonic()` seconds, passed in."""

    _breakers: dict[str, _Breaker] = field(default_factory=dict)

    def admits(self, model: str, *, now_s: float) -> bool:
        """Whether a call to `model` may begin now."""
        breaker = self._breakers.get(model)
        return breaker is None or breaker.admits(now_s)

    def begin(self, model: str, *, now_s: float) -> Trial:
        """A call that goes to `model`, which `admits` has let through: the probe, when a cooldown has just ended."""
        breaker = self._breakers.setdefault(model, _Breaker(model))
        trial = Trial(breaker)
        if breaker.open_until_s:
            breaker.probes.add(trial)
            breaker.probed_until_s = now_s + PROBE_HOLDS_S
        return trial

    def down(self, *, now_s: float) -> dict[str, bool]:
        """Deployment id -> whether it is down; those of which nothing was seen lately are missing.

        One whose calls fail stays down between them, in the seconds after a cooldown too; one that answered is up.
        """
        seen = {model: one.is_down(now_s) for model, one in self._breakers.items()}
        return {model: is_down for model, is_down in seen.items() if is_down is not None}

    def cooling(self, *, now_s: float) -> dict[str, float]:
        """Deployment id -> seconds until a call may begin again."""
        return {
            model: max(one.open_until_s - now_s, PROBE_S if one.probes else 0.0)
            for model, one in self._breakers.items()
            if not one.admits(now_s)
        }
