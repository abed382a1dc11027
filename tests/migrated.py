"""Migrated databases for tests that are about something else: an SQLite file is made once a run and copied."""

import asyncio
import atexit
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from omni_app.registry.registry import packaged_file, packaged_registry
from omni_app.registry.store import record_registry, seed_models
from omni_app.storage.database import Database, sqlite_path, upgrade


@cache
def _template(*, seeded: bool) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="omni-migrated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    url = f"sqlite:///{folder / 'omni.db'}"
    if seeded:
        shutil.copyfile(_template(seeded=False), folder / "omni.db")
        with ThreadPoolExecutor() as beside:  # a test's event loop may be running
            beside.submit(asyncio.run, _seed(url)).result()
    else:
        upgrade(url)
    return folder / "omni.db"


async def _seed(url: str) -> None:
    database = Database(url)
    async with database.session() as session:
        await seed_models(session, packaged_registry(), as_of=packaged_file()["as_of"])
        await record_registry(session, packaged_registry())
        await session.commit()
    await database.close()


def migrate(url: str, *, seeded: bool = False) -> None:
    """Brings the database to this version's schema; a new SQLite file by copying one that is.

    `seeded`: a copy has the packaged registry already, as after a product's first start.
    """
    path = sqlite_path(url)
    if path is None or path.exists():
        upgrade(url)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_template(seeded=seeded), path)
