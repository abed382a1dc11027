"""The whole product as a person starts it, for tests in a browser and for pictures: `python -m omni_app serve`."""

import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from omni_app.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
START_DEADLINE_S = 240
"""The first start on a slow machine builds the web app."""
STOP_DEADLINE_S = 30


class ProductFailed(Exception):
    """The product did not start; the message holds the end of what it printed."""


def free_port() -> int:
    """A port on which nobody listens at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_product(data_dir: Path, *, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Serves on a free port with nothing configured but `environment`; gives the address, and stops it at the end."""
    port = free_port()
    base_url = f"{'https' if 'TLS_CERT_FILE' in (environment or {}) else 'http'}://127.0.0.1:{port}"
    log_file = data_dir / "serve.log"
    data_dir.mkdir(parents=True, exist_ok=True)
    settings = {"PORT": str(port), "OMNI_DATA_DIR": str(data_dir), **(environment or {})}
    with log_file.open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "omni_app", "serve"],
            cwd=ROOT,
            env=unconfigured_environment() | settings,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until_ready(base_url, server, log_file)
            yield base_url
        finally:
            stop(server)


def unconfigured_environment() -> dict[str, str]:
    """This process's environment without any of the product's settings."""
    ours = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name.upper() not in ours}


def wait_until_ready(base_url: str, server: subprocess.Popen[bytes], log_file: Path) -> None:
    """Returns when `/ready` says so. Raises `ProductFailed` when the process ends or the time is up."""
    deadline_s = time.monotonic() + START_DEADLINE_S
    anybody = ssl._create_unverified_context()  # noqa: S323 whose certificate it is, the tests ask themselves
    while time.monotonic() < deadline_s:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{base_url}/ready", timeout=5, context=anybody):  # noqa: S310 our own server
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise ProductFailed(f"not ready after {START_DEADLINE_S} s or ended early:\n{log_file.read_text()[-4000:]}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """Asks the server to end, and ends it when it does not."""
    server.terminate()
    try:
        server.wait(timeout=STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
