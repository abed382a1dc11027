"""The product, a bare forwarder and other gateways side by side: `make bench` (ARGS="--no-peers": without the others).

All of them stand before the same mock of a provider and are asked in turn, round after round, so that all meet the same
machine. Given are medians over the rounds. Most to be trusted is the CPU that a request takes: on-CPU time of the
gateway's processes (`schedstat`) by requests answered. A thousand different bodies of 200 bytes to 8 kB are sent in
turn. `mock.c` and `load.c` are our own tools, built with the system's C compiler into `build/bench`.
"""

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import create_engine, func, select
from sqlalchemy.pool import NullPool

from bench.peers import LITELLM, PEERS, PORTKEY, TENSORZERO, VLLM_ROUTER, PeerMissing
from bench.targets import Target, cpu_s, listens, memory_mb, on_cpu, started
from omni_app.serve import API_ALONE, BUILD, WHOLE, server_command, server_environment
from omni_app.settings import Settings
from omni_app.storage.database import sync_url, upgrade
from omni_app.storage.tables import RequestRow
from tests.product import ROOT, free_port, unconfigured_environment, wait_until_ready
from tests.servers.postgres import running_postgres

TOOLS = ROOT / "build" / "bench"
SOURCES = ROOT / "bench"
PAGE = ROOT / "docs" / "benchmarks.md"
BODIES = 1_000
SHORTEST, LONGEST = 200, 8_000
"""Bytes of a body, about; lengths are spread evenly over their logarithm."""
QUESTIONS = ("Summarize this in two sentences:", "What does this say about cost?", "Explain this to a newcomer:")
PINNED = "openai/gpt-4.1-mini"
FORMATS = {"anthropic": "anthropic/claude-haiku-4-5", "gemini": "gemini/gemini-2.5-flash"}
"""Models whose providers speak another format than OpenAI's."""
TOKENS = 20
"""Of the mock's answer, as many pieces when it streams."""


@dataclass(frozen=True, slots=True)
class Mock:
    """The provider's port, a folder for what is sent to it, its process."""

    port: int
    folder: Path
    process: "subprocess.Popen[bytes]"


@dataclass(frozen=True, slots=True)
class Measured:
    """One target in one row of one round."""

    requests_s: float
    p50_ms: float
    p99_ms: float
    first_ms: float
    """Of the first byte of the answer's body, the median."""
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


# Targets


@dataclass(frozen=True, slots=True)
class Setup:
    """How the product is run. `workers` beyond one are given every CPU; `database` "" = SQLite."""

    name: str = "Omni-Model Router"
    factory: str = API_ALONE
    database: str = ""
    workers: int = 1


def environment_of(folder: Path, *, upstream_port: int, setup: Setup) -> tuple[Settings, dict[str, str]]:
    """The product's settings with its data in `folder` and the mock for OpenAI, and the environment that says so."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        "PORT": str(free_port()),
        "OMNI_DATA_DIR": str(folder),
        "OPENAI_API_KEY": "sk-of-the-mock",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream_port}/v1",
        "ANTHROPIC_API_KEY": "sk-of-the-mock",
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{upstream_port}",
        "GEMINI_API_KEY": "key-of-the-mock",
        "GEMINI_BASE_URL": f"http://127.0.0.1:{upstream_port}",
        "LOCAL_MODEL": "off",
        "RATE_LIMIT_MAX": "1000000",
        "DATABASE_URL": setup.database,
    }
    settings = Settings.model_validate({name.lower(): value for name, value in environment.items() if value})
    return settings, unconfigured_environment() | server_environment(settings, compiled=True) | environment


@contextmanager
def product(folder: Path, upstream_port: int, setup: Setup = Setup()) -> Iterator[tuple[Target, Settings]]:
    """The API with its ledger, limits and routing log: one worker on SQLite unless `setup` says otherwise."""
    settings, whole = environment_of(folder, upstream_port=upstream_port, setup=setup)
    make = [sys.executable, "-m", "omni_app", "keys", "create", "--org", "bench", "--live"]
    made = subprocess.run(make, cwd=ROOT, env=whole, capture_output=True, text=True, check=True)
    command = server_command(settings, setup.factory, workers=0 if setup.workers == 1 else setup.workers)
    with started(command, cpu=0 if setup.workers == 1 else None, folder=folder, env=whole) as process:
        wait_until_ready(f"http://127.0.0.1:{settings.port}", process, folder / "bench.log")
        models = {"pinned": PINNED, "routed": "auto", **FORMATS}
        yield Target(setup.name, settings.port, process, made.stdout.split()[0], models), settings


@contextmanager
def bare(folder: Path, upstream_port: int) -> Iterator[Target]:
    """The floor (`bench.bare`)."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with started([sys.executable, "-m", "bench.bare", str(port), str(upstream_port)], cpu=0, folder=folder) as process:
        listens(port)
        yield Target("bare forwarder", port, process, "", {"pinned": "m"})


