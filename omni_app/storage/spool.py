r"""The spool: every request is on disk before a provider is called and before the reply leaves; then it is drained.

One line per fact (`admit`, `attempt`, `finish`), `crc32 json\\n`, appended with a plain `write()`: that survives a
killed process. A group `fdatasync` follows within `SYNC_S`, off the path: a power cut can lose that much. An admission
takes room from the disk for all that its request has yet to say, so a disk that fills up refuses the next request and
not the end of one that a provider was called for. A segment is deleted only after its lines are committed and none of
its admissions is still open; inserts are idempotent, so a segment may be read twice. The next process reads what a
dead one left.
"""

import asyncio
import errno
import fcntl
import logging
import os
import time
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, StatementError

from omni_app.errors import Unavailable
from omni_app.money import markup_on
from omni_app.records import record
from omni_app.routing.types import KeyKind
from omni_app.storage import leases, ledger
from omni_app.storage.database import DATABASE_ERRORS, Database
from omni_app.storage.ledger import UNKNOWN_OUTCOME, AttemptRecord, RequestRecord, RoutingRecord
from omni_app.storage.partitions import is_made_meanwhile
from omni_app.storage.pause import pause
from omni_app.storage.snapshots import SnapshotRecord

log = logging.getLogger(__name__)

SEGMENT_BYTES = 8_000_000
BATCH_LINES = 1_000
MOST_LINES = 8_000
"""A batch grows up to this while the database takes it quickly: its roll-ups, which are many for few rows, are then
added once for all of them."""
QUICK_S, SLOW_S = 1.0, 3.0
"""A batch that took less is followed by a larger one, one that took more by a smaller one."""
SYNC_S = 0.05
GATHER_S = 0.1
"""The drainer waits this long at the least after the first new line, so that a burst becomes one batch, and a batch
seldom meets a stream's first token, and"""
GATHER_CEILING_S = 0.25
"""this long at the most, so that its last batch took a small part (`BUSY`) of the time: what a transaction costs beside
its rows, some milliseconds, is paid four times a second and not fifty."""
BUSY = 1 / 20
MAX_FRESH = 3_000
"""Writes whose facts are kept in memory for the drainer: 4 kB each. When it falls back further, it reads the file."""
RETRY_S = 0.5
RETRY_CEILING_S = 5.0
ROOM_BYTES = 16_384
"""Set aside for each admitted request. What it writes after its admission is 2 to 4 kB for one attempt with the five
best candidates, and 0.3 kB (1.7 at most) for each further attempt: stated with room for a long chain. A request that
says more takes what the others have left of theirs."""
STEP_BYTES = 65_536
"""Room is taken from the disk in such steps: one system call for dozens of requests."""
PROBE = b" " * 4095 + b"\n"
"""A line without a fact: written to see whether a disk that was full takes lines again."""


@record(frozen=True, slots=True)
class Admission:
    """A request that is about to reach a provider."""

    request_id: str
    org_id: UUID
    key_id: UUID
    key_kind: KeyKind
    endpoint: str
    task: str
    created_at: datetime
    markup_bp: int = 0

    def unfinished(self, attempts: Sequence[AttemptRecord] = ()) -> RequestRecord:
        """The row of a request whose process died: nobody knows how it ended, but what was noted was spent.

        When the last attempt produced tokens the row names its model, as for any failed request.
        """
        values = {name: getattr(self, name) for name in Admission.__slots__}
        spent = sum(one.cost for one in attempts)
        own = sum(one.cost for one in attempts if one.byok)
        values |= {"cost": spent, "failed_cost": spent, "byok_cost": own}
        values["markup"] = markup_on(spent - own, self.markup_bp)
        row = RequestRecord(**values, error_code=UNKNOWN_OUTCOME, attempts=len(attempts))
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
    checksum, body = line[:8], line[9:].rstrip(b"\n")
    if line[8:9] != b" " or checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        return _fact(*orjson.loads(body))
    except (KeyError, TypeError, ValueError):
        return None


_uuid = lru_cache(maxsize=4_096)(UUID)
"""Rows of an org share the object: it is made once, and equal to itself without a look at its bytes."""


def _fact(name: str, values: dict[str, Any]) -> Fact:
    for key in ("org_id", "key_id"):
        if key in values:
            values[key] = _uuid(values[key])
    values["created_at"] = datetime.fromisoformat(values["created_at"])
    if values.get("routing"):
        values["routing"] = RoutingRecord(**values["routing"])
    return KINDS[name](**values)


