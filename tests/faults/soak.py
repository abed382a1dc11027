"""Hours of everything at once, and whether anything grows: `make soak` (ARGS="--minutes 10"; 180 for the whole of it).

The API as a real process before two providers, one of which is at fault about half of the time, and every kind of
request that there is, at a steady rate, from many keys of many orgs, no two bodies alike. Meanwhile the process is
looked at from outside (memory, descriptors, threads, files) and from inside (tasks, objects; `tests.faults.observed`).
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, sqrt
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeVar

import httpx

from omni_app.storage import accounts, budgets, keys
from omni_app.storage.database import Database
from omni_app.storage.tables import utc_now
from tests.faults.rig import MODEL, Rig, rigged, say
from tests.servers.upstream import KEY, Upstream

ORGS, KEYS_EACH, SESSIONS = 20, 5, 300
PROVIDER_S = 0.05
IDLE_S = 2.0
"""Providers close a connection that is idle for so long, as real ones do after a minute: so the pool turns over."""
FAULTS = (
    "500",
    "503",
    "529",
    "429",
    "429_retry_after",
    "rst",
    "malformed",
    "html_200",
    "empty",
    "mid_rst",
    "mid_close",
)
"""Those that are over at once; one that hangs would only hold a caller."""
FAULT_S = (1.0, 4.0)
WARM_UP = 0.5
"""Of the time: pools and caches fill, the allocator finds its size. That takes some five thousand requests."""
MOST_WARM_UP_S = 600.0
PARTS = 3
"""The first and the last of so many parts after the warm-up are compared."""
WINDOWS = 12
"""Stretches of a part. Each has its p99, and their medians are compared: a minute in which the machine did something
else spoils one window, and not the part."""
REST_S = 30.0
"""How long after the load tasks and descriptors may take to be as few as before."""
MOST_MIB_PER_HOUR = 1.0
MOST_GROWTH = 0.10
"""Of the p99 (as a multiple of a bare server's, so that a machine that gets busy meanwhile is not taken for a product
that gets slow) and of the worker's processor time for a request, beyond their error."""
CONTROL_S = 0.2
"""Between two requests to the bare server."""
WORDS = (
    "river", "engine", "market", "lamp", "window", "paper", "winter", "signal", "garden", "copper", "letter", "bridge",
    "summer", "mirror", "harbour", "planet", "kettle", "forest", "number", "violin", "ladder", "pocket", "silver",
)  # fmt: skip
BEGINNINGS = (
    "Tell me something about", "Write a Python function that sorts", "Summarize this text:", "Translate into German:",
    "Prove that there are infinitely many primes, then say a word on", "What do you think of",
)  # fmt: skip


Item = TypeVar("Item")


class Wrong(Exception):
    """An answer that no promise allows; the message says which."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at one moment, `at_s` seconds after the load began."""

    at_s: float
    rss_mib: float
    cpu_s: float
    """The worker's processor time since it began."""
    done: int
    """Requests that had ended by then."""
    descriptors: int
    threads: int
    tasks: int
    objects: int
    spool_mb: float
    database_mb: float


@dataclass(frozen=True, slots=True)
class Slope:
    """A straight line through samples: units per hour, and its standard error (as if they were independent)."""

    per_hour: float
    error: float

    def __str__(self) -> str:
        return f"{self.per_hour:+.2f} ± {self.error:.2f}/h"


def slope(points: Sequence[tuple[float, float]]) -> Slope:
    """Least squares over (seconds, value); needs three points."""
    mean_s, mean = fmean(at_s for at_s, _ in points), fmean(value for _, value in points)
    spread = sum((at_s - mean_s) ** 2 for at_s, _ in points)
    rise = sum((at_s - mean_s) * (value - mean) for at_s, value in points) / spread
    rest = sum((value - mean - rise * (at_s - mean_s)) ** 2 for at_s, value in points)
    return Slope(3600 * rise, 3600 * sqrt(rest / (len(points) - 2) / spread))


