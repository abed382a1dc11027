"""The next version's migration runs while this version serves. A play of `make chaos`.

What is "the version before" of a migration that is yet to be written is the code as it stands: the next revision is
one of a test's own, with what a release may bring (columns, a table, an index on the ledger).
"""

import argparse
import asyncio
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import httpx
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from omni_app.storage import ledger
from omni_app.storage.database import Database, current_schema, sync_url
from tests.faults.rig import PATIENCE_S, POLL_S, Ask, Rig, patient_client, rigged, say
from tests.product import ROOT
from tests.servers.postgres import running_postgres
from tests.storage.facts import NOON, attempt, record

REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None
contract = ""


def upgrade():
    {upgrade}


def downgrade():
    {downgrade}
"""
NEXT = (
    (
        'op.add_column("orgs", sa.Column("colour", sa.String(7), nullable=True))',
        'op.drop_column("orgs", "colour")',
    ),
    (
        'op.add_column("api_keys", sa.Column("colour", sa.String(7), nullable=False, server_default=""))',
        'op.drop_column("api_keys", "colour")',
    ),
    (
        'op.add_column("requests", sa.Column("weight", sa.BigInteger(), nullable=False, server_default="0"))',
        'op.drop_column("requests", "weight")',
    ),
    (
        'op.create_index("ix_requests_weight", "requests", ["org_id", "weight"])',
        'op.drop_index("ix_requests_weight", "requests")',
    ),
    ('op.create_table("colours", sa.Column("id", sa.Uuid(), primary_key=True))', 'op.drop_table("colours")'),
)
"""What the next version's revisions do, and how it is undone."""
NEWEST = f"{9000 + len(NEXT) - 1}"
CALLERS = 4
BIG = 200_000
"""Rows of the ledger that the long form migrates."""
AT_ONCE = 2_000
HELD_S = 20


def next_version(folder: Path) -> Path:
    """The migrations with those of the next version; gives their `alembic.ini`."""
    shutil.copytree(ROOT / "alembic", folder / "alembic", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "alembic.ini", folder / "alembic.ini")
    versions = folder / "alembic" / "versions"
    before = max(path.name[:4] for path in versions.glob("*.py"))
    for number, (upgrade, downgrade) in enumerate(NEXT, start=9000):
        source = REVISION.format(revision=number, before=before, upgrade=upgrade, downgrade=downgrade)
        (versions / f"{number}_next.py").write_text(source)
        before = str(number)
    return folder / "alembic.ini"


@dataclass(frozen=True, slots=True)
class Alembic:
    """`alembic …` as an operator runs it."""

    process: asyncio.subprocess.Process
    log_file: Path

    @property
    def said(self) -> str:
        return self.log_file.read_text()

    async def until_said(self, words: str) -> None:
        """Returns when it has said so. Raises `AssertionError` when it ended without."""
        async with asyncio.timeout(PATIENCE_S):
            while words not in self.said:
                if self.process.returncode is not None:
                    raise AssertionError(f"alembic ended without {words!r}: {self.said}")
                await asyncio.sleep(POLL_S)

    async def ended(self) -> float:
        """Returns when it is done; gives the seconds it took from here. Raises `AssertionError` when it failed."""
        began_s = time.monotonic()
        if await self.process.wait():
            raise AssertionError(self.said)
        return time.monotonic() - began_s


async def alembic(rig: Rig, ini: Path, *command: str) -> Alembic:
    """Starts it."""
    log_file = ini.with_name(f"alembic-{command[0]}.log")
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "alembic", "-c", str(ini), *command,
            cwd=ROOT, env={**os.environ, **rig.environment, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log,
        )  # fmt: skip
    return Alembic(process, log_file)


@dataclass(slots=True)
class Watch:
    """What was seen from outside while a schema changed."""

    ready: Counter[int] = field(default_factory=Counter)
    """Answers of `/ready`, by status."""
    slowest_s: float = 0.0
    """Of the requests."""
    waiting: list[Ask] = field(default_factory=list)


@asynccontextmanager
async def under_load(rig: Rig, asks: list[Ask]) -> AsyncIterator[Watch]:
    """`CALLERS` callers with new keys, which only the database knows, and somebody who asks `/ready` all the time."""
    watch = Watch(waiting=asks)
    async with patient_client() as client, asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(_call(rig, client, watch))
        asking = group.create_task(_ask_ready(rig, client, watch))
        await rig.until_called(len(rig.upstream.calls) + CALLERS)
        yield watch
        await rig.until_called(len(rig.upstream.calls) + CALLERS)
        if not watch.waiting:
            raise AssertionError("the load ended before the migration did")
        watch.waiting.clear()
        asking.cancel()


async def _call(rig: Rig, client: httpx.AsyncClient, watch: Watch) -> None:
    while watch.waiting:
        began_s = time.monotonic()
        await rig.send(client, watch.waiting.pop())
        watch.slowest_s = max(watch.slowest_s, time.monotonic() - began_s)