@record(frozen=True, slots=True)
class Fresh:
    """The facts of one write of just now, and where their lines are."""

    path: Path
    start: int
    end: int
    facts: tuple[Fact, ...]


class Spool:
    """One process's append-only segments in `directory`. A segment's file lock tells that its owner lives.

    The current segment is longer than its lines: zeros follow, room that the disk has given already.
    """

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.directory = directory
        self.appended = asyncio.Event()
        self._segment_bytes = segment_bytes
        self._descriptor: int | None = None
        self._room = 0
        self._serial = 0
        self._problem = ""
        self._admitted: set[str] = set()
        """Requests that have not said their last line."""
        self._fresh: deque[Fresh] = deque()
        """What was written of late, in order, perhaps with gaps: the drainer need not read it again."""
        self._unwritten: list[bytes] = []
        """Lines of admitted requests that the disk did not take, room or not: it fails, or cannot set room aside."""
        self.size = 0
        """Bytes of lines in the current segment."""
        self.dirty = False
        self.current: Path | None = None
        self.written: list[Path] = []
        """This process's segments that are not deleted yet, oldest first; the last is the current one."""

    def admit(self, admission: Admission) -> None:
        """Notes that a provider is about to be called. Raises `Unavailable` when the disk does not take it.

        Until `finish` says how it ended, the request's other lines have their room and raise nothing.
        """
        line = encode(admission)
        self._append(line)
        self._remember(len(line), (admission,))
        self._admitted.add(admission.request_id)

    def attempt(self, attempt: AttemptRecord) -> None:
        """Notes one call at a provider. Raises `Unavailable` when nobody admitted the request."""
        self._note(attempt)

    def finish(self, record: RequestRecord, *last: AttemptRecord) -> None:
        """Notes how the request ended, and the attempts that are not noted yet. Raises `Unavailable` when nobody
        admitted it.
        """
        self._note(*last, record)
        self._admitted.discard(record.request_id)

    def snapshot(self, snapshot: SnapshotRecord) -> None:
        """Notes the state that decisions are made in from now on. Raises `Unavailable`."""
        line = encode(snapshot)
        self._append(line)
        self._remember(len(line), (snapshot,))

    def fresh(self, path: Path, offset: int, *, most: int = BATCH_LINES) -> tuple[list[Fact], int]:
        """About `most` facts whose lines follow each other from the offset on, and the offset after them.

        `path` as it stands in `written`.
        """
        fresh, end = self._fresh, offset
        facts: list[Fact] = []
        while fresh and fresh[0].path is path and fresh[0].start < offset:
            fresh.popleft()
        while fresh and fresh[0].path is path and fresh[0].start == end and len(facts) < most:
            one = fresh.popleft()
            facts += one.facts
            end = one.end
        return facts, end

    def problem(self) -> str:
        """Empty while there is room for one more request, else why not: for `/ready`. What failed is tried again."""
        with suppress(Unavailable):
            self._append(PROBE if self._problem else b"")
        return self._problem

    def catch_up(self) -> None:
        """Writes what the disk did not take, where it does now."""
        if self._unwritten:
            self.problem()

    def sync(self) -> None:
        """Brings what was written to the disk itself; call it off the event loop."""
        descriptor = self._descriptor
        if descriptor is not None and self.dirty:
            self.dirty = False
            os.fdatasync(descriptor)

    def close(self) -> None:
        """Closes the current segment, gives back what room is left, and lets its lock go."""
        self.catch_up()
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, self.size)
            os.close(self._descriptor)
            self._descriptor = None

    def _note(self, *facts: AttemptRecord | RequestRecord) -> None:
        """A provider may have been called for an admitted request: what it says is never refused, at worst late.

        Facts of one request, in one write.
        """
        said = encode(facts[0]) if len(facts) == 1 else b"".join([encode(fact) for fact in facts])
        try:
            if facts[0].request_id in self._admitted:
                self._write_all(said)
            else:
                self._append(said)
            self._remember(len(said), facts)
        except OSError as error:
            self._failed(error)
            self._unwritten.append(said)

    def _remember(self, length: int, facts: tuple[Fact, ...]) -> None:
        """Keeps for the drainer what the newest lines say, `length` bytes of them."""
        if self.current is not None and len(self._fresh) < MAX_FRESH:
            self._fresh.append(Fresh(self.current, self.size - length, self.size, facts))

    def _append(self, line: bytes) -> None:
        """A line that may be refused. What the admitted requests and one more have to say still fits behind it."""
        promised = ROOM_BYTES * (len(self._admitted) + 1)
        try:
            if self._descriptor is None or self.size >= self._segment_bytes:
                self._open_segment(promised)
            self._make_room(self.size + len(line) + promised)
            self._write_all(line)
        except OSError as error:
            self._failed(error)
            raise Unavailable("requests cannot be recorded now; try again", headers={"Retry-After": "5"}) from error
        self._problem = ""

    def _failed(self, error: OSError) -> None:
        self._problem = f"the ledger's disk does not take records ({error.strerror})"

    def _make_room(self, length: int) -> None:
        assert self._descriptor is not None  # noqa: S101 a line needs a segment
        if length > self._room:
            length += STEP_BYTES
            set_aside(self._descriptor, self._room, length - self._room)
            self._room = length

    def _write_all(self, line: bytes) -> None:
        """The line, after what could not be written before it."""
        while self._unwritten:
            self._write(self._unwritten[0])
            del self._unwritten[0]
        self._write(line)

    def _write(self, line: bytes) -> None:
        if not line:
            return
        descriptor = self._descriptor
        if descriptor is None:
            raise OSError(errno.EBADF, "no segment is open")
        if self.size + len(line) > self._room:
            self._make_room(self.size + len(line))
        written = os.write(descriptor, line)
        if written < len(line):
            os.ftruncate(descriptor, self.size)
            os.lseek(descriptor, self.size, os.SEEK_SET)
            self._room = self.size
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += written
        self.dirty = True
        self.appended.set()

    def _open_segment(self, room: int) -> None:
        """Goes on in a new segment, once it has room. Until then the one before stays as it is."""
        self.sync()
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._serial += 1
        path = self.directory / f"{time.time_ns():020d}-{os.getpid()}-{self._serial}.log"
        # Locked before it has its name: no other process can take it for a dead one's.
        unnamed = path.with_suffix(".new")
        descriptor = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            set_aside(descriptor, 0, room)
            unnamed.rename(path)
        except OSError:
            os.close(descriptor)
            unnamed.unlink(missing_ok=True)
            raise
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, self.size)
            os.close(self._descriptor)
        self._descriptor, self.size, self._room, self.current = descriptor, 0, room, path
        self.written.append(path)


