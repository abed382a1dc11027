"""Both databases, filled once a run with a ledger that has one of everything; a test changes it and takes it back."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from omni_app.storage.database import Database
from tests.servers.postgres import Postgres
from tests.storage.conftest import (
    MIGRATED,
    database,
    database_url,
    migrated_sqlite,
    postgres,
    postgres_name,
    postgres_url,
    sqlite_url,
)
from tests.verify.world import fill

__all__ = [
    "database", "database_url", "migrated_sqlite", "postgres", "postgres_name", "postgres_url", "sqlite_url",
]  # fmt: skip


@pytest.fixture(scope="session")
def filled_sqlite(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("filled")
    shutil.copyfile(migrated_sqlite, folder / "omni.db")
    return filled(f"sqlite:///{folder / 'omni.db'}", folder)


@pytest.fixture(scope="session")
def filled_postgres(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    postgres.create("filled", template=MIGRATED)
    yield filled(postgres.url("filled"), tmp_path_factory.mktemp("filled"))
    postgres.drop("filled")


def filled(url: str, folder: Path) -> str:
    async def work() -> None:
        database = Database(url)
        await fill(database, folder)
        await database.close()

    asyncio.run(work())
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"filled_{request.param}")
    return url


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Database]:
    """The filled database: what a test writes to it is not to be committed."""
    database = Database(ledger_url)
    yield database
    await database.close()
