"""The API as real processes in front of a real, slow provider, and the two accounts of what happened.

The server is started with the flags of `python -m omni_app serve`, on `omni_app.asgi` (the API without the web app).
Every request has an API key of its own: the ledger keeps the key's id, and the prompt carries it to the provider, so
that each call that the provider got can be paired with its row even when nobody was left to tell the request's id.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import create_engine, select
from sqlalchemy.pool import NullPool
from sqlmodel import col

from omni_app.serve import API_ALONE, server_command
from omni_app.settings import Settings
from omni_app.storage import accounts, keys
from omni_app.storage.database import Database, sync_url
from omni_app.storage.ledger import UNKNOWN_OUTCOME
from omni_app.storage.tables import AttemptRow, RequestRow, utc_now
from omni_app.verify import verify_ledger
from tests.migrated import migrate
from tests.product import ROOT, free_port, stop, unconfigured_environment, wait_until_ready
from tests.servers.upstream import KEY, Upstream

MODEL = "openai/gpt-4.1"
PATIENCE_S = 60.0
WORKER = b"--multiprocessing-fork"
"""What the command of a worker's process says; its server has another child, which keeps its books of semaphores."""
POLL_S = 0.02
REFUSED = "refused"
"""The connection was not accepted: nothing had begun."""
LOST = "lost"
"""The connection broke before the answer was whole."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one caller saw. `told`: an HTTP status, `done` or `error event` of a stream, `REFUSED` or `LOST`."""

    mark: str
    told: str
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to be made; `mark` is the id of its key."""

    mark: str
    secret: str
    stream: bool

    @property
    def address(self) -> str:
        """Whom it comes from: everybody has an address, or all together would be one stranger with too many keys."""
        return str(ip_address(int(UUID(self.mark)) % 2**24 + int(ip_address("10.0.0.0"))))


@dataclass(slots=True)
class Rig:
    """One data folder, one provider, and one server process after the other."""

    folder: Path
    upstream: Upstream
    settings: Settings
    environment: dict[str, str]
    factory: str = API_ALONE
    workers_wanted: int = 1
    server: subprocess.Popen[bytes] | None = None
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    @property
    def log_file(self) -> Path:
        return self.folder / "serve.log"

    async def start(self) -> None:
        """Returns when `/ready` says so."""
        self.server = self.spawn()
        await asyncio.to_thread(wait_until_ready, self.base_url, self.server, self.log_file)

    def spawn(self) -> subprocess.Popen[bytes]:
        """A server process, with its workers in a process group of its own."""
        command = server_command(self.settings, self.factory, workers=self.workers_wanted)
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        """`kill -9` of the server and its worker at the same moment."""
        assert self.server is not None
        os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()

    async def terminate(self) -> tuple[int, float]:
        """SIGTERM, as an init system sends it; the exit code, and the seconds until then."""
        assert self.server is not None
        asked_s = time.monotonic()
        self.server.terminate()
        code = await asyncio.to_thread(self.server.wait, PATIENCE_S)
        return code, time.monotonic() - asked_s

    async def asks(self, count: int, *, org: str = "Acme") -> list[Ask]:
        """New requests, every other one a stream."""
        database = Database(self.settings.database, patience_s=None)
        hasher = keys.KeyHasher(self.settings.key_pepper)
        async with database.session() as session:
            org_id = await accounts.org_named(session, org)
            made = [
                await keys.create_key(session, org_id=org_id, name="k", kind="live", hasher=hasher)
                for _ in range(count)
            ]
            await session.commit()
        await database.close()
        return [Ask(str(key.id), secret, stream=bool(n % 2)) for n, (key, secret) in enumerate(made)]

    async def send(self, client: httpx.AsyncClient, ask: Ask) -> Outcome:
        """One request; never tried again."""
        began_s = time.monotonic()
        outcome = Outcome(ask.mark, await self._told(client, ask), time.monotonic() - began_s)
        self.outcomes.append(outcome)
        return outcome

    async def _told(self, client: httpx.AsyncClient, ask: Ask) -> str:
        body = {"model": MODEL, "messages": [{"role": "user", "content": ask.mark}], "stream": ask.stream}
        url = f"{self.base_url}/v1/chat/completions"
        headers = {"Authorization": f"Bearer {ask.secret}", "X-Forwarded-For": ask.address}
        try:
            answer = await client.post(url, json=body, headers=headers)
        except httpx.ConnectError:
            return REFUSED
        except httpx.TransportError:
            return LOST
        if answer.headers.get("retry-after"):
            return f"{answer.status_code} try again"
        if answer.status_code != 200 or not ask.stream:
            return str(answer.status_code)
        if answer.text.endswith("data: [DONE]\n\n"):
            return "done"
        return "error event" if '"error":' in answer.text else LOST

    async def ready(self) -> tuple[int, dict[str, Any]]:
        """What `/ready` answers: its status, and the checks."""
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            answer = await client.get(f"{self.base_url}/ready")
        return answer.status_code, answer.json()["checks"]

    def workers(self) -> set[int]:
        """Process ids of the server's workers."""
        assert self.server is not None
        pid = self.server.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {int(one) for one in children if WORKER in Path(f"/proc/{one}/cmdline").read_bytes()}

    async def restart_workers(self) -> None:
        """SIGHUP: a new worker on the same socket, then the end of the old one; returns when that has gone."""
        assert self.server is not None
        before = self.workers()
        self.server.send_signal(signal.SIGHUP)
        async with asyncio.timeout(PATIENCE_S):
            while before & self.workers():  # noqa: ASYNC110 another process does the work
                await asyncio.sleep(POLL_S)

    async def until_called(self, calls: int) -> None:
        """Returns when the provider has got this many calls in all."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.upstream.calls) < calls:  # noqa: ASYNC110 a list has no event
                await asyncio.sleep(POLL_S)

    async def until_answered(self, count: int) -> None:
        """Returns when this many requests have had an answer, or none, in all."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.outcomes) < count:  # noqa: ASYNC110 a list has no event
                await asyncio.sleep(POLL_S)

    async def until_settled(self) -> None:
        """Returns when every call that the provider got has its row, or the time is up: `ledger` then tells."""
        deadline_s = time.monotonic() + PATIENCE_S / 6
        while (  # noqa: ASYNC110 another process does the work
            time.monotonic() < deadline_s and self.called().keys() - {row.mark for row in self.ledger()}
        ):
            await asyncio.sleep(POLL_S)

    def called(self) -> Counter[str]:
        """The provider's own account: mark -> calls."""
        return Counter(call.body["messages"][0]["content"] for call in self.upstream.calls)

    def ledger(self) -> list["Row"]:
        """Our account, read from the database."""
        engine = create_engine(sync_url(self.settings.database), poolclass=NullPool)
        with engine.connect() as connection:
            requests = connection.execute(
                select(
                    col(RequestRow.request_id),
                    col(RequestRow.key_id),
                    col(RequestRow.error_code),
                    col(RequestRow.cost),
                    col(RequestRow.tokens_output),
                    col(RequestRow.success),
                )
            ).all()
            noted = connection.execute(
                select(col(AttemptRow.request_id), col(AttemptRow.cost), col(AttemptRow.outcome))
            ).all()
        engine.dispose()
        attempts: dict[str, list[tuple[int, str]]] = {}
        for request_id, cost, outcome in noted:
            attempts.setdefault(request_id, []).append((cost, outcome))
        return [
            Row(str(key_id), error_code or "", cost, tokens_output, success, tuple(attempts.get(request_id, ())))
            for request_id, key_id, error_code, cost, tokens_output, success in requests
        ]


