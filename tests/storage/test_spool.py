"""The spool: what it took is in the database exactly once, whatever dies, breaks, fills up or goes away meanwhile."""

import asyncio
import resource
import shutil
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select, text

from omni_app.errors import Unavailable
from omni_app.storage import ledger
from omni_app.storage import spool as spool_module
from omni_app.storage.database import DATABASE_ERRORS, Database, upgrade
from omni_app.storage.ledger import UNKNOWN_OUTCOME, AttemptRecord, RequestRecord, RoutingRecord
from omni_app.storage.spool import ROOM_BYTES, Admission, Drainer, Fact, Spool, decode, encode
from omni_app.storage.tables import AttemptRow, RequestRow, RoutingLog
from tests.product import ROOT
from tests.servers.postgres import Postgres
from tests.storage.facts import ORG, admission, attempt, record

WORDS = st.text(st.characters(codec="utf-8"), max_size=20)  # what UTF-8 can hold: NULs, quotes and newlines too
NUMBERS = st.integers(0, 2**63 - 1)
MOMENTS = st.datetimes(timezones=st.just(UTC))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
routings = st.builds(
    RoutingRecord,
    considered_models=st.lists(st.dictionaries(WORDS, JSON, max_size=3), max_size=3),
    task_scores=st.dictionaries(WORDS, st.floats(0, 1), max_size=3),
    final_model=WORDS,
    reason=WORDS,
    features=st.dictionaries(WORDS, JSON, max_size=3),
    policy_version=WORDS,
    registry_version=WORDS,
    snapshot_id=WORDS,
)
SHARED = {"request_id": WORDS, "created_at": MOMENTS}
CALLER = {"org_id": st.uuids(), "key_id": st.uuids(), "key_kind": st.sampled_from(["live", "test"])}
facts = st.one_of(
    st.builds(Admission, **SHARED, **CALLER, endpoint=WORDS, task=WORDS),
    st.builds(
        AttemptRecord,
        **SHARED,
        position=NUMBERS,
        detail=WORDS,
        cost=NUMBERS,
        latency_ms=NUMBERS,
        tokens_input=NUMBERS,
        tokens_output=NUMBERS,
    ),
    st.builds(
        RequestRecord,
        **SHARED,
        **CALLER,
        model=WORDS,
        cost=NUMBERS,
        tokens_input=NUMBERS,
        success=st.booleans(),
        error_code=WORDS,
        session_id=WORDS,
        routing=st.none() | routings,
    ),
)


# Lines


@settings(max_examples=60, deadline=None)
@given(facts)
def test_a_fact_is_one_line_and_is_read_back_as_it_was(fact: Fact) -> None:
    line = encode(fact)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert decode(line) == fact


@settings(max_examples=60, deadline=None)
@given(facts, st.data())
def test_a_line_with_a_changed_byte_or_a_missing_end_is_no_fact(fact: Fact, data: st.DataObject) -> None:
    line = encode(fact)
    place = data.draw(st.integers(0, len(line) - 2))
    flipped = line[place] ^ (1 << data.draw(st.integers(0, 7)))
    assert decode(line[:place]) is None
    assert decode(line[:place] + bytes([flipped]) + line[place + 1 :]) is None


@given(st.binary(max_size=60))
def test_noise_is_no_fact(noise: bytes) -> None:
    assert decode(noise) is None


@pytest.mark.parametrize(
    "body", [b'["later_kind",{"request_id":"r"}]', b'["admit",{"created_at":"2025-01-01T00:00:00Z"}]', b"[]", b"7"]
)
def test_a_whole_line_that_this_version_does_not_know_is_no_fact(body: bytes) -> None:
    assert decode(b"%08x %b\n" % (zlib.crc32(body), body)) is None


# Draining


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """One process's spool."""
    made = Spool(tmp_path / "spool")
    yield made
    made.close()


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.log"))


def put(spool: Spool, *names: str) -> None:
    """Whole requests."""
    for name in names:
        spool.admit(admission(name))
        spool.attempt(attempt(name))
        spool.finish(record(name))


async def ledger_rows(database: Database) -> dict[str, str]:
    """Request id -> error code."""
    async with database.session() as session:
        return {row.request_id: row.error_code for row in await session.scalars(select(RequestRow))}


