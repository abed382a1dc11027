"""The database: one URL for SQLite or Postgres, an async engine, and what must hold of its schema before we serve."""

import asyncio
import fcntl
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DisconnectionError, ProgrammingError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

from omni_app.errors import Unavailable

if TYPE_CHECKING:
    from alembic.config import Config

ROOT = Path(__file__).resolve().parent.parent.parent
BACKUPS_KEPT = 5
LAST_ONES_BACK_S = 1.0
KEPT_OF_SQLITE = 2
"""Connections that stay open: the drainer's, and one for whoever reads. Each has a thread and a cache of 2 MB."""
BUSY_TIMEOUT_MS = 5_000
PATIENCE_S = 10.0
PING_S = 2.0
POOL_SIZE = 15
POOL_TIMEOUT_S = 5.0
KEPT_BACK = 3
"""Connections of a pool that readers leave to the work behind them: ledger, leases, revocations."""
LINE_PER_CONNECTION = 100
"""How many readers may wait for each connection: at 20 ms a reading the last one waits for 2 s."""
CONNECT_TIMEOUT_S = 3

DATABASE_ERRORS = (SQLAlchemyError, OSError)
"""What a database that is away, slow or full raises."""


UNDEFINED_TABLE = "42P01"
INSUFFICIENT_PRIVILEGE = "42501"
"""Postgres' codes for them."""

AWAY = "the database does not answer; try again in a moment"
BUSY = "the database has more to do than it can; try again in a moment"


OLDEST_CODE = "oldest_code"
"""The row of `meta` that migrations keep: code of an older revision than this one may not serve the schema."""


class DatabaseError(Exception):
    """The database cannot be used as it is; the message says what to do."""


def is_sqlite(url: str) -> bool:
    """Whether the URL names an SQLite file."""
    return make_url(url).get_backend_name() == "sqlite"


def sync_url(url: str) -> str:
    """The URL for migrations: psycopg for Postgres, the standard library for SQLite."""
    return make_url(url).set(drivername="sqlite" if is_sqlite(url) else "postgresql+psycopg").render_as_string(False)


def async_url(url: str) -> str:
    """The URL for serving: psycopg is async as well."""
    name = "sqlite+aiosqlite" if is_sqlite(url) else "postgresql+psycopg"
    return make_url(url).set(drivername=name).render_as_string(False)


class Database:
    """The engine and its sessions. Made without touching the database, which may come up later.

    `patience_s`: how long the work of one session may take; None = as long as it takes. `pool_size`: connections at
    most, of which readers leave some to the work behind them, whatever their number.
    """

    def __init__(self, url: str, *, patience_s: float | None = PATIENCE_S, pool_size: int = POOL_SIZE) -> None:
        self.url = url
        self.patience_s = patience_s
        self.engine = _engine(url, pool_size)
        self._credentials: dict[str, str | None] = {}
        event.listen(self.engine.sync_engine, "do_connect", self._show_credentials)
        self._readers = Line(at_once=max(1, pool_size - KEPT_BACK), waiting=LINE_PER_CONNECTION * pool_size)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._probes = (Probe(self._ask), Probe(self._ask_schema))

    def use_credentials(self, url: str) -> bool:
        """The name and password of this URL from the next connection on; those that are open stay.

        False, and nothing is changed, when it names another database or other ways to it.
        """
        old, new = make_url(self.url), make_url(url)
        if is_sqlite(url) or old._replace(username=None, password=None) != new._replace(username=None, password=None):
            return False
        self.url, self._credentials = url, {"user": new.username, "password": new.password}
        return True

    def _show_credentials(self, _dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        parameters |= {name: value for name, value in self._credentials.items() if value is not None}

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session; what is not committed is rolled back. Raises what the database raises (`DATABASE_ERRORS`).

        A database that hangs is as good as gone: after `patience_s` the work is given up with `TimeoutError`; psycopg
        then tries to cancel it at the server for another 10 s, when it hangs on a connection that was open before.
        """
        async with asyncio.timeout(self.patience_s), self._sessions() as session:
            yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session in whose name somebody waits for an answer: a database that is away becomes `Unavailable`.

        Readers that are too many wait in line, and are told so when it is long. One reading holds one connection: not
        to be opened within another one.
        """
        try:
            async with self._readers.place(), self.session() as session:
                yield session
        except LineTooLong as error:
            raise Unavailable(BUSY, headers={"Retry-After": "1"}) from error
        except DATABASE_ERRORS as error:
            raise Unavailable(AWAY, headers={"Retry-After": "2"}) from error

    @asynccontextmanager
    async def consistent_reading(self) -> AsyncIterator[AsyncSession]:
        """As `reading`, for figures that stand side by side: all statements see what the first one sees. Not to write.

        SQLite's driver, unlike Postgres's, begins no transaction before a `SELECT`: it is told to.
        """
        async with self.reading() as session:
            if is_sqlite(self.url):
                driver: Any = (await (await session.connection()).get_raw_connection()).driver_connection
                await driver.execute("BEGIN")
            else:
                await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session

    async def ping(self) -> str:
        """Empty when the database answers within `PING_S`, else the reason."""
        return await self._probes[0].answer()

    async def schema_problem(self) -> str:
        """Empty when the schema is this version's, else what to do; the reason when it is not told within `PING_S`."""
        return await self._probes[1].answer()

    async def _ask(self) -> str:
        try:
            async with asyncio.timeout(PATIENCE_S), self.engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except DATABASE_ERRORS as error:
            return f"the database does not answer ({type(error).__name__})"
        return ""

    async def _ask_schema(self) -> str:
        try:
            async with asyncio.timeout(PATIENCE_S), self.engine.connect() as connection:
                found = await connection.run_sync(_schema)
        except DATABASE_ERRORS as error:
            if not _lacks_a_table(error):
                return f"the database does not tell its schema ({type(error).__name__})"
            found = NO_SCHEMA
        return schema_verdict(found)

    async def close(self) -> None:
        """Closes every connection, once whoever was cut off has given his back."""
        for probe in self._probes:
            await probe.close()
        pool = self.engine.pool
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_ONES_BACK_S):
                while isinstance(pool, QueuePool) and pool.checkedout():  # noqa: ASYNC110 a pool tells nobody
                    await asyncio.sleep(0.01)
        await self.engine.dispose()


