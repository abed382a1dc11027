"""The role that serves: rows are its, the schema is not. What it has to be able to do, other tests here do as it."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg import sql
from sqlmodel import SQLModel

from omni_app.storage.database import Database, DatabaseError, upgrade
from omni_app.storage.partitions import BY_MONTH, drop_months, make_months, parts
from omni_app.storage.server_role import upgrade_for
from tests.product import ROOT, free_port, stop, unconfigured_environment, wait_until_ready
from tests.servers.postgres import OWNER, Postgres
from tests.storage.conftest import SERVER, as_server

TABLES = sorted({*SQLModel.metadata.tables, "alembic_version", "requests_default", "attempts_default"})
NOT_ITS = (
    "ALTER TABLE {} ADD COLUMN mine INT",
    "ALTER TABLE {} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {} OWNER TO CURRENT_USER",
    "DROP TABLE {} CASCADE",
    "DROP POLICY omni_server ON {}",
    "CREATE POLICY mine ON {} TO PUBLIC USING (true)",
    "CREATE INDEX mine ON {} ((1))",
    "CREATE TRIGGER mine BEFORE INSERT ON {} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "TRUNCATE {} CASCADE",
)
NOBODYS = (
    "CREATE TABLE mine (id INT)",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE FUNCTION mine() RETURNS INT LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "CREATE EXTENSION file_fdw",
    "DROP SCHEMA public CASCADE",
    "DROP FUNCTION omni_drop_months(text, timestamptz)",
    "ALTER FUNCTION omni_drop_months(text, timestamptz) SECURITY INVOKER",
    "ALTER FUNCTION omni_drop_months(text, timestamptz) SET search_path = pg_temp",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    f"SET ROLE {OWNER}",
    f"SET SESSION AUTHORIZATION {OWNER}",
    f"GRANT {OWNER} TO CURRENT_USER",
    "SELECT * FROM elsewhere.secrets",
    "CREATE TABLE elsewhere.mine (id INT)",
    "SELECT pg_read_file('/etc/passwd')",
    "COPY meta TO PROGRAM 'cat'",
    "UPDATE alembic_version SET version_num = version_num",
    "DELETE FROM alembic_version",
)
RIGHTS = """
    SELECT relname, relacl::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1
"""


def told(url: str, statement: str) -> str:
    """What comes of it, undone: an error's name, or nothing."""
    try:
        with psycopg.connect(url) as connection:
            connection.execute(statement.encode())
            connection.rollback()
    except psycopg.Error as error:
        return type(error).__name__
    return ""


