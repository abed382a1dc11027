r"""The spool: every request is on disk before a provider is called and before the reply leaves; then it is drained.

One line per fact (`admit`, `attempt`, `finish`), `crc32 json\\n`, appended with a plain `write()`: that survives a
killed process. A group `fdatasync` follows within `SYNC_S`, off the path: a power cut can lose that much. A segment
is deleted only after its lines are committed and none of its admissions is still open; inserts are idempotent, so a
segment may be read twice. The next process reads what a dead one left.
"""

import asyncio
import fcntl
import logging
import os
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, StatementError

from omni_app.errors import Unavailable
from omni_app.routing.types import KeyKind
from omni_app.storage import leases, ledger
from omni_app.storage.database import DATABASE_ERRORS, Database
from omni_app.storage.ledger import UNKNOWN_OUTCOME, AttemptRecord, RequestRecord, RoutingRecord
from omni_app.storage.pause import pause
from omni_app.storage.snapshots import SnapshotRecord

log = logging.getLogger(__name__)

SEGMENT_BYTES = 8_000_000
BATCH_LINES = 1_000
SYNC_S = 0.05
GATHER_S = 0.02
"""The drainer waits this long after the first new line, so that a burst becomes one batch."""
RETRY_S = 0.5
RETRY_CEILING_S = 5.0
PROBE = b" " * 4095 + b"\n"
"""A line without a fact: written to see whether a disk that was full takes lines again."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that is about to reach a provider."""

    request_id: str
    org_id: UUID
    key_id: UUID
    key_kind: KeyKind
    endpoint: str
    task: str
    created_at: datetime

    def unfinished(self, attempts: Sequence[AttemptRecord] = ()) -> RequestRecord:
        """The row of a request whose process died: nobody knows how it ended, but what was noted was spent.

        When the last attempt produced tokens the row names its model, as for any failed request.
        """
        values = {name: getattr(self, name) for name in Admission.__slots__}
        spent = sum(one.cost for one in attempts)
        row = RequestRecord(**values, error_code=UNKNOWN_OUTCOME, cost=spent, failed_cost=spent, attempts=len(attempts))
        last = attempts[-1] if attempts else None
        if last is None or not (last.tokens_input or last.tokens_output):
            return row
        return replace(
            row,
            model=last.model,
            provider=last.provider,
            tokens_input=last.tokens_input,
            tokens_output=last.tokens_output,
        )


Row = AttemptRecord | RequestRecord | SnapshotRecord
Fact = Admission | Row
KINDS: Mapping[str, type[Fact]] = {
    "admit": Admission,
    "attempt": AttemptRecord,
    "finish": RequestRecord,
    "snapshot": SnapshotRecord,
}
NAMES: Mapping[type[Fact], str] = {fact: name for name, fact in KINDS.items()}


def name_of(fact: Row) -> str:
    """What a log line may call it."""
    return fact.id if isinstance(fact, SnapshotRecord) else fact.request_id


def encode(fact: Fact) -> bytes:
    """One line."""
    body = orjson.dumps([NAMES[type(fact)], fact])
    return b"%08x %b\n" % (zlib.crc32(body), body)


