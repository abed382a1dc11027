"""Supabase publishes the schema `public` to the roles anon and authenticated, and grants them all that is made there.

What there is to close is read from the database, not from the code: a table that a migration forgets fails here.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import insert
from sqlmodel import SQLModel

from omni_app.storage import accounts
from omni_app.storage.database import Database
from omni_app.storage.partitions import BY_MONTH, PARTITIONS, make_months, parts
from omni_app.storage.server_role import upgrade_for
from omni_app.storage.tables import utc_now
from tests.servers.postgres import OWNER, Postgres
from tests.storage.conftest import SERVER, as_server
from tests.storage.filling import fill_every_table, row_of

PASSWORD = "seven lamps on a quiet harbour"
ROLES = ("anon", "authenticated")
LATER = timedelta(days=70)
TABLES = """
    SELECT relname, relrowsecurity FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY relname
"""
OTHERS = """
    SELECT relkind::text, relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind NOT IN ('r', 'p', 'i', 'I', 't')
"""
POLICIES = "SELECT DISTINCT polname, polroles::regrole[]::text FROM pg_policy"
FUNCTIONS = """
    SELECT oid::regprocedure::text, has_function_privilege('anon', oid, 'EXECUTE'),
        has_function_privilege('authenticated', oid, 'EXECUTE'), proacl::text
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1
"""
STATEMENTS = ("INSERT INTO {} DEFAULT VALUES", "DELETE FROM {}", "TRUNCATE {} CASCADE", "SELECT 1 FROM {} FOR UPDATE")
GRANTED = "GRANT ALL ON ALL TABLES IN SCHEMA public TO {}"


@dataclass(frozen=True)
class Project:
    """A database with Supabase's public roles in it, migrated, with a row in every table."""

    url: str
    tables: dict[str, bool]
    """Table or partition -> whether row level security is on."""
    partitions: set[str]

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.url, autocommit=True)


@contextmanager
def public_roles(postgres: Postgres) -> Iterator[None]:
    """The roles of the whole server, as long as this lasts."""
    for role in ROLES:
        postgres.run(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
    try:
        yield
    finally:
        for role in ROLES:
            postgres.run(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture
async def project(postgres: Postgres) -> AsyncIterator[Project]:
    name = f"omni_{uuid4().hex}"
    with public_roles(postgres):
        url = postgres.create(name)
        try:
            for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
                grant = sql.SQL("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON {} TO anon, authenticated")
                postgres.run(grant.format(sql.SQL(kind)), name=name)
            upgrade_for(as_server(url), owner=url)
            await fill(url)
            with psycopg.connect(url) as connection:
                partitions = {name for (name,) in connection.execute(PARTITIONS).fetchall()}
                yield Project(url, dict(connection.execute(TABLES).fetchall()), partitions)
        finally:
            postgres.drop(name)


async def fill(url: str) -> None:
    """A row everywhere, in partitions that the migration made and in those that a server makes later."""
    database = Database(url)
    await make_months(database, now=utc_now() + LATER)
    async with database.session() as session:
        person = await accounts.sign_up(session, email="a@example.com", password=PASSWORD, org_name="A")
        given = {"org_id": person.org_id, "user_id": person.user_id}
        await fill_every_table(session, given)
        for table in BY_MONTH:
            rows = SQLModel.metadata.tables[str(table.__tablename__)]
            for part in await parts(session, rows.name):
                at = {"created_at": part.starts_at or utc_now() - LATER}
                await session.execute(insert(rows).values(row_of(rows, given | at)))
        await session.commit()
    await database.close()


def attempt(connection: psycopg.Connection[tuple[object, ...]], role: str, statement: sql.Composed) -> str | int:
    """What comes of it as this role, and is undone: an error's name, or how many rows it touched."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
            return connection.execute(statement).rowcount
    except psycopg.Error as error:
        return type(error).__name__


def test_every_table_of_the_database_is_known_to_the_code_and_has_row_level_security(project: Project) -> None:
    assert project.tables.keys() - project.partitions == set(SQLModel.metadata.tables) | {"alembic_version"}
    assert {one.rpartition("_")[2] for one in project.partitions} > {"default"}, "and months"
    assert all(project.tables.values()), [name for name, secured in project.tables.items() if not secured]


def test_there_is_nothing_else_in_the_schema_that_could_be_open(project: Project) -> None:
    with project.connect() as connection:
        assert connection.execute(OTHERS).fetchall() == [], "a view or a sequence needs a verdict"
        assert connection.execute(POLICIES).fetchall() == [("omni_server", f"{{{SERVER}}}")], "for who serves alone"


def test_functions_are_for_the_owner_and_who_serves_however_functions_are_granted_by_default(project: Project) -> None:
    with project.connect() as connection:
        found = connection.execute(FUNCTIONS).fetchall()
    named = ("omni_drop_months(text,timestamp with time zone)", "omni_make_month(text,timestamp with time zone,bigint)")
    assert found == [(name, False, False, f"{{{OWNER}=X/{OWNER},{SERVER}=X/{OWNER}}}") for name in named]


def test_public_roles_have_no_right_to_any_table_however_tables_are_granted_by_default(project: Project) -> None:
    with project.connect() as connection:
        for table in project.tables:
            for role in ROLES:
                for statement in STATEMENTS:
                    told = attempt(connection, role, sql.SQL(statement).format(sql.Identifier(table)))
                    assert told == "InsufficientPrivilege", f"{role}: {statement} on {table}: {told}"


def test_row_level_security_holds_alone_where_somebody_grants_everything(project: Project) -> None:
    with project.connect() as connection:
        for role in ROLES:
            connection.execute(sql.SQL(GRANTED).format(sql.Identifier(role)))
        for table in project.tables:
            name = sql.Identifier(table)
            assert connection.execute(sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone() != (0,), table
            for role in ROLES:
                assert attempt(connection, role, sql.SQL("SELECT * FROM {}").format(name)) == 0, table
                assert attempt(connection, role, sql.SQL("DELETE FROM {}").format(name)) == 0, table
                copied = sql.SQL("INSERT INTO {} SELECT * FROM {} LIMIT 0").format(name, name)
                assert attempt(connection, role, copied) == 0, table
                changed = attempt(connection, role, set_to_itself(connection, table))
                assert changed == 0, f"{role} changed {table}: {changed}"
        connection.execute("INSERT INTO meta VALUES ('mine', '1')")
        planted = sql.SQL("INSERT INTO meta VALUES ('planted', '1')").format()
        assert attempt(connection, "anon", planted) == "InsufficientPrivilege"
        for role in ROLES:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))


def set_to_itself(connection: psycopg.Connection[tuple[object, ...]], table: str) -> sql.Composed:
    """An update of every row's first column."""
    query = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum = 1"
    (column,) = connection.execute(query, [table]).fetchone() or ("",)
    name = sql.Identifier(str(column))
    return sql.SQL("UPDATE {} SET {} = {}").format(sql.Identifier(table), name, name)


def test_a_table_that_a_migration_leaves_open_is_found(project: Project) -> None:
    with project.connect() as connection:
        connection.execute("CREATE TABLE later (id int)")
        connection.execute("INSERT INTO later VALUES (1)")
        assert ("later", False) in connection.execute(TABLES).fetchall()
        assert attempt(connection, "anon", sql.SQL("DELETE FROM {}").format(sql.Identifier("later"))) == 1
