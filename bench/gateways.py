"""The product, a bare forwarder and LiteLLM's proxy side by side: `make bench` (ARGS="--no-peers": without the proxy).

All of them stand before the same mock of a provider, which answers at once, and are asked in turn, round after round,
so that all meet the same machine. Given are medians over the rounds. Most to be trusted is the CPU that a request
takes: on-CPU time of the gateway's processes (`schedstat`) by requests answered. `mock.c` and `load.c` are our own
tools, built with the system's C compiler into `build/bench`.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import create_engine, func, select
from sqlalchemy.pool import NullPool

from omni_app.serve import server_command
from omni_app.settings import Settings
from omni_app.storage.database import sync_url
from omni_app.storage.tables import RequestRow
from tests.product import ROOT, free_port, stop, unconfigured_environment, wait_until_ready

TOOLS = ROOT / "build" / "bench"
SOURCES = ROOT / "bench"
PAGE = ROOT / "docs" / "benchmarks.md"
LITELLM = "litellm[proxy]==1.83.0"
PROMPT = (
    "Summarize in two sentences why a request router in front of several language models can lower the cost of an"
    " application while keeping its answers good."
)
PINNED = "openai/gpt-4.1-mini"
TOKENS = 20
"""Of the mock's answer, as many pieces when it streams."""


@dataclass(frozen=True, slots=True)
class Mock:
    """The provider's port, and a folder for what is sent to it."""

    port: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway: where it listens, its process, and the models to ask it for by row."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"
    key: str
    models: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Measured:
    """One target in one row of one round."""

    requests_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    memory_mb: float
    answered: int
    wrong: int
    calls: int
    """Requests that reached the provider: one for each that was issued, or something was tried twice or cached."""
    issued: int


# Tools


def build_tools() -> Path:
    """`mock` and `load`, built when their sources changed. Raises `FileNotFoundError` without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise FileNotFoundError("no C compiler: apt-get install gcc")
    TOOLS.mkdir(parents=True, exist_ok=True)
    for name in ("mock", "load"):
        source, program = SOURCES / f"{name}.c", TOOLS / name
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            subprocess.run([compiler, "-O2", "-w", "-o", program, source, "-lm"], check=True)
    return TOOLS


def on_cpu(number: int) -> list[str]:
    """The words that pin a command to one CPU; none where there are not two, or no `taskset`."""
    allowed = sorted(os.sched_getaffinity(0))
    taskset = shutil.which("taskset")
    return [taskset, "-c", str(allowed[number])] if taskset and len(allowed) > number and len(allowed) > 1 else []


@contextmanager
def started(
    command: Sequence[str | Path], *, cpu: int, folder: Path, **more: Any
) -> "Iterator[subprocess.Popen[bytes]]":
    """A process of its own, its output in `folder`, ended at the end."""
    with (folder / "bench.log").open("ab") as log:
        process = subprocess.Popen([*on_cpu(cpu), *command], stdout=log, stderr=log, cwd=ROOT, **more)
    try:
        yield process
    finally:
        stop(process)


def _poll(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"{url} does not answer")


# Targets


@contextmanager
def product(folder: Path, upstream_port: int) -> Iterator[tuple[Target, Settings]]:
    """One worker of the API as `serve` starts it, but for the pages: SQLite, spool, ledger, limits, routing log."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        "PORT": str(free_port()),
        "OMNI_DATA_DIR": str(folder),
        "OPENAI_API_KEY": "sk-of-the-mock",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream_port}/v1",
        "LOCAL_MODEL": "off",
        "RATE_LIMIT_MAX": "1000000",
    }
    settings = Settings.model_validate({name.lower(): value for name, value in environment.items()})
    whole = unconfigured_environment() | environment
    make = [sys.executable, "-m", "omni_app", "keys", "create", "--org", "bench", "--live"]
    made = subprocess.run(make, cwd=ROOT, env=whole, capture_output=True, text=True, check=True)
    command = [*server_command(settings)[:-1], "omni_app.asgi:create"]
    with started(command, cpu=0, folder=folder, env=whole) as process:
        wait_until_ready(f"http://127.0.0.1:{settings.port}", process, folder / "bench.log")
        models = {"pinned": PINNED, "routed": "auto"}
        yield Target("Omni-Model Router", settings.port, process, made.stdout.split()[0], models), settings


