"""What the Usage page shows and its CSV holds: one selection, read from an address, and the lines of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlencode

from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.storage import reports
from omni_app.storage.accounts import Identity
from omni_app.storage.reports import Line, Overhead, UsageGroup
from omni_app.ui import text
from omni_app.ui.components.basics import Row
from omni_app.ui.view import FORMATS, View, sensible_buckets, view_of

BREAKDOWNS: Mapping[str, str] = {"model": "Model", "task": "Task", "key": "Key", "provider": "Provider"}
BUCKET_NAMES: Mapping[str, str] = {"minute": "Minute", "hour": "Hour", "day": "Day", "month": "Month"}
SERIES = 6
"""Names with a colour of their own in the chart; the others are one."""
OTHERS = "others"
HEIGHT, SLOT = 100.0, 10.0
TABLE_LINES = 1_000
"""Lines that the page shows; the CSV holds all."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A view, broken down by one thing, in buckets of one size."""

    view: View
    by: str

    def address(self, path: str, **changes: str) -> str:
        """The page's address with some of its parameters changed."""
        shown = {"mode": self.view.mode, "range": self.view.range, "by": self.by, "bucket": self.view.bucket}
        return f"{path}?{urlencode(shown | changes)}"

    def csv_address(self, path: str) -> str:
        """Where exactly what is shown can be had as a file."""
        view = self.view
        exact = {"from": view.start.isoformat(), "to": view.end.isoformat()}
        return f"{path}?{urlencode({'mode': view.mode, 'by': self.by, 'bucket': view.bucket} | exact)}"


async def selection_of(
    session: AsyncSession, who: Identity, *, query: Mapping[str, str], mode: str, range_: str, now: datetime
) -> Selection:
    """The address decides; a bucket that does not suit the range gives way to the range's own."""
    view = await view_of(session, who, query=query, mode=mode, range_=range_, now=now)
    bucket, by = query.get("bucket", ""), query.get("by", "")
    if bucket in sensible_buckets(view.start, view.end):
        view = replace(view, bucket=bucket)
    return Selection(view, by if by in BREAKDOWNS else "model")


async def read_lines(session: AsyncSession, who: Identity, selection: Selection) -> list[Line]:
    """The selection's lines, oldest first."""
    view = selection.view
    return await reports.lines(
        session,
        org_id=who.org_id,
        start=view.start,
        end=view.until,
        mode=view.mode,
        bucket=view.bucket,
        by=selection.by,
    )


def shown_name(name: str, by: str) -> str:
    """A line's name as people read it."""
    if by == "task":
        return text.task_name(name)
    return "no model answered" if name == reports.NO_MODEL else name


def added(lines: Sequence[Line]) -> dict[str, UsageGroup]:
    """Name -> its sums over all buckets, the dearest first."""
    sums: dict[str, list[UsageGroup]] = {}
    for line in lines:
        sums.setdefault(line.name, []).append(line.group)
    found = {name: _sum(name, groups) for name, groups in sums.items()}
    return dict(sorted(found.items(), key=lambda pair: (-pair[1].cost, -pair[1].requests, pair[0])))


def _sum(name: str, groups: Sequence[UsageGroup]) -> UsageGroup:
    answered = sum(group.successful for group in groups)
    waited = sum((group.avg_latency_ms or 0) * group.successful for group in groups)
    return UsageGroup(
        key=name,
        requests=sum(group.requests for group in groups),
        cost=sum(group.cost for group in groups),
        premium_cost=sum(group.premium_cost for group in groups),
        tokens_input=sum(group.tokens_input for group in groups),
        tokens_output=sum(group.tokens_output for group in groups),
        avg_latency_ms=round(waited / answered) if answered else None,
        successful=answered,
        markup=sum(group.markup for group in groups),
        overhead=sum((group.overhead for group in groups), Overhead()),
    )


def stacks(lines: Sequence[Line], selection: Selection, names: Sequence[str]) -> tuple[list[Row], str]:
    """One stack of costs per bucket, as rectangles, and the scale's top as text.

    A rectangle's `tone` is the place of its name, 0 to `SERIES`.
    """
    key, label = FORMATS[selection.view.bucket]
    starts = {instant.strftime(key): index for index, instant in enumerate(selection.view.instants())}
    labels = [instant.strftime(label) for instant in selection.view.instants()]
    places = {name: min(place, SERIES) for place, name in enumerate(names)}
    heights: dict[str, int] = {}
    for line in lines:
        heights[line.at] = heights.get(line.at, 0) + line.group.cost
    top = max(heights.values(), default=0)
    filled: dict[str, float] = {}
    found: list[Row] = []
    for line in sorted(lines, key=lambda line: (line.at, places[line.name])):
        if line.at not in starts or not line.group.cost or not top:
            continue
        height = HEIGHT * line.group.cost / top
        filled[line.at] = filled.get(line.at, 0.0) + height
        index = starts[line.at]
        found.append(
            {
                "x": f"{index * SLOT + 1.5:.2f}",
                "y": f"{HEIGHT - filled[line.at]:.3f}",
                "h": f"{height:.3f}",
                "tone": str(places[line.name]),
                "tip": f"{labels[index]}: {text.money(line.group.cost)} {shown_name(line.name, selection.by)}",
            }
        )
    return found, text.money(top)


def group_figures(group: UsageGroup) -> Row:
    """The figures of a line, as text."""
    return {
        "requests": text.number(group.requests),
        "tokens_in": text.number(group.tokens_input),
        "tokens_out": text.number(group.tokens_output),
        "cost": text.money(group.cost),
        "cost_exact": text.exact_money(group.cost),
        "saved": text.money(group.savings),
        "saved_exact": text.exact_money(group.savings),
        "latency": text.milliseconds(group.avg_latency_ms),
    }


def line_row(line: Line, by: str) -> Row:
    """One line of the table behind the chart."""
    at = line.at.replace("T", " ").removesuffix("Z").removesuffix(":00") if "T" in line.at else line.at
    return {"at": at, "name": shown_name(line.name, by)} | group_figures(line.group)
