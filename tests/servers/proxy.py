"""A proxy as simple as one can be: each connection goes to the next server in turn, bytes go both ways as they are."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from itertools import cycle

CHUNK = 65_536


@asynccontextmanager
async def proxying(ports: Sequence[int]) -> AsyncIterator[str]:
    """Listens on 127.0.0.1 before these ports; gives its address."""
    turns = cycle(ports)
    open_ones: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_ones.add(task)
        with suppress(OSError, asyncio.CancelledError), closing(writer):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", next(turns))
            with closing(far_writer):
                await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))
        open_ones.discard(task)

    server = await asyncio.start_server(converse, "127.0.0.1", 0, backlog=1024)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for one in open_ones:
            one.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