@contextmanager
def role(postgres: Postgres, attributes: str = "") -> Iterator[str]:
    """Another role of the server, as long as this lasts."""
    name = f"role_{uuid4().hex}"
    postgres.run(sql.SQL("CREATE ROLE {} LOGIN " + attributes).format(sql.Identifier(name)))
    try:
        yield name
    finally:
        postgres.run(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_it_changes_no_table_and_takes_none_away(postgres_url: str) -> None:
    url = as_server(postgres_url)
    for table in TABLES:
        for statement in NOT_ITS:
            assert told(url, statement.format(table)) == "InsufficientPrivilege", statement.format(table)
        if table != "alembic_version":
            assert told(url, f"DELETE FROM {table}") == "", "rows are its"


def test_it_makes_nothing_becomes_nobody_and_sees_no_other_schema(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as owner:
        owner.execute("CREATE SCHEMA elsewhere")
        owner.execute("CREATE TABLE elsewhere.secrets AS SELECT 1 AS one")
    for statement in NOBODYS:
        assert told(as_server(postgres_url), statement) == "InsufficientPrivilege", statement


def test_it_hands_on_no_right(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        before = owner.execute(RIGHTS).fetchall()
        with psycopg.connect(as_server(postgres_url), autocommit=True) as server:
            for table in TABLES:
                server.execute(f"GRANT SELECT ON {table} TO PUBLIC".encode())  # Postgres warns and grants nothing
        assert owner.execute(RIGHTS).fetchall() == before
    rows: dict[str, str] = dict(before)
    assert f"{SERVER}=arwd/{OWNER}" in rows["requests"] and f"{SERVER}=r/{OWNER}" in rows["alembic_version"]


MONTH = "'2025-03-01 00:00:00+00'"


@pytest.mark.parametrize(
    "call",
    [
        f"omni_make_month('users', {MONTH}, 10)",
        f"omni_make_month('requests; DROP TABLE users', {MONTH}, 10)",
        f"omni_make_month(NULL, {MONTH}, 10)",
        "omni_make_month('requests', '2025-03-02 00:00:00+00', 10)",
        "omni_make_month('requests', '2025-03-01 00:00:00+02', 10)",
        "omni_make_month('requests', 'infinity', 10)",
        "omni_make_month('requests', NULL, 10)",
        f"omni_make_month('requests', {MONTH}, 50001)",
        f"omni_make_month('requests', {MONTH}, -1)",
        f"omni_make_month('requests', {MONTH}, NULL)",
        f"omni_drop_months('users', {MONTH})",
        f"omni_drop_months(NULL, {MONTH})",
        "omni_drop_months('requests', 'infinity')",
        "omni_drop_months('requests', NULL)",
    ],
)
def test_the_owner_s_functions_take_months_of_three_tables_and_nothing_else(postgres_url: str, call: str) -> None:
    assert told(as_server(postgres_url), f"SELECT {call}") == "InvalidParameterValue"


def test_the_owner_s_functions_are_for_nobody_else(postgres: Postgres, postgres_name: str) -> None:
    with role(postgres) as other:
        url = as_server(postgres.url(postgres_name)).replace(SERVER, other)
        for call in (f"omni_make_month('requests', {MONTH}, 10)", f"omni_drop_months('requests', {MONTH})"):
            assert told(url, f"SELECT {call}") == "InsufficientPrivilege"


def test_the_owner_s_functions_find_nothing_of_the_caller_s(postgres_url: str) -> None:
    with psycopg.connect(as_server(postgres_url)) as server:
        server.execute("CREATE TEMPORARY TABLE requests_default (created_at timestamptz)")
        server.execute("CREATE TEMPORARY TABLE requests (LIKE public.requests)")
        server.execute("CREATE TEMPORARY TABLE pg_policy (polname name)")
        server.execute("CREATE FUNCTION pg_temp.to_char(timestamp, text) RETURNS text LANGUAGE sql AS $$SELECT 'x'$$")
        server.execute("SET search_path = pg_temp, public, pg_catalog")
        server.execute("SET datestyle = 'SQL, DMY'")
        server.execute(f"SELECT public.omni_make_month('requests', {MONTH}, 10)".encode())
        found = server.execute(
            "SELECT relkind::text FROM pg_class WHERE oid = 'public.requests_2025_03'::regclass"
        ).fetchone()
        dropped = server.execute("SELECT public.omni_drop_months('requests', '2025-04-01 00:00:00+00')").fetchall()
    assert found == ("r",) and dropped == [("requests_2025_03",)]


@pytest.mark.parametrize("who", ["one role alone", "the role that serves"])
async def test_months_come_and_go_whoever_serves(postgres_url: str, who: str) -> None:
    database = Database(postgres_url if who == "one role alone" else as_server(postgres_url))
    now = datetime(2025, 3, 14, tzinfo=UTC)
    await make_months(database, now=now)
    for table in BY_MONTH:
        async with database.session() as session:
            names = {one.name for one in await parts(session, str(table.__tablename__))}
        assert f"{table.__tablename__}_2025_03" in names
        assert told(as_server(postgres_url), f"DELETE FROM {table.__tablename__}_2025_03") == ""
        await drop_months(database, table, before=datetime(2025, 4, 1, tzinfo=UTC))
        async with database.session() as session:
            left = {one.name for one in await parts(session, str(table.__tablename__))}
        assert names - left == {f"{table.__tablename__}_2025_03"}
    await database.close()


# Who is taken


def test_granting_again_changes_nothing_and_another_role_takes_its_place(
    postgres: Postgres, postgres_name: str
) -> None:
    url = postgres.url(postgres_name)
    with psycopg.connect(url, autocommit=True) as owner:
        before = owner.execute(RIGHTS).fetchall()
        upgrade_for(as_server(url), owner=url)
        assert owner.execute(RIGHTS).fetchall() == before
        with role(postgres) as other:
            upgrade_for(as_server(url).replace(SERVER, other), owner=url)
            assert told(as_server(url).replace(SERVER, other), "DELETE FROM requests") == ""
            (policies,) = owner.execute(
                "SELECT array_agg(DISTINCT polroles::regrole[]::text) FROM pg_policy"
            ).fetchall()
            assert policies == ([f"{{{other}}}"],)
            owner.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(other)))


@pytest.mark.parametrize(
    ("attributes", "before", "says"),
    [
        ("SUPERUSER", "", "is above all rights: ALTER ROLE"),
        ("CREATEROLE", "", "is above all rights"),
        ("BYPASSRLS", "", "is above all rights"),
        ("", f"GRANT {OWNER} TO {{}}", f"may become the owner: REVOKE {OWNER} FROM"),
        ("", "GRANT CREATE ON SCHEMA public TO {}", "may make tables: REVOKE CREATE ON SCHEMA public FROM PUBLIC, "),
        ("", "ALTER TABLE meta OWNER TO {}", "owns tables itself: REASSIGN OWNED BY"),
    ],
)
def test_a_role_that_could_do_more_is_refused_with_what_to_take_from_it(
    postgres: Postgres, postgres_name: str, attributes: str, before: str, says: str
) -> None:
    url = postgres.url(postgres_name)
    with role(postgres, attributes) as name, psycopg.connect(url, autocommit=True) as owner:
        if before:
            owner.execute(before.format(name).encode())
        with pytest.raises(DatabaseError, match=re.escape(says)):
            upgrade_for(as_server(url).replace(SERVER, name), owner=url)
        owner.execute(f"REASSIGN OWNED BY {name} TO {OWNER}".encode())
        owner.execute(f"DROP OWNED BY {name}".encode())


def test_two_addresses_that_do_not_belong_together_are_refused(postgres: Postgres, postgres_name: str) -> None:
    url = postgres.url(postgres_name)
    with pytest.raises(DatabaseError, match=f"name one role, {OWNER}"):
        upgrade_for(url + "?connect_timeout=3", owner=url)
    with pytest.raises(
        DatabaseError, match=f"is about the database postgres, DATABASE_OWNER_URL about {postgres_name}"
    ):
        upgrade_for(as_server(postgres.url("postgres")), owner=url)
    with pytest.raises(DatabaseError, match=r'^DATABASE_URL: .*role "nobody"'):
        upgrade_for(as_server(url).replace(SERVER, "nobody"), owner=url)


def test_a_role_that_owns_nothing_is_told_whose_migrating_is(postgres: Postgres) -> None:
    name = f"omni_{uuid4().hex}"
    url = postgres.create(name)
    with pytest.raises(DatabaseError, match="set DATABASE_OWNER_URL"):
        upgrade(as_server(url))
    postgres.drop(name)


# The whole server


@dataclass(frozen=True)
class Deployed:
    """A database as docs/DEPLOY.md makes one: its two addresses."""

    url: str
    owner_url: str
    server: str


@pytest.fixture
def deployed(postgres: Postgres) -> Iterator[Deployed]:
    (block,) = re.findall("```postgresql\n(.*?)```", (ROOT / "docs" / "DEPLOY.md").read_text(), re.DOTALL)
    name = f"omni_{uuid4().hex}"
    for statement in re.sub(r"\bomni(?=[_ ])", name, block).split(";\n")[:-1]:
        postgres.run(sql.SQL(statement).format())
    owner, server = f"{name}_owner", f"{name}_server"
    yield Deployed(postgres.url(name).replace(OWNER, server, 1), postgres.url(name).replace(OWNER, owner, 1), server)
    postgres.drop(name)
    for one in (owner, server):
        postgres.run(sql.SQL("DROP ROLE {}").format(sql.Identifier(one)))


def test_a_server_in_production_lives_on_a_role_that_owns_nothing(deployed: Deployed, tmp_path: Path) -> None:
    port = str(free_port())
    environment = unconfigured_environment() | {
        "OMNI_ENV": "production",
        "OMNI_SECRET_KEY": "s" * 40,
        "OMNI_KEY_PEPPER": "p" * 40,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "PORT": port,
        "OMNI_DATA_DIR": str(tmp_path),
        "DATABASE_URL": deployed.url,
        "DATABASE_OWNER_URL": deployed.owner_url,
        "LOCAL_MODEL": "off",
        "SANDBOX_SPEED": "0",
        "SIGN_UP_WITHOUT_MAIL": "on",
    }
    omni = [sys.executable, "-m", "omni_app"]
    subprocess.run([*omni, "migrate"], cwd=ROOT, env=environment, check=True, capture_output=True)
    log_file = tmp_path / "log"
    with log_file.open("wb") as log:
        server = subprocess.Popen(
            [*omni, "serve", "--api-workers", "1"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        wait_until_ready(environment["PUBLIC_URL"], server, log_file)
        live_as_everybody_does(environment["PUBLIC_URL"])
        assert b"DATABASE_OWNER_URL" not in Path(f"/proc/{server.pid}/environ").read_bytes()
    finally:
        stop(server)
    with psycopg.connect(deployed.owner_url) as connection:
        assert connection.execute("SELECT count(*) FROM requests").fetchone() == (1,), "drained"
        owned = "SELECT count(*) FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner WHERE rolname = %s"
        assert connection.execute(owned, [deployed.server]).fetchone() == (0,)
    assert not re.search("permission denied|InsufficientPrivilege|wait for the next round", log_file.read_text())
    assert told(deployed.url, "CREATE TEMPORARY TABLE mine (id INT)") == "InsufficientPrivilege"


def live_as_everybody_does(url: str) -> None:
    """Signs up, makes a key and asks something with it."""
    headers = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
        form = {"email": "ada@example.com", "password": "teal-otter-maps-42-winter", "org_name": "Engines"}
        assert client.post("/auth/signup", data=form).status_code == 303
        made = client.post("/auth/keys", json={"name": "My app", "kind": "test"})
        assert made.status_code == 201, made.text
        key = made.json()["key"]
        body = {"messages": [{"role": "user", "content": "Hello! How are you today?"}]}
        asked = client.post("/v1/chat", json=body, headers={"Authorization": f"Bearer {key}"})
        assert asked.status_code == 200, asked.text
