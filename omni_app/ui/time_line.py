"""A request's time as bars on one scale: the decision, each attempt, and where a stream began. Geometry only."""

from collections.abc import Iterator, Sequence

from omni_app.storage.ledger import AttemptRecord, RequestRecord
from omni_app.ui import text
from omni_app.ui.components.basics import Row
from omni_app.ui.records import OUTCOMES

SLIVER = 0.4
"""Percent: so wide is a bar at least, or a decision of microseconds would not be seen."""
TICKS = 4


def time_rows(record: RequestRecord, attempts: Sequence[AttemptRecord]) -> list[Row]:
    """One row a bar (`x`, `width`, percent of the whole); empty when the timings were not recorded."""
    if not timed(record):
        return []
    scale_ms = whole_ms(record, attempts)
    rows = [_bar("Decision", "the router chose", 0.0, record.routing_us / 1000, scale_ms, kind="route")]
    for attempt in attempts:
        rows += _attempt_rows(record, attempt, scale_ms, last=attempt is attempts[-1])
    return rows


def timed(record: RequestRecord) -> bool:
    """Rows that were written before there were timings have none."""
    return record.routing_us > 0


def whole_ms(record: RequestRecord, attempts: Sequence[AttemptRecord]) -> float:
    """What the scale ends with."""
    ends = [float(attempt.started_ms + attempt.latency_ms) for attempt in attempts]
    return max([1.0, float(record.latency_ms), *ends])


def ticks(record: RequestRecord, attempts: Sequence[AttemptRecord]) -> list[str]:
    """The scale's labels, evenly spaced from 0 on."""
    whole = whole_ms(record, attempts)
    return [text.milliseconds(whole * step / TICKS) for step in range(TICKS + 1)]


def _attempt_rows(record: RequestRecord, attempt: AttemptRecord, scale_ms: float, *, last: bool) -> Iterator[Row]:
    """One bar, or two where the answer was streamed: until its first piece, and from there on."""
    start, end = float(attempt.started_ms), float(attempt.started_ms + attempt.latency_ms)
    name = f"{attempt.position + 1}. {attempt.model}"
    first = record.first_token_ms
    outcome = OUTCOMES.get(attempt.outcome, attempt.outcome.replace("_", " "))
    if last and first is not None and start <= first <= end:
        yield _bar(name, "until the first piece", start, first, scale_ms, kind="wait")
        told = "the answer streamed" if attempt.outcome == "ok" else f"streaming, then: {outcome}"
        yield _bar("", told, first, end, scale_ms, kind="ok" if attempt.outcome == "ok" else "bad")
    else:
        told = "answered" if attempt.outcome == "ok" else outcome
        yield _bar(name, told, start, end, scale_ms, kind="ok" if attempt.outcome == "ok" else "bad")


def _bar(name: str, told: str, start_ms: float, end_ms: float, scale_ms: float, *, kind: str) -> Row:
    width = max(SLIVER, 100 * (end_ms - start_ms) / scale_ms)
    return {
        "name": name,
        "told": told,
        "kind": kind,
        "x": f"{min(100 * start_ms / scale_ms, 100 - width):.3f}%",
        "width": f"{width:.3f}%",
        "from": text.milliseconds(start_ms),
        "took": precise_ms(end_ms - start_ms),
    }


def precise_ms(value: float) -> str:
    """As `text.milliseconds`, with two digits below 10 ms: decisions take fractions of one."""
    return f"{value:.2g} ms" if value < 10 else text.milliseconds(value)
