"""A real pgbouncer before a Postgres: it stands for Supabase's pooler, in its strictest form.

Each transaction may get another server connection than the one before, and this version (1.18 in Debian) knows no
prepared statements.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.product import free_port
from tests.servers.postgres import OWNER, START_DEADLINE_S, Postgres, account
from tests.system import pgbouncer

POOL_SIZE = 3
"""Server connections: fewer than the product wants, so that they change hands all the time."""


@contextmanager
def pooled(server: Postgres, name: str, *, pool_size: int = POOL_SIZE) -> Iterator[str]:
    """The URL of a database through the pooler. Raises `FileNotFoundError` without the program."""
    program = pgbouncer()
    if program is None:
        raise FileNotFoundError("pgbouncer is not installed: apt-get install pgbouncer")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="omni-pgbouncer-") as folder:
        Path(folder).chmod(0o755)
        settings = Path(folder, "pgbouncer.ini")
        settings.write_text(
            f"[databases]\n{name} = host=127.0.0.1 port={server.port} user={OWNER}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = transaction\ndefault_pool_size = {pool_size}\nmax_client_conn = 200\n"
            "server_round_robin = 1\n"
        )
        process = subprocess.Popen([program, "-q", settings], stderr=subprocess.DEVNULL, **account())
        try:
            url = f"postgresql://{OWNER}@127.0.0.1:{port}/{name}"
            wait_for(url)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=10)


def wait_for(url: str) -> None:
    """Returns when it takes connections. Raises `TimeoutError`."""
    deadline_s = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline_s:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(url)
