"""A websocket: uvicorn's, with a limit on what comes over it.

Counted where the bytes come in, before anybody puts a message together: a peer that sends without end costs what is
allowed here and no more.
"""

import logging
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

log = logging.getLogger(__name__)

MOST_MESSAGE_BYTES = 800_000
"""Of one message: 200,000 characters of any script, of which `ui.socket_gate` lets 200,000 pass."""
BYTES_AT_ONCE = 1_000_000
BYTES_PER_S = 50_000.0
"""Stated: far beyond what a person's page sends."""
FAREWELL_S = 2.0
"""For the peer to end a connection that we have ended."""


class WebSocketConnection(WebSocketsSansIOProtocol):
    """One tab's connection."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self.close_timeout = FAREWELL_S
        self._received = 0
        self._began_s = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Hands on what is within the limit, and cuts the connection beyond it."""
        self._received += len(data)
        if self._received > BYTES_AT_ONCE + (self.loop.time() - self._began_s) * BYTES_PER_S:
            log.warning("a socket was cut off: too many bytes")
            self.transport.abort()
            return
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn has it; what it held of an unfinished message goes with it."""
        super().connection_lost(exc)
        self.frames = []
