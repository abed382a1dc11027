"""Turns on the event loop, with a clock and rounds of the test's own."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from omni_app.turns import SLICE_S, Turns


@dataclass
class Rounds:
    """Plays the loop: time passes, and a round comes, when the test says so."""

    now_s: float = 100.0
    due: list[Callable[[], None]] = field(default_factory=list)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """As the loop's."""
        self.due.append(callback)

    async def come(self, *, took_s: float) -> None:
        """One round ends after this time, all of it its turns', and the next begins."""
        due, self.due = self.due, []
        for callback in due[:-1]:
            callback()
        self.now_s += took_s
        for callback in due[-1:]:
            callback()
        await settle()


async def settle() -> None:
    """Whoever has got a turn goes on."""
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.fixture
def rounds() -> Rounds:
    return Rounds()


@pytest.fixture
def turns(rounds: Rounds) -> Turns:
    return Turns(clock=lambda: rounds.now_s, call_soon=rounds.call_soon, pace_s=SLICE_S, cost_s=SLICE_S)


async def queued(turns: Turns, order: list[str], *names: str) -> list[asyncio.Task[None]]:
    """Requests, and answers where the name says so, that note when they have got their turn."""

    async def come(name: str) -> None:
        await (turns.to_answer() if name.startswith("answer") else turns.to_begin())
        order.append(name)

    tasks = [asyncio.create_task(come(name)) for name in names]
    await settle()
    return tasks


async def test_in_a_young_round_nobody_waits(turns: Turns, rounds: Rounds) -> None:
    order: list[str] = []
    await queued(turns, order, "first", "answer", "third")
    assert order == ["first", "answer", "third"] and turns.waiting == 0
    await rounds.come(took_s=0.001)
    assert rounds.due == [], "an idle loop is left alone"


async def test_when_the_slice_is_used_up_the_others_wait_for_the_next_rounds(turns: Turns, rounds: Rounds) -> None:
    order: list[str] = []
    await queued(turns, order, "first")
    rounds.now_s += 2 * SLICE_S
    await queued(turns, order, "second", "third")
    assert order == ["first"] and turns.waiting == 2
    await rounds.come(took_s=0.0)
    assert order == ["first", "second"]
    await rounds.come(took_s=SLICE_S)
    assert order == ["first", "second", "third"] and turns.waiting == 0


async def test_nobody_overtakes_the_line(turns: Turns, rounds: Rounds) -> None:
    order: list[str] = []
    await queued(turns, order, "first")
    rounds.now_s += 2 * SLICE_S
    await queued(turns, order, "second", "third")
    await rounds.come(took_s=0.0)
    await queued(turns, order, "late")  # in a young round
    assert order == ["first", "second"]
    await rounds.come(took_s=SLICE_S)
    await rounds.come(took_s=SLICE_S)
    assert order == ["first", "second", "third", "late"]


async def test_answers_come_before_requests_that_came_earlier(turns: Turns, rounds: Rounds) -> None:
    order: list[str] = []
    await queued(turns, order, "first")
    rounds.now_s += 2 * SLICE_S
    await queued(turns, order, "request", "answer 1", "answer 2")
    for _ in range(3):
        await rounds.come(took_s=SLICE_S)
    assert order == ["first", "answer 1", "answer 2", "request"]


async def test_a_round_holds_as_many_turns_as_fit_into_the_slice(turns: Turns, rounds: Rounds) -> None:
    turns.cost_s = SLICE_S / 8
    order: list[str] = []
    await queued(turns, order, "first")
    rounds.now_s += 2 * SLICE_S
    await queued(turns, order, *map(str, range(10)))
    await rounds.come(took_s=0.0)
    assert 5 <= len(order) - 1 <= 8, "the slow round before has its part in the pace"


async def test_the_pace_follows_what_turns_take(turns: Turns, rounds: Rounds) -> None:
    order: list[str] = []
    tasks = await queued(turns, order, "first")
    rounds.now_s += 2 * SLICE_S
    tasks += await queued(turns, order, *map(str, range(500)))
    for _ in range(400):
        await rounds.come(took_s=0.020)
    assert turns.pace_s == pytest.approx(0.020, rel=0.1)
    assert turns.wait_s() == pytest.approx(turns.waiting * 2 * 0.020, rel=0.1), "a turn to begin, one for the answer"
    assert turns.wait_s(10) == pytest.approx((turns.waiting + 10) * 2 * 0.020, rel=0.1)
    for task in tasks:
        task.cancel()


async def test_one_long_round_changes_the_pace_by_little(turns: Turns, rounds: Rounds) -> None:
    await turns.to_begin()
    await rounds.come(took_s=0.1)
    assert turns.pace_s < 2 * SLICE_S


async def test_a_place_that_was_given_up_costs_nobody_a_round(turns: Turns, rounds: Rounds) -> None:
    order: list[str] = []
    await queued(turns, order, "first")
    rounds.now_s += 2 * SLICE_S
    given_up, _ = await queued(turns, order, "given up", "next")
    given_up.cancel()
    await settle()
    await rounds.come(took_s=0.0)
    assert order == ["first", "next"]


async def test_on_a_real_loop_everybody_gets_a_turn() -> None:
    turns, order = Turns(), list[str]()

    async def work(name: str) -> None:
        await turns.to_begin()
        until_s = turns.clock() + 0.002
        while turns.clock() < until_s:
            pass
        order.append(name)

    await asyncio.gather(*(work(str(number)) for number in range(50)))
    assert sorted(order, key=int) == [str(number) for number in range(50)] and turns.waiting == 0