class Probe:
    """A question to the database, asked once for all who want the answer at the same time."""

    def __init__(self, ask: Callable[[], Awaitable[str]]) -> None:
        self._ask = ask
        self._asking: asyncio.Future[str] | None = None

    async def answer(self) -> str:
        """What is wrong, empty when all is well; waits for `PING_S` at most."""
        asking = self._asking  # held: when this one is done, the next who comes asks anew
        if asking is None or asking.done():
            asking = self._asking = asyncio.ensure_future(self._ask())
        # Not cancelled when it takes long: a driver that cancels asks the hanging server for its leave.
        done, _ = await asyncio.wait({asking}, timeout=PING_S)
        if not done:
            return "the database does not answer in time"
        return "the database is being closed" if asking.cancelled() else asking.result()

    async def close(self) -> None:
        """Asks no longer."""
        if self._asking is not None and not self._asking.done():
            self._asking.cancel()
            await asyncio.wait({self._asking})


class LineTooLong(Exception):
    """More wait than may, or for longer than they should."""


class Line:
    """Lets `at_once` in at a time; `waiting` more stand in line, for `POOL_TIMEOUT_S` at most."""

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._room = waiting

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Raises `LineTooLong`, at once when there is no room to wait."""
        if self._free.locked():
            await self._wait()
        else:
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    async def _wait(self) -> None:
        if self._room <= 0:
            raise LineTooLong
        self._room -= 1
        try:
            async with asyncio.timeout(POOL_TIMEOUT_S):
                await self._free.acquire()
        except TimeoutError:
            raise LineTooLong from None
        finally:
            self._room += 1


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database says of its schema: its revision, and the oldest one whose code may serve it. None = nothing."""

    revision: str | None
    oldest_code: str | None


NO_SCHEMA = Schema(None, None)


def schema_verdict(found: Schema) -> str:
    """What a schema means for this version: empty when it may serve it, or what to do.

    A newer one is served when all that was changed since leaves room for this version (`contract` in migrations).
    """
    head, known = _revisions()
    if found.revision == head:
        return ""
    if found.revision is None or found.revision in known:
        return "the database schema is older than this version: run `python -m omni_app migrate`"
    if found.oldest_code in known:
        return ""
    return "the database schema is newer than this version: start the newer version, or restore the backup"


def _lacks_a_table(error: Exception) -> bool:
    """Whether it is the schema that is at fault, and not the way to it."""
    cause = getattr(error, "orig", None)
    return getattr(cause, "sqlstate", None) == UNDEFINED_TABLE or "no such table" in str(cause)


def _schema(connection: Connection) -> Schema:
    """Raises what the database raises when there is no schema."""
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if revision is None or revision == _revisions()[0]:
        return Schema(revision, revision)
    oldest = connection.execute(text("SELECT value FROM meta WHERE key = :key"), {"key": OLDEST_CODE})
    return Schema(revision, oldest.scalar_one_or_none())


@cache
def _revisions() -> tuple[str | None, frozenset[str]]:
    """The newest revision that this version knows, and all of them; read from disk once."""
    found = dict(map(_revision_of, (ROOT / "alembic" / "versions").glob("*.py")))
    heads = found.keys() - found.values()
    return (heads.pop() if len(heads) == 1 else None), frozenset(found)


REVISION = re.compile(r'^revision = "([^"]+)"$.*?^down_revision = (?:None|"([^"]+)")$', re.MULTILINE | re.DOTALL)


