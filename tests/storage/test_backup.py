"""The commands of docs/OPERATIONS.md: a backup of a server with traffic, restored elsewhere, serves the same."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.api.conftest import HELLO, Running, run, settings_for
from tests.servers.postgres import Postgres
from tests.system import postgres_programs

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = dict(
    re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", (ROOT / "docs/OPERATIONS.md").read_text(), re.MULTILINE | re.DOTALL)
)
AGAIN = {"Idempotency-Key": "the same request"}


@dataclass(frozen=True)
class Place:
    """Where a server keeps what it has: a folder, and an address of a database, empty for SQLite in that folder."""

    folder: Path
    url: str = ""

    def settings(self) -> Any:
        return settings_for(self.folder, **({"database_url": self.url} if self.url else {}))

    def told(self, section: str, *, backups: Path) -> str:
        """Runs the commands of a section that are for this kind of database; gives what they said."""
        blocks = re.findall(r"^ *```sh\n(.*?)^ *```", SECTIONS[section], re.MULTILINE | re.DOTALL)
        ours = [one for one in blocks if ("pg_" in one) == bool(self.url) or "omni_app migrate" in one]
        assert ours, section
        script = "\n".join(ours).replace(".venv/bin/python", sys.executable).replace("/backups/", f"{backups}/")
        programs = postgres_programs()
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "OMNI_DATA_DIR": str(self.folder),
            "DATABASE_URL": self.url,
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(params=["sqlite", "postgres"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Place, Place]]:
    """The one that is backed up, and an empty one."""
    if request.param == "sqlite":
        yield Place(tmp_path / "old"), Place(tmp_path / "new")
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    empty = f"restored_{uuid4().hex}"
    yield (
        Place(tmp_path / "old", request.getfixturevalue("postgres_url")),
        Place(tmp_path / "new", postgres.create(empty)),
    )
    postgres.drop(empty)


async def figures(running: Running, key: str) -> dict[str, Any]:
    """What the usage report says, to the last digit."""
    answer = await running.get("/v1/usage?from=2026-01-01&to=2100-01-01&mode=test", key=key)
    assert answer.status_code == 200
    report: dict[str, Any] = answer.json()
    return report


async def ask(running: Running, key: str, **headers: str) -> Any:
    answer = await running.client.post("/v1/chat", json=HELLO, headers={"Authorization": f"Bearer {key}"} | headers)
    assert answer.status_code == 200
    return answer


async def test_a_backup_of_a_server_with_traffic_serves_with_the_same_figures_keys_and_seals(
    places: tuple[Place, Place], tmp_path: Path
) -> None:
    old, new = places
    backups = tmp_path / "backups"
    backups.mkdir()
    key, kept, before = "", {}, {}
    async for running in run(old.settings()):
        key = running.key
        kept = (await ask(running, key, **AGAIN)).json()
        for _ in range(5):
            await ask(running, key)
        await running.services.drainer.flush()
        before = await figures(running, key)
        old.told("Backup", backups=backups)
        await ask(running, key)
        await running.services.drainer.flush()
        assert await figures(running, key) != before, "the copy is of its moment, the server goes on"
    assert before["total_requests"] == 6

    bring(backups, old=old, new=new)
    assert "violated" not in new.told("Restore", backups=backups)
    async for running in run(new.settings()):
        assert await figures(running, key) == before
        again = await ask(running, key, **AGAIN)
        assert (again.headers["idempotent-replayed"], again.json()) == ("true", kept)


def bring(backups: Path, *, old: Place, new: Place) -> None:
    """What is not in a database: the secrets; and SQLite's copy, in its place."""
    new.folder.mkdir()
    for secret in ("secret_key", "key_pepper"):
        (new.folder / secret).write_bytes((old.folder / secret).read_bytes())
    if not new.url:
        (copy,) = backups.iterdir()
        assert copy.stat().st_mode & 0o077 == 0, "it holds what the database holds: its owner's alone"
        copy.rename(new.folder / "omni.db")
