"""A server that plays both public catalogues: whole, changed or broken."""

import copy
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from omni_app.registry.refresh import Catalogues
from tests.servers.raw_http import Answer, Call, Connection, RawServer

RECORDED = Path(__file__).parent / "recorded"
Send = Callable[[Connection], Any]


@cache
def recorded(name: str) -> Any:
    """A catalogue as it was; not to be changed in place."""
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


@dataclass
class Publisher:
    """What each catalogue answers; `litellm` and `openrouter` are changed in place."""

    litellm: dict[str, Any]
    openrouter: dict[str, Any]
    bodies: dict[str, bytes] = field(default_factory=dict)
    """Path -> an answer in place of the catalogue."""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    asked: list[Call] = field(default_factory=list)
    port: int = 0

    async def respond(self, call: Call, connection: Connection) -> None:
        self.asked.append(call)
        whole = json.dumps(self.litellm if call.path == "/litellm" else self.openrouter).encode()
        await connection.answer(Answer(self.status, self.bodies.get(call.path, whole), self.headers))

    def model(self, name: str) -> dict[str, Any]:
        """An entry of OpenRouter's list."""
        found: dict[str, Any] = next(one for one in self.openrouter["data"] if one["id"] == name)
        return found

    @property
    def addresses(self) -> Catalogues:
        base = f"http://127.0.0.1:{self.port}"
        return Catalogues(f"{base}/openrouter", f"{base}/litellm")


@asynccontextmanager
async def publishing() -> AsyncIterator[Publisher]:
    publisher = Publisher(copy.deepcopy(recorded("litellm")), copy.deepcopy(recorded("openrouter")))
    server = RawServer(publisher.respond)
    await server.start()
    publisher.port = server.port
    yield publisher
    await server.stop()
