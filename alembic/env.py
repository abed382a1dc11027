"""Where migrations run: the URL comes from the caller (`storage.database.upgrade`) or from the environment.

On Postgres an upgrade stands in line for a table for `LOCK_TIMEOUT_MS` only: whoever stands behind it waits as well. It
then lets them pass and tries again. Each revision is a transaction of its own.
"""

import logging
import time
from typing import Any

import sqlalchemy as sa
from alembic import context
from alembic.util import CommandError
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from omni_app.settings import load_settings
from omni_app.storage import tables
from omni_app.storage.database import OLDEST_CODE, sync_url
from omni_app.storage.partitions import BY_MONTH, partition_names

log = logging.getLogger(__name__)

LOCK_TIMEOUT_MS = 2_000
TRIES = 20
PAUSE_S = 1.0
IN_THE_WAY = ("55P03", "40P01")
"""Postgres: lock_not_available, deadlock_detected."""
IN_USE = (
    "a table is in use by a long transaction, and the upgrade does not hold up everybody behind it: "
    "end the transaction (pg_stat_activity shows it), then try again"
)


def render_item(kind: str, item: object, autogen_context: object) -> str | bool:
    """Our own column types by their plain names in the migration files."""
    if kind == "type" and isinstance(item, tables.UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def compare_type(_context: object, _inspected: object, _column: object, _found: object, wanted: object) -> bool | None:
    """`UtcDateTime` is a `timestamptz` to the database; the rest is compared as usual."""
    return False if isinstance(wanted, tables.UtcDateTime) else None


def compared(item: Any, name: str | None, kind: str, reflected: bool, _other: object) -> bool:  # noqa: FBT001 Alembic's
    """Partitions are no tables of the code, and Postgres' keys of what is divided into them stand in the migrations."""
    bind = context.get_bind()
    if kind == "table" and reflected:
        return name not in partition_names(bind)
    is_key = kind == "unique_constraint" and item.table.name in {table.__tablename__ for table in BY_MONTH}
    return not is_key or bind.dialect.name == "sqlite"


def note_oldest_code(*, ctx: Any, heads: set[str], **_step: object) -> None:
    """Writes down, with each revision, which code may serve the schema: that of the last `contract`, or newer."""
    if not heads:
        return
    revisions = context.script.iterate_revisions(tuple(heads), "base")
    oldest = next(one.revision for one in revisions if one.module.contract)
    meta = sa.table("meta", sa.column("key"), sa.column("value"))
    ctx.connection.execute(sa.delete(meta).where(meta.c.key == OLDEST_CODE))
    ctx.connection.execute(sa.insert(meta).values(key=OLDEST_CODE, value=oldest))


def wait_for_locks_briefly(connection: sa.Connection) -> None:
    """In this transaction alone: behind a transaction pooler the next one may have another server connection."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")


def run_once(url: str) -> None:
    """Runs the migrations over one connection."""
    engine = sa.create_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                sa.event.listen(connection, "begin", wait_for_locks_briefly)
            context.configure(
                connection=connection,
                target_metadata=SQLModel.metadata,
                transaction_per_migration=True,
                on_version_apply=note_oldest_code,
                render_as_batch=connection.dialect.name == "sqlite",
                render_item=render_item,
                compare_type=compare_type,
                include_object=compared,
            )
            with context.begin_transaction():
                context.run_migrations()
    finally:
        engine.dispose()


def run() -> None:
    """Again while a table is in use, until it has been tried often enough."""
    url = context.config.attributes.get("url") or sync_url(load_settings().database_owner)
    for _ in range(TRIES):
        try:
            run_once(url)
            return
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", "") not in IN_THE_WAY:
                raise
            log.warning("a table is in use by another transaction; the upgrade tries again")
            time.sleep(PAUSE_S)
    raise CommandError(IN_USE)


run()
