"""One JSON line for each event of security: who came in, who was refused, what was done to keys and accounts.

A line has ids, an address and fixed words. What somebody typed is not in it: an e-mail address that was tried stands
there as a mark, which is the same for the same address and is made with the server's secret. Each line goes through the
redaction all the same.

A flood does not fill the log: of each kind of event a worker writes `MOST_LINES` in a window, and counts the others by
address; the count is a line of its own when the window is over.
"""

import asyncio
import hmac
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from omni_app.observe import families as of
from omni_app.observe.line_writer import LineWriter, write_to_stdout
from omni_app.observe.metrics import Figures, Sample
from omni_app.redaction import cleaned
from omni_app.storage.pause import pause

Outcome = Literal["ok", "refused"]
WINDOW_S = 10.0
MOST_LINES = 50
MOST_ADDRESSES = 20
"""Told one by one in a count; the others are added up."""
MOST_COUNTED = 1_000


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """What happened. Empty fields are left out of the line."""

    event: str
    """A fixed word; `docs/OBSERVE.md` has them all."""
    outcome: Outcome = "ok"
    reason: str = ""
    """Of a refusal: a fixed word, or the code of an error."""
    request_id: str = ""
    address: str = ""
    user_id: str = ""
    org_id: str = ""
    key_id: str = ""
    account: str = ""
    """The mark of an e-mail address that was tried."""
    about: str = ""
    """The id of whom or what it was done to, or the route's path."""


@dataclass(slots=True)
class _Window:
    """What came of one kind of event since it began."""

    began_s: float
    lines: int = 0
    others: Counter[str] = field(default_factory=Counter)


class SecurityLog:
    """One worker's. With `writes` off the events are only counted."""

    def __init__(
        self,
        secret_key: str,
        figures: Figures,
        *,
        writes: bool = True,
        write: Callable[[bytes], None] = write_to_stdout,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secret = secret_key.encode()
        self._figures = figures
        self._lines: LineWriter[dict[str, Any]] | None = LineWriter(_line, write) if writes else None
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}

    def mark(self, email: str) -> str:
        """The same for the same address in any spelling; says nothing to whoever has not the server's secret."""
        return hmac.digest(self._secret, b"account " + email.strip().casefold().encode(), "sha256").hex()[:16]

    def tell(self, event: SecurityEvent) -> None:
        """Counts it, and writes it down unless there are too many like it. Never waits."""
        kind = event.event, event.outcome
        self._figures.add(of.SECURITY, kind)
        if self._lines is None:
            return
        window = self._windows.get(kind)
        if window is None or self._clock() - window.began_s >= WINDOW_S:
            self._close(kind)
            window = self._windows[kind] = _Window(self._clock())
        if window.lines < MOST_LINES:
            window.lines += 1
            self._lines.hear(_stamped({name: value for name, value in asdict(event).items() if value}))
        else:
            known = event.address in window.others or len(window.others) < MOST_COUNTED
            window.others[event.address if known else "other"] += 1

    def _close(self, kind: tuple[str, str]) -> None:
        window = self._windows.pop(kind, None)
        if window is None or not window.others or self._lines is None:
            return
        told = dict(window.others.most_common(MOST_ADDRESSES))
        count = window.others.total()
        rest = {"other": count - sum(told.values())} if len(window.others) > MOST_ADDRESSES else {}
        line = {"event": kind[0], "outcome": kind[1], "not_written": count, "addresses": told | rest}
        self._lines.hear(_stamped(line))

    def samples(self) -> Iterator[Sample]:
        """How many lines were given up because nobody read."""
        yield of.SECURITY_UNLOGGED, (), self._lines.dropped if self._lines else 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Writes until it is to stop, then what is left."""
        if self._lines is not None:
            await asyncio.gather(self._lines.run(stopping), self._close_in_time(stopping))
            await self.flush()

    async def _close_in_time(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await pause(stopping, 1.0)
            now_s = self._clock()
            for kind in [kind for kind, one in self._windows.items() if now_s - one.began_s >= WINDOW_S]:
                self._close(kind)

    async def flush(self) -> None:
        """Writes what there is, open counts too."""
        for kind in list(self._windows):
            self._close(kind)
        if self._lines is not None:
            await self._lines.flush()


def _stamped(line: dict[str, Any]) -> dict[str, Any]:
    return {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "log": "security"} | line


def _line(line: dict[str, Any]) -> bytes:
    return cleaned(orjson.dumps(line).decode()).encode() + b"\n"