@dataclass(frozen=True, slots=True)
class Row:
    """One request of the ledger with its attempts, each (cost, outcome). Costs in pico-dollars."""

    mark: str
    error_code: str
    cost: int
    tokens_output: int
    success: bool
    noted: tuple[tuple[int, str], ...]

    @property
    def attempts(self) -> int:
        """How many."""
        return len(self.noted)

    @property
    def attempts_cost(self) -> int:
        """Of all of them."""
        return sum(cost for cost, _ in self.noted)

    @property
    def outcomes(self) -> str:
        """As one word each, in order of no meaning."""
        return ",".join(outcome for _, outcome in self.noted)


@dataclass(frozen=True, slots=True)
class Account:
    """Both accounts compared. `lost`, `double` and `contradicted` must be 0; the others are figures."""

    calls: int
    attempts: int
    unknown: int
    """Admitted and unfinished when the process died."""
    unknown_noted: int
    """Of them, with an attempt that was noted."""
    unknown_uncalled: int
    """Of them, with no call at the provider yet."""
    lost: int
    """Calls at the provider without a row, or without an attempt in a row that is not `unknown_outcome`."""
    double: int
    """Requests with a second row, a second attempt or a second call."""
    contradicted: int
    """Answers that a caller holds and the ledger does not, and attempts with an answer that no provider gave."""
    unreached: dict[str, int]
    """Attempts that failed before the provider had read them, by outcome."""

    @property
    def balanced(self) -> bool:
        """Each call is an attempt of the ledger, or belongs to a request that is `unknown_outcome`; none is both."""
        open_calls = self.unknown - self.unknown_noted - self.unknown_uncalled
        wrong = self.lost + self.double + self.contradicted
        return not wrong and self.calls == self.attempts - sum(self.unreached.values()) + open_calls


