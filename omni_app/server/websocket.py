"""A websocket: uvicorn's, with a limit on what comes over it.

Counted where the bytes come in, before anybody puts a message together: a peer that sends without end costs what is
allowed here and no more.
"""

import logging
from typing import Any

from uvicorn._types import ASGIReceiveEvent
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


PIECE_BYTES = 4_096
"""What is parsed in one go: beyond it nothing is, before the messages in it have been taken."""
HEARD_BYTES = 4_096
"""After we have ended the conversation: enough for the peer to say that it heard."""


class WebSocketConnection(WebSocketsSansIOProtocol):
    """One tab's connection."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self.close_timeout = FAREWELL_S
        self._began_s = self.loop.time()
        self._received = 0
        self._unparsed = bytearray()

    def data_received(self, data: bytes) -> None:
        """Takes what is within the limits, and cuts the connection beyond them."""
        self._received += len(data)
        if self._received > BYTES_AT_ONCE + (self.loop.time() - self._began_s) * BYTES_PER_S:
            log.warning("a socket was cut off: too many bytes")
            self.transport.abort()
        elif self.close_sent:
            super().data_received(data[:HEARD_BYTES])
        else:
            self._unparsed += data
            self._parse()

    def _parse(self) -> None:
        while self._unparsed and not (self.read_paused or self.close_sent):
            piece = bytes(self._unparsed[:PIECE_BYTES])
            del self._unparsed[:PIECE_BYTES]
            super().data_received(piece)

    async def receive(self) -> ASGIReceiveEvent:
        """The next message. When it was the last one that is parsed, more of what has come is."""
        message = await super().receive()
        self._parse()
        return message

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn has it; what it held of an unfinished message goes with it."""
        super().connection_lost(exc)
        self.frames, self._unparsed = [], bytearray()