def _revision_of(script: Path) -> tuple[str, str | None]:
    """A migration's revision and the one before it, as its file says. Alembic would do, for 9 MB in every worker."""
    found = REVISION.search(script.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{script.name} does not say which revision it is")
    return found[1], found[2]


def _json_text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _engine(url: str, pool_size: int) -> AsyncEngine:
    if not is_sqlite(url):
        return create_async_engine(
            async_url(url),
            json_serializer=_json_text,
            pool_size=max(1, pool_size // 3),  # stay open; the others are opened when they are needed
            max_overflow=pool_size - max(1, pool_size // 3),
            pool_timeout=POOL_TIMEOUT_S,
            pool_pre_ping=True,
            pool_recycle=1800,
            connect_args={
                # Transaction poolers (Supabase's, pgbouncer) hand each transaction another server connection.
                "prepare_threshold": None,
                "connect_timeout": CONNECT_TIMEOUT_S,
            },
        )
    kept = min(KEPT_OF_SQLITE, pool_size)
    pool = {"pool_size": kept, "max_overflow": pool_size - kept, "pool_timeout": POOL_TIMEOUT_S}
    engine = create_async_engine(async_url(url), json_serializer=_json_text, **({} if ":memory:" in url else pool))
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    _follow_the_file(engine)
    return engine


def _follow_the_file(engine: AsyncEngine) -> None:
    """A connection to a file that was moved away, or that another took the place of, is not used again."""
    path = engine.url.database or ""

    def remember(_connection: Any, record: Any) -> None:
        record.info["file"] = _identity(path)

    def check(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info["file"] != _identity(path):
            raise DisconnectionError("the database's file is another one")

    event.listen(engine.sync_engine, "connect", remember)
    event.listen(engine.sync_engine, "checkout", check)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 on the way of every session
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """WAL lets readers and the one writer work together; NORMAL is safe with WAL, and the spool is the durable copy."""
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _alembic_config(url: str) -> "Config":
    """Alembic is loaded where migrations are run: no worker that serves needs it."""
    from alembic.config import Config

    config = Config(str(ROOT / "alembic.ini"))
    config.set_main_option("script_location", str(ROOT / "alembic"))
    config.attributes["url"] = url
    return config


def upgrade(url: str) -> None:
    """Migrates to this version's schema, in this process; a newer one that it may serve stays as it is.

    Raises `DatabaseError` for any other newer schema, when a table stays in use, and for a role that does not own them.
    """
    problem = schema_verdict(current_schema(url))
    if "newer" in problem:
        raise DatabaseError(problem)
    if not problem:
        return
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(_alembic_config(sync_url(url)), "head")
    except CommandError as error:
        raise DatabaseError(str(error)) from error
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != INSUFFICIENT_PRIVILEGE:
            raise
        raise DatabaseError("this role may not change the schema: set DATABASE_OWNER_URL to its owner's") from None


def current_schema(url: str) -> Schema:
    """What the database says; `NO_SCHEMA` for an empty one. Raises `DatabaseError` when it cannot be reached."""
    engine = create_engine(sync_url(url), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return _schema(connection) if engine.dialect.has_table(connection, "alembic_version") else NO_SCHEMA
    except SQLAlchemyError as error:
        raise DatabaseError(f"the database cannot be reached ({type(error).__name__}): check DATABASE_URL") from None
    finally:
        engine.dispose()


def backup_before_upgrade(url: str, data_dir: Path) -> Path | None:
    """Copies an SQLite file that is about to be migrated; keeps the last few. None when nothing had to be done.

    A file that is refused is not copied: a service that starts again and again would push the good copies out.
    """
    path = sqlite_path(url)
    if path is None or not path.exists():
        return None
    problem = schema_verdict(current_schema(url))
    if not problem or "newer" in problem:
        return None
    folder = data_dir / "backups"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = folder / f"omni-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.db"
    copy_sqlite(path, target)
    for old in sorted(folder.glob("omni-*.db"))[:-BACKUPS_KEPT]:
        old.unlink()
    return target


def copy_sqlite(path: Path, target: Path) -> None:
    """Copies an SQLite file as of one moment, whatever is written to it meanwhile; readable by its owner alone.

    Raises `DatabaseError`. The target has its name when it is whole: half a copy would open as an empty database.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        _forget_part(part)
        part.touch(mode=0o600)
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(part)) as copy:
            source.backup(copy)
        part.rename(target)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseError(f"{path} could not be copied to {target}: {error}") from None
    finally:
        _forget_part(part)


def _forget_part(part: Path) -> None:
    with suppress(OSError):
        for one in (part, part.with_name(f"{part.name}-journal")):
            one.unlink(missing_ok=True)


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite URL; None for Postgres and for a database in memory."""
    name = make_url(url).database
    return Path(name) if is_sqlite(url) and name and name != ":memory:" else None


def hold_sqlite_lock(url: str) -> int | None:
    """Makes this process the only server of an SQLite file until it ends; survives exec. Raises `DatabaseError`.

    Gives the descriptor that holds the lock, or None where there is no file to lock.
    """
    path = sqlite_path(url)
    if path is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise DatabaseError(
            f"another Omni-Model Router process serves {path}: SQLite takes one. "
            "Stop it, or set DATABASE_URL to Postgres"
        ) from None
    os.set_inheritable(descriptor, True)
    return descriptor
