"""The roll-ups over all keys and tasks (of latencies: over all models), added up from those that are there.

Revision: 0021, after 0018
"""

import uuid
from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0018"
branch_labels = None
depends_on = None
contract = "code before it writes rows without adding them to the wide roll-ups"

WIDE = {"hour": "hall", "day": "dall"}
NAMES = ("org_id", "key_kind", "grain", "starts_at", "key_id", "model", "provider", "task", "premium_model")
SUMS = (
    "requests", "successful", "rescued", "simulated", "cost", "premium_cost", "tokens_input", "tokens_output",
    "latency_ms", "failed_cost", "routed", "routing_us", "text_input", "text_cached", "text_written", "text_output",
    "text_premium_cost", "markup",
)  # fmt: skip
LATENCY_NAMES = ("org_id", "key_kind", "grain", "starts_at", "model", "bucket")


def upgrade() -> None:
    widen("usage_rollups", NAMES, SUMS, over={"key_id": sa.literal(uuid.UUID(int=0), sa.Uuid()), "task": text("")})
    widen("latency_rollups", LATENCY_NAMES, ("answered",), over={"model": text("")})


def text(value: str) -> sa.ColumnElement[str]:
    return sa.literal(value, sa.String())


def widen(
    name: str, names: Sequence[str], sums: Sequence[str], *, over: Mapping[str, sa.ColumnElement[object]]
) -> None:
    table = sa.table(name, *(sa.column(one) for one in (*names, *sums)))
    grain = sa.case(*((table.c.grain == old, text(new)) for old, new in WIDE.items()), else_=text(""))
    kept = {one: over.get(one, grain if one == "grain" else table.c[one]) for one in names}
    added = [sa.cast(sa.func.sum(table.c[one]), sa.BigInteger()) for one in sums]
    apart = [table.c[one] for one in names if one not in over]
    query = sa.select(*kept.values(), *added).where(table.c.grain.in_(tuple(WIDE))).group_by(*apart)
    op.execute(table.insert().from_select([*names, *sums], query))


def downgrade() -> None:
    for name in ("usage_rollups", "latency_rollups"):
        table = sa.table(name, sa.column("grain"))
        op.execute(table.delete().where(table.c.grain.in_(tuple(WIDE.values()))))
