"""What a peer has not taken of what was sent to it, and for how long it has taken nothing.

The loop's own buffer tells what waits here, and the kernel what waits there. Both count: the kernel takes more from us
only once a third of what it holds is gone, so that a slow peer would seem to take nothing for many seconds.
"""

import asyncio
import fcntl
import sys
import termios

TAKES_S = 30.0
"""For a peer to take a part of what waits for it. Stated: a proxy in front whose buffer is full takes more once a
sixteenth of it is free again: of 6 MB, handed on at 20 kB a second, after 20 s."""


class Unsent:
    """Of one connection. `wire`: what its bytes go to, under TLS too: a layer above passes all of them on at once."""

    __slots__ = ("_since_s", "_wire", "left", "untaken_s")

    def __init__(self, wire: asyncio.Transport) -> None:
        self._wire = wire
        self._since_s = 0.0
        self.left = 0
        """Bytes, when it was last looked."""
        self.untaken_s = 0.0
        """How long they are the same ones; 0 when there are none."""

    @property
    def here(self) -> bool:
        """Whether the kernel has not taken all of it yet."""
        return self._wire.get_write_buffer_size() > 0

    def look(self, now_s: float, *, closely: bool) -> None:
        """The kernel is asked where something waits here, or was left the last time, or `closely`."""
        here = self._wire.get_write_buffer_size()
        left = here + in_kernel(self._wire) if here or self.left or closely else 0
        if left != self.left or not left:
            self.left, self._since_s = left, now_s
        self.untaken_s = now_s - self._since_s


def in_kernel(wire: asyncio.Transport) -> int:
    """Bytes that the kernel has, and the peer has not acknowledged; 0 where it does not tell: only Linux does."""
    socket = wire.get_extra_info("socket")
    try:
        told = fcntl.ioctl(-1 if socket is None else socket.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # a closed one has no number
        return 0
    return int.from_bytes(told, sys.byteorder)
