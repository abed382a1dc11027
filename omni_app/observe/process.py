"""What the process takes of its machine, under the names that Prometheus' own clients use."""

import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from omni_app.observe import families as of
from omni_app.observe.metrics import Sample

BEGAN = time.time()
PROC = Path("/proc/self")


def process_samples() -> Iterator[Sample]:
    """Memory and descriptors where the system tells them (Linux)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield of.CPU, (), used.ru_utime + used.ru_stime
    yield of.STARTED, (), BEGAN
    if sys.platform == "linux":
        pages = int((PROC / "statm").read_text().split()[1])
        yield of.MEMORY, (), pages * os.sysconf("SC_PAGE_SIZE")
        yield of.FILES, (), sum(1 for _ in (PROC / "fd").iterdir())
