"""The system's resolver, for names that nobody has: some hang, as long as they are told to."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

HANGS_S = 20.0


class Resolver:
    """Every name is this machine. `hanging` names are answered after `answer_all`; `failing` ones with that error."""

    def __init__(self) -> None:
        self.hanging: set[str] = set()
        self.failing: dict[str, int] = {}
        self.asked: list[str] = []
        self._released = threading.Event()
        self._system = socket.getaddrinfo

    def __call__(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        if host in self.hanging:
            self._released.wait(HANGS_S)
        if host in self.failing:
            raise socket.gaierror(self.failing[host], "as the test wants it")
        return self._system("127.0.0.1", port, type=socket.SOCK_STREAM)

    def answer_all(self) -> None:
        """What hangs ends."""
        self.hanging.clear()
        self._released.set()


@contextmanager
def resolving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    """The loop's threads ask this one."""
    resolver = Resolver()
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", resolver)
        try:
            yield resolver
        finally:
            resolver.answer_all()