def account(rig: Rig) -> Account:
    """What the provider, the ledger and the callers say, side by side."""
    called, rows, told = rig.called(), rig.ledger(), {one.mark: one.told for one in rig.outcomes}
    by_mark = {row.mark: row for row in rows}
    unknown = [row for row in rows if row.error_code == UNKNOWN_OUTCOME]
    served = {row.mark for row in rows if not row.error_code}
    unwritten = [mark for mark in called if mark not in by_mark]
    unattempted = [row for row in rows if row.error_code != UNKNOWN_OUTCOME and row.attempts < called[row.mark]]
    unreached = [row for row in rows if row.attempts and row.mark not in called]
    return Account(
        calls=called.total(),
        attempts=sum(row.attempts for row in rows),
        unknown=len(unknown),
        unknown_noted=sum(row.attempts > 0 for row in unknown),
        unknown_uncalled=sum(row.mark not in called for row in unknown),
        lost=len(unwritten) + len(unattempted),
        double=_more_than_one(called)
        + _more_than_one(Counter(row.mark for row in rows))
        + sum(row.attempts > 1 or row.cost != row.attempts_cost for row in rows),
        contradicted=sum(told in ("200", "done") and mark not in served for mark, told in told.items())
        + sum("ok" in row.outcomes for row in unreached),
        unreached=dict(Counter(row.outcomes for row in unreached)),
    )


def _more_than_one(counts: Counter[str]) -> int:
    return sum(count > 1 for count in counts.values())


@asynccontextmanager
async def rigged(
    folder: Path, *, delay_s: float, grace_s: int = 15, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Rig]:
    """A migrated data folder and a provider that takes `delay_s`; no server yet. What still runs is ended.

    `environment`: further settings, or other ones, by their names there.

    At the end the ledger is held against itself: raises `AssertionError` where an invariant is violated.
    """
    async with Upstream(delay_s=delay_s) as upstream:
        wanted = {
            "PORT": str(free_port()),
            "OMNI_DATA_DIR": str(folder),
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": upstream.openai_url,
            "LOCAL_MODEL": "off",
            "TRUSTED_PROXIES": "127.0.0.1/32",
            "RATE_LIMIT_MAX": "1000000",
            "STOP_GRACE_SEC": str(grace_s),
            **(environment or {}),
        }
        settings = Settings.model_validate({name.lower(): value for name, value in wanted.items()})
        migrate(settings.database, seeded=True)
        rig = Rig(folder, upstream, settings, unconfigured_environment() | wanted)
        try:
            yield rig
        finally:
            if rig.server is not None and rig.server.poll() is None:
                stop(rig.server)
        ended_well = rig.server is not None and rig.server.returncode == 0
        broken = await ledger_violations(settings.database, settled=ended_well)
        assert not broken, broken


async def ledger_violations(url: str, *, settled: bool) -> dict[str, list[str]]:
    """Invariant of `ledger verify` -> where it does not hold. `settled`: nothing is on its way, every spool is read."""
    database = Database(url, patience_s=None)
    on_its_way = timedelta(0) if settled else timedelta(hours=1)
    try:
        async with database.consistent_reading() as session:
            findings = await verify_ledger(session, now=utc_now(), on_its_way=on_its_way)
    finally:
        await database.close()
    return {one.invariant: one.examples for one in findings if one.violations}


def say(text: str) -> None:
    """One line of figures."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def patient_client() -> httpx.AsyncClient:
    """As many connections as requests, none used twice, and no hidden retry."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(timeout=PATIENCE_S, limits=limits)


async def killed_under_load(rig: Rig, waiting: list[Ask], *, at_once: int, calls: int, wait_s: float) -> None:
    """Starts a server, and kills it under load, `wait_s` after the provider got `calls`. Others go on waiting."""
    await rig.start()
    seen, killed = len(rig.upstream.calls), asyncio.Event()
    async with patient_client() as client, asyncio.TaskGroup() as group:
        group.create_task(call_on(rig, client, waiting, at_once=at_once, until=killed))
        await rig.until_called(seen + calls)
        await asyncio.sleep(wait_s)
        killed.set()
        rig.kill()


async def call_on(
    rig: Rig, client: httpx.AsyncClient, waiting: list[Ask], *, at_once: int, until: asyncio.Event | None = None
) -> None:
    """`at_once` callers send one request after the other, until none waits, or something has happened."""

    async def caller() -> None:
        while waiting and not (until and until.is_set()):
            await rig.send(client, waiting.pop())

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(caller())


async def restarted_under_load(rig: Rig, asks: Sequence[Ask], *, at_once: int, restarts: int) -> None:
    """`at_once` callers send one request after the other, while the workers are replaced `restarts` times."""
    waiting = list(asks)
    async with patient_client() as client, asyncio.TaskGroup() as group:
        group.create_task(call_on(rig, client, waiting, at_once=at_once))
        for _ in range(restarts):
            await rig.until_called(len(rig.upstream.calls) + at_once)
            await rig.restart_workers()
        left = len(waiting)
        waiting.clear()
    assert left, "the load ended before the last restart did"
