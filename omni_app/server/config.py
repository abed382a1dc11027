"""uvicorn, set up for our connections."""

from typing import Any

import uvicorn

from omni_app.server.door import Door
from omni_app.server.tls import Certificate
from omni_app.server.websocket import MOST_MESSAGE_BYTES

BACKLOG = 65_535
"""Connections that wait to be taken; the kernel's own limit is lower (`net.core.somaxconn`). One that finds no room
tries again after a second, and its caller thinks that the server is slow."""
STARTS_S = 60
"""A worker that does not serve by then is taken for broken."""


def config_of(
    app: Any,
    *,
    host: str,
    port: int,
    connections: int,
    grace_s: float | None,
    workers: int = 1,
    factory: bool = False,
    certificate: Certificate | None = None,
) -> uvicorn.Config:
    """`app`: itself, or the `module:name` of what makes it (`factory`). `connections`: of one worker at once.

    `grace_s`: what is in flight when a stop was asked for is cancelled after it; None = never. `certificate`: then TLS
    alone is spoken.
    """
    return uvicorn.Config(
        app,
        factory=factory,
        interface="asgi3",
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http=Door(connections, certificate),  # type: ignore[arg-type]  # a factory is all that it is used for
        ws="websockets-sansio",
        ws_max_size=MOST_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        backlog=BACKLOG,
        timeout_graceful_shutdown=grace_s,  # type: ignore[arg-type]  # it is seconds to `wait_for`
        timeout_worker_healthcheck=STARTS_S,
    )
