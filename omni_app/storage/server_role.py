"""The role that serves, where another one owns the tables: it reads and writes rows, and changes nothing else.

Without `DATABASE_OWNER_URL` one role does both. The reasons are in docs/decisions/0068-two-roles.md.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from omni_app.storage.database import DatabaseError, current_schema, schema_verdict, sync_url, upgrade
from omni_app.storage.partitions import partition_names

POLICY = "omni_server"
"""Row level security shows rows to nobody but the owner: this policy shows them to the role. Months get it as well."""
OF_MIGRATIONS = "alembic_version"
"""Read by whoever serves, written by migrations alone."""
FUNCTIONS = ("omni_make_month(text, timestamptz, bigint)", "omni_drop_months(text, timestamptz)")
LOCK_TIMEOUT_MS = 2_000
"""Who waits for a table holds up everybody behind him."""
TRIES = 20
PAUSE_S = 1.0

WHO = text("SELECT current_user, quote_ident(current_user), current_database()")
SCHEMA = text("SELECT quote_ident(current_schema())")
TABLES = text("""
    SELECT relname FROM pg_class
    WHERE relnamespace = CAST(quote_ident(current_schema()) AS regnamespace) AND relkind IN ('r', 'p') ORDER BY relname
""")
LETS_IN = text("""
    SELECT polroles = ARRAY[(SELECT oid FROM pg_roles WHERE rolname = :role)] FROM pg_policy
    WHERE polname = :policy AND polrelid = to_regclass(:table)
""")
TOO_MUCH = text("""
    SELECT CASE
        WHEN rolsuper OR rolcreaterole OR rolbypassrls THEN
            format('is above all rights: ALTER ROLE %I NOSUPERUSER NOCREATEROLE NOBYPASSRLS', rolname)
        WHEN pg_has_role(rolname, current_user, 'MEMBER') THEN
            format('may become the owner: REVOKE %I FROM %I', current_user, rolname)
        WHEN EXISTS (SELECT FROM pg_class WHERE relowner = pg_roles.oid AND relnamespace = pg_namespace.oid) THEN
            format('owns tables itself: REASSIGN OWNED BY %I TO %I', rolname, current_user)
        WHEN has_schema_privilege(rolname, nspname, 'CREATE') THEN
            format('may make tables: REVOKE CREATE ON SCHEMA %I FROM PUBLIC, %I', nspname, rolname)
    END FROM pg_roles, pg_namespace WHERE rolname = :role AND nspname = current_schema()
""")
"""What is to be taken from the role before it is one that serves and no more; nothing when it is."""


def upgrade_for(url: str, *, owner: str) -> None:
    """Migrates as the owner, and grants the role of `url` what serving needs, when it is another one.

    Raises `DatabaseError`: as `upgrade` does, and for a role that could do more than it is granted.
    """
    if owner == url:
        upgrade(owner)
        return
    with _connected(url, "DATABASE_URL") as connection:
        role, quoted, database = connection.execute(WHO).one()
    with _connected(owner, "DATABASE_OWNER_URL") as connection:
        _check(connection, role, database)
    upgrade(owner)
    with _connected(owner, "DATABASE_OWNER_URL") as connection:
        _grant(connection, role, quoted)
    if problem := schema_verdict(current_schema(url)):
        raise DatabaseError(f"DATABASE_URL is about another schema than DATABASE_OWNER_URL: {problem}")


def _check(connection: Connection, role: str, database: str) -> None:
    owner, _, owned = connection.execute(WHO).one()
    if owner == role:
        raise DatabaseError(f"DATABASE_URL and DATABASE_OWNER_URL name one role, {role}: unset the second, or make two")
    if database != owned:
        raise DatabaseError(f"DATABASE_URL is about the database {database}, DATABASE_OWNER_URL about {owned}")
    if problem := connection.scalar(TOO_MUCH, {"role": role}):
        raise DatabaseError(f"{role}, the role of DATABASE_URL, {problem}; or leave DATABASE_OWNER_URL unset")


def _grant(connection: Connection, role: str, quoted: str) -> None:
    """Nothing that is granted already is taken away meanwhile: servers may run."""
    with _one_step(connection):
        connection.execute(text(f"GRANT USAGE ON SCHEMA {connection.scalar(SCHEMA)} TO {quoted}"))
        for function in FUNCTIONS:
            connection.execute(text(f"GRANT EXECUTE ON FUNCTION {function} TO {quoted}"))
    ours = {*SQLModel.metadata.tables, *partition_names(connection), OF_MIGRATIONS}
    for table in connection.scalars(TABLES).all():
        if table in ours:
            _grant_table(connection, table, role, quoted)


def _grant_table(connection: Connection, table: str, role: str, quoted: str) -> None:
    """A transaction for each table, as for each migration: it waits for one and holds one."""
    rights = "SELECT" if table == OF_MIGRATIONS else "SELECT, INSERT, UPDATE, DELETE"
    for more_tries in reversed(range(TRIES)):
        try:
            with _one_step(connection):
                connection.execute(text(f"REVOKE ALL ON TABLE {table} FROM {quoted}"))
                connection.execute(text(f"GRANT {rights} ON TABLE {table} TO {quoted}"))
                _let_in(connection, table, role, quoted)
            return
        except OperationalError:
            if not more_tries:
                raise DatabaseError(f"{table} is in use by a long transaction: end it, then try again") from None
            time.sleep(PAUSE_S)


def _let_in(connection: Connection, table: str, role: str, quoted: str) -> None:
    found = connection.scalar(LETS_IN, {"policy": POLICY, "table": table, "role": role})
    if found is None:
        connection.execute(text(f"CREATE POLICY {POLICY} ON {table} TO {quoted} USING (true) WITH CHECK (true)"))
    elif not found:
        connection.execute(text(f"ALTER POLICY {POLICY} ON {table} TO {quoted}"))


@contextmanager
def _one_step(connection: Connection) -> Iterator[None]:
    """A transaction that stands in line for a table for a moment only."""
    connection.rollback()  # what was read before began one
    with connection.begin():
        connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
        yield


@contextmanager
def _connected(url: str, variable: str) -> Iterator[Connection]:
    """Raises `DatabaseError` when the database is not to be reached, or the role may not do what is asked of it."""
    engine = create_engine(sync_url(url), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0]
        raise DatabaseError(f"{variable}: {reason}") from None
    finally:
        engine.dispose()
