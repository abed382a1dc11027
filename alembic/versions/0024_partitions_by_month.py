"""Requests, attempts and routing logs by month, on Postgres: a table as it was becomes the first part of the new one.

No row is moved on the way up. The old part ends with the month of its last row and keeps its indexes; what is made anew
is its key, which holds `created_at` from here on. On the way down every row is written once more.

Revision: 0024, after 0023
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None
contract = "three tables at once, with their keys: the servers are stopped for it, and code before it makes no months"

KEYS = {
    "attempts": ("request_id, position", ()),
    "requests": ("id", ("request_id",)),
    "routing_logs": ("request_id", ()),
}
"""Table -> its key in one piece, and what else is unique there. In the order in which the ledger is written."""
BY_MONTH = {
    "attempts": "request_id, position, created_at",
    "requests": "request_id, created_at",
    "routing_logs": "request_id, created_at",
}
MONTHS = 4
"""With the current one."""
INDEXES = sa.text(
    "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = to_regclass(:table) AND NOT indisunique"
)
UNIQUE = sa.text("SELECT conname FROM pg_constraint WHERE conrelid = to_regclass(:table) AND contype IN ('p', 'u')")
END = "SELECT date_trunc('month', greatest(now(), max(created_at))) + interval '1 month' FROM {}"
ROLES = sa.text("SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated')")


def is_postgres() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def alone() -> None:
    """Nobody else writes meanwhile, and months are UTC's."""
    op.execute(f"LOCK TABLE {', '.join(KEYS)} IN ACCESS EXCLUSIVE MODE")
    op.execute("SET LOCAL TIME ZONE 'UTC'")


def upgrade() -> None:
    if not is_postgres():
        return
    alone()
    for table in KEYS:
        divide(table)


def divide(table: str) -> None:
    connection = op.get_bind()
    end: datetime = connection.scalar(sa.text(END.format(table)))
    is_empty = connection.scalar(sa.text(f"SELECT NOT EXISTS (SELECT FROM {table})"))
    old, indexes = put_aside(table, "before")
    op.execute(
        f"CREATE TABLE {table} (LIKE {old} INCLUDING ALL EXCLUDING INDEXES, PRIMARY KEY ({BY_MONTH[table]})) "
        "PARTITION BY RANGE (created_at)"
    )
    for index in indexes:
        op.execute(index)
    if is_empty:
        op.drop_table(old)
        start = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    else:
        op.execute(f"ALTER TABLE {table} ATTACH PARTITION {old} FOR VALUES FROM (MINVALUE) TO ('{end.isoformat()}')")
        start = end
    made = [table, f"{table}_default"]
    op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
    for _ in range(MONTHS):
        after = datetime(start.year + start.month // 12, start.month % 12 + 1, 1, tzinfo=UTC)
        made.append(f"{table}_{start:%Y_%m}")
        bounds = f"FROM ('{start.isoformat()}') TO ('{after.isoformat()}')"
        op.execute(f"CREATE TABLE {made[-1]} PARTITION OF {table} FOR VALUES {bounds}")
        start = after
    close(made)


def put_aside(table: str, name: str) -> tuple[str, Sequence[str]]:
    """Takes a table's keys and renames it and its indexes; gives its name, and the indexes for the one in its place."""
    connection = op.get_bind()
    indexes: Sequence[str] = connection.scalars(INDEXES, {"table": table}).all()
    for key in connection.scalars(UNIQUE, {"table": table}).all():
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {key}")
    for index in indexes:
        given = index.split()[2]
        op.execute(f"ALTER INDEX {given} RENAME TO {given}_{name}")
    op.execute(f"ALTER TABLE {table} RENAME TO {table}_{name}")
    return f"{table}_{name}", [index.replace(" ON ONLY ", " ON ") for index in indexes]


def close(tables: Sequence[str]) -> None:
    """To Supabase's public roles."""
    roles = op.get_bind().scalars(ROLES).all()
    for table in tables:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        for role in roles:
            op.execute(f"REVOKE ALL ON TABLE {table} FROM {role}")


def downgrade() -> None:
    if not is_postgres():
        return
    alone()
    for table, (key, unique) in KEYS.items():
        old, indexes = put_aside(table, "by_month")
        op.execute(f"CREATE TABLE {table} (LIKE {old} INCLUDING ALL EXCLUDING INDEXES)")
        op.execute(f"INSERT INTO {table} SELECT * FROM {old}")
        op.drop_table(old)
        op.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({key})")
        for one in unique:
            op.execute(f"ALTER TABLE {table} ADD UNIQUE ({one})")
        for index in indexes:
            op.execute(index)
        close([table])
