"""The files of `OMNI_SECRETS_DIR` while the server runs: a vault exchanges a credential, and nobody restarts anything.

What is exchanged is how we show others who we are. Secrets that seal or sign what is kept are exchanged by the steps of
docs/OPERATIONS.md; a setting that turns something on or off takes a restart.
"""

import os
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from omni_app.settings import PROVIDER_KEY_VARIABLES, Settings

LOOK_S = 2.0
EXCHANGED = (
    *(name.lower() for name in PROVIDER_KEY_VARIABLES.values()),
    "database_url",
    "metrics_token",
    "otel_exporter_otlp_headers",
    "smtp_url",
    "supabase_anon_key",
    "supabase_service_key",
    "upstash_redis_rest_token",
)
State = frozenset[tuple[str, int, int, int]]


class SecretFiles:
    """Tells when the files of a folder are others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: State = frozenset()
        self._taken: State = frozenset()

    def changed(self) -> bool:
        """Whether they are others than those that were taken, and the same as at the last look: nobody writes them now.

        They count as taken then. True at the second look: what was read at start may be older.
        """
        state = self._state()
        settled, self._seen = state == self._seen, state
        if not settled or state == self._taken:
            return False
        self._taken = state
        return True

    def _state(self) -> State:
        """Of each file its name, and what changes when it is written or another takes its place."""
        found = set[tuple[str, int, int, int]]()
        try:
            for entry in os.scandir(self._folder):
                told = entry.stat()
                found.add((entry.name, told.st_ino, told.st_mtime_ns, told.st_size))
        except OSError:  # is being exchanged
            return self._taken
        return frozenset(found)


def exchanged(settings: Settings, told: Settings) -> dict[str, Any]:
    """What is another credential in `told`. One that is gone or empty stays as it was: its file may come back."""
    pairs = {name: (getattr(settings, name), getattr(told, name)) for name in EXCHANGED}
    return {name: new for name, (old, new) in pairs.items() if old != new and _text(old) and _text(new)}


def _text(value: str | SecretStr) -> str:
    return value if isinstance(value, str) else value.get_secret_value()