@contextmanager
def bare(folder: Path, upstream_port: int) -> Iterator[Target]:
    """The floor (`bench.bare`)."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with started([sys.executable, "-m", "bench.bare", str(port), str(upstream_port)], cpu=0, folder=folder) as process:
        _wait_for_port(port)
        yield Target("bare forwarder", port, process, "", {"pinned": "m"})


@contextmanager
def litellm(folder: Path, upstream_port: int, program: Path) -> Iterator[Target]:
    """LiteLLM's proxy with one worker, without a database: it keeps no ledger."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    entry = {"model": "openai/gpt-4.1-mini", "api_base": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "sk-mock"}
    config = {
        "model_list": [{"model_name": "mock", "litellm_params": entry}],
        "litellm_settings": {"num_retries": 0, "request_timeout": 30, "telemetry": False},
        "general_settings": {"master_key": "sk-bench"},
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }  # fmt: skip
    where = ["--host", "127.0.0.1", "--port", str(port)]
    command = [str(program), "--config", str(folder / "config.yaml"), *where, "--num_workers", "1"]
    with started(command, cpu=0, folder=folder, env=environment) as process:
        _poll(f"http://127.0.0.1:{port}/health/liveliness", process)
        yield Target("LiteLLM proxy", port, process, "sk-bench", {"pinned": "mock"})


def installed_litellm() -> Path:
    """The proxy in an environment of its own. Raises `CalledProcessError` when it cannot be had."""
    folder = TOOLS / "litellm"
    program = folder / "bin" / "litellm"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "-q", "install", LITELLM], check=True)
    return program


def _wait_for_port(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens on {port}")


# Measuring


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


def measure(target: Target, case: "Case", mock: Mock, *, seconds: float) -> Measured:
    """One load on one target. Latencies are of the whole answer. Raises `RuntimeError` when one answer is not 200."""
    question = [{"role": "user", "content": PROMPT}]
    body: dict[str, Any] = {"model": target.models[case.row], "messages": question, "max_tokens": 64}
    if case.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    file = mock.folder / "body.json"
    file.write_text(json.dumps(body, separators=(",", ":")))
    command = [*on_cpu(1), str(TOOLS / "load"), "-u", f"http://127.0.0.1:{target.port}/v1/chat/completions"]
    command += ["-c", str(case.at_once), "-t", str(seconds), "-w", "0.3", "-b", str(file)]
    command += ["-H", f"Authorization: Bearer {target.key}"] if target.key else []
    counter(mock.port, "reset")
    before_s = cpu_s(target.process.pid)
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)
    used_s = cpu_s(target.process.pid) - before_s
    wrong = found["bad"] + found["neterr"]
    if wrong:
        raise RuntimeError(f"{target.name}: {wrong} of {found['issued']} went wrong: {found['firstbad']}")
    return Measured(
        found["rps"], found["p50"], found["p99"], used_s * 1e6 / found["issued"], memory_mb(target.process.pid),
        found["ok"], wrong, counter(mock.port, "stats")["chat"], found["issued"],
    )  # fmt: skip


def counter(port: int, what: str) -> dict[str, int]:
    """The mock's own account."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{what}", timeout=5) as answer:
        found: dict[str, int] = json.loads(answer.read())
    return found


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the table."""

    row: str
    stream: bool
    at_once: int

    @property
    def name(self) -> str:
        kind = "streamed" if self.stream else "plain"
        return f"{kind}, {'routed (`auto`)' if self.row == 'routed' else 'model named'}, {self.at_once} at once"


CASES = [Case(row, stream, at_once) for row in ("pinned", "routed") for stream in (False, True) for at_once in (1, 16)]


def rounds(
    targets: Sequence[Target], cases: Sequence[Case], mock: Mock, *, count: int, seconds: float
) -> dict[tuple[Case, str], list[Measured]]:
    """Every case of every target in turn, `count` times."""
    found: dict[tuple[Case, str], list[Measured]] = {}
    for case in cases:
        for _ in range(count):
            for target in targets:
                if case.row in target.models:
                    seen = measure(target, case, mock, seconds=seconds)
                    found.setdefault((case, target.name), []).append(seen)
    return found


