"""`python -m omni_app.server module:factory`: serves an ASGI app; `serve.server_command` writes the whole line."""

import argparse
import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.supervisors import Multiprocess

from omni_app.server.config import config_of
from omni_app.server.tls import Certificate

DOORS = 32
"""Copies of the listening socket. In one round of the loop uvloop takes one connection from each: with a single one a
worker whose rounds take 5 ms takes 200 connections a second, and the kernel turns the others away (measured)."""


def heed_quietly(*, hang_up: bool) -> None:
    """uvicorn ends a stop by raising the signal again, for whoever handled it before: nobody, so the exit code is 0.

    `hang_up`: SIGHUP, by itself the end of everything at once, asks for a stop too: a terminal was closed.
    """

    def nothing(number: int, frame: FrameType | None) -> None:
        del number, frame

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        signal.raise_signal(signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, nothing)
    if hang_up and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # else `nohup` keeps it from us
        signal.signal(signal.SIGHUP, stop)


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
    parser.add_argument("--tls", type=Path, nargs=2, metavar=("CERTIFICATE", "KEY"), help="PEM files; none: plain HTTP")
    arguments = parser.parse_args(words)
    config = config_of(
        arguments.app,
        factory=True,
        host=arguments.host,
        port=arguments.port,
        workers=arguments.workers or 1,
        connections=arguments.connections,
        grace_s=arguments.grace,
        certificate=Certificate(*arguments.tls) if arguments.tls else None,
    )
    heed_quietly(hang_up=not arguments.workers)
    bound = config.bind_socket()
    doors = [bound, *(bound.dup() for _ in range(DOORS - 1))]
    if arguments.workers:
        Multiprocess(config, sockets=doors).run()
    else:
        uvicorn.Server(config).run(sockets=doors)


if __name__ == "__main__":
    run()
