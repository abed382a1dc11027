"""Both databases for every test that asks for one: a fresh, migrated SQLite file and a fresh, migrated Postgres.

On Postgres the product's database is that of a role that owns nothing: whatever such a role may not do fails in the
tests of what needs it. An address is the owner's, for tests of schemas and for what they do by themselves.
"""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from omni_app.storage.database import PATIENCE_S, Database, is_sqlite, upgrade
from omni_app.storage.server_role import upgrade_for
from tests.servers.postgres import Postgres, or_skipped, running_postgres

MIGRATED = "migrated"
"""The Postgres database that the others are copies of."""
SERVER = "omni_server"
"""The role that serves."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the run."""
    with ExitStack() as running:
        with or_skipped():
            server = running.enter_context(running_postgres())
        server.run(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(SERVER)))
        upgrade_for(as_server(server.url(MIGRATED)), owner=server.create(MIGRATED))
        yield server


def as_server(url: str) -> str:
    """The same database, for the role that serves."""
    return make_url(url).set(username=SERVER).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the others are copies of."""
    path = tmp_path_factory.mktemp("migrated") / "omni.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """A fresh, migrated SQLite database."""
    path = tmp_path / "omni.db"
    shutil.copyfile(migrated_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_name(postgres: Postgres) -> Iterator[str]:
    """The name of a fresh, migrated Postgres database."""
    name = f"omni_{uuid4().hex}"
    postgres.create(name, template=MIGRATED)
    yield name
    postgres.drop(name)


@pytest.fixture
def postgres_url(postgres: Postgres, postgres_name: str) -> str:
    """A fresh, migrated Postgres database."""
    return postgres.url(postgres_name)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh, migrated database of either kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def database(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """The product's database over `database_url`; ten thousand cases of an invariant may take as long as they take."""
    invariant = request.node.get_closest_marker("invariants") is not None
    url = database_url if is_sqlite(database_url) else as_server(database_url)
    database = Database(url, patience_s=None if invariant else PATIENCE_S)
    yield database
    await database.close()


@pytest.fixture
async def owned_database(database_url: str) -> AsyncIterator[Database]:
    """As `database`, with the owner's rights: for tests that change the schema themselves."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def sqlite_database(sqlite_url: str) -> AsyncIterator[Database]:
    """For what does not depend on the kind of database."""
    database = Database(sqlite_url)
    yield database
    await database.close()


@pytest.fixture
async def postgres_database(postgres_url: str) -> AsyncIterator[Database]:
    """For what only Postgres does."""
    database = Database(as_server(postgres_url))
    yield database
    await database.close()
