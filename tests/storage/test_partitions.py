"""The ledger by month, on Postgres: months are there in time and go whole, and no row is ever there twice or lost."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from sqlalchemy import create_engine, event, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.pool import NullPool
from sqlmodel import col

from omni_app.storage import agent_sessions, ledger, partitions, replays
from omni_app.storage.database import Database, _alembic_config, sync_url
from omni_app.storage.log_pages import LogFilter, log_page
from omni_app.storage.partitions import AHEAD, BY_MONTH, drop_months, make_months, months_from, next_month, parts
from omni_app.storage.retention import REQUESTS_KEPT, ROUTING_LOGS_KEPT, Retention
from omni_app.storage.spool import Drainer, Spool
from omni_app.storage.tables import Org, RequestRow, UsageRollup
from omni_app.verify.ledger import verify_ledger
from tests.servers.pgbouncer import pooled
from tests.servers.postgres import Postgres
from tests.storage.facts import NOON, ORG, admission, attempt, record
from tests.storage.plans import plan_of

MONTH = datetime(2025, 3, 1, tzinfo=UTC)
"""Noon's. Nobody foresaw it: its rows lie in the default partition until it is made."""
YEAR = timedelta(days=365)
BEFORE = "0023"
CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE contype IN ('p', 'u') AND conrelid::regclass::text IN ('requests', 'attempts', 'routing_logs')
    UNION ALL SELECT tablename, indexname, replace(indexdef, ' ON ONLY ', ' ON ') FROM pg_indexes
    WHERE tablename IN ('requests', 'attempts', 'routing_logs') AND indexname LIKE 'ix%' ORDER BY 1, 2
"""
UNLIKE = """
    SELECT part.relname FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid
    WHERE inhparent = to_regclass(:parent) AND (SELECT count(*) FROM pg_index WHERE indrelid = part.oid)
        <> (SELECT count(*) FROM pg_index JOIN pg_inherits held ON held.inhparent = indexrelid WHERE indrelid =
            to_regclass(:parent) AND held.inhrelid IN (SELECT indexrelid FROM pg_index WHERE indrelid = part.oid))
"""
"""Partitions with an index that is no part of their table's."""


async def write(database: Database, *at: datetime) -> None:
    """A request at each of these moments, named by its place."""
    names = [f"req_{number:032x}" for number in range(len(at))]
    records = [replace(record(name), created_at=moment) for name, moment in zip(names, at, strict=True)]
    attempts = [replace(attempt(name), created_at=moment) for name, moment in zip(names, at, strict=True)]
    async with database.session() as session:
        await ledger.insert_records(session, records, attempts)
        await session.commit()


async def held(database: Database, name: str) -> int:
    """Rows of a table or partition."""
    async with database.session() as session:
        return await session.scalar(text(f"SELECT count(*) FROM {name}")) or 0


async def names_of(database: Database, parent: str = "requests") -> list[str]:
    async with database.session() as session:
        return [one.name for one in await parts(session, parent)]


async def is_refused(drainer: Drainer) -> bool:
    """Whether the database did not take all: `Drainer.run` tries again then."""
    try:
        await drainer.flush()
    except IntegrityError:
        return True
    return False


async def with_org(database: Database) -> None:
    async with database.session() as session:
        session.add(Org(id=ORG, name="Acme"))
        await session.commit()


@pytest.mark.parametrize(
    ("now", "first", "last"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), (2026, 1), (2026, 4)),
        (datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), (2026, 11), (2027, 2)),
        (datetime(2026, 12, 31, 20, tzinfo=UTC), (2026, 12), (2027, 3)),
        (datetime.fromisoformat("2026-12-31T20:00:00-05:00"), (2027, 1), (2027, 4)),
    ],
)
def test_months_are_those_of_utc_and_meet_each_other(
    now: datetime, first: tuple[int, int], last: tuple[int, int]
) -> None:
    months = list(months_from(now))
    assert [(one.year, one.month) for one, _ in (months[0], months[-1])] == [first, last]
    assert [end for _, end in months[:-1]] == [start for start, _ in months[1:]]
    assert months[0][0] <= now < months[0][1] == next_month(now)


