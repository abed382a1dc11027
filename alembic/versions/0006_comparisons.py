"""What savings are compared with and what came on top: sums beside the roll-ups', filled from the rows that are there.

Revision: 0006, after 0005
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
contract = "code before it adds nothing to these sums"

INSTANT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
NAMES = ("org_id", "key_kind", "grain", "starts_at", "key_id", "model", "provider", "task", "premium_model")
TEXT_SUMS = ("text_input", "text_cached", "text_written", "text_output", "text_premium_cost")
SUMS = ("failed_cost", "routed", "routing_us", *TEXT_SUMS)
AT_ONCE = 10_000
FAILED_COST = """
UPDATE requests SET failed_cost = CASE WHEN success THEN (
    SELECT coalesce(sum(attempts.cost), 0) FROM attempts
    WHERE attempts.request_id = requests.request_id AND attempts.position < requests.attempts - 1
) ELSE cost END
WHERE cost > 0 AND (attempts > 1 OR NOT success)
"""


def upgrade() -> None:
    op.add_column("orgs", sa.Column("comparisons", JSON, nullable=True))
    op.add_column("requests", figure("failed_cost"))
    for name in SUMS:
        op.add_column("usage_rollups", figure(name))
    op.execute(FAILED_COST)
    fill()


def figure(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")


def fill() -> None:
    """Sums up what the ledger holds; reads it in pieces. Sums of rows that are gone stay 0."""
    sums: dict[tuple[Any, ...], Counter[str]] = {}
    for row in ledger():
        for grain in ("hour", "day"):
            names = (row["org_id"], row["key_kind"], grain, start_of(row["created_at"], grain), row["key_id"])
            key = (*names, row["model"], row["provider"], row["task"], row["premium_model"])
            sums.setdefault(key, Counter()).update(sums_of(row))
    cells = [names_of(key) | {name: found[name] for name in SUMS} for key, found in sums.items()]
    for start in range(0, len(cells), AT_ONCE):
        op.get_bind().execute(into_cells(), cells[start : start + AT_ONCE])


def names_of(key: tuple[Any, ...]) -> dict[str, Any]:
    return {f"of_{name}": value for name, value in zip(NAMES, key, strict=True)}


def into_cells() -> sa.Update:
    types: dict[str, Any] = {"org_id": sa.Uuid(), "key_id": sa.Uuid(), "starts_at": INSTANT}
    columns = [sa.column(name, types.get(name, sa.String())) for name in NAMES]
    table = sa.table("usage_rollups", *columns, *(sa.column(name, sa.BigInteger()) for name in SUMS))
    of_cell = (column == sa.bindparam(f"of_{column.name}", type_=column.type) for column in columns)
    return sa.update(table).where(*of_cell).values({name: sa.bindparam(name) for name in SUMS})


def ledger() -> Iterator[Any]:
    columns = [sa.column("org_id", sa.Uuid()), sa.column("key_id", sa.Uuid()), sa.column("created_at", INSTANT)]
    texts = ("key_kind", "model", "provider", "task", "premium_model")
    figures = ("failed_cost", "routing_us", "premium_cost", "images")
    tokens = ("tokens_input", "tokens_output", "tokens_cached", "tokens_cache_write")
    columns += [sa.column(name, sa.String()) for name in texts]
    columns += [sa.column(name, sa.BigInteger()) for name in (*figures, *tokens)]
    found = op.get_bind().execute(
        sa.select(*columns).select_from(sa.table("requests")), execution_options={"yield_per": AT_ONCE}
    )
    yield from found.mappings()


def sums_of(row: Any) -> dict[str, int]:
    sums = {"failed_cost": row["failed_cost"], "routed": int(row["routing_us"] > 0), "routing_us": row["routing_us"]}
    if not row["premium_model"] or row["images"] > 0:
        return sums
    cached, written = max(0, row["tokens_cached"]), max(0, row["tokens_cache_write"])
    return sums | {
        "text_input": max(row["tokens_input"], cached + written),
        "text_cached": cached,
        "text_written": written,
        "text_output": max(0, row["tokens_output"]),
        "text_premium_cost": row["premium_cost"],
    }


def start_of(instant: datetime, grain: str) -> datetime:
    instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    hour = instant.replace(minute=0, second=0, microsecond=0)
    return hour if grain == "hour" else hour.replace(hour=0)


def downgrade() -> None:
    for name in reversed(SUMS):
        op.drop_column("usage_rollups", name)
    op.drop_column("requests", "failed_cost")
    op.drop_column("orgs", "comparisons")
