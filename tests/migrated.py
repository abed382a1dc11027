"""Migrated databases for tests that are about something else: an SQLite file is migrated once a run and copied."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from omni_app.storage.database import sqlite_path, upgrade


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="omni-migrated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    upgrade(f"sqlite:///{folder / 'omni.db'}")
    return folder / "omni.db"


def migrate(url: str) -> None:
    """Brings the database to this version's schema; a new SQLite file by copying one that is."""
    path = sqlite_path(url)
    if path is None or path.exists():
        upgrade(url)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_template(), path)
