"""What the connections of one worker share: the app, how many they may be, and a look at the slow ones."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from starlette.types import ASGIApp, Scope
from uvicorn.config import Config
from uvicorn.server import ServerState

from omni_app.server.exchange import Exchange, Headers
from omni_app.server.handshake import Handshake
from omni_app.server.http import PIECE_BYTES, HttpConnection
from omni_app.server.newcomers import Newcomers
from omni_app.server.refusals import LET_IN, EverybodyIsLetIn, Refusals
from omni_app.server.tls import Certificate
from omni_app.server.websocket import WebSocketConnection

LOOKS_S = 0.5
"""Between two looks at who is overdue."""


@dataclass
class Door:
    """uvicorn's factory of connections (`Config.http`).

    It is handed to each worker's process before it is first called: so it begins as a number, and learns the rest then.
    """

    most_connections: int
    certificate: Certificate | None = None
    """What TLS is spoken with; None = plain HTTP."""
    address: tuple[str, int] | None = None
    newcomers: Newcomers = field(default_factory=Newcomers)
    room: memoryview = field(init=False)
    """One for all: what is read is taken out at once."""
    _config: Config | None = None
    _state: ServerState = field(default_factory=ServerState)
    _app_state: dict[str, Any] = field(default_factory=dict)
    _refusals: Refusals = field(default_factory=EverybodyIsLetIn)
    crowded: Callable[[], bool] = EverybodyIsLetIn().crowded
    """Whether the app refuses some requests now. Asked with everything that comes: so it is the app's own method."""

    def __call__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.BaseProtocol:
        """As uvicorn calls it for each connection that is taken."""
        loop = _loop or asyncio.get_running_loop()
        if self._config is None:
            self._config, self._state, self._app_state = config, server_state, app_state
            self._refusals = getattr(config.loaded_app, "refusals", self._refusals)
            self.crowded = self._refusals.crowded
            self.address = config.host, config.port
            self.room = memoryview(bytearray(PIECE_BYTES))
            self._look(loop)
        connection = partial(HttpConnection, self, loop)
        return Handshake(self, loop, self.certificate, connection) if self.certificate else connection()

    @property
    def default_headers(self) -> Headers:
        """The date."""
        return self._state.default_headers

    def come(self, connection: HttpConnection | Handshake) -> bool:
        """Takes note of a connection; False when there are too many."""
        self._state.connections.add(cast(Any, connection))
        return len(self._state.connections) <= self.most_connections

    def gone(self, connection: HttpConnection | Handshake) -> None:
        """It has ended, or goes on as another: over TLS, or as a websocket."""
        self._state.connections.discard(cast(Any, connection))

    def serve(self, exchange: Exchange) -> None:
        """Runs the app for a request, as a task that uvicorn waits for when it stops."""
        assert self._config is not None  # noqa: S101 whoever has a connection has called
        self._refusals.let_in(exchange.scope)
        app = cast(ASGIApp, self._config.loaded_app)
        task = asyncio.get_running_loop().create_task(exchange.run(app))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    def refusal(self, scope: Scope) -> bytes:
        """What the app says of a request by its head alone; empty when it wants to hear it."""
        return self._refusals.refusal(scope)

    def to_websocket(self, transport: asyncio.Transport, head: bytes) -> None:
        """From here on the connection speaks websocket."""
        assert self._config is not None  # noqa: S101 whoever has a connection has called
        socket = WebSocketConnection(self._config, self._state, {**self._app_state, LET_IN: True})
        socket.connection_made(transport)
        transport.set_protocol(socket)
        socket.data_received(head)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for connection in [one for one in self._state.connections if isinstance(one, HttpConnection | Handshake)]:
            connection.end_if_overdue(now_s)
        if self.certificate is not None:
            self.certificate.renew()
        loop.call_later(LOOKS_S, self._look, loop)