async def everything(database: Database) -> list[list[object]]:
    """All rows of the ledger, to see that nothing changed."""
    async with database.session() as session:
        tables = (RequestRow, AttemptRow, RoutingLog)
        return [
            sorted((row.model_dump() for row in await session.scalars(select(table))), key=repr) for table in tables
        ]


@asynccontextmanager
async def running(drainer: Drainer) -> AsyncIterator[None]:
    task = asyncio.create_task(drainer.run(asyncio.Event()))
    yield
    assert not task.done(), "the drainer never gives up"
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def until_drained(database: Database, names: set[str]) -> None:
    async with asyncio.timeout(10):
        while True:
            with suppress(*DATABASE_ERRORS):
                if (await ledger_rows(database)).keys() == names:
                    return
            await asyncio.sleep(0.05)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 a task of the product's does the work
            await asyncio.sleep(0.05)


async def test_what_was_spooled_is_in_the_ledger_after_a_flush(spool: Spool, database: Database) -> None:
    put(spool, "req_1", "req_2")
    drainer = Drainer(spool, database)
    await drainer.flush()
    assert await ledger_rows(database) == {"req_1": "", "req_2": ""}
    assert [len(rows) for rows in await everything(database)] == [2, 2, 2]
    assert (drainer.drained_requests, drainer.damaged_lines) == (2, 0)


async def test_an_open_request_is_no_row_while_its_process_lives(spool: Spool, sqlite_database: Database) -> None:
    drainer = Drainer(spool, sqlite_database)
    spool.admit(admission())
    await drainer.flush()
    assert await ledger_rows(sqlite_database) == {}
    spool.finish(record())
    await drainer.flush()
    assert await ledger_rows(sqlite_database) == {"req_1": ""}


async def test_the_running_drainer_follows_what_is_appended(spool: Spool, sqlite_database: Database) -> None:
    async with running(Drainer(spool, sqlite_database)):
        put(spool, "req_1")
        await until_drained(sqlite_database, {"req_1"})
        put(spool, "req_2")
        await until_drained(sqlite_database, {"req_1", "req_2"})


async def test_more_lines_than_a_batch_are_all_drained(spool: Spool, sqlite_database: Database) -> None:
    names = [f"req_{n}" for n in range(spool_module.BATCH_LINES + 5)]
    for name in names:
        spool.finish(replace(record(name), routing=None))
    await Drainer(spool, sqlite_database).flush()
    assert (await ledger_rows(sqlite_database)).keys() == set(names)


async def test_segments_rotate_and_go_when_they_are_drained_and_closed(
    tmp_path: Path, sqlite_database: Database
) -> None:
    spool = Spool(tmp_path / "spool", segment_bytes=2_000)
    names = [f"req_{n}" for n in range(20)]
    put(spool, *names)
    assert len(segments(spool.directory)) > 5
    await Drainer(spool, sqlite_database).flush()
    assert segments(spool.directory) == [spool.current]
    assert (await ledger_rows(sqlite_database)).keys() == set(names)
    spool.close()


async def test_a_segment_stays_as_long_as_one_of_its_requests_is_open(
    tmp_path: Path, sqlite_database: Database
) -> None:
    spool = Spool(tmp_path / "spool", segment_bytes=2_000)
    drainer = Drainer(spool, sqlite_database)
    spool.admit(admission("slow"))
    first = spool.current
    put(spool, *(f"req_{n}" for n in range(10)))
    await drainer.flush()
    assert segments(spool.directory) == [first, spool.current]
    spool.finish(record("slow"))
    await drainer.flush()
    assert segments(spool.directory) == [spool.current]
    spool.close()


async def test_no_segment_goes_before_its_rows_are_committed(
    tmp_path: Path, postgres_database: Database, postgres: Postgres, postgres_name: str
) -> None:
    spool = Spool(tmp_path / "spool", segment_bytes=2_000)
    put(spool, *(f"req_{n}" for n in range(10)))
    before = segments(spool.directory)
    drainer = Drainer(spool, postgres_database)
    postgres.take_away(postgres_name)
    with pytest.raises(DATABASE_ERRORS):
        await drainer.flush()
    assert segments(spool.directory) == before
    postgres.give_back(postgres_name)
    await drainer.flush()
    assert segments(spool.directory) == [spool.current]
    assert len(await ledger_rows(postgres_database)) == 10
    spool.close()