def decode(line: bytes) -> Fact | None:
    """The fact of one line; None for a torn or damaged one, and for one that this version does not know."""
    checksum, _, body = line.rstrip(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        return _fact(*orjson.loads(body))
    except (KeyError, TypeError, ValueError):
        return None


def _fact(name: str, values: dict[str, Any]) -> Fact:
    for key in ("org_id", "key_id"):
        if key in values:
            values[key] = UUID(values[key])
    values["created_at"] = datetime.fromisoformat(values["created_at"])
    if values.get("routing"):
        values["routing"] = RoutingRecord(**values["routing"])
    return KINDS[name](**values)


class Spool:
    """One process's append-only segments in `directory`. A segment's file lock tells that its owner lives."""

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.directory = directory
        self.appended = asyncio.Event()
        self._segment_bytes = segment_bytes
        self._descriptor: int | None = None
        self._size = 0
        self._serial = 0
        self._problem = ""
        self.dirty = False
        self.current: Path | None = None
        self.written: list[Path] = []
        """This process's segments that are not deleted yet, oldest first; the last is the current one."""

    def admit(self, admission: Admission) -> None:
        """Notes that a provider is about to be called. Raises `Unavailable` when the disk does not take it."""
        self._append(encode(admission))

    def attempt(self, attempt: AttemptRecord) -> None:
        """Notes one call at a provider. Raises `Unavailable`."""
        self._append(encode(attempt))

    def finish(self, record: RequestRecord) -> None:
        """Notes how the request ended. Raises `Unavailable`."""
        self._append(encode(record))

    def snapshot(self, snapshot: SnapshotRecord) -> None:
        """Notes the state that decisions are made in from now on. Raises `Unavailable`."""
        self._append(encode(snapshot))

    def problem(self) -> str:
        """Empty while the disk takes lines, else why not: for `/ready`. Tries again when it had failed."""
        if self._problem:
            with suppress(Unavailable):
                self._append(PROBE)
        return self._problem

    def sync(self) -> None:
        """Brings what was written to the disk itself; call it off the event loop."""
        descriptor = self._descriptor
        if descriptor is not None and self.dirty:
            self.dirty = False
            os.fdatasync(descriptor)

    def close(self) -> None:
        """Closes the current segment and lets its lock go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, line: bytes) -> None:
        try:
            descriptor = self._descriptor
            if descriptor is None or self._size >= self._segment_bytes:
                descriptor = self._open_segment()
            self._write(descriptor, line)
        except OSError as error:
            self._problem = f"the ledger's disk does not take records ({error.strerror})"
            raise Unavailable("requests cannot be recorded now; try again", headers={"Retry-After": "5"}) from error
        self._problem = ""
        self.dirty = True
        self.appended.set()

    def _write(self, descriptor: int, line: bytes) -> None:
        written = os.write(descriptor, line)
        if written < len(line):
            os.ftruncate(descriptor, self._size)
            raise OSError(28, "no space left on device")
        self._size += written

    def _open_segment(self) -> int:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._serial += 1
        path = self.directory / f"{time.time_ns():020d}-{os.getpid()}-{self._serial}.log"
        # Locked before it has its name: no other process can take it for a dead one's.
        unnamed = path.with_suffix(".new")
        descriptor = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unnamed.rename(path)
            if self._descriptor is not None:
                os.fdatasync(self._descriptor)
        except OSError:
            os.close(descriptor)
            raise
        self.close()
        self._descriptor, self._size, self.current = descriptor, 0, path
        self.written.append(path)
        return descriptor


@dataclass(slots=True)
class _Reader:
    """How far one segment has been drained, and which admissions in it are still open."""

    path: Path
    offset: int = 0
    open: set[str] = field(default_factory=set)

    def next_lines(self) -> tuple[list[bytes], int]:
        """Up to a batch of whole lines from the offset, and the offset after them."""
        lines: list[bytes] = []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            end = self.offset
            for line in file:
                if not line.endswith(b"\n") or len(lines) >= BATCH_LINES:
                    break
                lines.append(line)
                end += len(line)
        return lines, end


class Drainer:
    """Moves the spool into the database, in batches, for ever; keeps what the database cannot take yet."""

    def __init__(self, spool: Spool, database: Database, outstanding: leases.Outstanding | None = None) -> None:
        self._spool = spool
        self._database = database
        self._outstanding = outstanding or leases.Outstanding()
        self._readers: dict[Path, _Reader] = {}
        self._lock = asyncio.Lock()
        self.damaged_lines = 0
        self.drained_requests = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Until it is to stop: first what dead processes left, then this one's lines as they come.

        To wake it up for its end, set `spool.appended` after `stopping`.
        """
        syncing = asyncio.create_task(self._sync_forever())
        try:
            await self._retrying(self.replay, stopping)
            while not stopping.is_set():
                await self._spool.appended.wait()
                await pause(stopping, GATHER_S)
                await self._retrying(self.flush, stopping)
        finally:
            syncing.cancel()

    async def flush(self) -> None:
        """Everything appended so far is in the database when this returns. Raises what the database raises."""
        async with self._lock:
            self._spool.appended.clear()
            for path in list(self._spool.written):
                await self._drain(self._readers.setdefault(path, _Reader(path)))
            self._delete_done()

    async def replay(self) -> None:
        """Drains what dead processes left behind; their unfinished requests become rows of unknown outcome."""
        async with self._lock:
            for segments in self._abandoned().values():
                open_admissions: dict[str, Admission] = {}
                for path in segments:
                    reader = _Reader(path)
                    await self._drain(reader, open_admissions)
                    self.damaged_lines += path.stat().st_size > reader.offset  # a last line that was never ended
                await self._settle(list(open_admissions.values()))
                for path in segments:
                    path.unlink(missing_ok=True)

    async def _settle(self, admissions: Sequence[Admission]) -> None:
        """A row for each request that nobody finished. Its attempts are in the database by now, whatever segment
        they were in: that one may have been drained and deleted before its owner died.
        """
        for start in range(0, len(admissions), BATCH_LINES):
            batch = admissions[start : start + BATCH_LINES]
            async with self._database.session() as session:
                attempts = await ledger.attempts_of(session, request_ids=[one.request_id for one in batch])
            await self._insert([one.unfinished(attempts.get(one.request_id, ())) for one in batch])

    def _abandoned(self) -> dict[str, list[Path]]:
        """Dead owner -> its segments, oldest first."""
        found: dict[str, list[Path]] = {}
        alive: set[str] = set()
        for path in sorted(self._spool.directory.glob("*-*-*.log")):
            owner = path.stem.split("-")[1]
            if path in self._spool.written:
                continue
            if _is_locked(path):
                alive.add(owner)
            found.setdefault(owner, []).append(path)
        return {owner: paths for owner, paths in found.items() if owner not in alive}

    async def _drain(self, reader: _Reader, admissions: dict[str, Admission] | None = None) -> None:
        while True:
            lines, end = await asyncio.to_thread(reader.next_lines)
            if not lines:
                return
            decoded = [(line, decode(line)) for line in lines if line.strip()]
            facts = [fact for _, fact in decoded if fact is not None]
            await self._insert(facts)
            for line, fact in decoded:
                if fact is None:
                    self.damaged_lines += 1
                    self._set_aside(line)
            self._follow(reader, facts)
            if admissions is not None:
                _pair(admissions, facts)
            reader.offset = end

    async def _insert(self, facts: Iterable[Fact]) -> None:
        kept = [fact for fact in facts if not isinstance(fact, Admission)]
        if not kept:
            return
        try:
            await self._insert_batch(kept)
        except (*DATABASE_ERRORS, OverflowError) as error:
            if not _is_poison(error):
                raise
            for fact in kept:
                await self._insert_alone(fact)
        self.drained_requests += sum(isinstance(fact, RequestRecord) for fact in kept)

    async def _insert_batch(self, facts: list[Row]) -> None:
        records = [fact for fact in facts if isinstance(fact, RequestRecord)]
        attempts = [fact for fact in facts if isinstance(fact, AttemptRecord)]
        snapshots = [fact for fact in facts if isinstance(fact, SnapshotRecord)]
        async with self._database.session() as session:
            budgets = await leases.budgets_to_book(session, records)
            new = await ledger.insert_records(session, records, attempts, snapshots)
            rows = [record for record in records if record.request_id in new]
            await leases.book(session, rows, budgets=budgets, outstanding=self._outstanding)
            await session.commit()
        self._outstanding.forget(records)

    async def _insert_alone(self, fact: Row) -> None:
        """One row of a batch that the database refused; a row it will never take is set aside, not lost."""
        try:
            await self._insert_batch([fact])
        except (*DATABASE_ERRORS, OverflowError) as error:
            if not _is_poison(error):
                raise
            log.warning("the ledger set aside a row of %s: %s", name_of(fact), type(error).__name__)
            self._set_aside(encode(fact))

    def _set_aside(self, line: bytes) -> None:
        """Keeps a line that cannot become a row, for a person to look at: segments are deleted."""
        with (self._spool.directory / "rejected").open("ab") as file:
            file.write(line)

    def _follow(self, reader: _Reader, facts: Iterable[Fact]) -> None:
        for fact in facts:
            if isinstance(fact, Admission):
                reader.open.add(fact.request_id)
            elif isinstance(fact, RequestRecord):
                for one in self._readers.values():
                    one.open.discard(fact.request_id)

    def _delete_done(self) -> None:
        """Deletes this process's segments that are drained, closed and without an open admission."""
        for path in self._spool.written[:-1]:
            reader = self._readers.get(path)
            if reader is not None and not reader.open:
                path.unlink(missing_ok=True)
                self._spool.written.remove(path)
                del self._readers[path]

    async def _retrying(self, work: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
        wait_s = RETRY_S
        while True:
            try:
                await work()
                return
            except DATABASE_ERRORS as error:
                log.warning("the ledger waits for the database: %s", type(error).__name__)
            if stopping.is_set():
                return
            await pause(stopping, wait_s)
            wait_s = min(RETRY_CEILING_S, wait_s * 2)

    async def _sync_forever(self) -> None:
        while True:
            await asyncio.sleep(SYNC_S)
            if not self._spool.dirty:
                continue
            try:
                await asyncio.to_thread(self._spool.sync)
            except OSError as error:
                # A segment that was closed meanwhile is synced already; a disk that fails will refuse the next line.
                log.warning("the ledger could not sync its segment: %s", error.strerror)


def _pair(admissions: dict[str, Admission], facts: Iterable[Fact]) -> None:
    """Keeps the admissions that have no end yet."""
    for fact in facts:
        if isinstance(fact, Admission):
            admissions[fact.request_id] = fact
        elif isinstance(fact, RequestRecord):
            admissions.pop(fact.request_id, None)


def _is_poison(error: Exception) -> bool:
    """Whether the row is at fault, so that no later try can help: not the database, its schema or its rights."""
    if isinstance(error, ProgrammingError):
        return getattr(error.orig, "sqlstate", None) is None
    if isinstance(error, DBAPIError):
        return isinstance(error, DataError | IntegrityError)
    return isinstance(error, StatementError | OverflowError)


def _is_locked(path: Path) -> bool:
    """Whether a living process holds the segment. A shared lock: two processes that look do not see each other."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
