"""What the figures' pages look at: live or test, and which stretch of time. Both come from the page's address."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.routing.types import KeyKind
from omni_app.storage import ledger
from omni_app.storage.accounts import Identity
from omni_app.storage.reports import UsageGroup
from omni_app.ui.components.chart import Bucket

DEFAULT_RANGE = "7d"
STEPS: Mapping[str, tuple[str, int]] = {"24h": ("hour", 24), "7d": ("day", 7), "30d": ("day", 30)}
"""Range -> bucket and how many of them; the last one is the current hour or UTC day, so far."""


@dataclass(frozen=True, slots=True)
class View:
    """A mode and a half-open stretch of time that begins at a bucket's start."""

    mode: KeyKind
    range: str
    bucket: str
    start: datetime
    end: datetime

    def instants(self) -> list[datetime]:
        """The start of each bucket."""
        step = timedelta(hours=1) if self.bucket == "hour" else timedelta(days=1)
        return [self.start + step * index for index in range(STEPS[self.range][1])]


async def view_of(
    session: AsyncSession, who: Identity, *, query: Mapping[str, str], mode: str, range_: str, now: datetime
) -> View:
    """The address decides, then what the tab showed last, then: live when it has rows, seven days."""
    wanted = query.get("mode", mode)
    chosen = key_kind(wanted) if wanted in ("live", "test") else await ledger.default_mode(session, org_id=who.org_id)
    span = next((one for one in (query.get("range", ""), range_) if one in STEPS), DEFAULT_RANGE)
    bucket, count = STEPS[span]
    if bucket == "hour":
        start = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=count - 1)
    else:
        start = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=count - 1)
    return View(chosen, span, bucket, start, now)


def key_kind(mode: str) -> KeyKind:
    """The mode as the ledger wants it: live only when it says so."""
    return "live" if mode == "live" else "test"


def buckets(view: View, groups: list[UsageGroup]) -> list[Bucket]:
    """One bucket after the other, empty ones too."""
    key, label = ("%Y-%m-%dT%H:00:00Z", "%-d %b %H:00") if view.bucket == "hour" else ("%Y-%m-%d", "%-d %b")
    found = {group.key: group for group in groups}
    return [_bucket(instant.strftime(label), found.get(instant.strftime(key))) for instant in view.instants()]


def _bucket(label: str, group: UsageGroup | None) -> Bucket:
    if group is None:
        return Bucket(label, 0, 0, 0)
    return Bucket(label, group.cost, group.premium_cost, group.requests)
