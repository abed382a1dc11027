"""Every address that this process tries to reach, from Python's own audit events: nothing opens a socket unseen."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_watched: list[set[tuple[str, int]]] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if not _watched:
        return
    if event == "socket.connect":
        place = arguments[1]
    elif event == "socket.getaddrinfo":
        place = arguments[:2]
    else:
        return
    if isinstance(place, tuple) and len(place) >= 2:
        for seen in _watched:
            seen.add((str(place[0]), int(str(place[1] or 0))))


sys.addaudithook(_note)


@contextmanager
def reached() -> Iterator[set[tuple[str, int]]]:
    """Fills the set with (host, port) of every look-up and connection, until the end."""
    seen: set[tuple[str, int]] = set()
    _watched.append(seen)
    try:
        yield seen
    finally:
        _watched.remove(seen)