def table(found: Mapping[tuple[Case, str], Sequence[Measured]], floor: str) -> str:
    """Markdown; ratios are of CPU, to the floor under the same load with the model named."""
    lines = [
        "| | | requests/s | p50 ms | p99 ms | CPU a request, µs | × bare | memory, MB | provider calls a request |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (case, name), seen in found.items():
        least = median(one.cpu_us for one in found[Case("pinned", case.stream, case.at_once), floor])
        cpu_us, requests_s = median(one.cpu_us for one in seen), median(one.requests_s for one in seen)
        p50_ms, p99_ms = median(one.p50_ms for one in seen), median(one.p99_ms for one in seen)
        calls = sum(one.calls for one in seen) / sum(one.issued for one in seen)
        memory = median(one.memory_mb for one in seen)
        lines.append(
            f"| {case.name} | {name} | {requests_s:,.0f} | {p50_ms:.2f} | {p99_ms:.2f} | {cpu_us:,.0f}"
            f" | {cpu_us / least:.1f} | {memory:.0f} | {calls:.2f} |"
        )
    return "\n".join(lines)


def ledger_rows(settings: Settings) -> int:
    """Requests in the product's ledger; to be read when it has stopped."""
    engine = create_engine(sync_url(settings.database), poolclass=NullPool)
    with engine.connect() as connection:
        rows = connection.execute(select(func.count()).select_from(RequestRow)).scalar_one()
    engine.dispose()
    return rows


@contextmanager
def mocked(folder: Path) -> Iterator[Mock]:
    """The provider, running."""
    port = free_port()
    with started([build_tools() / "mock", "-p", str(port), "-n", str(TOKENS)], cpu=1, folder=folder):
        _wait_for_port(port)
        yield Mock(port, folder)


def run(arguments: argparse.Namespace, folder: Path) -> str:
    """Measures, and gives the page's figures."""
    notes: list[str] = []
    with mocked(folder) as mock:
        with ExitStack() as stack:
            ours, settings = stack.enter_context(product(folder / "product", mock.port))
            targets = [stack.enter_context(bare(folder / "bare", mock.port)), ours]
            if arguments.peers:
                try:
                    targets.append(stack.enter_context(litellm(folder / "litellm", mock.port, installed_litellm())))
                except (subprocess.CalledProcessError, RuntimeError, OSError) as error:
                    notes.append(f"LiteLLM's proxy could not be started here: {type(error).__name__}.")
            warm = rounds(targets, CASES[:4:3], mock, count=1, seconds=1)
            found = rounds(targets, CASES, mock, count=arguments.rounds, seconds=arguments.seconds)
        ours_seen = [one for (_, name), seen in [*warm.items(), *found.items()] for one in seen if name == ours.name]
        issued = sum(one.issued for one in ours_seen)
        notes.append(f"The product's ledger has {ledger_rows(settings):,} rows for {issued:,} requests issued.")
    return "\n\n".join([table(found, targets[0].name), " ".join(notes)])


def page(figures: str, command: str) -> str:
    """`docs/benchmarks.md`."""
    names = ("granian", "uvloop", "httptools")
    versions = ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)])
    return f"""# Benchmarks

Written by `{command}` (`make bench`) on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} CPUs ({platform.machine()}),
{versions}; the peer: {LITELLM.replace("[proxy]", "")}. The gateway has one CPU; provider and load share the other one.

A mock of a provider answers at once with {TOKENS} tokens, so that what is seen is the gateway's own. The *bare
forwarder* is the floor in CPython: it hands bytes on and does nothing else (`bench/bare.py`). The product keeps its
ledger, limits and routing log meanwhile, on SQLite; LiteLLM's proxy runs without a database. Rounds are interleaved,
the figures are medians. Machines differ: compare the column *× bare*, the CPU a request takes to that of the floor
under the same load. `auto` is where the product detects the task and chooses; the others have nothing like it.

{figures}
"""


def main() -> None:
    """Prints the page, and writes it unless told not to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--no-page", dest="page", action="store_false", help="print only")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="omni-bench-") as folder:
        text = page(run(arguments, Path(folder)), " ".join(["python -m bench.gateways", *sys.argv[1:]]))
    print(text)
    if arguments.page:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