async def _ask_ready(rig: Rig, client: httpx.AsyncClient, watch: Watch) -> None:
    while True:
        watch.ready[(await client.get(f"{rig.base_url}/ready")).status_code] += 1
        await asyncio.sleep(POLL_S)


@contextmanager
def long_transaction(url: str) -> Iterator[None]:
    """Somebody who has looked at the orgs and does not end: every change of that table stands behind."""
    engine = create_engine(sync_url(url), poolclass=NullPool)
    with engine.connect() as connection, connection.begin():
        connection.execute(text("SELECT count(*) FROM orgs"))
        yield
    engine.dispose()


def rows_of_requests(url: str) -> tuple[int, int]:
    """Rows of the ledger, and the sum of what they cost in the roll-ups less what they cost themselves (0 is right)."""
    engine = create_engine(sync_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        rows, cost = connection.execute(text("SELECT count(*), coalesce(sum(cost), 0) FROM requests")).one()
        summed = connection.scalar(text("SELECT coalesce(sum(cost), 0) FROM usage_rollups WHERE grain = 'day'"))
    engine.dispose()
    return int(rows), int(summed) - int(cost)


async def until_rows(rig: Rig, count: int) -> int:
    """Returns when the ledger has so many rows, or the time is up; gives how many it has."""
    deadline_s = time.monotonic() + PATIENCE_S / 4
    while (  # noqa: ASYNC110 another process does the work
        rows := rows_of_requests(rig.settings.database)[0]
    ) < count and time.monotonic() < deadline_s:
        await asyncio.sleep(POLL_S)
    return rows


async def write_many(url: str, count: int) -> None:
    """A ledger of some size, through the code that writes it."""
    database = Database(url)
    for start in range(0, count, AT_ONCE):
        async with database.session() as session:
            names = [f"old_{number}" for number in range(start, start + AT_ONCE)]
            rows = [replace(record(name), created_at=NOON + timedelta(seconds=start)) for name in names]
            await ledger.insert_records(session, rows, [attempt(name) for name in names])
            await session.commit()
    await database.close()


async def play(folder: Path, arguments: argparse.Namespace) -> bool:
    """Up and down over a big ledger on both databases; on Postgres also behind a transaction that does not end."""
    (folder / "lite").mkdir()
    well = await _up_and_down(folder / "lite", f"sqlite:///{folder / 'lite' / 'omni.db'}")
    with running_postgres() as postgres:
        (folder / "post").mkdir()
        well &= await _up_and_down(folder / "post", postgres.create("omni"))
        (folder / "held").mkdir()
        return well & await _held_up(folder / "held", postgres.create("held"))


async def _up_and_down(folder: Path, url: str) -> bool:
    ini = next_version(folder)
    async with rigged(folder, delay_s=0.05, environment={"DATABASE_URL": url}) as rig:
        await write_many(url, BIG)
        before = rows_of_requests(url)[0]
        asks = [ask for _ in range(3) for ask in await rig.asks(1_000)]
        await rig.start()
        async with under_load(rig, asks) as watch:
            up_s = await (await alembic(rig, ini, "upgrade", "head")).ended()
            down_s = await (await alembic(rig, ini, "downgrade", f"-{len(NEXT)}")).ended()
        rows = await until_rows(rig, before + len(rig.upstream.calls))
        await rig.terminate()
    outcomes, unsummed = Counter(one.told for one in rig.outcomes), rows_of_requests(url)[1]
    say(
        f"{url.split(':', maxsplit=1)[0]}, {before} rows: upgrade {up_s:.1f} s, downgrade {down_s:.1f} s, "
        f"{dict(outcomes)}, slowest {watch.slowest_s:.2f} s, /ready {dict(watch.ready)}, "
        f"{rows - before} new rows of {len(rig.upstream.calls)} calls, roll-ups off by {unsummed}"
    )
    return (
        set(outcomes) == {"200", "done"}
        and set(watch.ready) == {200}
        and rows - before == len(rig.upstream.calls)
        and unsummed == 0
        and current_schema(url).revision not in (None, NEWEST)
    )


async def _held_up(folder: Path, url: str) -> bool:
    ini = next_version(folder)
    async with rigged(folder, delay_s=0.05, environment={"DATABASE_URL": url}) as rig:
        asks = [ask for _ in range(3) for ask in await rig.asks(1_000)]
        await rig.start()
        async with under_load(rig, asks) as watch:
            with long_transaction(url):
                upgrading = await alembic(rig, ini, "upgrade", "head")
                await asyncio.sleep(HELD_S)
            await upgrading.ended()
        await rig.terminate()
    outcomes = Counter(one.told for one in rig.outcomes)
    say(
        f"postgres, behind a transaction of {HELD_S} s: {upgrading.said.count('tries again')} tries in vain, "
        f"{dict(outcomes)}, slowest {watch.slowest_s:.2f} s, /ready {dict(watch.ready)}"
    )
    return current_schema(url).revision == NEWEST and set(outcomes) == {"200", "done"} and set(watch.ready) == {200}
