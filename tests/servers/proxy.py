"""A proxy as simple as one can be: each connection goes to the next server in turn, bytes go both ways as they are."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from threading import Thread

CHUNK = 65_536


@dataclass(slots=True)
class Switch:
    """One port, for as long as nobody chooses another."""

    port: int

    def __iter__(self) -> Iterator[int]:
        while True:
            yield self.port


@asynccontextmanager
async def proxying(ports: Sequence[int]) -> AsyncIterator[str]:
    """Listens on 127.0.0.1 before these ports; gives its address."""
    async with passing_on(cycle(ports)) as port:
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def passing_on(turns: Iterator[int]) -> AsyncIterator[int]:
    """Listens on 127.0.0.1; each connection goes to the next port. Gives its own port."""
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
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for one in open_ones:
            one.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)


@contextmanager
def passing_on_apart(turns: Iterator[int]) -> Iterator[int]:
    """As `passing_on`, on a thread of its own: for clients that block the loop."""
    started: Future[int] = Future()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        async with passing_on(turns) as port:
            started.set_result(port)
            await ended.wait()

    thread = Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield started.result(timeout=10)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