# Measuring


def measure(target: Target, case: "Case", mock: Mock, *, seconds: float) -> Measured:
    """One load on one target. Latencies are of the whole answer. Raises `RuntimeError` when one answer is not 200."""
    file = mock.folder / f"bodies-{target.name}-{case.row}-{case.stream}.jsonl"
    if not file.exists():
        file.write_text("\n".join(bodies(target.models[case.row], stream=case.stream)))
    command = [*on_cpu(1), str(TOOLS / "load"), "-u", f"http://127.0.0.1:{target.port}{target.path}"]
    command += ["-c", str(case.at_once), "-t", str(seconds), "-w", "0.3", "-b", str(file)]
    for header in (*target.headers, *([f"Authorization: Bearer {target.key}"] if target.key else [])):
        command += ["-H", header]
    counter(mock.port, "reset")
    before_s = cpu_s(target.process.pid)
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)
    used_s = cpu_s(target.process.pid) - before_s
    wrong = found["bad"] + found["neterr"]
    if wrong:
        raise RuntimeError(f"{target.name}: {wrong} of {found['issued']} went wrong: {found['firstbad']}")
    return Measured(
        found["rps"], found["p50"], found["p99"], found["fb50"], used_s * 1e6 / found["issued"],
        memory_mb(target.process.pid), found["ok"], wrong, counter(mock.port, "stats")["chat"], found["issued"],
    )  # fmt: skip


def bodies(model: str, *, stream: bool) -> list[str]:
    """A thousand requests, the same each time: pieces of this project's own documents, with a question before them."""
    draws = random.Random(1)
    text = "\n".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
    found = []
    for number in range(BODIES):
        length = round(SHORTEST * (LONGEST / SHORTEST) ** draws.random())
        start = draws.randrange(len(text) - length)
        question = f"{QUESTIONS[number % len(QUESTIONS)]} {text[start : start + max(20, length - 150)]}"
        body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": 64}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        found.append(json.dumps(body, separators=(",", ":")))
    return found


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
        how = {"pinned": "model named", "routed": "routed (`auto`)"}.get(
            self.row, f"{self.row[0].upper()}{self.row[1:]}'s format"
        )
        return f"{kind}, {how}, {self.at_once} at once"


CASES = [Case(row, stream, at_once) for row in ("pinned", "routed") for stream in (False, True) for at_once in (1, 16)]
MANY = Case("pinned", stream=False, at_once=256)
WAYS = [Case("pinned", stream=False, at_once=16)]
"""What the product's ways of running are compared by."""
TRANSLATED = [
    Case("pinned", stream=False, at_once=16),
    Case("anthropic", stream=False, at_once=16),
    Case("gemini", stream=False, at_once=16),
    Case("pinned", stream=True, at_once=16),
    Case("anthropic", stream=True, at_once=16),
]
"""What another format costs beside OpenAI's, which goes on as it comes."""
PACED = [Case("pinned", stream=True, at_once=1), Case("pinned", stream=True, at_once=16)]


def rounds(
    targets: Sequence[Target], cases: Sequence[Case], mock: Mock, *, count: int, seconds: float
) -> dict[tuple[Case, str], list[Measured]]:
    """Every case of every target in turn, `count` times."""
    found: dict[tuple[Case, str], list[Measured]] = {}
    for case in cases:
        for _ in range(count):
            for target in targets:
                if case.row in target.models and (target.streams or not case.stream):
                    seen = measure(target, case, mock, seconds=seconds)
                    found.setdefault((case, target.name), []).append(seen)
    return found


