"""The ledger summed by hour and by day, filled from the rows that are there.

Revision: 0003, after 0002
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from math import log
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
contract = "code before it writes rows without adding them to the roll-ups"

INSTANT = sa.DateTime(timezone=True)
TABLES = ("usage_rollups", "latency_rollups")
NAMES = ("org_id", "key_kind", "grain", "starts_at", "key_id", "model", "provider", "task", "premium_model")
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
)
LATENCY_NAMES = ("org_id", "key_kind", "grain", "starts_at", "model", "bucket")
AT_ONCE = 10_000


def upgrade() -> None:
    usage = op.create_table(
        "usage_rollups",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("key_kind", sa.String(4), nullable=False),
        sa.Column("grain", sa.String(4), nullable=False),
        sa.Column("starts_at", INSTANT, nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("provider", sa.String(50), nullable=False),
        sa.Column("task", sa.String(20), nullable=False),
        sa.Column("premium_model", sa.String(200), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in SUMS),
        sa.PrimaryKeyConstraint(*NAMES),
    )
    latency = op.create_table(
        "latency_rollups",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("key_kind", sa.String(4), nullable=False),
        sa.Column("grain", sa.String(4), nullable=False),
        sa.Column("starts_at", INSTANT, nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*LATENCY_NAMES),
    )
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    fill(usage, latency)


def fill(usage: sa.Table, latency: sa.Table) -> None:
    """Sums up what the ledger holds; reads it in pieces."""
    sums: dict[tuple[Any, ...], Counter[str]] = {}
    buckets: Counter[tuple[Any, ...]] = Counter()
    for row in ledger():
        for grain in ("hour", "day"):
            starts_at = start_of(row["created_at"], grain)
            names = (row["org_id"], row["key_kind"], grain, starts_at, row["key_id"])
            key = (*names, row["model"], row["provider"], row["task"], row["premium_model"])
            sums.setdefault(key, Counter()).update(sums_of(row))
            if row["success"]:
                buckets[(*names[:4], row["model"], latency_bucket(row["latency_ms"]))] += 1
    rows = [dict(zip(NAMES, key, strict=True)) | {name: found[name] for name in SUMS} for key, found in sums.items()]
    counts = [dict(zip(LATENCY_NAMES, key, strict=True)) | {"answered": count} for key, count in buckets.items()]
    for table, values in ((usage, rows), (latency, counts)):
        for start in range(0, len(values), AT_ONCE):
            op.bulk_insert(table, values[start : start + AT_ONCE])


def ledger() -> Iterator[Any]:
    columns = [sa.column("org_id", sa.Uuid()), sa.column("key_id", sa.Uuid()), sa.column("created_at", INSTANT)]
    texts = ("key_kind", "model", "provider", "task", "premium_model")
    figures = ("cost", "premium_cost", "tokens_input", "tokens_output", "latency_ms")
    flags = ("success", "rescued", "simulated")
    columns += [sa.column(name, sa.String()) for name in texts]
    columns += [sa.column(name, sa.BigInteger()) for name in figures] + [sa.column(name, sa.Boolean()) for name in flags]
    found = op.get_bind().execute(
        sa.select(*columns).select_from(sa.table("requests")), execution_options={"yield_per": AT_ONCE}
    )
    yield from found.mappings()


def sums_of(row: Any) -> dict[str, int]:
    return {
        "requests": 1,
        "successful": int(row["success"]),
        "rescued": int(row["rescued"]),
        "simulated": int(row["simulated"]),
        "cost": row["cost"],
        "premium_cost": row["premium_cost"],
        "tokens_input": row["tokens_input"],
        "tokens_output": row["tokens_output"],
        "latency_ms": row["latency_ms"] if row["success"] else 0,
    }


def start_of(instant: datetime, grain: str) -> datetime:
    instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    hour = instant.replace(minute=0, second=0, microsecond=0)
    return hour if grain == "hour" else hour.replace(hour=0)


def latency_bucket(latency_ms: int) -> int:
    return 1 + int(log(latency_ms) / log(1.04)) if latency_ms >= 1 else 0


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
