"""What is measured: a process that listens, and how it is asked. Started on a CPU of its own, ended at the end."""

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.product import ROOT, stop

COMPLETIONS = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway: where it listens, its process, and the models to ask it for by row. `key`: sent as a bearer token."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"
    key: str
    models: Mapping[str, str]
    path: str = COMPLETIONS
    headers: Sequence[str] = field(default_factory=tuple)
    streams: bool = True
    """Whether it answers streams at all (docs/benchmarks.md says who does not)."""


def on_cpu(number: int) -> list[str]:
    """The words that pin a command to one CPU; none where there are not two, or no `taskset`."""
    allowed = sorted(os.sched_getaffinity(0))
    taskset = shutil.which("taskset")
    return [taskset, "-c", str(allowed[number])] if taskset and len(allowed) > number and len(allowed) > 1 else []


@contextmanager
def started(
    command: Sequence[str | Path], *, cpu: int | None, folder: Path, **more: Any
) -> "Iterator[subprocess.Popen[bytes]]":
    """A process of its own, its output in `folder`, ended at the end. `cpu` None: on any."""
    pinned = [] if cpu is None else on_cpu(cpu)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "bench.log").open("ab") as log:
        process = subprocess.Popen([*pinned, *command], stdout=log, stderr=log, cwd=ROOT, **more)
    try:
        yield process
    finally:
        stop(process)


def answers(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Returns when the address answers. Raises `RuntimeError` when it does not."""
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"{url} does not answer")


def listens(port: int, *, within_s: float = 5.0) -> None:
    """Returns when somebody listens there. Raises `RuntimeError`."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens on {port}")


def cpu_s(pid: int) -> float:
    """On-CPU seconds of a process and its children, threads and all."""
    total = 0
    for one in family(pid):
        for thread in Path(f"/proc/{one}/task").iterdir():
            with suppress(OSError):  # a thread may end meanwhile
                total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        for thread in Path(f"/proc/{one}/task").iterdir():
            with suppress(OSError):
                waiting += map(int, (thread / "children").read_text().split())
    return found


def memory_mb(pid: int) -> float:
    """Resident, of the process and its descendants."""
    pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in family(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
