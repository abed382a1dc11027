"""The schema: migrations both ways, what `/ready` says of another version's, and what guards an SQLite file."""

import asyncio
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import chain
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from omni_app.errors import Unavailable
from omni_app.storage import meta
from omni_app.storage.database import (
    BACKUPS_KEPT,
    DATABASE_ERRORS,
    KEPT_OF_SQLITE,
    OLDEST_CODE,
    PING_S,
    Database,
    DatabaseError,
    _alembic_config,
    backup_before_upgrade,
    copy_sqlite,
    current_schema,
    hold_sqlite_lock,
    sync_url,
    upgrade,
)
from omni_app.storage.partitions import partition_names
from tests.product import ROOT, free_port
from tests.servers.postgres import Postgres

PASSWORD = "seven lamps on a quiet harbour"


def table_names(url: str) -> set[str]:
    """Without partitions."""
    engine = create_engine(sync_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        names = set(inspect(engine).get_table_names()) - partition_names(connection)
    engine.dispose()
    return names


def execute(url: str, statement: str) -> None:
    engine = create_engine(sync_url(url), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_migrations_make_every_table_of_the_code(database_url: str) -> None:
    assert table_names(database_url) == set(SQLModel.metadata.tables) | {"alembic_version"}


def test_migrations_say_the_same_as_the_tables_of_the_code(database_url: str) -> None:
    command.check(_alembic_config(sync_url(database_url)))


def test_migrations_go_down_to_nothing_and_up_again(database_url: str) -> None:
    command.downgrade(_alembic_config(sync_url(database_url)), "base")
    assert table_names(database_url) == {"alembic_version"}
    assert current_schema(database_url).revision is None
    upgrade(database_url)
    assert table_names(database_url) > {"requests", "api_keys"}


def test_upgrading_what_is_up_to_date_changes_nothing(database_url: str) -> None:
    before = current_schema(database_url).revision
    upgrade(database_url)
    assert current_schema(database_url).revision == before


async def test_a_migrated_database_is_ready(database: Database) -> None:
    assert await database.ping() == ""
    assert await database.schema_problem() == ""


async def test_a_database_without_tables_is_told_to_be_upgraded(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    assert "older" in await database.schema_problem()
    assert "python -m omni_app migrate" in await database.schema_problem()
    await database.close()


async def test_a_newer_schema_that_is_not_for_this_version_is_neither_served_nor_migrated(
    database: Database, database_url: str
) -> None:
    execute(database_url, "UPDATE alembic_version SET version_num = '9999'")
    execute(database_url, f"UPDATE meta SET value = '9998' WHERE key = '{OLDEST_CODE}'")
    assert "newer" in await database.schema_problem()
    with pytest.raises(DatabaseError, match="newer"):
        upgrade(database_url)


async def test_a_newer_schema_that_leaves_room_for_this_version_is_served_as_it_is(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    execute(database_url, "UPDATE alembic_version SET version_num = '9999'")
    assert await database.schema_problem() == ""
    upgrade(database_url)
    assert backup_before_upgrade(database_url, tmp_path) is None
    assert current_schema(database_url).revision == "9999"


async def test_a_newer_schema_that_says_nothing_of_older_code_is_not_served(
    database: Database, database_url: str
) -> None:
    execute(database_url, "UPDATE alembic_version SET version_num = '9999'")
    execute(database_url, f"DELETE FROM meta WHERE key = '{OLDEST_CODE}'")
    assert "newer" in await database.schema_problem()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_database_that_is_away_is_told_as_such(kind: str, tmp_path: Path) -> None:
    away = {
        "sqlite": f"sqlite:///{tmp_path / 'no' / 'folder.db'}",
        "postgres": f"postgresql://omni@127.0.0.1:{free_port()}/omni",
    }
    database = Database(away[kind])
    assert "does not answer" in await database.ping()
    with pytest.raises(Unavailable) as refused:
        async with database.reading() as session:
            await session.execute(text("SELECT 1"))
    assert refused.value.headers["Retry-After"]
    with pytest.raises(DatabaseError, match="DATABASE_URL"):
        upgrade(away[kind])
    await database.close()


async def test_a_database_that_hangs_is_told_as_such_and_delays_nobody_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it never accepts, the system does
        database = Database(f"postgresql://omni@127.0.0.1:{silent.getsockname()[1]}/omni")
        async with asyncio.timeout(PING_S + 0.5):
            said = await asyncio.gather(database.ping(), database.ping())
        assert all("in time" in one for one in said)
        await database.close()


async def test_many_may_ask_at_once_again_and_again(database: Database) -> None:
    async def asks(pause_s: float) -> list[str]:
        said = []
        for _ in range(30):
            said += [await database.ping(), await database.schema_problem()]
            await asyncio.sleep(pause_s)
        return said

    said = await asyncio.gather(*(asks(0.001 * number) for number in range(12)))
    assert set(chain.from_iterable(said)) == {""}


async def test_who_asks_while_all_is_closed_is_told_so(postgres_database: Database) -> None:
    asking = asyncio.create_task(postgres_database.ping())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await postgres_database.close()
    assert await asking in ("", "the database is being closed")


async def test_a_schema_that_somebody_holds_is_no_older_one(postgres_database: Database, postgres_url: str) -> None:
    engine = create_engine(sync_url(postgres_url), poolclass=NullPool)
    with engine.connect() as holding, holding.begin():
        holding.execute(text("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"))
        async with asyncio.timeout(PING_S + 0.5):
            assert await postgres_database.schema_problem() == "the database does not answer in time"
        waiting = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%version_num%' AND pid <> pg_backend_pid()"
        holding.execute(text(f"SELECT pg_cancel_backend(pid) FROM ({waiting}) AS waiting"))
        async with asyncio.timeout(PING_S):
            assert "does not tell its schema" in await postgres_database.schema_problem()
    engine.dispose()
    assert await postgres_database.schema_problem() == ""


async def test_a_pool_with_no_connection_left_is_told_as_such(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=1)
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
        async with asyncio.timeout(PING_S + 0.5):
            assert await database.ping() == "the database does not answer in time"
    assert await database.schema_problem() == ""
    await database.close()


async def test_a_connection_that_postgres_ended_is_replaced(
    postgres_database: Database, postgres: Postgres, postgres_name: str
) -> None:
    assert await postgres_database.ping() == ""
    postgres.take_away(postgres_name)
    assert "does not answer" in await postgres_database.ping()
    postgres.give_back(postgres_name)
    assert await postgres_database.ping() == ""


def older_file(tmp_path: Path) -> str:
    """An SQLite file with a row in it, of before our first revision."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE keepsake (word TEXT)")
        connection.execute("INSERT INTO keepsake VALUES ('kept')")
        connection.commit()
    return f"sqlite:///{path}"


def test_an_sqlite_file_is_copied_before_it_is_migrated(tmp_path: Path) -> None:
    copy = backup_before_upgrade(older_file(tmp_path), tmp_path)
    assert copy is not None
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT word FROM keepsake").fetchall() == [("kept",)]


def test_the_last_few_copies_are_kept(tmp_path: Path) -> None:
    url = older_file(tmp_path)
    made = [backup_before_upgrade(url, tmp_path) for _ in range(BACKUPS_KEPT + 2)]
    assert sorted((tmp_path / "backups").iterdir()) == made[2:]


def test_a_copy_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    broken, target = tmp_path / "omni.db", tmp_path / "copy.db"
    broken.write_bytes(b"no database" * 1_000)
    with pytest.raises(DatabaseError, match="could not be copied"):
        copy_sqlite(broken, target)
    assert list(tmp_path.iterdir()) == [broken]
    with pytest.raises(DatabaseError, match="could not be copied"):
        copy_sqlite(broken, tmp_path / "not-there" / "copy.db")


def test_half_a_copy_of_before_is_no_obstacle(tmp_path: Path) -> None:
    copy, half = tmp_path / "copy.db", tmp_path / "copy.db.part"
    half.write_bytes(b"half")
    copy_sqlite(Path(older_file(tmp_path).removeprefix("sqlite:///")), copy)
    assert not half.exists() and copy.stat().st_mode & 0o077 == 0


def test_nothing_is_copied_when_there_is_nothing_to_migrate(database_url: str, tmp_path: Path) -> None:
    assert backup_before_upgrade(database_url, tmp_path) is None
    assert backup_before_upgrade(f"sqlite:///{tmp_path / 'not-there.db'}", tmp_path) is None
    assert not (tmp_path / "backups").exists()


HOLD = "import sys; from omni_app.storage.database import hold_sqlite_lock as h; h(sys.argv[1]); print(); input()"


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'omni.db'}"
    command_line = [sys.executable, "-c", HOLD, url]
    with subprocess.Popen(command_line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout and first.stdout.readline() == b"\n"
        with pytest.raises(DatabaseError, match="another Omni-Model Router process"):
            hold_sqlite_lock(url)
        first.kill()
    descriptor = hold_sqlite_lock(url)
    assert descriptor is not None
    with pytest.raises(DatabaseError):
        hold_sqlite_lock(url)
    os.close(descriptor)


def test_there_is_nothing_to_lock_for_postgres_or_memory() -> None:
    assert hold_sqlite_lock("postgresql://omni@127.0.0.1/omni") is None
    assert hold_sqlite_lock("sqlite:///:memory:") is None


async def test_two_bumps_at_once_raise_the_value_twice_also_the_first_time(postgres_database: Database) -> None:
    for expected in ("2", "4"):
        async with postgres_database.session() as one, postgres_database.session() as other:
            await meta.bump(one, "version")
            waiting = asyncio.create_task(meta.bump(other, "version"))
            await asyncio.sleep(0.1)
            await one.commit()
            await waiting
            await other.commit()
            assert await meta.read_meta(one, "version") == expected


async def test_a_meta_value_is_empty_until_written_and_grows_with_every_bump(database: Database) -> None:
    async with database.session() as session:
        assert await meta.read_meta(session, "version") == ""
        for expected in ("1", "2", "3"):
            await meta.bump(session, "version")
            await session.commit()
            assert await meta.read_meta(session, "version") == expected


async def test_an_sqlite_connection_is_used_again_and_no_more_are_kept_than_a_few(sqlite_database: Database) -> None:
    opened, closed = [], []
    engine = sqlite_database.engine.sync_engine
    event.listen(engine, "connect", lambda *args: opened.append(args))
    event.listen(engine, "close", lambda *args: closed.append(args))
    for _ in range(20):
        async with sqlite_database.session() as session:
            assert await session.scalar(text("SELECT 1")) == 1
    assert len(opened) <= 1

    async def reads() -> None:
        async with sqlite_database.session() as session:
            await session.scalar(text("SELECT 1"))
            await asyncio.sleep(0.05)

    await asyncio.gather(*(reads() for _ in range(10)))
    assert len(opened) >= 9
    assert len(opened) - len(closed) <= KEPT_OF_SQLITE


async def test_a_file_that_another_takes_the_place_of_is_noticed(tmp_path: Path) -> None:
    database, path = Database(f"sqlite:///{tmp_path / 'omni.db'}"), tmp_path / "omni.db"
    for place, names in ((path, ["one"]), (tmp_path / "other.db", ["one", "two"])):
        with closing(sqlite3.connect(place)) as connection:
            for name in names:
                connection.execute(f"CREATE TABLE {name} (id INTEGER)")

    async def tables() -> int:
        async with database.session() as session:
            return await session.scalar(text("SELECT count(*) FROM sqlite_master")) or 0

    assert await tables() == 1
    path.rename(tmp_path / "away.db")
    path.mkdir()
    with pytest.raises(DATABASE_ERRORS):
        await tables()
    path.rmdir()
    (tmp_path / "other.db").rename(path)
    assert await tables() == 2
    await database.close()