@pytest.mark.parametrize("way", ["direct", "pooler"])
async def test_many_processes_that_look_ahead_make_each_month_once(
    postgres: Postgres, postgres_name: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        direct = postgres.url(postgres_name)
        url = direct if way == "direct" else stack.enter_context(pooled(postgres, postgres_name))
        workers = [Database(url) for _ in range(8)]
        for one in workers:
            stack.push_async_callback(one.close)
        was = await names_of(workers[0])
        for now in (NOON, NOON, NOON + timedelta(days=31)):
            await asyncio.gather(*(make_months(one, now=now) for one in workers))
            await make_months(workers[0], now=now)  # who had no turn leaves it to the one who had
        made = {f"requests_2025_{month:02}" for month in range(3, 3 + AHEAD + 2)}
        assert set(await names_of(workers[0])) == {*was, *made}
        async with workers[0].session() as session:
            for table in BY_MONTH:
                assert (await session.scalars(text(UNLIKE), {"parent": table.__tablename__})).all() == []
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []


async def test_a_line_that_is_read_again_is_known_wherever_its_month_lies_by_then(
    postgres_database: Database, tmp_path: Path
) -> None:
    def note() -> Drainer:
        """The same lines once more, as from the spool of a process that died."""
        spool = Spool(tmp_path / "spool")
        for number, at in enumerate((NOON, NOON + timedelta(days=22), NOON + 20 * YEAR)):
            name = f"req_{number}"
            spool.admit(replace(admission(name), created_at=at))
            spool.attempt(replace(attempt(name), created_at=at))
            spool.finish(replace(record(name), created_at=at))
        return Drainer(spool, postgres_database)

    await note().flush()
    assert await held(postgres_database, "requests_default") == 3
    await make_months(postgres_database, now=NOON)
    for table in ("requests", "attempts", "routing_logs"):
        there = [await held(postgres_database, f"{table}_{which}") for which in ("2025_03", "2025_04", "default")]
        assert there == [1, 1, 1], "what a new month holds of the default partition moves into it"
    await note().flush()
    await make_months(postgres_database, now=NOON + 20 * YEAR)
    await note().flush()
    for table in ("requests", "attempts", "routing_logs"):
        assert await held(postgres_database, table) == 3
        assert await held(postgres_database, f"{table}_default") == 0
    async with postgres_database.session() as session:
        sums = select(col(UsageRollup.requests)).where(col(UsageRollup.grain) == "dall")
        assert list(await session.scalars(sums)) == [1, 1, 1]


async def test_months_that_are_made_while_rows_of_them_arrive_neither_lose_nor_double_any(
    postgres_url: str, tmp_path: Path
) -> None:
    database = Database(postgres_url, patience_s=None)
    moments = [MONTH + timedelta(days=9 * number) for number in range(40)]

    async def writer(number: int) -> None:
        spool = Spool(tmp_path / str(number))
        drainer = Drainer(spool, database)
        for turn in range(4):
            for place, at in enumerate(moments):
                name = f"req_{place}_{turn if number % 2 else 0}"  # many that others write too
                spool.admit(replace(admission(name), created_at=at))
                spool.attempt(replace(attempt(name), created_at=at))
                spool.finish(replace(record(name), created_at=at))
            while await is_refused(drainer):
                pass
        spool.close()

    async def maker() -> None:
        for at in moments:
            await make_months(database, now=at)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(writer(number) for number in range(6)), maker())
    for table in ("requests", "attempts", "routing_logs"):
        assert await held(database, table) == 4 * len(moments)
        assert await held(database, f"{table}_default") == 0
    async with database.consistent_reading() as session:
        findings = await verify_ledger(session, now=NOON + YEAR, on_its_way=timedelta())
    about = ("no request is there twice", "an attempt belongs to a request", "a roll-up of")
    sound = [one for one in findings if one.invariant.startswith(about)]
    assert len(sound) == 10 and [one for one in sound if one.violations or not one.checked] == []
    assert not list(tmp_path.rglob("rejected"))
    await database.close()


