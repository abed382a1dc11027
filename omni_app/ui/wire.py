"""How many bytes have come over a connection, from the kernel: those too that the server has not handed on yet.

A websocket's message is handed on when it is whole, and the server (granian) puts up to 64 MiB of one together; that is
not ours to set. So a socket of a tab is watched from below, and cut where the bytes come in. Linux only: elsewhere, and
where the connection is not found, nothing is counted.
"""

import os
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path

DESCRIPTORS = Path("/proc/self/fd")
BYTES_RECEIVED = 128
"""Where `tcpi_bytes_received`, 64 bits, stands in Linux's `struct tcp_info` (since 4.1)."""


class Wire:
    """One end of a TCP connection that somebody else reads; to be closed, else the connection stays half open."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def received(self) -> int:
        """Bytes since the connection was made; 0 when that cannot be told any more."""
        try:
            told = self._connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_RECEIVED + 8)
        except OSError:
            return 0
        return int(struct.unpack_from("=Q", told, BYTES_RECEIVED)[0]) if len(told) >= BYTES_RECEIVED + 8 else 0

    def cut(self) -> None:
        """Ends the connection for whoever reads it, now."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Gives up the watch; the connection itself goes on."""
        self._connection.close()


def wire_to(peer: tuple[str, int]) -> Wire | None:
    """This process's connection to that peer; None when there is none, and on other systems. Blocks for a moment."""
    if sys.platform != "linux":
        return None
    for descriptor in [int(one.name) for one in DESCRIPTORS.iterdir()]:
        if _peer_of(descriptor) != peer:
            continue
        # Only ever of a socket: closing the copy of a file's descriptor would drop this process's locks on the file.
        copy = os.dup(descriptor)
        if _peer_of(copy) == peer:
            return Wire(socket.socket(fileno=copy))
    return None


def _peer_of(descriptor: int) -> tuple[str, int] | None:
    """Who is at the other end of the TCP connection behind a descriptor; None when it is something else."""
    try:
        found = socket.socket(fileno=descriptor)
    except OSError:
        return None
    try:
        host, port = found.getpeername()[:2]
    except (OSError, ValueError):
        return None
    finally:
        found.detach()
    return host, port
