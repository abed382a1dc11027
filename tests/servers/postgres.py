"""A real Postgres for tests: the system's programs, else those of the wheel `pgserver`; on 127.0.0.1, gone at the end.

Its time zone is far from UTC on purpose: a statement that relies on the server's zone fails here.
"""

import importlib.util
import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from tests.product import free_port
from tests.system import postgres_programs

OWNER = "omni"
START_DEADLINE_S = 30
FAST = ("fsync=off", "full_page_writes=off", "shared_buffers=32MB", "max_connections=60")
"""Safe as long as the machine stays up: a server that crashes finds what it had committed."""
FASTER = (*FAST, "synchronous_commit=off")
SETTINGS = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "timezone=America/New_York")


class PostgresMissing(Exception):
    """No Postgres could be started; the message says what was tried."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server; its owner needs no password."""

    port: int

    def url(self, name: str) -> str:
        """The address of one database, as the product's `DATABASE_URL`."""
        return f"postgresql://{OWNER}@127.0.0.1:{self.port}/{name}"

    def create(self, name: str, *, template: str = "template1") -> str:
        """A new database, empty or a copy of `template`; gives its URL."""
        statement: LiteralString = "CREATE DATABASE {} TEMPLATE {} STRATEGY WAL_LOG"
        self.run(sql.SQL(statement).format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def drop(self, name: str) -> None:
        """Deletes a database, whoever is still connected."""
        self.run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def take_away(self, name: str) -> None:
        """Ends every connection to a database and refuses new ones, until `give_back`."""
        self.run(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        self.run(sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}").format(name))

    def give_back(self, name: str) -> None:
        """The end of `take_away`."""
        self.run(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))

    def run(self, statement: sql.SQL | sql.Composed, *, name: str = "postgres") -> None:
        """One statement as the owner."""
        with psycopg.connect(self.url(name), autocommit=True) as connection:
            connection.execute(statement)


@dataclass(slots=True)
class Cluster:
    """A server and its data, to be crashed, stalled and brought back."""

    programs: Path
    folder: Path
    settings: tuple[str, ...]
    server: Postgres
    process: "subprocess.Popen[bytes]"

    def crash(self) -> None:
        """Ends it at once: connections break, and what it was about to write is recovered from its log."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=10)

    def come_back(self) -> None:
        """Serves the same data at the same port again."""
        self.process = serve(self.programs, self.folder, self.settings, self.server.port)

    def stall(self) -> None:
        """Freezes every process of it: connections stay open and nothing is answered, until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """The end of `stall`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *map(int, children)):
            os.kill(one, number)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server with an empty cluster. Raises `PostgresMissing`."""
    with running_cluster(FASTER) as cluster:
        yield cluster.server


@contextmanager
def running_cluster(more: tuple[str, ...] = FAST) -> Iterator[Cluster]:
    """As `running_postgres`, with its process in hand; what is committed outlives a crash. `more`: settings of it."""
    tried: list[str] = []
    for programs in dict.fromkeys((postgres_programs(), wheel_programs())):
        if programs is None:
            continue
        with tempfile.TemporaryDirectory(prefix="omni-postgres-", ignore_cleanup_errors=True) as folder:
            Path(folder).chmod(0o755)
            try:
                cluster = start(programs, Path(folder), more)
            except PostgresMissing as reason:
                tried.append(str(reason))
                continue
            try:
                yield cluster
            finally:
                stop(cluster.process)
            return
    raise PostgresMissing("; ".join(tried) or "no Postgres: install the package postgresql, or the wheel pgserver")


@contextmanager
def folder_for_postgres() -> Iterator[Path]:
    """One that its user can look into: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="omni-postgres-tls-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def or_skipped() -> Iterator[None]:
    """Where none can be started: a failure in CI, elsewhere a skip that says why."""
    try:
        yield
    except PostgresMissing as reason:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(reason))


def wheel_programs() -> Path | None:
    """The programs of the wheel `pgserver`, for a machine whose own do not work."""
    wheel = importlib.util.find_spec("pgserver")
    return Path(wheel.origin).parent / "pginstall" / "bin" if wheel and wheel.origin else None


def account() -> dict[str, Any]:
    """Postgres refuses to run as root: who it runs as, as arguments of `subprocess`."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    found = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": ()}


def start(programs: Path, folder: Path, more: tuple[str, ...]) -> Cluster:
    """Makes a cluster in `folder` and serves it. Raises `PostgresMissing` with what the programs said."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    runs_as = account()
    if runs_as:
        os.chown(data, runs_as["user"], runs_as["group"])
    options = ["-A", "trust", "-U", OWNER, "-E", "UTF8", "--locale=C", "--no-sync"]
    try:
        subprocess.run([programs / "initdb", "-D", data, *options], check=True, capture_output=True, **around(folder))
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        raise PostgresMissing(f"{programs}/initdb: {error} {said.decode(errors='replace')[-500:]}") from error
    port = free_port()
    settings = (*SETTINGS, *more)
    return Cluster(programs, folder, settings, Postgres(port), serve(programs, folder, settings, port))


def serve(programs: Path, folder: Path, settings: tuple[str, ...], port: int) -> "subprocess.Popen[bytes]":
    """Serves the cluster of `folder`; returns when it takes connections. Raises `PostgresMissing`."""
    options = [part for one in settings for part in ("-c", one)]
    log_file = folder / "log"
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", "-p", str(port), *options],
            stdout=log,
            stderr=log,
            **around(folder),
        )
    if not answers(Postgres(port), process):
        stop(process)
        raise PostgresMissing(f"{programs}/postgres did not start: {log_file.read_text()[-500:]}")
    return process


def around(folder: Path) -> dict[str, Any]:
    """What its programs find around them, as arguments of `subprocess`."""
    return {"cwd": folder, "env": {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}, **account()}


def answers(server: Postgres, process: "subprocess.Popen[bytes]") -> bool:
    """Whether it takes connections before the time is up."""
    deadline_s = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            psycopg.connect(server.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return True
    return False


def stop(process: "subprocess.Popen[bytes]") -> None:
    """A fast shutdown: open connections are ended."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)  # takes its children along
        process.wait(timeout=10)