async def test_a_row_whose_month_is_made_before_its_eyes_is_tried_again_and_not_set_aside(
    postgres_url: str, postgres_database: Database, tmp_path: Path
) -> None:
    spool = Spool(tmp_path)
    spool.admit(admission())
    spool.finish(record())
    drainer = Drainer(spool, postgres_database)
    async with await psycopg.AsyncConnection.connect(postgres_url) as maker, asyncio.TaskGroup() as tasks:
        await maker.execute("LOCK TABLE requests_default IN ACCESS EXCLUSIVE MODE")
        flush = tasks.create_task(is_refused(drainer))
        waits = "SELECT FROM pg_locks WHERE NOT granted"
        while not await (await maker.execute(waits)).fetchall():  # noqa: ASYNC110 another process does the work
            await asyncio.sleep(0.01)
        await maker.execute("CREATE TABLE requests_2025_03 (LIKE requests INCLUDING ALL)")
        span = "FROM ('2025-03-01 UTC') TO ('2025-04-01 UTC')"
        await maker.execute(f"ALTER TABLE requests ATTACH PARTITION requests_2025_03 FOR VALUES {span}")
        await maker.commit()
        assert await flush, "it was on its way to the default partition"
        await drainer.flush()
        spool.close()
        assert (await (await maker.execute("SELECT count(*) FROM requests_2025_03")).fetchall()) == [(1,)]
    assert not (tmp_path / "rejected").exists()


async def test_a_row_goes_at_its_time_and_a_month_when_all_of_it_is_over(postgres_database: Database) -> None:
    await with_org(postgres_database)
    for ahead in range(6):
        await make_months(postgres_database, now=MONTH + timedelta(days=31 * ahead))
    begins = [start for start, _ in months_from(MONTH)]
    await write(postgres_database, *(start + timedelta(days=day) for start in begins for day in (0, 27)))
    moment = timedelta(microseconds=1)
    for now, requests, logs, march_requests, march_logs in (
        (begins[0] + ROUTING_LOGS_KEPT, 8, 8, True, True),
        (begins[0] + ROUTING_LOGS_KEPT + moment, 8, 7, True, True),
        (begins[1] + ROUTING_LOGS_KEPT - moment, 8, 6, True, True),
        (begins[1] + ROUTING_LOGS_KEPT, 8, 6, True, False),
        (begins[0] + REQUESTS_KEPT, 8, 0, True, False),
        (begins[0] + REQUESTS_KEPT + moment, 7, 0, True, False),
        (begins[1] + REQUESTS_KEPT - moment, 6, 0, True, False),
        (begins[1] + REQUESTS_KEPT, 6, 0, False, False),
    ):
        await Retention(postgres_database).clean(now=now)
        counts = [await held(postgres_database, one) for one in ("requests", "attempts", "routing_logs")]
        assert counts == [requests, requests, logs], now
        assert ("requests_2025_03" in await names_of(postgres_database)) == march_requests
        assert ("attempts_2025_03" in await names_of(postgres_database, "attempts")) == march_requests
        assert ("routing_logs_2025_03" in await names_of(postgres_database, "routing_logs")) == march_logs


async def test_a_month_that_nobody_let_go_of_in_time_goes_without_deleting_its_rows(
    postgres_database: Database,
) -> None:
    await with_org(postgres_database)
    for ahead in range(4):
        await make_months(postgres_database, now=MONTH + timedelta(days=31 * ahead))
    begins = [start for start, _ in months_from(MONTH)]
    await write(postgres_database, *(start + timedelta(days=day) for start in begins for day in (0, 27)))
    said: list[str] = []
    event.listen(postgres_database.engine.sync_engine, "before_cursor_execute", lambda *args: said.append(args[2]))
    await Retention(postgres_database).clean(now=begins[3] + REQUESTS_KEPT)
    assert [await held(postgres_database, one) for one in ("requests", "attempts")] == [2, 2]
    touched = {one.split()[2] for one in said if one.startswith("DELETE FROM")}
    assert {one for one in touched if one.startswith("requests")} == {"requests_default"}, "and none of a later month"


