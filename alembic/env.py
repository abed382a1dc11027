"""Where migrations run: the URL comes from the caller (`storage.database.upgrade`) or from the environment."""

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from omni_app.settings import load_settings
from omni_app.storage import tables
from omni_app.storage.database import sync_url


def render_item(kind: str, item: object, autogen_context: object) -> str | bool:
    """Our own column types by their plain names in the migration files."""
    if kind == "type" and isinstance(item, tables.UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def compare_type(_context: object, _inspected: object, _column: object, _found: object, wanted: object) -> bool | None:
    """`UtcDateTime` is a `timestamptz` to the database; the rest is compared as usual."""
    return False if isinstance(wanted, tables.UtcDateTime) else None


def run() -> None:
    """Runs the migrations over one connection."""
    url = context.config.attributes.get("url") or sync_url(load_settings().database)
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=SQLModel.metadata,
            render_as_batch=connection.dialect.name == "sqlite",
            render_item=render_item,
            compare_type=compare_type,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
