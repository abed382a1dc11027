"""What a peer has not taken, over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from omni_app.server.unsent import Unsent, in_kernel

MUCH = 20_000_000
"""More than kernels keep."""


@pytest.fixture
async def wire() -> AsyncIterator[asyncio.Transport]:
    """To somebody who takes nothing: the kernel alone has answered."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, *listening.getsockname())
        yield transport
        transport.abort()
        await asyncio.sleep(0.05)


async def test_what_nobody_takes_waits_here_and_in_the_kernel(wire: asyncio.Transport) -> None:
    unsent = Unsent(wire)
    unsent.look(100.0, closely=True)
    assert (unsent.here, unsent.left, unsent.untaken_s) == (False, 0, 0.0)
    wire.write(b"a" * MUCH)
    await asyncio.sleep(0.2)
    unsent.look(101.0, closely=False)
    assert unsent.here and 0 < in_kernel(wire) < MUCH
    assert unsent.left == wire.get_write_buffer_size() + in_kernel(wire)
    unsent.look(104.0, closely=False)
    assert unsent.untaken_s == 3.0


async def test_a_connection_that_is_gone_holds_nothing(wire: asyncio.Transport) -> None:
    unsent = Unsent(wire)
    wire.write(b"a" * MUCH)
    wire.abort()
    await asyncio.sleep(0.1)
    unsent.look(100.0, closely=True)
    assert (unsent.here, unsent.left, unsent.untaken_s) == (False, 0, 0.0)
