"""The sandbox's picture: a small PNG that says in itself that it is a placeholder. Standard library only."""

import struct
import zlib
from base64 import b64encode
from functools import lru_cache

# Letters of five by seven dots, a row a string; only those that the label needs.
FONT = {
    "A": ("01110", "10001", "10001", "11111", "10001", "10001", "10001"),
    "B": ("11110", "10001", "10001", "11110", "10001", "10001", "11110"),
    "D": ("11110", "10001", "10001", "10001", "10001", "10001", "11110"),
    "E": ("11111", "10000", "10000", "11110", "10000", "10000", "11111"),
    "G": ("01111", "10000", "10000", "10011", "10001", "10001", "01111"),
    "I": ("11111", "00100", "00100", "00100", "00100", "00100", "11111"),
    "M": ("10001", "11011", "10101", "10101", "10001", "10001", "10001"),
    "N": ("10001", "11001", "10101", "10011", "10001", "10001", "10001"),
    "O": ("01110", "10001", "10001", "10001", "10001", "10001", "01110"),
    "S": ("01111", "10000", "10000", "01110", "00001", "00001", "11110"),
    "X": ("10001", "10001", "01010", "00100", "01010", "10001", "10001"),
    " ": ("00000",) * 7,
}
SIZE = 256
DOT = 3
PAPER, INK = (233, 236, 239), (73, 80, 87)


@lru_cache(maxsize=8)
def placeholder_png(label: str) -> str:
    """A 256 x 256 PNG with the label across its middle, in base64."""
    width = len(label) * 6 * DOT - DOT
    left, top = (SIZE - width) // 2, (SIZE - 7 * DOT) // 2
    rows = b"".join(b"\0" + _row(label, y - top, left) for y in range(SIZE))
    head = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    return b64encode(png).decode()


def _row(label: str, y: int, left: int) -> bytes:
    return b"".join(bytes(INK if _is_ink(label, x - left, y) else PAPER) for x in range(SIZE))


def _is_ink(label: str, x: int, y: int) -> bool:
    if not (0 <= y < 7 * DOT and 0 <= x < len(label) * 6 * DOT):
        return False
    column = x // DOT % 6
    return column < 5 and FONT[label[x // DOT // 6]][y // DOT][column] == "1"


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
