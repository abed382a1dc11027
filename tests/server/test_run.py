"""The server as a process: what signals do."""

import asyncio
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.product import ROOT, free_port

TAKES_S = 1.0


def unhurried() -> ASGIApp:
    """An app that takes its time."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await asyncio.sleep(TAKES_S if scope["path"] == "/slow" else 0)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    return app


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stop_waits_for_what_is_in_flight(number: signal.Signals) -> None:
    port = free_port()
    command = [sys.executable, "-m", "omni_app.server", f"{__name__}:unhurried", "--port", str(port), "--grace", "10"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as server, ThreadPoolExecutor() as beside:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            for _ in range(200):
                try:
                    client.get("/")
                    break
                except httpx.ConnectError:
                    time.sleep(0.05)
            asked = beside.submit(client.get, "/slow")
            time.sleep(TAKES_S / 3)
            server.send_signal(number)
            assert asked.result().status_code == 204
        assert server.wait(timeout=20) == 0
