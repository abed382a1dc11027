"""Newcomers' part of a round, with a clock and rounds of the test's own; then over real sockets."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from starlette.types import Receive, Scope, Send

from omni_app.server import newcomers
from omni_app.server.newcomers import SLICE_S, Newcomers
from tests.servers.asgi import serving

GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Rounds:
    """Plays the loop: time passes, and a round comes, when the test says so."""

    now_s: float = 100.0
    due: list[Callable[[], None]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.due.append(callback)

    def come(self) -> None:
        due, self.due = self.due, []
        for callback in due:
            callback()

    def step(self, name: str, took_s: float) -> Callable[[], None]:
        def taken() -> None:
            self.now_s += took_s
            self.order.append(name)

        return taken


@pytest.fixture
def rounds() -> Rounds:
    return Rounds()


@pytest.fixture
def line(rounds: Rounds) -> Newcomers:
    return Newcomers(clock=lambda: rounds.now_s, call_soon=rounds.call_soon)


def test_a_round_takes_as_many_as_fit_into_its_slice_and_the_others_come_in_their_order(
    rounds: Rounds, line: Newcomers
) -> None:
    went_on = [line.go_on(rounds.step(name, SLICE_S * 0.6)) for name in "abcdef"]
    assert (went_on, rounds.order) == ([True, True, False, False, False, False], ["a", "b"])
    rounds.come()
    assert rounds.order == ["a", "b", "c", "d"]
    assert not line.go_on(rounds.step("g", 0.0))
    rounds.come()
    assert rounds.order == ["a", "b", "c", "d", "e", "f"]
    rounds.come()
    assert rounds.order[-1] == "g"


def test_what_others_do_in_between_is_not_the_newcomers(rounds: Rounds, line: Newcomers) -> None:
    assert line.go_on(rounds.step("a", 0.0))
    rounds.now_s += 1.0
    assert line.go_on(rounds.step("b", 0.0))


def test_one_goes_on_in_each_round_however_long_it_takes(rounds: Rounds, line: Newcomers) -> None:
    for name in "abc":
        line.go_on(rounds.step(name, 1.0))
    assert rounds.order == ["a"]
    rounds.come()
    assert rounds.order == ["a", "b"]
    rounds.come()
    assert rounds.order == ["a", "b", "c"]


def test_a_step_that_fails_does_not_end_the_line(rounds: Rounds, line: Newcomers) -> None:

    def fails() -> None:
        raise ValueError("as told")

    line.go_on(rounds.step("a", SLICE_S))
    line.go_on(fails)
    line.go_on(rounds.step("b", 0.0))
    with pytest.raises(ValueError, match="as told"):
        rounds.come()
    rounds.come()
    assert rounds.order == ["a", "b"]


def test_without_newcomers_no_round_is_looked_out_for(rounds: Rounds, line: Newcomers) -> None:
    line.go_on(rounds.step("a", 0.0))
    rounds.come()
    assert rounds.due == []


async def test_who_is_known_is_heard_before_a_crowd_that_comes_at_the_same_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of the crowd is heard in the end, though it says the rest later; one that leaves harms nobody."""
    monkeypatch.setattr(newcomers, "SLICE_S", 0.0)
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            heard.append(scope["path"])
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    async with serving(app) as address:
        with ExitStack() as stack:
            at = (urlsplit(address).hostname, urlsplit(address).port)
            known, leaves, *crowd = (stack.enter_context(socket.create_connection(at)) for _ in range(22))
            known.sendall(GET % b"first")
            await asyncio.sleep(0.2)
            for one in crowd:
                one.sendall((GET % b"crowd")[:9])
            leaves.sendall(GET % b"leaves")
            leaves.close()
            known.sendall(GET % b"known")
            await asyncio.sleep(0)
            for one in crowd:
                one.sendall((GET % b"crowd")[9:])
            async with asyncio.timeout(5):
                while heard.count("/crowd") < 20:  # noqa: ASYNC110 a list has no event
                    await asyncio.sleep(0.01)
    assert heard.index("/known") <= 3
