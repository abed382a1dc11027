"""What is loaded lies in large pages, where the system has them; and is what it was."""

import subprocess
import sys

from omni_app.large_pages import LARGE, _starts
from tests.product import ROOT

GATHERED = """
import ctypes, mmap, re
from pathlib import Path
from omni_app import large_pages

def large():
    return 1024 * int(re.search(r"AnonHugePages: +([0-9]+)", Path("/proc/self/smaps_rollup").read_text())[1])

kept = [b"%d" % number * 8 for number in range(400_000)]
before = large()
large_pages.gather()
gained = large() - before
assert kept == [b"%d" % number * 8 for number in range(400_000)]

room = mmap.mmap(-1, 3 * large_pages.LARGE, flags=mmap.MAP_PRIVATE)
room.write(bytes(3 * large_pages.LARGE))
address = ctypes.addressof(ctypes.c_char.from_buffer(room))
(start, *_) = large_pages._starts(address, address + 3 * large_pages.LARGE)
told = ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(large_pages.LARGE), large_pages.MADV_COLLAPSE)
print(gained, told == 0)
"""
"""Prints by how many bytes large pages became more, and whether this system makes any."""


def test_most_of_what_is_loaded_lies_in_large_pages_where_the_system_makes_them() -> None:
    done = subprocess.run([sys.executable, "-c", GATHERED], cwd=ROOT, capture_output=True, text=True, check=True)
    gained, makes_them = done.stdout.split()
    assert (int(gained) >= 4 * LARGE) is (makes_them == "True")


def test_only_whole_large_pages_count() -> None:
    assert list(_starts(0, LARGE)) == [0]
    assert list(_starts(1, 3 * LARGE - 1)) == [LARGE]
    assert list(_starts(LARGE + 1, 2 * LARGE)) == []