def set_aside(descriptor: int, start: int, length: int) -> None:
    """Takes room from the disk for bytes to come; they are zeros until then. Raises what a full disk raises.

    Where a system cannot (macOS) or a file system will not (ZFS), the write itself meets the full disk.
    """
    try:
        os.posix_fallocate(descriptor, start, length)
    except AttributeError:
        return
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise


@dataclass(slots=True)
class _Reader:
    """How far one segment has been drained, and which admissions in it are still open."""

    path: Path
    offset: int = 0
    open: set[str] = field(default_factory=set)

    def next_lines(self, size: int | None, most: int) -> tuple[list[bytes], int]:
        """Up to `most` whole lines from the offset, and the offset after them.

        `size`: as far as a segment is written that still grows. None for one that does not, up to its zeros.
        """
        lines: list[bytes] = []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            end = self.offset
            while len(lines) < most and (size is None or end < size):
                line = file.readline()
                if not line.endswith(b"\n"):
                    break
                lines.append(line)
                end += len(line)
        return lines, end

    def is_torn(self) -> bool:
        """Whether more than zeros follows the last whole line: it was never ended."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return bool(file.read().strip(b"\0"))


class Drainer:
    """Moves the spool into the database, in batches, for ever; keeps what the database cannot take yet."""

    def __init__(self, spool: Spool, database: Database, outstanding: leases.Outstanding | None = None) -> None:
        self._spool = spool
        self._database = database
        self._outstanding = outstanding or leases.Outstanding()
        self._readers: dict[Path, _Reader] = {}
        self._lock = asyncio.Lock()
        self.problem = ""
        """Empty while the database takes records, else why not: for `/ready`."""
        self.damaged_lines = 0
        self.drained_requests = 0
        self._behind_since_s: float | None = None
        self._most = BATCH_LINES

    async def run(self, stopping: asyncio.Event) -> None:
        """Until it is to stop: first what dead processes left, then this one's lines as they come.

        To wake it up for its end, set `spool.appended` after `stopping`.
        """
        syncing = asyncio.create_task(self._sync_forever())
        gather_s = GATHER_S
        try:
            await self._retrying(self.replay, stopping)
            while not stopping.is_set():
                await self._spool.appended.wait()
                self._behind_since_s = time.monotonic()
                await pause(stopping, gather_s)
                began_s = time.monotonic()
                await self._retrying(self.flush, stopping)
                gather_s = min(GATHER_CEILING_S, max(GATHER_S, (time.monotonic() - began_s) / BUSY))
                self._behind_since_s = None
            if self._spool.appended.is_set():  # while the last flush was about it, perhaps in a new segment
                await self._retrying(self.flush, stopping)
        finally:
            syncing.cancel()

    def lag_s(self) -> float:
        """For how long the oldest line has been waiting for the database; 0 when none is."""
        return 0.0 if self._behind_since_s is None else time.monotonic() - self._behind_since_s

    def waiting_bytes(self) -> int:
        """Lines that are not in the database yet, this process's and those that dead ones left."""
        own = sum(self._size(path) - self._offset(path) for path in self._spool.written)
        return own + sum(self._size(path) for left in self._abandoned().values() for path in left)

    def _size(self, path: Path) -> int:
        if path == self._spool.current:
            return self._spool.size
        with suppress(FileNotFoundError):
            return path.stat().st_size
        return 0

    def _offset(self, path: Path) -> int:
        return self._readers[path].offset if path in self._readers else 0

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
                    self.damaged_lines += reader.is_torn()
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
                attempts = await ledger.attempts_of(session, moments={one.request_id: one.created_at for one in batch})
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
            facts, end = self._spool.fresh(reader.path, reader.offset, most=self._most)
            damaged: list[bytes] = []
            if not facts:
                facts, damaged, end = await self._read(reader)
                if end == reader.offset:
                    return
            await self._insert(facts)
            self.damaged_lines += len(damaged)
            for line in damaged:
                self._set_aside(line)
            self._follow(reader, facts)
            if admissions is not None:
                _pair(admissions, facts)
            reader.offset = end

    async def _read(self, reader: _Reader) -> tuple[list[Fact], list[bytes], int]:
        """A batch from the file: its facts, the lines that hold none, and the offset after it."""
        size = self._spool.size if reader.path == self._spool.current else None
        if size == reader.offset:
            return [], [], size
        lines, end = await asyncio.to_thread(reader.next_lines, size, self._most)
        decoded = [(line, decode(line)) for line in lines if line.strip()]
        return [fact for _, fact in decoded if fact], [line for line, fact in decoded if fact is None], end

    async def _insert(self, facts: Iterable[Fact]) -> None:
        kept = [fact for fact in facts if not isinstance(fact, Admission)]
        if not kept:
            return
        began_s = time.monotonic()
        try:
            await self._insert_batch(kept)
        except (*DATABASE_ERRORS, OverflowError) as error:
            self._most = BATCH_LINES
            if not _is_poison(error):
                raise
            for fact in kept:
                await self._insert_alone(fact)
        self._size_batches(time.monotonic() - began_s)
        self.drained_requests += sum(isinstance(fact, RequestRecord) for fact in kept)

    def _size_batches(self, took_s: float) -> None:
        if took_s < QUICK_S:
            self._most = min(MOST_LINES, 2 * self._most)
        elif took_s > SLOW_S:
            self._most = max(BATCH_LINES, self._most // 2)

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
                self.problem = ""
                return
            except DATABASE_ERRORS as error:
                kind, waiting_mb = type(error).__name__, self.waiting_bytes() / 1e6
                log.warning("the ledger waits for the database: %s, %.1f MB in the spool", kind, waiting_mb)
                if wait_s > RETRY_S:  # not the first time
                    self.problem = f"the database does not take records ({kind})"
            if stopping.is_set():
                return
            await pause(stopping, wait_s)
            wait_s = min(RETRY_CEILING_S, wait_s * 2)

    async def _sync_forever(self) -> None:
        while True:
            await asyncio.sleep(SYNC_S)
            self._spool.catch_up()
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
    if is_made_meanwhile(error):
        return False
    if isinstance(error, ProgrammingError):
        return getattr(error.orig, "sqlstate", None) is None
    if isinstance(error, DBAPIError):
        return isinstance(error, DataError | IntegrityError)
    return isinstance(error, StatementError | OverflowError)


def _is_locked(path: Path) -> bool:
    """Whether a living process holds the segment. A shared lock: two processes that look do not see each other."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
