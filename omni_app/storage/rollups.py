"""Roll-ups: the ledger summed by hour and by day, so that figures over any range cost the same at a million rows.

They are kept in the very transaction that writes the ledger's rows, from the rows that were really new, so they are
exact at every moment and no job has to catch up. Whoever adds, adds in one order: two workers cannot lock each other
out. Latencies are counted in log-spaced buckets, which add up over hours, days and models.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import log
from operator import add, attrgetter, itemgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.storage.bulk import insert_or_add
from omni_app.storage.tables import LatencyRollup, UsageRollup

if TYPE_CHECKING:
    from omni_app.storage.ledger import RequestRecord

GRAINS = ("hour", "day")
WIDE = {"hour": "hall", "day": "dall"}
"""Grain -> the same over all keys and tasks (of latencies: over all models): what most pages ask for is in a few cells,
however many keys an org has."""
NO_KEY, NO_TASK, NO_MODEL = UUID(int=0), "", ""
"""What stands in a wide cell in their place."""
BUCKET_BASE = 1.04
"""A latency is told by its bucket's middle: at most 2 % away from the truth."""
TEXT_SUMS = ("text_input", "text_cached", "text_written", "text_output", "text_premium_cost")
SUMS = (
    "requests",
    "successful",
    "rescued",
    "simulated",
    "cost",
    "premium_cost",
    "tokens_input",
    "tokens_output",
    "latency_ms",
    "failed_cost",
    "routed",
    "routing_us",
    "markup",
    *TEXT_SUMS,
)
"""Columns of a usage roll-up that add up (`omni_app.storage.tables.UsageRollup`)."""

NO_TEXT = (0,) * len(TEXT_SUMS)
USAGE_NAMES = ("org_id", "key_kind", "key_id", "model", "provider", "task", "premium_model")
LATENCY_NAMES = ("org_id", "key_kind", "model", "bucket")

Key = tuple[Any, ...]
usage_names = attrgetter(*USAGE_NAMES)


@lru_cache(maxsize=65_536)
def latency_bucket(latency_ms: int) -> int:
    """The bucket of a latency; 0 holds everything below 1 ms."""
    return 1 + int(log(latency_ms) / log(BUCKET_BASE)) if latency_ms >= 1 else 0


def bucket_latency_ms(bucket: int) -> float:
    """The middle of a bucket, on the scale on which the buckets are equal."""
    return float(BUCKET_BASE ** (bucket - 0.5)) if bucket else 0.0


def start_of(instant: datetime, grain: str) -> datetime:
    """The UTC hour or day that an instant is in."""
    hour = instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return hour if grain == "hour" else hour.replace(hour=0)


async def add_to_rollups(session: AsyncSession, records: "Sequence[RequestRecord]") -> None:
    """Adds new rows of the ledger. The caller commits, together with the rows."""
    await insert_or_add(session, UsageRollup, usage_cells(records), sums=SUMS)
    await insert_or_add(session, LatencyRollup, latency_cells(records), sums=("answered",))


def usage_cells(records: "Iterable[RequestRecord]") -> list[dict[str, Any]]:
    """The rows' sums per hour and per day, for every key, model, task and baseline; in one order."""
    sums: dict[Key, list[int]] = {}
    for record in records:
        key = (start_of(record.created_at, "hour"), *usage_names(record))
        _add_to(sums, key, _sums_of(record))
    return _cells(sums, USAGE_NAMES, SUMS, widened={"key_id": NO_KEY, "task": NO_TASK})


def latency_cells(records: "Iterable[RequestRecord]") -> list[dict[str, Any]]:
    """How many answered requests fall into each latency bucket, per hour and per day, for every model; in one order."""
    sums: dict[Key, list[int]] = {}
    for record in records:
        if record.success:
            hour = start_of(record.created_at, "hour")
            bucket = latency_bucket(record.latency_ms)
            _add_to(sums, (hour, record.org_id, record.key_kind, record.model, bucket), (1,))
    return _cells(sums, LATENCY_NAMES, ("answered",), widened={"model": NO_MODEL})


def _add_to(sums: dict[Key, list[int]], key: Key, more: Sequence[int]) -> None:
    held = sums.get(key)
    if held is None:
        sums[key] = list(more)
    else:
        held[:] = map(add, held, more)  # in place: a key is hashed once, and its ids' hash is Python's


def _cells(
    hours: dict[Key, list[int]], names: Sequence[str], summed: Sequence[str], *, widened: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The sums by hour and by day, for each of the names and wide, as rows."""
    grains = {"hour": hours, WIDE["hour"]: _widened(hours, names, widened)}
    grains |= {"day": _by_day(grains["hour"]), WIDE["day"]: _by_day(grains[WIDE["hour"]])}
    columns = ("grain", "starts_at", *names, *summed)
    cells = [
        dict(zip(columns, (grain, *key, *sums), strict=True))
        for grain, of_grain in grains.items()
        for key, sums in of_grain.items()
    ]
    return sorted(cells, key=itemgetter("org_id", "key_kind", "grain", "starts_at", *names))


def _widened(cells: Mapping[Key, list[int]], names: Sequence[str], widened: Mapping[str, Any]) -> dict[Key, list[int]]:
    """The cells added up over some of their names."""
    places = [(1 + names.index(name), value) for name, value in widened.items()]
    wide: dict[Key, list[int]] = {}
    for key, sums in cells.items():
        parts = list(key)
        for place, value in places:
            parts[place] = value
        _add_to(wide, tuple(parts), sums)
    return wide


def _by_day(hours: Mapping[Key, list[int]]) -> dict[Key, list[int]]:
    days: dict[Key, list[int]] = {}
    for (hour, *rest), sums in hours.items():
        _add_to(days, (hour.replace(hour=0), *rest), sums)
    return days


def _sums_of(record: "RequestRecord") -> tuple[int, ...]:
    """In the order of `SUMS`."""
    return (
        1,
        int(record.success),
        int(record.rescued),
        int(record.simulated),
        record.cost,
        record.premium_cost,
        record.tokens_input,
        record.tokens_output,
        record.latency_ms if record.success else 0,
        record.failed_cost,
        int(record.routing_us > 0),
        record.routing_us,
        record.markup,
        *_text_sums_of(record),
    )


def _text_sums_of(record: "RequestRecord") -> tuple[int, ...]:
    """Tokens and baseline cost of a text that can be compared; else zeros. In the order of `TEXT_SUMS`."""
    if not record.premium_model or record.images > 0:
        return NO_TEXT
    cached, written = max(0, record.tokens_cached), max(0, record.tokens_cache_write)
    read = max(record.tokens_input, cached + written)
    return (read, cached, written, max(0, record.tokens_output), record.premium_cost)
