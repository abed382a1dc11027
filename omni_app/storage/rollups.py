"""Roll-ups: the ledger summed by hour and by day, so that figures over any range cost the same at a million rows.

They are kept in the very transaction that writes the ledger's rows, from the rows that were really new, so they are
exact at every moment and no job has to catch up. Whoever adds, adds in one order: two workers cannot lock each other
out. Latencies are counted in log-spaced buckets, which add up over hours, days and models.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import log
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel

from omni_app.storage.tables import LatencyRollup, UsageRollup

if TYPE_CHECKING:
    from omni_app.storage.ledger import RequestRecord

GRAINS = ("hour", "day")
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
    *TEXT_SUMS,
)
"""Columns of a usage roll-up that add up (`omni_app.storage.tables.UsageRollup`)."""

Key = tuple[Any, ...]


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
    await _add(session, UsageRollup, usage_cells(records), sums=SUMS)
    await _add(session, LatencyRollup, latency_cells(records), sums=("answered",))


def usage_cells(records: "Iterable[RequestRecord]") -> list[dict[str, Any]]:
    """The rows' sums per hour and per day, for every key, model, task and baseline; in one order."""
    cells: dict[Key, dict[str, Any]] = {}
    for record in records:
        for grain in GRAINS:
            names = {
                "org_id": record.org_id,
                "key_kind": record.key_kind,
                "grain": grain,
                "starts_at": start_of(record.created_at, grain),
                "key_id": record.key_id,
                "model": record.model,
                "provider": record.provider,
                "task": record.task,
                "premium_model": record.premium_model,
            }
            cell = cells.setdefault(tuple(names.values()), names | dict.fromkeys(SUMS, 0))
            for name, value in _sums_of(record).items():
                cell[name] += value
    return [cells[key] for key in sorted(cells)]


def _sums_of(record: "RequestRecord") -> dict[str, int]:
    return {
        "requests": 1,
        "successful": int(record.success),
        "rescued": int(record.rescued),
        "simulated": int(record.simulated),
        "cost": record.cost,
        "premium_cost": record.premium_cost,
        "tokens_input": record.tokens_input,
        "tokens_output": record.tokens_output,
        "latency_ms": record.latency_ms if record.success else 0,
        "failed_cost": record.failed_cost,
        "routed": int(record.routing_us > 0),
        "routing_us": record.routing_us,
    } | _text_sums_of(record)


def _text_sums_of(record: "RequestRecord") -> dict[str, int]:
    """Tokens and baseline cost of a text that can be compared; zeros for other requests."""
    if not record.premium_model or record.images > 0:
        return dict.fromkeys(TEXT_SUMS, 0)
    cached, written = max(0, record.tokens_cached), max(0, record.tokens_cache_write)
    return {
        "text_input": max(record.tokens_input, cached + written),
        "text_cached": cached,
        "text_written": written,
        "text_output": max(0, record.tokens_output),
        "text_premium_cost": record.premium_cost,
    }


def latency_cells(records: "Iterable[RequestRecord]") -> list[dict[str, Any]]:
    """How many answered requests fall into each latency bucket, per hour and per day, for every model; in one order."""
    cells: dict[Key, dict[str, Any]] = {}
    for record in records:
        for grain in GRAINS if record.success else ():
            names = {
                "org_id": record.org_id,
                "key_kind": record.key_kind,
                "grain": grain,
                "starts_at": start_of(record.created_at, grain),
                "model": record.model,
                "bucket": latency_bucket(record.latency_ms),
            }
            cells.setdefault(tuple(names.values()), names | {"answered": 0})["answered"] += 1
    return [cells[key] for key in sorted(cells)]


async def _add(
    session: AsyncSession, table: type[SQLModel], cells: list[dict[str, Any]], *, sums: Sequence[str]
) -> None:
    if not cells:
        return
    columns = table.__table__.columns  # type: ignore[attr-defined]
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    new = insert(table)
    added = {name: columns[name] + new.excluded[name] for name in sums}
    keys = [column.name for column in columns if column.primary_key]
    await session.execute(new.on_conflict_do_update(index_elements=keys, set_=added), cells)