async def test_requests_are_taken_while_the_database_is_away_and_drained_when_it_is_back(
    spool: Spool, tmp_path: Path
) -> None:
    folder = tmp_path / "later"
    url = f"sqlite:///{folder / 'omni.db'}"
    database = Database(url)
    async with running(Drainer(spool, database)):
        put(spool, "req_1", "req_2")
        await asyncio.sleep(0.1)
        folder.mkdir()
        upgrade(url)
        await until_drained(database, {"req_1", "req_2"})
    await database.close()


async def test_rows_wait_for_an_sqlite_that_is_full_and_it_is_told(spool: Spool, sqlite_database: Database) -> None:
    pages = 0

    def limit(connection: Any, *_: Any) -> None:
        connection.cursor().execute(f"PRAGMA max_page_count={pages}")  # 0 = as it is; never below the file's length

    event.listen(sqlite_database.engine.sync_engine, "checkout", limit)
    drainer = Drainer(spool, sqlite_database)
    names = {f"req_{number}" for number in range(500)}
    pages = 1
    async with running(drainer):
        put(spool, *names)
        await until(lambda: bool(drainer.problem))
        assert "does not take records" in drainer.problem
        assert drainer.waiting_bytes() >= len(names) * len(encode(record()))
        assert segments(spool.directory) == [spool.current]
        pages = 2**30
        await until_drained(sqlite_database, names)
        await until(lambda: not drainer.problem)
    assert drainer.waiting_bytes() == 0


async def test_rows_wait_for_a_schema_that_is_not_there_and_are_not_set_aside(
    spool: Spool, database: Database, owned_database: Database
) -> None:
    put(spool, "req_1")
    async with owned_database.session() as session:
        await session.execute(text("ALTER TABLE requests RENAME TO elsewhere"))
        await session.commit()
    drainer = Drainer(spool, database)
    with pytest.raises(DATABASE_ERRORS):
        await drainer.flush()
    async with owned_database.session() as session:
        await session.execute(text("ALTER TABLE elsewhere RENAME TO requests"))
        await session.commit()
    await drainer.flush()
    assert await ledger_rows(database) == {"req_1": ""}
    assert not (spool.directory / "rejected").exists()


# Damage


def damage(segment: Path) -> None:
    """Breaks the second of three requests' `finish` lines and cuts the end off."""
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[5] = lines[5].replace(b"coding", b"c0ding")
    segment.write_bytes(b"".join(lines) + encode(record("req_torn"))[:-30])


async def test_torn_and_damaged_lines_are_passed_over_counted_and_kept(tmp_path: Path, database: Database) -> None:
    dead = Spool(tmp_path / "spool")
    put(dead, "req_1", "req_2", "req_3")
    dead.close()
    damage(segments(dead.directory)[0])
    drainer = Drainer(Spool(dead.directory), database)
    await drainer.replay()
    assert await ledger_rows(database) == {"req_1": "", "req_2": UNKNOWN_OUTCOME, "req_3": ""}
    assert drainer.damaged_lines == 2
    assert b"c0ding" in (dead.directory / "rejected").read_bytes()


async def test_a_row_that_the_database_never_takes_is_set_aside_and_the_others_are_written(
    spool: Spool, database: Database, database_url: str
) -> None:
    poison = (
        replace(record("poison"), cost=2**63)
        if "sqlite" in database_url
        else replace(record("poison"), session_id="a\0b")
    )
    put(spool, "req_1")
    spool.admit(admission("poison"))
    spool.finish(poison)
    put(spool, "req_2")
    drainer = Drainer(spool, database)
    await drainer.flush()
    assert await ledger_rows(database) == {"req_1": "", "req_2": ""}
    kept = (spool.directory / "rejected").read_bytes().splitlines()
    assert [decode(line) for line in kept] == [poison]
    put(spool, "req_3")
    await drainer.flush()
    assert len(await ledger_rows(database)) == 3


