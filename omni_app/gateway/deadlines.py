"""How a request's time is split over its chain, and how long a model may be silent.

A model that hangs has to leave time for the next one, and a model that is slow today should not be cut off for
nothing. So each attempt gets what is left of the request's time less what the models behind it need; where that is too
little for all, it shares with the quickest of them.
"""

from collections.abc import Sequence

from omni_app.providers.base import Timeouts

CONNECT_S = Timeouts().connect_s
HEADROOM = 2.0
"""An answer may take this many times the expected latency. Stated, not fitted: few take longer."""
TELLING = 0.5
"""A time-out that left a model less than this part of what it needs says nothing of the model. Stated, not fitted."""
WORTH_TRYING_S = 0.1
"""With less left no further model is called: it would be paid for an answer that comes too late."""
FIRST_BYTE_S = 60.0
"""A whole answer's first byte comes when it is written; the local model may have to start first."""
FIRST_PIECE_S = 10.0
"""The least that a stream may take to begin."""
BETWEEN_CHUNKS_S = Timeouts().between_chunks_s


def needed_s(expected_latency_ms: float) -> float:
    """Seconds in which a healthy model nearly always answers, connecting included."""
    return CONNECT_S + HEADROOM * expected_latency_ms / 1000


def share_s(left_s: float, needs_s: float, later_s: Sequence[float]) -> float:
    """Seconds of `left_s` for an attempt that needs `needs_s`; `later_s`: what the models behind it need."""
    if not later_s:
        return left_s
    return max(left_s - sum(later_s), left_s * needs_s / (needs_s + min(later_s)))


def timeouts(share_s: float, left_s: float, needs_s: float, *, streamed: bool) -> Timeouts:
    """The deadlines of one call. A stream that has begun may take all that is left: nobody can take over any more."""
    if not streamed:
        return Timeouts(first_byte_s=min(FIRST_BYTE_S, share_s), total_s=share_s)
    silence_s = min(FIRST_BYTE_S, max(FIRST_PIECE_S, needs_s))
    return Timeouts(
        first_byte_s=min(silence_s, share_s), between_chunks_s=max(BETWEEN_CHUNKS_S, silence_s), total_s=left_s
    )


def tells(time_s: float, needs_s: float) -> bool:
    """Whether a model that was given `time_s` and did not answer is to blame for it."""
    return time_s >= TELLING * needs_s
