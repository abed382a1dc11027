"""Other gateways, as they are published: installed into environments of their own below `build/bench`, and started.

All stand before the same mock with as little of their own as they allow: no database, no log. None but LiteLLM's proxy
checks a key here. Where one cannot be had, `PeerMissing` says why, and the page too.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.targets import Target, answers, listens, started
from tests.product import ROOT, free_port

HOME = ROOT / "build" / "bench"
LITELLM = ("litellm[proxy]==1.106.2", "uvloop", "httptools", "opentelemetry-sdk", "opentelemetry-exporter-otlp")
"""The last three are not asked for, and the proxy is slower without: it looks for them at each request."""
VLLM_ROUTER = "vllm-router==0.1.17"
VLLM_ROUTER_NEEDS = ("setproctitle", "aiohttp", "orjson", "uvicorn", "fastapi", "requests", "pyyaml", "httpx")
TENSORZERO = "tensorzero==2026.6.0"
PORTKEY = "@portkey-ai/gateway@1.15.2"
INSTALL_S = 600
TENSORZERO_GATEWAY = """
import sys, time, tensorzero
gateway = tensorzero._start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
open(sys.argv[2], "w").write(gateway.base_url)
while True:
    time.sleep(3600)
"""
"""TensorZero's server as its Python wheel carries it."""


class PeerMissing(Exception):
    """It cannot be installed or started here; the message says which and why."""


Peer = Callable[[Path, int], AbstractContextManager[Target]]


def environment(name: str, *packages: str, bare: str = "") -> Path:
    """The folder of a virtual environment's programs. `bare`: a package to install without what it asks for."""
    folder = HOME / name
    done = folder / "installed"
    wanted = "\n".join((*packages, bare))
    if not done.exists() or done.read_text() != wanted:
        pip = [str(folder / "bin" / "python"), "-m", "pip", "-q", "install", "--disable-pip-version-check"]
        _run(name, [sys.executable, "-m", "venv", str(folder)])
        _run(name, [*pip, *packages])
        if bare:
            _run(name, [*pip, "--no-deps", bare])
        done.write_text(wanted)
    return folder / "bin"


def _run(name: str, command: list[str], **more: Path) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_S, **more)  # type: ignore[call-overload]
    except (OSError, subprocess.SubprocessError) as error:
        raise PeerMissing(f"{name} could not be installed ({type(error).__name__})") from error


@contextmanager
def litellm(folder: Path, upstream: int) -> Iterator[Target]:
    """LiteLLM's proxy with one worker and a master key."""
    programs, port = environment("litellm", *LITELLM), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    entry = {"model": "openai/gpt-4.1-mini", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "sk-mock"}
    config = {
        "model_list": [{"model_name": "mock", "litellm_params": entry}],
        "litellm_settings": {"num_retries": 0, "request_timeout": 30, "telemetry": False},
        "general_settings": {"master_key": "sk-bench"},
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    settings = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False",
    }  # fmt: skip
    where = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    command: list[str | Path] = [programs / "litellm", "--config", folder / "config.yaml", *where]
    with started(command, cpu=0, folder=folder, env=settings) as process:
        answers(f"http://127.0.0.1:{port}/health/liveliness", process)
        yield Target("LiteLLM proxy", port, process, "sk-bench", {"pinned": "mock"})


@contextmanager
def vllm_router(folder: Path, upstream: int) -> Iterator[Target]:
    """vLLM's router: Rust, hands requests on, no key, no log."""
    programs, port = environment("vllm-router", *VLLM_ROUTER_NEEDS, bare=VLLM_ROUTER), free_port()
    command: list[str | Path] = [
        programs / "python",
        "-m",
        "vllm_router.launch_router",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    command += ["--worker-urls", f"http://127.0.0.1:{upstream}", "--policy", "round_robin", "--log-level", "error"]
    command += ["--prometheus-port", str(free_port())]
    with started(command, cpu=0, folder=folder) as process:
        listens(port, within_s=60)
        yield Target("vllm-router", port, process, "", {"pinned": "m"})


@contextmanager
def tensorzero(folder: Path, upstream: int) -> Iterator[Target]:
    """TensorZero's gateway: Rust, translates, no key, its log off."""
    programs = environment("tensorzero", TENSORZERO)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tensorzero.toml").write_text(
        "[gateway]\nobservability.enabled = false\n[models.mock]\nrouting = ['m']\n[models.mock.providers.m]\n"
        f"type = 'openai'\nmodel_name = 'mock'\napi_base = 'http://127.0.0.1:{upstream}/v1/'\n"
        "api_key_location = 'none'\n"
    )
    (folder / "gateway.py").write_text(TENSORZERO_GATEWAY)
    told = folder / "url"
    command = [programs / "python", folder / "gateway.py", folder / "tensorzero.toml", told]
    with started(command, cpu=0, folder=folder) as process:
        where = urlsplit(_told(told, process))
        path = where.path.rstrip("/") + "/chat/completions"
        models = {"pinned": "tensorzero::model_name::mock"}
        yield Target("TensorZero", where.port or 0, process, "", models, path=path)


def _told(file: Path, process: "subprocess.Popen[bytes]") -> str:
    """What a process writes into a file when it is ready."""
    for _ in range(300):
        if file.exists() and (text := file.read_text()):
            return text
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise PeerMissing("TensorZero did not start")


@contextmanager
def portkey(folder: Path, upstream: int) -> Iterator[Target]:
    """Portkey's gateway: Node, no key, no log. Its streams fail here with HTTP 500, so it is asked for none."""
    node, npm, home, port = shutil.which("node"), shutil.which("npm"), HOME / "portkey", free_port()
    if node is None or npm is None:
        raise PeerMissing("Portkey needs Node")
    server = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not server.exists():
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text("{}")
        _run("Portkey", [npm, "install", "--no-audit", "--no-fund", PORTKEY], cwd=home)
    headers = ["x-portkey-provider: openai", f"x-portkey-custom-host: http://127.0.0.1:{upstream}/v1"]
    environ = os.environ | {"NODE_ENV": "production"}
    with started([node, server, f"--port={port}", "--headless"], cpu=0, folder=folder, env=environ) as process:
        listens(port, within_s=60)
        yield Target("Portkey", port, process, "sk-x", {"pinned": "m"}, headers=headers, streams=False)


PEERS: Mapping[str, Peer] = {
    "vllm-router": vllm_router, "TensorZero": tensorzero, "Portkey": portkey, "LiteLLM proxy": litellm
}  # fmt: skip
