"""The log: every filter, both directions, stable while rows arrive, and served by an index on both databases."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, text

from omni_app.storage import ledger
from omni_app.storage.by_id import made_between
from omni_app.storage.database import Database
from omni_app.storage.ledger import RequestRecord
from omni_app.storage.log_pages import LogFilter, LogPage, log_page
from tests.storage.facts import KEY, NOON, ORG, record
from tests.storage.plans import plan_of

OTHER = UUID("00000000-0000-4000-8000-00000000000f")
LIVE = LogFilter(mode="live")


def numbered(number: int, **changes: Any) -> RequestRecord:
    """A request `number` seconds after noon, with an id that says so, as the gateway makes them."""
    at = NOON + timedelta(seconds=number)
    made_ms = int(at.timestamp() * 1000)
    return replace(record(f"req_{made_ms:012x}{number:020x}"), created_at=at, routing=None, **changes)


async def write(database: Database, records: Sequence[RequestRecord]) -> None:
    async with database.session() as session:
        await ledger.insert_records(session, records)
        await session.commit()


async def page(database: Database, wanted: LogFilter = LIVE, *, org: UUID = ORG, **turn: Any) -> LogPage:
    async with database.session() as session:
        return await log_page(session, org_id=org, wanted=wanted, **{"limit": 10, **turn})


def ids(page: LogPage) -> list[str]:
    return [one.request_id for one in page.records]


async def test_the_newest_page_has_the_newest_rows_and_leads_only_to_older_ones(database: Database) -> None:
    rows = [numbered(n) for n in range(25)]
    await write(database, rows)
    found = await page(database)
    assert ids(found) == [row.request_id for row in reversed(rows[15:])]
    assert (found.newer, found.older) == ("", rows[15].request_id)


async def test_turning_the_pages_there_and_back_shows_every_row_once(database: Database) -> None:
    same = NOON + timedelta(hours=1)
    rows = [replace(numbered(n), created_at=same) if 7 < n < 18 else numbered(n) for n in range(35)]
    await write(database, rows)
    there, found = [], await page(database)
    there.append(ids(found))
    while found.older:
        found = await page(database, after=found.older)
        there.append(ids(found))
    assert sorted(chain.from_iterable(there)) == sorted(row.request_id for row in rows)
    back = [ids(found)]
    while found.newer:
        found = await page(database, before=found.newer)
        back.append(ids(found))
    assert back[-1] == there[0]
    assert set(chain.from_iterable(back)) == set(chain.from_iterable(there))


async def test_a_page_stays_as_it_is_while_rows_arrive(database: Database) -> None:
    await write(database, [numbered(n) for n in range(25)])
    mark = (await page(database)).older
    before = ids(await page(database, after=mark))
    await write(database, [numbered(n) for n in range(100, 130)])
    assert ids(await page(database, after=mark)) == before


async def test_where_less_than_a_page_is_newer_the_newest_page_is_whole(database: Database) -> None:
    rows = [numbered(n) for n in range(25)]
    await write(database, rows)
    found = await page(database, before=rows[20].request_id)
    assert ids(found) == [row.request_id for row in reversed(rows[15:])]
    assert found.newer == ""


async def test_after_the_last_row_comes_an_empty_page_that_leads_back(database: Database) -> None:
    rows = [numbered(n) for n in range(3)]
    await write(database, rows)
    found = await page(database, after=rows[0].request_id)
    assert (found.records, found.newer, found.older) == ([], rows[0].request_id, "")


async def test_the_id_of_another_org_turns_to_the_newest_page_as_an_unknown_one_does(database: Database) -> None:
    theirs = numbered(3, org_id=OTHER)
    await write(database, [theirs, *(numbered(n) for n in range(4, 9))])
    turns: list[dict[str, Any]] = [{"after": theirs.request_id}, {"after": "req_none"}, {}]
    pages = [ids(await page(database, **turn)) for turn in turns]
    assert pages[0] == pages[1] == pages[2]
    assert theirs.request_id not in pages[0]


FACTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rescued": {"rescued": True},
    "failed": {"success": False, "model": "", "error_code": "provider_error"},
    "other task": {"task": "chat"},
    "other model": {"model": "groq/llama"},
    "other key": {"key_id": uuid4()},
    "session": {"session_id": "s1"},
    "test": {"key_kind": "test"},
    "other org": {"org_id": OTHER},
}
ALL = ["plain", "rescued", "failed", "other task", "other model", "other key", "session"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ALL),
        ({"mode": "test"}, ["test"]),
        ({"task": "chat"}, ["other task"]),
        ({"model": "groq/llama"}, ["other model"]),
        ({"key_id": KEY}, [one for one in ALL if one != "other key"]),
        ({"outcome": "failed"}, ["failed"]),
        ({"outcome": "rescued"}, ["rescued"]),
        ({"outcome": "answered"}, [one for one in ALL if one not in ("rescued", "failed")]),
        ({"session_id": "s1"}, ["session"]),
        ({"start": NOON + timedelta(seconds=2), "end": NOON + timedelta(seconds=4)}, ["failed", "other task"]),
        ({"outcome": "failed", "task": "chat"}, []),
    ],
)
async def test_each_filter_leaves_what_it_asks_for(
    database: Database, changes: dict[str, Any], expected: list[str]
) -> None:
    rows = {name: numbered(number, **{"session_id": "", **facts}) for number, (name, facts) in enumerate(FACTS.items())}
    await write(database, list(rows.values()))
    names = {row.request_id: name for name, row in rows.items()}
    found = await page(database, replace(LIVE, **changes))
    assert sorted(names[one] for one in ids(found)) == sorted(expected)


async def test_the_beginning_of_an_id_finds_it_and_no_sign_in_it_is_a_pattern(database: Database) -> None:
    rows = [numbered(n * 100_000) for n in range(3)]
    await write(database, rows)
    wanted = rows[1].request_id
    for length in (6, 12, 16, 30, 36):
        assert wanted in ids(await page(database, replace(LIVE, id_prefix=wanted[:length])))
    assert ids(await page(database, replace(LIVE, id_prefix=wanted[:16]))) == [wanted]
    for nothing in ("req_%", "req__", "%", wanted[:35] + "x", "req_ffffffffffff"):
        assert ids(await page(database, replace(LIVE, id_prefix=nothing))) == []


def test_an_id_tells_when_it_was_made() -> None:
    made = made_between("req_0199a1b2c3d4ffff")
    assert made is not None
    assert made[0] < datetime.fromtimestamp(0x0199A1B2C3D4 / 1000, UTC) < made[1]
    assert made_between("req_") is None
    assert made_between("what?") is None


# Plans


INDEXES: list[tuple[dict[str, Any], str]] = [
    ({}, "ix_requests_org_kind_time"),
    ({"task": "coding"}, "ix_requests_org_kind_time"),
    ({"key_id": KEY}, "ix_requests_org_key_time"),
    ({"model": "groq/llama"}, "ix_requests_org_model_time"),
    ({"outcome": "failed"}, "ix_requests_troubled"),
    ({"outcome": "rescued"}, "ix_requests_troubled"),
    ({"session_id": "s1"}, "ix_requests_sessions"),
    (
        {"id_prefix": numbered(3000).request_id[:13]},
        "ix_requests_org_kind_time or requests_request_id_key or requests_pkey",
    ),
    ({"id_prefix": "req_" + "0" * 32}, "request_id"),
]


async def test_every_page_of_a_large_log_is_served_by_the_index_meant_for_it(database: Database) -> None:
    rare = {"model": "groq/llama", "session_id": "s1", "success": False, "rescued": True}
    usual = {"session_id": "", "key_id": uuid4()}
    rows = [numbered(n, **(rare if n % 500 == 0 else usual)) for n in range(6000)]
    await write(database, rows)
    if database.engine.dialect.name == "postgresql":  # SQLite must manage without statistics: nobody gathers them
        async with database.engine.begin() as connection:
            await connection.execute(text("ANALYZE"))
    turns: list[dict[str, Any]] = [{}, {"after": rows[3000].request_id}, {"before": rows[3000].request_id}]
    plans = [(index, await plan_of_page(database, changes, turn)) for changes, index in INDEXES for turn in turns]
    assert [(index, told) for index, told in plans if not any(one in told for one in index.split(" or "))] == []


async def plan_of_page(database: Database, changes: dict[str, Any], turn: dict[str, Any]) -> str:
    """How the database says that it would read this page."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    await page(database, replace(LIVE, **changes), **turn)
    event.remove(database.engine.sync_engine, "before_cursor_execute", note)
    statement, parameters = next(one for one in statements if "LIMIT" in one[0])
    async with database.engine.connect() as connection:
        return await plan_of(connection, statement, parameters)
