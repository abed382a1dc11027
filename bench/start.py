"""How long a start takes, until `/health` and until `/ready`, warm: `make bench-start` (ARGS="--times 5").

The API alone on SQLite, migrated before; with the pages too, where they are built. Prints medians.
"""

import argparse
import http.client
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

from bench.gateways import Setup, environment_of
from bench.targets import started
from omni_app.serve import BUILD, server_command
from tests.product import ROOT

LONGEST_S = 60.0
LOOK_S = 0.005


def status(port: int, path: str) -> int:
    """What the path answers now; 0 while nobody listens."""
    with suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", path)
        return connection.getresponse().status
    return 0


def start_once(folder: Path, setup: Setup) -> tuple[float, float]:
    """Seconds from the process's start to `/health` and to `/ready` with 200. Raises `TimeoutError`."""
    settings, whole = environment_of(folder, upstream_port=9, setup=setup)
    command = server_command(settings, setup.factory)
    began_s = time.monotonic()
    found: dict[str, float] = {}
    with started(command, cpu=None, folder=folder, env=whole):
        while len(found) < 2:
            if time.monotonic() - began_s > LONGEST_S:
                raise TimeoutError(f"not ready in {LONGEST_S:g} s: {found}")
            for path in ("/health", "/ready"):
                if path not in found and status(settings.port, path) == 200:
                    found[path] = time.monotonic() - began_s
            time.sleep(LOOK_S)
    return found["/health"], found["/ready"]


def main() -> None:
    """Prints a line for each way to run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    times = parser.parse_args().times
    setups = [Setup("the API alone")]
    if BUILD.is_dir():
        setups.append(Setup("with the pages", factory="omni_app.omni_app:app"))
    for setup in setups:
        with tempfile.TemporaryDirectory(prefix="omni-start-") as folder:
            _, whole = environment_of(Path(folder), upstream_port=9, setup=setup)
            subprocess.run([sys.executable, "-m", "omni_app", "migrate"], cwd=ROOT, env=whole, check=True)
            start_once(Path(folder), setup)  # warms the caches
            seen = [start_once(Path(folder), setup) for _ in range(times)]
        health_s, ready_s = (median(one[place] for one in seen) for place in (0, 1))
        print(f"{setup.name}: /health after {health_s:.2f} s, /ready after {ready_s:.2f} s ({times} starts)")


if __name__ == "__main__":
    main()