@contextmanager
def full_disk(room_bytes: int) -> Iterator[None]:
    """No file may grow beyond this size, as on a full disk: short writes first, then errors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def admitted_until_full(spool: Spool) -> list[str]:
    """Admits requests until the disk takes no more; gives those that were."""
    names: list[str] = []
    with suppress(Unavailable):
        while len(names) < 10_000:
            spool.admit(admission(f"full_{len(names)}"))
            names.append(f"full_{len(names)}")
    return names


def length_of(segment: Path | None) -> int:
    assert segment is not None
    return segment.stat().st_size


async def test_a_full_disk_refuses_requests_until_there_is_room_and_leaves_no_half_line(
    spool: Spool, sqlite_database: Database
) -> None:
    put(spool, "req_1")
    with full_disk(length_of(spool.current)):
        admitted = admitted_until_full(spool)
        taken = spool.size
        with pytest.raises(Unavailable) as refused:
            spool.admit(admission("req_2"))
        assert refused.value.headers["Retry-After"]
        assert "disk" in spool.problem() and spool.size == taken
    assert spool.problem() == "", "the disk has room again"
    put(spool, "req_3")
    for name in admitted:
        spool.finish(record(name))
    drainer = Drainer(spool, sqlite_database)
    await drainer.flush()
    assert (await ledger_rows(sqlite_database)).keys() == {"req_1", "req_3", *admitted}
    assert drainer.damaged_lines == 0


def test_a_process_that_has_written_nothing_knows_that_the_disk_is_full(spool: Spool) -> None:
    with full_disk(100):
        assert "disk" in spool.problem()
        with pytest.raises(Unavailable):
            spool.admit(admission())
    assert spool.problem() == ""
    assert [path.suffix for path in spool.directory.iterdir()] == [".log"], "no half-made segment is left"


async def test_what_was_admitted_has_room_for_all_it_says_however_full_the_disk(
    spool: Spool, sqlite_database: Database
) -> None:
    put(spool, "req_1")
    with full_disk(length_of(spool.current)):
        admitted = admitted_until_full(spool)
        for name in admitted:
            for position in range(8):
                spool.attempt(replace(attempt(name, position), outcome="server_error", detail="\0" * 150))
            spool.finish(replace(record(name), step_id="s" * 200))
        written = spool.size
    assert 2 <= len(admitted) <= length_of(spool.current) // ROOM_BYTES
    assert sum(map(len, segments(spool.directory)[0].read_bytes().splitlines(keepends=True)[:-1])) <= written
    dead = replay_of(spool)
    await Drainer(dead, sqlite_database).replay()
    assert (await ledger_rows(sqlite_database)) == dict.fromkeys(("req_1", *admitted), "")


def replay_of(spool: Spool) -> Spool:
    """A later process's, after this one was killed: nothing is truncated or said any more, and the lock is gone."""
    assert spool.current is not None
    copy = spool.current.with_name(f"{'0' * 20}-1-1.log")
    shutil.copyfile(spool.current, copy)
    later = Spool(spool.directory)
    later.written = list(spool.written)
    return later


async def test_a_segment_that_is_over_gives_way_only_to_one_with_room(
    tmp_path: Path, sqlite_database: Database
) -> None:
    spool = Spool(tmp_path / "spool", segment_bytes=3_000)
    spool.admit(admission("req_1"))
    with full_disk(2 * ROOM_BYTES):
        admitted = admitted_until_full(spool)
        spool.finish(record("req_1"))
        for name in admitted:
            spool.finish(record(name))
        assert len(segments(spool.directory)) == 1 and spool.size > 3_000
    put(spool, "req_2")
    assert length_of(segments(spool.directory)[0]) < ROOM_BYTES, "its room was given back"
    await Drainer(spool, sqlite_database).flush()
    assert (await ledger_rows(sqlite_database)).keys() == {"req_1", "req_2", *admitted}
    spool.close()


