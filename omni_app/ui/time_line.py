"""A request's time as bars on one scale: the decision, each attempt, and where a stream began. Geometry only."""

from collections.abc import Sequence

from omni_app.storage.ledger import AttemptRecord, RequestRecord
from omni_app.ui import text
from omni_app.ui.components.basics import Row
from omni_app.ui.records import OUTCOMES

SLIVER = 0.4
"""Percent: so wide is a bar at least, or a decision of microseconds would not be seen."""
TICKS = 4


def time_rows(record: RequestRecord, attempts: Sequence[AttemptRecord]) -> list[Row]:
    """One row a bar (`x`, `width`, percent of the whole; `x2`, `width2`); empty when timings were not recorded."""
    if not timed(record):
        return []
    scale_ms = whole_ms(record, attempts)
    decision = _row("Decision", "the router chose", 0.0, record.routing_us / 1000)
    rows = [decision | _bar("", 0.0, record.routing_us / 1000, scale_ms, kind="route")]
    return rows + [_attempt(record, one, scale_ms, last=one is attempts[-1]) for one in attempts]


def timed(record: RequestRecord) -> bool:
    """Rows that were written before there were timings have none."""
    return record.routing_us > 0


def whole_ms(record: RequestRecord, attempts: Sequence[AttemptRecord]) -> float:
    """What the scale ends with."""
    ends = [float(attempt.started_ms + attempt.latency_ms) for attempt in attempts]
    return max([1.0, float(record.latency_ms), record.routing_us / 1000, *ends])


def ticks(record: RequestRecord, attempts: Sequence[AttemptRecord]) -> list[str]:
    """The scale's labels, evenly spaced from 0 on."""
    whole = whole_ms(record, attempts)
    return [text.milliseconds(whole * step / TICKS) for step in range(TICKS + 1)]


def _attempt(record: RequestRecord, attempt: AttemptRecord, scale_ms: float, *, last: bool) -> Row:
    """One bar in two parts where the answer was streamed: until its first piece, and from there on."""
    start, end = float(attempt.started_ms), float(attempt.started_ms + attempt.latency_ms)
    kind = "ok" if attempt.outcome == "ok" else "bad"
    told = "answered" if attempt.outcome == "ok" else OUTCOMES.get(attempt.outcome, attempt.outcome.replace("_", " "))
    row = _row(f"{attempt.position + 1}. {attempt.model}", told, start, end) | {"detail": attempt.detail}
    first = record.first_token_ms
    if not last or first is None or not start <= first <= end:
        return row | _bar("", start, end, scale_ms, kind=kind)
    row["told"] = f"first piece after {text.milliseconds(first)}, then streamed for {text.milliseconds(end - first)}"
    if attempt.outcome != "ok":
        row["told"] += f"; {told}"
    return row | _bar("", start, first, scale_ms, kind="wait") | _bar("2", first, end, scale_ms, kind=kind)


def _row(name: str, told: str, start_ms: float, end_ms: float) -> Row:
    """A bar's words; the second part of the bar is nothing until there is one."""
    return {
        "name": name,
        "told": told,
        "detail": "",
        "from": text.milliseconds(start_ms),
        "took": precise_ms(end_ms - start_ms),
        "x2": "0",
        "width2": "0",
        "kind2": "",
    }


def _bar(part: str, start_ms: float, end_ms: float, scale_ms: float, *, kind: str) -> Row:
    """Where one part of a bar stands."""
    width = max(SLIVER, 100 * (end_ms - start_ms) / scale_ms)
    place = min(100 * start_ms / scale_ms, 100 - width)
    return {f"x{part}": f"{place:.3f}%", f"width{part}": f"{width:.3f}%", f"kind{part}": kind}


def precise_ms(value: float) -> str:
    """As `text.milliseconds`, with two digits below 10 ms: decisions take fractions of one."""
    return f"{value:.2g} ms" if value < 10 else text.milliseconds(value)