async def test_a_month_with_too_many_rows_in_the_default_partition_stays_there_and_goes_in_pieces(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(partitions, "MOST_MOVED", 2)
    await with_org(postgres_database)
    await write(postgres_database, *(NOON + timedelta(minutes=number) for number in range(3)))
    await make_months(postgres_database, now=NOON)
    names = await names_of(postgres_database)
    assert "requests_2025_03" not in names and "requests_2025_04" in names, "the others are made all the same"
    assert any("requests_default holds more rows of requests_2025_03" in one.message for one in caplog.records)
    await write(postgres_database, *(NOON + timedelta(minutes=number) for number in range(3)))
    assert await held(postgres_database, "requests") == 3
    await Retention(postgres_database).clean(now=NOON + timedelta(minutes=1.5) + REQUESTS_KEPT)
    counts = [await held(postgres_database, one) for one in ("requests", "attempts", "routing_logs")]
    assert counts == [1, 1, 0]


@pytest.fixture
async def reader(postgres_url: str) -> AsyncIterator[Database]:
    database = Database(postgres_url)
    yield database
    await database.close()


async def test_a_table_that_somebody_reads_for_long_is_left_for_the_next_round(
    postgres_database: Database, reader: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(partitions, "LOCK_TIMEOUT_MS", 100)
    over = MONTH + timedelta(days=31) + REQUESTS_KEPT
    await make_months(postgres_database, now=MONTH)
    was = await names_of(postgres_database)
    async with reader.session() as session:
        await session.scalars(select(col(RequestRow.request_id)))
        await drop_months(postgres_database, RequestRow, before=over - REQUESTS_KEPT)
        await make_months(postgres_database, now=MONTH + YEAR)
        assert await names_of(postgres_database) == was
        assert "attempts_2026_03" in await names_of(postgres_database, "attempts"), "nobody reads these"
        await write(postgres_database, NOON)
    warned = [one.message for one in caplog.records]
    assert warned == [
        "old months of requests wait for the next round: LockNotAvailable",
        "months of requests wait for the next round: LockNotAvailable",
    ]
    await drop_months(postgres_database, RequestRow, before=over - REQUESTS_KEPT)
    await make_months(postgres_database, now=MONTH + YEAR)
    names = await names_of(postgres_database)
    assert "requests_2025_03" not in names and "requests_2026_03" in names


# The migration


def said(url: str, statement: str) -> Sequence[Any]:
    engine = create_engine(sync_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        found = connection.execute(text(statement)).all()
    engine.dispose()
    return found


async def test_a_table_as_it_was_becomes_the_first_part_and_comes_back_whole(postgres_url: str) -> None:
    config = _alembic_config(sync_url(postgres_url))
    database, later = Database(postgres_url), datetime.now(UTC) + timedelta(days=100)
    await with_org(database)
    command.downgrade(config, BEFORE)
    keys = said(postgres_url, CONSTRAINTS)
    await write(database, NOON, NOON + YEAR, later)
    command.upgrade(config, "head")
    after = next_month(later)
    async with database.session() as session:
        for table in ("requests", "attempts", "routing_logs"):
            found = {one.name.removeprefix(f"{table}_"): one for one in await parts(session, table)}
            assert (found["before"].starts_at, found["before"].ends_at) == (None, after)
            assert min(one.starts_at for one in found.values() if one.starts_at) == after, "months follow at once"
            assert (await session.scalars(text(UNLIKE), {"parent": table})).all() == []
    await write(database, NOON, NOON + YEAR, later, after)
    assert [await held(database, one) for one in ("requests", "requests_before")] == [4, 3]
    await make_months(database, now=datetime.now(UTC))
    assert len(await names_of(database)) == 6, "months that the old part has are not made"
    await Retention(database).clean(now=NOON + REQUESTS_KEPT + timedelta(days=1))
    assert [await held(database, one) for one in ("requests", "attempts", "routing_logs")] == [3, 3, 2]
    divided = said(postgres_url, CONSTRAINTS)
    command.downgrade(config, BEFORE)
    assert said(postgres_url, CONSTRAINTS) == keys
    assert [await held(database, one) for one in ("requests", "attempts", "routing_logs")] == [3, 3, 2]
    command.upgrade(config, "head")
    assert said(postgres_url, CONSTRAINTS) == divided
    await Retention(database).clean(now=next_month(after) + REQUESTS_KEPT)
    assert "requests_before" not in await names_of(database), "it goes whole as well, when all of it is over"
    await database.close()


# Plans

ROWS = 30_000
"""One each twenty minutes, over fourteen months."""
COPIES = """
    INSERT INTO {table} ({columns}) SELECT {values}
    FROM (SELECT * FROM {table} LIMIT 1) AS one, generate_series(1, {rows}) AS n
"""
COPIED = {
    "id": "gen_random_uuid()",
    "request_id": "'req_' || CASE WHEN n % 2 = 0 THEN lpad(to_hex((extract(epoch FROM one.created_at) * 1000)::bigint "
    "+ n * 1200000::bigint), 12, '0') || lpad(to_hex(n), 20, '0') ELSE lpad(to_hex(n), 32, '0') END",
    "created_at": "one.created_at + n * interval '20 minutes'",
    "session_id": "'s' || n % 3000",
}
AT_MS = int(MONTH.timestamp() * 1000) + ROWS // 2 * 1_200_000
REQUEST, ANOTHER = f"req_{AT_MS:012x}{ROWS // 2:020x}", f"req_{ROWS // 2 + 1:032x}"
"""One whose id tells its moment, as the gateway makes them, and its neighbour, whose does not."""
OF_REQUEST = "2025_09"
EMPTY = "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' AND reltuples <= 0"
EXECUTED = "(ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)"


@pytest.fixture
async def long_ledger(postgres_url: str, postgres_database: Database) -> Database:
    """Fourteen months with rows in each, and what there is beside them."""
    for month in range(14):
        await make_months(postgres_database, now=MONTH + month * timedelta(days=30.5))
    await write(postgres_database, MONTH)
    async with postgres_database.engine.begin() as connection:
        for table in BY_MONTH:
            columns = table.__table__.columns.keys()  # type: ignore[attr-defined]
            values = ", ".join(COPIED.get(name, f"one.{name}") for name in columns)
            copies = COPIES.format(table=table.__tablename__, columns=", ".join(columns), values=values, rows=ROWS)
            await connection.execute(text(copies))
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        owner.execute("ANALYZE")
    assert (
        len(await names_of(postgres_database)) > 14 + AHEAD and await held(postgres_database, "requests_default") == 0
    )
    return postgres_database


async def scans_of(database: Database, work: Callable[[AsyncSession], Awaitable[object]]) -> list[str]:
    """The scans that were run for this work, but for those of partitions without a row."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    async with database.session() as session:
        connection = await session.connection()
        event.listen(database.engine.sync_engine, "before_cursor_execute", note)
        await work(session)
        event.remove(database.engine.sync_engine, "before_cursor_execute", note)
        plans = [await plan_of(connection, *one, how=EXECUTED) for one in statements]
        empty = [f" on {name} " for name in await session.scalars(text(EMPTY))]
    lines = [line.strip(" ->") for plan in plans for line in plan.splitlines()]
    scans = [line for line in lines if re.search("Scan.* on ", line) and "never executed" not in line]
    return [line for line in scans if not any(name in line for name in empty)]


async def test_look_ups_go_by_indexes_and_as_soon_as_the_moment_is_known_to_its_month_alone(
    long_ledger: Database,
) -> None:
    found = [
        lambda session: ledger.request_detail(session, org_id=ORG, request_id=REQUEST),
        lambda session: replays.kept_decision(session, org_id=ORG, request_id=REQUEST),
        lambda session: log_page(session, org_id=ORG, wanted=LogFilter("live"), limit=1, after=REQUEST),
    ]
    for scans in [await scans_of(long_ledger, work) for work in found[:2]]:
        assert {one.split()[0] for one in scans} == {"Index"}, scans
        assert all(OF_REQUEST in one or " on routing_logs" in one for one in scans), "those are of few months"
    (mark, *_) = await scans_of(long_ledger, found[2])
    assert "requests_pkey" in mark and OF_REQUEST in mark, mark
    elsewhere = await scans_of(
        long_ledger, lambda session: ledger.request_detail(session, org_id=ORG, request_id=ANOTHER)
    )
    by_index = [one for one in elsewhere if one.startswith("Index") and "requests_pkey" in one]
    assert len(by_index) >= 14, "an id that tells another time than its row is looked for in every month"
    assert any(f" on attempts_{OF_REQUEST}" in one for one in elsewhere), elsewhere
    newest = await scans_of(
        long_ledger, lambda session: ledger.recent_requests(session, org_id=ORG, mode="live", limit=50)
    )
    assert all("ix_requests_org_kind_time" in one for one in newest), newest
    steps = await scans_of(
        long_ledger,
        lambda session: agent_sessions.last_steps(session, org_id=ORG, mode="live", session_id="s7", limit=8),
    )
    assert {one.split()[0] for one in steps} == {"Index"} and any("ix_requests_sessions" in one for one in steps), steps
    since = datetime(2026, 3, 30, tzinfo=UTC)
    first = await scans_of(
        long_ledger,
        lambda session: ledger.first_request_after(session, org_id=ORG, key_kind="live", since=since),
    )
    assert first and not [one for one in first if "2026_02" in one], first
