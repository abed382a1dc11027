"""What a worker has loaded, moved into large pages of memory.

A request walks through code and objects that lie scattered over tens of megabytes. In pages of 4 kB the processor has
forgotten where most of them are when the next request needs them; in pages of 2 MB it has not
(docs/decisions/0065-large-pages.md has it measured). Linux 6.1 does it when asked, elsewhere nothing happens.
"""

import ctypes
import re
from pathlib import Path

MADV_COLLAPSE = 25
"""Of `madvise` (linux/mman.h): make large pages of these now."""
LARGE, PAGE = 2 * 2**20, 4096
OWN = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p 00000000 00:00 0\s*(?:\[heap\])?")
"""A line of `/proc/self/maps` about memory that no file is behind."""
MAPS = Path("/proc/self/maps")


def gather() -> None:
    """To be called once, when what a process needs is loaded. Takes about a tenth of a second, of any thread's time.

    Of stretches that are half empty, as the stacks of threads are, none is made: they would take up more than now.
    """
    try:
        lines, libc = MAPS.read_text().splitlines(), ctypes.CDLL(None)
        libc.madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        libc.mincore.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    except (OSError, AttributeError):  # another system
        return
    resident = ctypes.create_string_buffer(LARGE // PAGE)
    for found in filter(None, map(OWN.fullmatch, lines)):
        for start in _starts(int(found[1], 16), int(found[2], 16)):
            if libc.mincore(start, LARGE, resident) == 0 and 2 * resident.raw.count(b"\1") > len(resident):
                libc.madvise(start, LARGE, MADV_COLLAPSE)  # or not, where the system has none or does not want to


def _starts(begin: int, end: int) -> range:
    """Where whole large pages begin in a stretch of memory."""
    return range(-(-begin // LARGE) * LARGE, end // LARGE * LARGE, LARGE)
