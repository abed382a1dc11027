"""`python -m omni_app.server module:factory`: serves an ASGI app; `serve.server_command` writes the whole line."""

import argparse
import signal
from collections.abc import Sequence
from types import FrameType

import uvicorn
from uvicorn.supervisors import Multiprocess

from omni_app.server.door import Door
from omni_app.server.websocket import MOST_MESSAGE_BYTES

BACKLOG = 2_048
STARTS_S = 60
"""A worker that does not serve by then is taken for broken."""


def config_of(arguments: argparse.Namespace) -> uvicorn.Config:
    """uvicorn's settings. What the app does about stopping in time is its own (`Services.own_process`)."""
    return uvicorn.Config(
        arguments.app,
        factory=True,
        interface="asgi3",
        host=arguments.host,
        port=arguments.port,
        workers=arguments.workers or 1,
        loop="uvloop",
        http=Door(arguments.connections),  # type: ignore[arg-type]  # a factory is all that it is used for
        ws="websockets-sansio",
        ws_max_size=MOST_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        backlog=BACKLOG,
        timeout_graceful_shutdown=arguments.grace,
        timeout_worker_healthcheck=STARTS_S,
    )


def heed_quietly() -> None:
    """uvicorn ends a stop by raising the signal again, for whoever handled it before: nobody, so the exit code is 0."""

    def nothing(number: int, frame: FrameType | None) -> None:
        del number, frame

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, nothing)


def run(words: Sequence[str] | None = None) -> None:
    """Serves until a signal ends it.

    Without `--workers` this process is the worker. With it, it watches over so many: SIGHUP replaces them one by one.
    """
    parser = argparse.ArgumentParser(prog="python -m omni_app.server", description=run.__doc__)
    parser.add_argument("app", help="module:factory of an ASGI app")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--connections", type=int, default=10_000, help="of one worker, at once")
    parser.add_argument("--grace", type=float, help="seconds for what is in flight when a signal comes; none: no end")
    arguments = parser.parse_args(words)
    config = config_of(arguments)
    heed_quietly()
    if arguments.workers:
        Multiprocess(config, sockets=[config.bind_socket()]).run()
    else:
        uvicorn.Server(config).run()


if __name__ == "__main__":
    run()