async def test_a_disk_that_breaks_its_word_delays_the_end_of_a_request_and_loses_nothing(
    spool: Spool, sqlite_database: Database
) -> None:
    spool.admit(admission("req_1"))
    spool.admit(admission("req_2"))
    with full_disk(spool.size + 100):  # a file may not be written as far as it reaches already
        spool.attempt(attempt("req_1"))
        spool.finish(record("req_1"))
        spool.attempt(attempt("req_2"))
        with pytest.raises(Unavailable):
            spool.admit(admission("req_3"))
        with pytest.raises(Unavailable):
            spool.finish(record("nobody_admitted"))
        spool.catch_up()
        assert "disk" in spool.problem()
    async with running(Drainer(spool, sqlite_database)):
        await until_drained(sqlite_database, {"req_1"})
    assert spool.problem() == ""
    spool.finish(record("req_2"))
    drainer = Drainer(spool, sqlite_database)
    await drainer.flush()
    assert await ledger_rows(sqlite_database) == {"req_1": "", "req_2": ""}
    assert drainer.damaged_lines == 0


def test_a_spool_that_cannot_be_made_refuses_requests_until_it_can(tmp_path: Path) -> None:
    in_the_way = tmp_path / "spool"
    in_the_way.write_text("a file")
    spool = Spool(in_the_way)
    for write in (lambda: spool.admit(admission()), lambda: spool.attempt(attempt()), lambda: spool.finish(record())):
        with pytest.raises(Unavailable):
            write()
    assert "disk" in spool.problem()
    in_the_way.unlink()
    assert spool.problem() == ""
    spool.admit(admission())
    spool.close()


# Death

WORKER = """
import os, sys, time
from pathlib import Path
from omni_app.storage.spool import Spool
from tests.storage.facts import admission, attempt, record
spool = Spool(Path(sys.argv[1]), segment_bytes=4_000)
for number in range(100_000):
    name = f"req_{number}"
    spool.admit(admission(name))
    print("admitted", name, flush=True)
    spool.attempt(attempt(name))
    if number % 4:
        spool.finish(record(name))
        print("finished", name, flush=True)
"""


def killed_worker(directory: Path, *, after_lines: int) -> tuple[set[str], set[str]]:
    """Runs a worker until it has said so much, then `kill -9`; gives what it said it admitted and finished."""
    said: list[bytes] = []
    command_line = [sys.executable, "-c", WORKER, str(directory)]
    with subprocess.Popen(command_line, cwd=ROOT, stdout=subprocess.PIPE) as worker:
        assert worker.stdout
        said += [worker.stdout.readline() for _ in range(after_lines)]
        worker.kill()
        said += [line for line in worker.stdout if line.endswith(b"\n")]
    words = [line.decode().split() for line in said]
    admitted, finished = ({name for word, name in words if word == kind} for kind in ("admitted", "finished"))
    return admitted, finished


async def test_what_a_killed_worker_took_is_in_the_ledger_exactly_once(tmp_path: Path, database: Database) -> None:
    directory = tmp_path / "spool"
    admitted, finished = killed_worker(directory, after_lines=60)
    assert len(finished) > 20 and len(segments(directory)) > 1
    await Drainer(Spool(directory), database).replay()
    rows = await ledger_rows(database)
    answered = {name for name, code in rows.items() if not code}
    lost = {name for name, code in rows.items() if code == UNKNOWN_OUTCOME}
    # It may have died between a line and its word: at most one request more than it spoke of.
    assert rows.keys() == answered | lost and rows.keys() >= admitted and len(rows.keys() - admitted) <= 1
    assert answered >= finished and len(answered - finished) <= 1
    assert {f"req_{n}" for n in range(0, len(admitted), 4)} <= lost
    assert segments(directory) == []


async def test_a_request_of_unknown_outcome_is_a_failed_row_of_its_caller_that_cost_nothing(
    tmp_path: Path, database: Database
) -> None:
    dead = Spool(tmp_path / "spool")
    dead.admit(admission())
    dead.close()
    await Drainer(Spool(dead.directory), database).replay()
    async with database.session() as session:
        row = (await session.scalars(select(RequestRow))).one()
    assert (row.request_id, row.org_id, row.key_kind, row.created_at) == ("req_1", ORG, "live", admission().created_at)
    assert (row.success, row.error_code, row.cost, row.premium_cost) == (False, UNKNOWN_OUTCOME, 0, 0)