@dataclass(frozen=True, slots=True)
class Change:
    """How a figure differs between the first and the last part: the medians of its windows, their error as a share."""

    first: float
    last: float
    error: float

    @property
    def growth(self) -> float:
        return self.last / self.first - 1 if self.first else 0.0

    @property
    def is_small(self) -> bool:
        """Whether it may have grown by as little as is promised: the noisier the machine, the less it can tell."""
        return self.growth - 2 * self.error <= MOST_GROWTH

    def __str__(self) -> str:
        told = f"{self.first:.2f} in the first third, {self.last:.2f} in the last"
        return f"{told} ({self.growth:+.0%} ± {self.error:.0%})"


def change(first: Sequence[float], last: Sequence[float]) -> Change:
    """Of the windows' medians. A median's error is estimated from the median deviation: an outlier changes neither."""
    middles = median(first), median(last)
    squares = [
        (1.2533 * 1.4826 * median(abs(one - middle) for one in part) / middle) ** 2 / len(part) if middle else 0.0
        for part, middle in zip((first, last), middles, strict=True)
    ]
    return Change(*middles, error=sqrt(sum(squares)))


@dataclass(slots=True)
class Watch:
    """Looks at the worker from outside, and asks it about its inside."""

    rig: Rig
    traffic: "Traffic"
    began_s: float = field(default_factory=time.monotonic)

    @property
    def _told(self) -> Path:
        return self.rig.folder / "observed"

    def process(self) -> int:
        """The worker's id."""
        (worker,) = self.rig.workers()
        return worker

    async def inside(self) -> dict[str, Any]:
        """What the worker says of itself now."""
        self._told.unlink(missing_ok=True)
        os.kill(self.process(), signal.SIGUSR1)
        async with asyncio.timeout(30):
            while not self._told.exists():  # noqa: ASYNC110 another process writes it
                await asyncio.sleep(0.01)
        told: dict[str, Any] = json.loads(self._told.read_text())
        return told

    async def sample(self) -> Sample:
        """Everything, now."""
        worker, inside = self.process(), await self.inside()
        status = dict(line.split(":", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines())
        return Sample(
            at_s=time.monotonic() - self.began_s,
            rss_mib=int(status["VmRSS"].split()[0]) / 1024,
            cpu_s=processor_s(worker),
            done=self.traffic.outcomes.total(),
            descriptors=sum(1 for _ in Path(f"/proc/{worker}/fd").iterdir()),
            threads=int(status["Threads"]),
            tasks=inside["tasks"],
            objects=inside["objects"],
            spool_mb=megabytes(self.rig.folder.glob("spool/*")),
            database_mb=megabytes(self.rig.folder.glob("omni.db*")),
        )

    async def at_rest(self, *, no_more_than: Sample | None = None) -> Sample:
        """The process when nothing is asked of it: as soon as it has settled, at the latest after `REST_S`."""
        until_s = time.monotonic() + REST_S
        before = await self.sample()
        while time.monotonic() < until_s:
            await asyncio.sleep(IDLE_S / 2)
            now = await self.sample()
            still = (now.tasks, now.descriptors) == (before.tasks, before.descriptors)
            few = no_more_than is None or (
                now.tasks <= no_more_than.tasks and now.descriptors <= no_more_than.descriptors
            )
            if still and few:
                return now
            before = now
        return before


def processor_s(process: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(paths: Any) -> float:
    """What these files hold."""
    total = 0
    for path in paths:
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total / 1e6


@dataclass(slots=True)
class Traffic:
    """Every kind of request, and what came of them. Raises `Wrong` for what no promise allows."""

    client: httpx.AsyncClient
    draws: random.Random
    secrets: Sequence[str]
    poor: Sequence[str]
    """Keys whose budget is soon spent."""
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    latencies: list[tuple[float, float]] = field(default_factory=list)
    """(moment, ms) of every request that was meant to go through."""
    began_s: float = field(default_factory=time.monotonic)

    def words(self) -> str:
        """200 to 8,000 bytes that were never there before."""
        words = self.draws.choices(WORDS, k=int(30 * 40 ** self.draws.random()))
        return f"{self.draws.choice(BEGINNINGS)} {self.draws.randrange(10**12)} {' '.join(words)}"

    def messages(self) -> list[dict[str, str]]:
        return [{"role": "user", "content": self.words()}]

    async def ask(self, path: str, body: Any = None, *, secret: str = "", **headers: str) -> httpx.Response:
        """One request; GET without a body."""
        key = {"Authorization": f"Bearer {secret or self.draws.choice(self.secrets)}"}
        if body is None:
            return await self.client.get(path, headers=key | headers)
        return await self.client.post(path, json=body, headers=key | headers)

    async def chat(self) -> str:
        priority = self.draws.choice(("cheap", "balanced", "best", "quality"))
        return told(await self.ask("/v1/chat", {"messages": self.messages(), "priority": priority}))

    async def agent_step(self) -> str:
        session = f"session {self.draws.randrange(SESSIONS)}"
        secret = self.secrets[hash(session) % len(self.secrets)]
        body = {"messages": self.messages(), "session_id": session, "step_id": str(self.draws.random())}
        return told(await self.ask("/v1/agent-step", body, secret=secret))

    async def chat_stream(self) -> str:
        answer = await self.ask("/v1/chat", {"messages": self.messages(), "stream": True})
        return told(answer) if answer.status_code != 200 else ended(answer.text, "event: done", "event: error")

    async def completion(self) -> str:
        return told(await self.ask("/v1/chat/completions", {"model": "auto", "messages": self.messages()}))

    async def pinned_stream(self) -> str:
        body = {"model": MODEL, "messages": self.messages(), "stream": True}
        answer = await self.ask("/v1/chat/completions", body)
        return at_fault(answer) or ended(answer.text, "data: [DONE]", '"error"')

    async def message(self) -> str:
        body = {"model": "auto", "max_tokens": 200, "messages": self.messages()}
        return told(await self.ask("/v1/messages", body))

    async def message_stream(self) -> str:
        body = {"model": "auto", "max_tokens": 200, "messages": self.messages(), "stream": True}
        answer = await self.ask("/v1/messages", body)
        return told(answer) if answer.status_code != 200 else ended(answer.text, "message_stop", "event: error")

    async def embedding(self) -> str:
        answer = await self.ask("/v1/embeddings", {"model": "auto", "input": [self.words(), self.words()]})
        return at_fault(answer) or told(answer)

    async def read_usage(self) -> str:
        return told(await self.ask("/v1/usage"))

    async def list_models(self) -> str:
        return told(await self.ask("/v1/models"))

    async def debug(self) -> str:
        return told(await self.ask("/v1/router/debug", {"messages": self.messages()}))

    async def probe(self) -> str:
        return told(await self.ask(self.draws.choice(("/health", "/ready"))))

    async def estimate(self) -> str:
        line = json.dumps({"model": "gpt-4o", "messages": self.messages()})
        body = {"form": "requests", "choice": "balanced", "lines": [[1, line]]}
        return told(await self.ask("/estimate", body, Origin=str(self.client.base_url).rstrip("/")), 200, 429)

    async def mistake(self) -> str:
        """Each must be told what it is, and no other thing."""
        body = {"messages": self.messages()}
        wrongs: Sequence[tuple[str, Any, str, int]] = (
            ("/v1/chat", body | {"unknown": 1}, "", 400),
            ("/v1/chat", {"messages": []}, "", 400),
            ("/v1/chat", body, keys.generate_key("live"), 401),
            ("/v1/chat", body, "nonsense", 401),
            ("/v1/nothing", None, "", 404),
            ("/v1/chat", body | {"max_cost": 1e-9}, "", 422),
        )
        for path, wrong, secret, status in wrongs:
            told(await self.ask(path, wrong, secret=secret), status)
        return "ok"

    async def give_up(self) -> str:
        """A stream that is left after its first bytes."""
        body = {"model": "auto", "messages": self.messages(), "stream": True}
        key = {"Authorization": f"Bearer {self.draws.choice(self.secrets)}"}
        async with self.client.stream("POST", "/v1/chat/completions", json=body, headers=key) as answer:
            await anext(answer.aiter_raw(), b"")
        return "left"

    async def twice(self) -> str:
        """The same request again, with its `Idempotency-Key`."""
        body, secret = {"messages": self.messages()}, self.draws.choice(self.secrets)
        name = {"Idempotency-Key": str(self.draws.random())}
        first = await self.ask("/v1/chat", body, secret=secret, **name)
        again = await self.ask("/v1/chat", body, secret=secret, **name)
        if first.content != again.content:
            raise Wrong(f"two answers to one request: {first.text[:100]} {again.text[:100]}")
        return told(again)

    async def spend(self) -> str:
        answer = await self.ask("/v1/chat", {"messages": self.messages()}, secret=self.draws.choice(self.poor))
        return told(answer, 200, 402)

    @property
    def kinds(self) -> Mapping[Callable[[], Awaitable[str]], int]:
        """How often each is sent, of a hundred or so."""
        return {
            self.chat: 14, self.agent_step: 14, self.chat_stream: 8, self.completion: 10, self.pinned_stream: 8,
            self.message: 6, self.message_stream: 6, self.embedding: 6, self.read_usage: 2, self.list_models: 2,
            self.debug: 5, self.probe: 3, self.estimate: 2, self.mistake: 2, self.give_up: 5, self.twice: 4,
            self.spend: 3,
        }  # fmt: skip

    async def one(self) -> None:
        """A request of some kind, and what came of it."""
        (kind,) = self.draws.choices(list(self.kinds), weights=list(self.kinds.values()))
        name, began_s = getattr(kind, "__name__", "?"), time.monotonic()
        try:
            outcome = await kind()
        except (Wrong, httpx.HTTPError) as error:
            outcome = "wrong"
            self.wrong.append(f"{name}: {error!r}")
        now_s = time.monotonic()
        self.outcomes[name, outcome] += 1
        if outcome == "ok":
            self.latencies.append((now_s - self.began_s, 1000 * (now_s - began_s)))

    async def run(self, *, rate: float, seconds: float) -> None:
        """Requests at this rate for so long, whatever becomes of those before; returns when all are answered."""
        began_s, sent = time.monotonic(), 0
        async with asyncio.TaskGroup() as group:
            while (passed_s := time.monotonic() - began_s) < seconds:
                for _ in range(int(passed_s * rate) - sent):
                    group.create_task(self.one())
                    sent += 1
                await asyncio.sleep(0.01)


def told(answer: httpx.Response, *statuses: int) -> str:
    """`ok`, or the status where several are right. Raises `Wrong`."""
    if answer.status_code not in (statuses or (200,)):
        raise Wrong(f"{answer.status_code} {answer.text[:200]}")
    return "ok" if answer.status_code == 200 else str(answer.status_code)


def at_fault(answer: httpx.Response) -> str:
    """Where nobody else can answer, a provider's fault may be told; "" when there was none."""
    faulty = answer.status_code in (502, 503, 504) and "provider_error" in answer.text
    return "provider's fault" if faulty else ""


def ended(text: str, well: str, with_error: str) -> str:
    """How a stream ended. Raises `Wrong` for one that just stops."""
    if well in text:
        return "ok"
    if with_error in text:
        return "provider's fault"
    raise Wrong(f"a stream that just stops: {text[-200:]}")


async def break_now_and_then(struck: Upstream, draws: random.Random) -> None:
    """The provider is at fault, in one way or another, about half of the time."""
    while True:
        await asyncio.sleep(draws.uniform(*FAULT_S))
        struck.fault = draws.choice(FAULTS)
        await asyncio.sleep(draws.uniform(*FAULT_S))
        struck.fault = ""


async def forget_calls(providers: Sequence[Upstream]) -> None:
    """So that this process does not grow either."""
    while True:
        await asyncio.sleep(10)
        for provider in providers:
            provider.calls.clear()


async def make_keys(rig: Rig) -> tuple[list[str], list[str]]:
    """Many keys of many orgs; and some that may spend a cent a day."""
    database, hasher, now = Database(rig.settings.database), keys.KeyHasher(rig.settings.key_pepper), utc_now()
    made: list[str] = []
    poor: list[str] = []
    async with database.session() as session:
        for number in range(ORGS):
            org_id = await accounts.org_named(session, f"Org {number}")
            made += [
                (await keys.create_key(session, org_id=org_id, name="k", kind="live", hasher=hasher))[1]
                for _ in range(KEYS_EACH)
            ]
            key, secret = await keys.create_key(session, org_id=org_id, name="p", kind="live", hasher=hasher)
            await budgets.set_budget(session, org_id=org_id, key_id=key.id, period="day", limit=10**10, now=now)
            poor.append(secret)
        await session.commit()
    await database.close()
    return made, poor


@dataclass(slots=True)
class Stage:
    """What a soak works with."""

    rig: Rig
    providers: Sequence[Upstream]
    traffic: Traffic
    watch: Watch


@asynccontextmanager
async def staged(folder: Path, *, seed: int) -> AsyncIterator[Stage]:
    """Two providers, a running server, and callers with keys."""
    async with Upstream(delay_s=PROVIDER_S, idle_s=IDLE_S) as other:
        environment = {
            "ANTHROPIC_API_KEY": KEY,
            "ANTHROPIC_BASE_URL": other.anthropic_url,
            "OBSERVED": str(folder / "observed"),
            "RATE_LIMIT_WINDOW_SEC": "5",
        }
        async with rigged(folder, delay_s=PROVIDER_S, environment=environment) as rig:
            rig.upstream.idle_s = IDLE_S
            rig.factory = "tests.faults.observed:create"
            secrets, poor = await make_keys(rig)
            await rig.start()
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
            async with httpx.AsyncClient(base_url=rig.base_url, timeout=60, limits=limits) as client:
                traffic = Traffic(client, random.Random(seed), secrets, poor)
                yield Stage(rig, (rig.upstream, other), traffic, Watch(rig, traffic))
            await rig.terminate()


@dataclass(frozen=True, slots=True)
class Findings:
    """What a soak has shown."""

    minutes: float
    """After the warm-up."""
    before: Sample
    after: Sample
    """At rest, before and after the load."""
    samples: Sequence[Sample]
    p99_ms: Change
    p99_times: Change
    """The same as a multiple of what a bare server took at that time."""
    cpu_ms: Change
    """Of the worker's processor time, for a request."""

    def slope_of(self, name: str) -> Slope:
        """Of one figure of the samples."""
        return slope([(one.at_s, float(getattr(one, name))) for one in self.samples])

    @property
    def memory_flat(self) -> bool:
        """Whether the memory's slope may be as low as promised: the shorter the run, the less it can tell."""
        found = self.slope_of("rss_mib")
        return found.per_hour - 2 * found.error <= MOST_MIB_PER_HOUR

    @property
    def counts_flat(self) -> bool:
        """Whether nothing was left open."""
        return self.after.tasks <= self.before.tasks and self.after.descriptors <= self.before.descriptors


async def soaked(stage: Stage, *, minutes: float, rate: float, every_s: float) -> Findings:
    """Warms up, rests, and then: a load with samples, a rest."""
    seconds = 60 * minutes
    warm_s = min(seconds * WARM_UP, MOST_WARM_UP_S)
    struck, healthy = stage.providers
    beside = [
        asyncio.create_task(break_now_and_then(struck, stage.traffic.draws)),
        asyncio.create_task(forget_calls(stage.providers)),
    ]
    await stage.traffic.run(rate=rate, seconds=warm_s)
    before = await stage.watch.at_rest()
    samples: list[Sample] = []

    async def look() -> None:
        while True:
            samples.append(await stage.watch.sample())
            await asyncio.sleep(every_s)

    beside.append(asyncio.create_task(look()))
    control: list[float] = []
    beside.append(asyncio.create_task(ask_a_bare_server(healthy, control)))
    first = len(stage.traffic.latencies)
    began_s = time.monotonic()
    await stage.traffic.run(rate=rate, seconds=seconds - warm_s)
    took_s = time.monotonic() - began_s
    for task in beside:
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    struck.fault = ""
    after = await stage.watch.at_rest(no_more_than=before)
    slow = [p99(part) for part in windows([ms for _, ms in stage.traffic.latencies[first:]])]
    bare = [p99(part) for part in windows(control)]
    spent = [cpu_ms(part) for part in windows(samples, overlap=1)]
    times = [one / other for one, other in zip(slow, bare, strict=False)]
    return Findings(took_s / 60, before, after, samples, compared(slow), compared(times), compared(spent))


async def ask_a_bare_server(provider: Upstream, took_ms: list[float]) -> None:
    """What the machine does to an answer that needs no work, again and again: a provider's list of models."""
    headers = {"Authorization": f"Bearer {provider.key}"}
    async with httpx.AsyncClient(base_url=provider.openai_url, headers=headers, timeout=60) as client:
        while True:
            began_s = time.monotonic()
            await client.get("/models")
            took_ms.append(1000 * (time.monotonic() - began_s))
            await asyncio.sleep(CONTROL_S)


def windows(values: Sequence[Item], *, overlap: int = 0) -> list[Sequence[Item]]:
    """The values in `PARTS * WINDOWS` stretches, one after the other, as many as there are enough for."""
    count = min(PARTS * WINDOWS, (len(values) - overlap) // 2) or 1
    edges = [round(number * (len(values) - overlap) / count) for number in range(count + 1)]
    return [values[start : end + overlap] for start, end in pairwise(edges)]


def compared(figures: Sequence[float]) -> Change:
    """The windows of the first part against those of the last."""
    part = ceil(len(figures) / PARTS)
    return change(figures[:part], figures[-part:])


def cpu_ms(samples: Sequence[Sample]) -> float:
    """For a request between the first and the last of them."""
    first, last = samples[0], samples[-1]
    return 1000 * (last.cpu_s - first.cpu_s) / max(1, last.done - first.done)


def p99(values: Sequence[float]) -> float:
    """0 of none."""
    return sorted(values)[ceil(0.99 * len(values)) - 1] if values else 0.0


async def soak(arguments: argparse.Namespace) -> bool:
    """The whole of it; says its figures, and gives whether every promise was kept."""
    with tempfile.TemporaryDirectory(prefix="omni-soak-") as folder:
        async with staged(Path(folder), seed=arguments.seed) as stage:
            every_s = max(1.0, arguments.minutes * 60 / 400)
            found = await soaked(stage, minutes=arguments.minutes, rate=arguments.rate, every_s=every_s)
            traffic = stage.traffic
    sent, wrong = traffic.outcomes.total(), len(traffic.wrong)
    say(f"{found.minutes:.1f} min after the warm-up, {sent} requests in all, wrong: {wrong}")
    for (kind, outcome), count in sorted(traffic.outcomes.items()):
        say(f"  {kind}: {outcome} {count}")
    for name in ("rss_mib", "objects", "descriptors", "threads", "tasks", "spool_mb", "database_mb"):
        values = [getattr(one, name) for one in found.samples]
        at_rest = f"{getattr(found.before, name):.0f} -> {getattr(found.after, name):.0f}"
        say(f"{name}: {min(values):.0f} to {max(values):.0f}, slope {found.slope_of(name)}; at rest {at_rest}")
    say(f"p99, ms: {found.p99_ms}")
    say(f"p99 as a multiple of a bare server's: {found.p99_times}")
    say(f"processor time for a request, ms: {found.cpu_ms}")
    for line in traffic.wrong[:20]:
        say(f"  wrong: {line}")
    steady = found.p99_times.is_small and found.cpu_ms.is_small
    return found.memory_flat and found.counts_flat and not traffic.wrong and steady


def main() -> int:
    """0 when every promise was kept."""
    parser = argparse.ArgumentParser(description="Everything at once for a long time, and whether anything grows.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=25.0, help="requests per second")
    parser.add_argument("--seed", type=int, default=1)
    return 0 if asyncio.run(soak(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())
