"""Deadlines on the path: they strike in time, once, and take nobody else's cancellation for their own."""

import asyncio

import pytest

from omni_app.deadline import Deadline


async def test_it_strikes_what_takes_too_long_and_nothing_after_it() -> None:
    with pytest.raises(TimeoutError), Deadline(0.01):
        await asyncio.sleep(10)
    await asyncio.sleep(0.03)


async def test_it_leaves_alone_what_is_in_time() -> None:
    with Deadline(0.02):
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_it_can_be_extended() -> None:
    loop = asyncio.get_running_loop()
    began_s = loop.time()

    async def work() -> None:
        with Deadline(0.01) as deadline:
            deadline.extend(began_s + 0.1)
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await work()
    assert loop.time() - began_s >= 0.09


async def test_the_outer_one_of_two_strikes_through_the_inner_one() -> None:
    with pytest.raises(TimeoutError), Deadline(0.01), Deadline(5):
        await asyncio.sleep(10)


async def test_who_is_cancelled_from_elsewhere_stays_cancelled() -> None:
    async def work() -> None:
        with Deadline(5):
            await asyncio.sleep(10)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_and_struck_at_once_is_cancelled() -> None:
    async def work() -> None:
        with Deadline(0.01) as deadline:
            try:
                await asyncio.sleep(10)
            finally:
                deadline._task.cancel()  # somebody else's, in the same moment

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_another_error_of_the_block_stays_what_it_is() -> None:
    async def work() -> None:
        with Deadline(0.01):
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                raise ValueError("mine") from None

    with pytest.raises(ValueError, match="mine"):
        await work()