def table(found: Mapping[tuple[Case, str], Sequence[Measured]], floor: str, *, over: str = "× bare") -> str:
    """Markdown; ratios are of CPU, to the floor under the same load with the model named."""
    lines = [
        f"| | | requests/s | p50 ms | p99 ms | CPU a request, µs | {over} | memory, MB | provider calls a request |",
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


def paced_table(found: Mapping[tuple[Case, str], Sequence[Measured]], direct: str) -> str:
    """Markdown: what each target adds to a provider that takes its time."""
    lines = ["| | | first token, ms more | whole answer, ms more | CPU a stream, µs |", "|---|---|---:|---:|---:|"]
    for (case, name), seen in found.items():
        if name != direct:
            alone = found[case, direct]
            first = median(one.first_ms for one in seen) - median(one.first_ms for one in alone)
            whole = median(one.p50_ms for one in seen) - median(one.p50_ms for one in alone)
            cpu_us = median(one.cpu_us for one in seen)
            lines.append(f"| {case.at_once} at once | {name} | {first:.2f} | {whole:.2f} | {cpu_us:,.0f} |")
    return "\n".join(lines)


@contextmanager
def mocked(folder: Path, *, paced: bool = False) -> Iterator[Mock]:
    """The provider, running. `paced`: 20 ms to the first of a hundred tokens, and 2 ms to each further one."""
    port = free_port()
    pace = ["-d", "20", "-n", "100", "-i", "2000"] if paced else ["-n", str(TOKENS)]
    with started([build_tools() / "mock", "-p", str(port), *pace], cpu=1, folder=folder) as process:
        listens(port)
        yield Mock(port, folder, process)


def side_by_side(stack: ExitStack, mock: Mock, *, peers: bool, notes: list[str]) -> tuple[list[Target], Settings]:
    """The floor, the product and the others, all started."""
    ours, settings = stack.enter_context(product(mock.folder / "product", mock.port))
    targets = [stack.enter_context(bare(mock.folder / "bare", mock.port)), ours]
    for name, peer in PEERS.items() if peers else ():
        try:
            targets.append(stack.enter_context(peer(mock.folder / name, mock.port)))
        except (PeerMissing, RuntimeError, OSError) as error:
            notes.append(f"{name} could not be measured here: {error}.")
    return targets, settings


def at_once_table(arguments: argparse.Namespace, folder: Path, notes: list[str]) -> str:
    """Against a provider that answers at once: what the gateways themselves take."""
    with mocked(folder / "quick") as mock:
        with ExitStack() as stack:
            targets, settings = side_by_side(stack, mock, peers=arguments.peers, notes=notes)
            warm = rounds(targets, CASES[:4:3], mock, count=1, seconds=1)
            found = rounds(targets, CASES, mock, count=arguments.rounds, seconds=arguments.seconds)
            found |= rounds(targets[:2], [MANY], mock, count=arguments.rounds, seconds=arguments.seconds)
        ours = targets[1].name
        ours_seen = [one for (_, name), seen in [*warm.items(), *found.items()] for one in seen if name == ours]
        issued = sum(one.issued for one in ours_seen)
        notes.append(f"The product's ledger has {ledger_rows(settings):,} rows for {issued:,} requests issued.")
    return table(found, targets[0].name)


def paced(arguments: argparse.Namespace, folder: Path, notes: list[str]) -> str:
    """Against a provider that writes token by token: what is added to it."""
    with mocked(folder / "paced", paced=True) as mock, ExitStack() as stack:
        targets, _ = side_by_side(stack, mock, peers=arguments.peers, notes=notes)
        direct = Target("direct", mock.port, mock.process, "", {"pinned": "m"})
        streaming = [direct, *(one for one in targets if one.streams)]
        rounds(streaming, PACED[:1], mock, count=1, seconds=1)
        found = rounds(streaming, PACED, mock, count=arguments.rounds, seconds=max(2.5, arguments.seconds))
    return paced_table(found, direct.name)


def ways(arguments: argparse.Namespace, folder: Path, notes: list[str]) -> str:
    """The product alone, run in different ways, each one compared with the first."""
    setups = [Setup("the API alone, SQLite")]
    if BUILD.is_dir():
        setups.append(Setup("with the pages (`make run`), SQLite", factory=WHOLE))
    with mocked(folder / "ways") as mock, running_postgres() as postgres, ExitStack() as stack:
        for workers in (1, 2):
            url = postgres.create(f"bench{workers}")
            upgrade(url)
            name = f"the API alone, Postgres, {workers} worker{'s' if workers > 1 else ''}"
            setups.append(Setup(name, database=url, workers=workers))
        started_ones = [
            stack.enter_context(product(mock.folder / str(number), mock.port, setup))[0]
            for number, setup in enumerate(setups)
        ]
        rounds(started_ones, WAYS, mock, count=1, seconds=1)
        found = rounds(started_ones, WAYS, mock, count=arguments.rounds, seconds=arguments.seconds)
    if len(setups) < 4:
        notes.append("The way with the pages needs them built (`python -m omni_app build`).")
    return table(found, setups[0].name, over="× first")


def formats(arguments: argparse.Namespace, folder: Path, notes: list[str]) -> str:
    """The product alone, before providers that speak other formats than OpenAI's."""
    del notes
    with mocked(folder / "formats") as mock, product(mock.folder / "product", mock.port) as (ours, _):
        rounds([ours], TRANSLATED, mock, count=1, seconds=1)
        found = rounds([ours], TRANSLATED, mock, count=arguments.rounds, seconds=arguments.seconds)
    return formats_table({case: median(one.cpu_us for one in seen) for (case, _), seen in found.items()})


def formats_table(cpu_us: Mapping[Case, float]) -> str:
    """Markdown: CPU a request in µs, and how much more than OpenAI's format takes."""
    lines = ["| | CPU a request, µs | more than OpenAI's |", "|---|---:|---:|"]
    for case, found_us in cpu_us.items():
        own = case.row == "pinned"
        more = "" if own else f"{found_us - cpu_us[Case('pinned', case.stream, case.at_once)]:+,.0f}"
        lines.append(f"| {replace(case, row='OpenAI').name if own else case.name} | {found_us:,.0f} | {more} |")
    return "\n".join(lines)


def run(arguments: argparse.Namespace, folder: Path) -> Sequence[str]:
    """Measures, and gives the page's tables, and its notes."""
    notes: list[str] = []
    tables = [part(arguments, folder, notes) for part in (at_once_table, paced, ways, formats)]
    return [*tables, " ".join(dict.fromkeys(notes))]


def page(parts: Sequence[str], command: str) -> str:
    """`docs/benchmarks.md`."""
    names = ("uvicorn", "uvloop", "httptools")
    versions = ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)])
    others = ", ".join((LITELLM[0].replace("[proxy]", ""), VLLM_ROUTER, TENSORZERO, PORTKEY))
    quick, slow, running, translated, notes = parts
    return f"""# Benchmarks

Written by `{command}` (`make bench`) on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} CPUs ({platform.machine()}),
{versions}; the others: {others}. Each gateway has one CPU; provider and load share the other one.

A mock of a provider answers with {TOKENS} tokens at once, so that what is seen is the gateway's own. {BODIES:,}
different bodies of {SHORTEST} bytes to {LONGEST // 1000} kB are sent in turn. The *bare forwarder* is the floor in
CPython: it hands bytes on and does nothing else (`bench/bare.py`). The product checks keys and limits, detects the
task, prices, and keeps its ledger and routing log meanwhile, on SQLite; the others keep no log and no database, and but
for LiteLLM's proxy check no key. Rounds are interleaved, the figures are medians. Machines differ: compare the column
*× bare*, the CPU a request takes to that of the floor under the same load. `auto` is where the product detects the task
and chooses; the others have nothing like it.

{quick}

## Streams of a provider that takes its time

20 ms to the first of 100 tokens, then one each 2 ms: what is added to asking the provider directly.
The first byte is timed. The others hand on the provider's first event, which has no text yet; the product begins its
answer with the first word, 2 ms later here: until then another model can take over.

{slow}

## Ways to run it

The same requests, 16 at once, model named. Two workers have both CPUs, which they share with provider and load: their
CPU a request is what can be compared, not their requests a second.

{running}

## Providers' formats

The same requests in OpenAI's format in every row; the provider speaks the one that is named, and its model has a price
and limits of its own.

{translated}

{notes}
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
