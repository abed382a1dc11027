"""What the figures' pages look at: live or test, and which stretch of time. Both come from the page's address."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.routing.types import KeyKind
from omni_app.storage import ledger
from omni_app.storage.accounts import Identity
from omni_app.storage.reports import UsageGroup
from omni_app.ui.components.chart import Bucket

DEFAULT_RANGE = "7d"
STEPS: Mapping[str, tuple[str, int]] = {
    "1h": ("minute", 60),
    "24h": ("hour", 24),
    "7d": ("day", 7),
    "30d": ("day", 30),
}
"""Range -> bucket and how many of them; the last one is the current minute, hour or UTC day, so far."""
BUCKETS: Mapping[str, timedelta] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "month": timedelta(days=28),
}
"""Bucket -> its length, of a month at least; finest first."""
FORMATS: Mapping[str, tuple[str, str]] = {
    "minute": ("%Y-%m-%dT%H:%M:00Z", "%H:%M"),
    "hour": ("%Y-%m-%dT%H:00:00Z", "%-d %b %H:00"),
    "day": ("%Y-%m-%d", "%-d %b"),
    "month": ("%Y-%m", "%b %Y"),
}
"""Bucket -> how the ledger names its start, and how a chart does."""
MOST_BUCKETS = 200
"""A chart of more would be hairs; a finer bucket than that is not offered for a range."""
LONGEST = timedelta(days=3660)
BETWEEN = ".."
WRONG_RANGE = "Choose a first and a last day, the first one not after the last, within ten years. Shown are 7 days."


@dataclass(frozen=True, slots=True)
class View:
    """A mode and a half-open stretch of time that begins at a bucket's start.

    `range` is one of `STEPS`, or two UTC days as `2026-01-01..2026-01-31`; `problem` says why another one is shown.
    """

    mode: KeyKind
    range: str
    bucket: str
    start: datetime
    end: datetime
    problem: str = ""
    asked_at: datetime | None = None
    """What of the range lies after it has not gone by; None where nothing does."""

    def instants(self) -> list[datetime]:
        """The start of each bucket."""
        return list(_starts(self.start, self.end, self.bucket))

    @property
    def until(self) -> datetime:
        """The end of the last bucket that has begun: what there is to add up, in whole cells where there are any.

        Nothing is recorded ahead of its time, so the figures are those up to `end`.
        """
        begins = begun(self.end, self.bucket)
        whole = begins == self.end or self.bucket in ("minute", "month")
        return self.end if whole else begins + BUCKETS[self.bucket]

    @property
    def before(self) -> tuple[datetime, datetime]:
        """The time before it, as long as what has gone by of it, to the hour: no rows are read for a part of one."""
        gone_by = self.end if self.asked_at is None else min(self.end, self.asked_at)
        first = self.start - max(gone_by - self.start, BUCKETS["hour"])
        return (first if self.bucket == "minute" else begun(first, "hour")), self.start

    @property
    def days(self) -> tuple[str, str]:
        """First and last UTC day, as a date field wants them."""
        last = self.end - timedelta(microseconds=1)
        return self.start.date().isoformat(), last.date().isoformat()


async def view_of(
    session: AsyncSession, who: Identity, *, query: Mapping[str, str], mode: str, range_: str, now: datetime
) -> View:
    """The address decides, then what the tab showed last, then: live when it has rows, seven days."""
    wanted = query.get("mode", mode)
    chosen = key_kind(wanted) if wanted in ("live", "test") else await ledger.default_mode(session, org_id=who.org_id)
    asked = query.get("range", "")
    if asked == "custom":
        asked = query.get("from", "") + BETWEEN + query.get("to", "")
    for span in (asked, range_):
        if span in STEPS:
            return _ending_now(chosen, span, now)
        days = custom_range(span)
        if days is not None:
            return View(chosen, span, natural_bucket(*days), *days, asked_at=now)
    return _ending_now(chosen, DEFAULT_RANGE, now, problem=WRONG_RANGE if BETWEEN in asked else "")


def _ending_now(mode: KeyKind, span: str, now: datetime, *, problem: str = "") -> View:
    bucket, count = STEPS[span]
    return View(mode, span, bucket, begun(now, bucket) - (count - 1) * BUCKETS[bucket], now, problem)


def begun(instant: datetime, bucket: str) -> datetime:
    """The start of the bucket that a UTC instant is in."""
    fields = {"minute": "second", "hour": "minute", "day": "hour", "month": "day"}[bucket]
    names = ["day", "hour", "minute", "second", "microsecond"]
    zeros = dict.fromkeys(names[names.index(fields) :], 0)
    return instant.replace(**zeros | ({"day": 1} if bucket == "month" else {}))  # type: ignore[arg-type]


def _starts(start: datetime, end: datetime, bucket: str) -> Iterator[datetime]:
    at = begun(start, bucket)
    while at < end:
        yield at
        at = (at + timedelta(days=32)).replace(day=1) if bucket == "month" else at + BUCKETS[bucket]


def custom_range(span: str) -> tuple[datetime, datetime] | None:
    """The half-open range of `2026-01-01..2026-01-31`, the last day included; None when it is none."""
    first, between, last = span.partition(BETWEEN)
    if not between:
        return None
    try:
        start, end = (datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC) for day in (first, last))
        end += timedelta(days=1)
    except (ValueError, OverflowError):
        return None
    return (start, end) if timedelta(0) < end - start <= LONGEST else None


def natural_bucket(start: datetime, end: datetime) -> str:
    """The finest bucket of which a chart has room for all."""
    return sensible_buckets(start, end)[0]


def sensible_buckets(start: datetime, end: datetime) -> list[str]:
    """The buckets that a range can be shown in, finest first."""
    return [name for name, length in BUCKETS.items() if (end - start) / length <= MOST_BUCKETS] or ["month"]


def key_kind(mode: str) -> KeyKind:
    """The mode as the ledger wants it: live only when it says so."""
    return "live" if mode == "live" else "test"


def buckets(view: View, groups: list[UsageGroup]) -> list[Bucket]:
    """One bucket after the other, empty ones too."""
    key, label = FORMATS[view.bucket]
    found = {group.key: group for group in groups}
    return [_bucket(instant.strftime(label), found.get(instant.strftime(key))) for instant in view.instants()]


def _bucket(label: str, group: UsageGroup | None) -> Bucket:
    if group is None:
        return Bucket(label, 0, 0, 0)
    return Bucket(label, group.cost, group.premium_cost, group.requests)