async def test_a_request_of_unknown_outcome_cost_what_its_attempts_cost(tmp_path: Path, database: Database) -> None:
    dead = Spool(tmp_path / "spool", segment_bytes=1)  # each admission in a segment of its own
    dead.admit(admission())
    put(dead, "req_2")
    dead.attempt(replace(attempt(), outcome="interrupted", cost=5))
    dead.attempt(replace(attempt(position=1), cost=70))
    put(dead, "req_3")
    await Drainer(dead, database).flush()
    dead.close()
    assert len(segments(dead.directory)) == 2  # the admission's, and the last one: the attempts are in the database
    await Drainer(Spool(dead.directory), database).replay()
    async with database.session() as session:
        detail = await ledger.request_detail(session, org_id=ORG, request_id="req_1")
    assert detail is not None
    row = detail.request
    assert (row.error_code, row.cost, row.attempts) == (UNKNOWN_OUTCOME, 75, 2)
    assert (row.model, row.tokens_input, row.tokens_output) == ("openai/gpt-4o", 1_200, 345)


async def test_replaying_the_same_segments_again_changes_nothing(tmp_path: Path, database: Database) -> None:
    dead = Spool(tmp_path / "spool", segment_bytes=2_000)
    put(dead, *(f"req_{n}" for n in range(8)))
    dead.admit(admission("open"))
    dead.close()
    copies = {path: path.read_bytes() for path in segments(dead.directory)}
    assert len(copies) > 2
    await Drainer(Spool(dead.directory), database).replay()
    before = await everything(database)
    for path, content in copies.items():
        path.write_bytes(content)
    await Drainer(Spool(dead.directory), database).replay()
    assert await everything(database) == before
    assert segments(dead.directory) == []


async def test_a_request_of_two_segments_is_one_row(tmp_path: Path, sqlite_database: Database) -> None:
    dead = Spool(tmp_path / "spool", segment_bytes=1)
    dead.admit(admission("req_1"))
    dead.attempt(attempt("req_1"))
    put(dead, "req_2")
    dead.finish(record("req_1"))
    dead.close()
    assert len(segments(dead.directory)) == 2
    await Drainer(Spool(dead.directory), sqlite_database).replay()
    assert await ledger_rows(sqlite_database) == {"req_1": "", "req_2": ""}


async def test_a_replay_that_met_no_database_leaves_the_segments_for_the_next_try(tmp_path: Path) -> None:
    dead = Spool(tmp_path / "spool")
    put(dead, "req_1")
    dead.close()
    url = f"sqlite:///{tmp_path / 'later' / 'omni.db'}"
    database = Database(url)
    drainer = Drainer(Spool(dead.directory), database)
    with pytest.raises(DATABASE_ERRORS):
        await drainer.replay()
    assert len(segments(dead.directory)) == 1
    (tmp_path / "later").mkdir()
    upgrade(url)
    await drainer.replay()
    assert await ledger_rows(database) == {"req_1": ""}
    await database.close()


async def test_a_living_workers_segments_are_left_alone(tmp_path: Path, sqlite_database: Database) -> None:
    living = Spool(tmp_path / "spool", segment_bytes=2_000)
    put(living, *(f"req_{n}" for n in range(8)))
    before = segments(living.directory)
    starting = [Drainer(Spool(living.directory), sqlite_database) for _ in range(3)]
    await asyncio.gather(*(one.replay() for one in starting))
    assert segments(living.directory) == before
    assert await ledger_rows(sqlite_database) == {}
    living.close()
    await asyncio.gather(*(one.replay() for one in starting), return_exceptions=True)
    assert len(await ledger_rows(sqlite_database)) == 8
    assert segments(living.directory) == []


async def test_workers_that_share_a_directory_each_drain_their_own(tmp_path: Path, sqlite_database: Database) -> None:
    spools = [Spool(tmp_path / "spool") for _ in range(3)]
    for number, spool in enumerate(spools):
        put(spool, f"req_{number}")
    await asyncio.gather(*(Drainer(spool, sqlite_database).flush() for spool in spools))
    assert (await ledger_rows(sqlite_database)).keys() == {"req_0", "req_1", "req_2"}
    for spool in spools:
        spool.close()
