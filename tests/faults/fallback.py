"""What a fallback costs, and whether deadlines hold when a model hangs. A play of `make chaos`.

One caller, one request after the other: the primary is broken for one and well for the next, so that both kinds are
measured in the same stretch, and a breaker never sees three faults in a row. Faults that open a breaker at once are
measured on a deployment each.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

import httpx

from tests.faults.providers import CALLERS_OWN, PRIMARIES, Stage, Told, staged
from tests.faults.rig import PATIENCE_S, say
from tests.servers.bad_manners import BAD_MANNERS
from tests.servers.upstream import HOLLOW, REFUSALS, Upstream

OPENS_AT_ONCE = ("401", "401_echo", "402", "403", "404", "429", "429_retry_after", "quota", "no_credit", "503")
"""Wrong model or key, no money, or the provider says how long to wait."""
TAKES_TIME = frozenset(
    {"hang", "drip", "drip_head", "stall", "cut_rst", "huge", "gzip_bomb", "close_after", "stale", "408"}
)
"""The provider's own time is in what these cost, or nothing is broken by them."""
NOT_HERE = TAKES_TIME | CALLERS_OWN | {*OPENS_AT_ONCE}
INSTANT = ("refused", *(one for one in (*BAD_MANNERS, *REFUSALS, *HOLLOW, "redirect") if one not in NOT_HERE))
HANGING = ("hang", "drip", "drip_head", "stall", "mid_hang")
P50_MS, P99_MS, ALL_DOWN_MS = 5.0, 50.0, 100.0
PAIRS = 200
LONG_MS, SHORT_S, GRACE_S = 8_000, 3.0, 0.1


@dataclass(slots=True)
class Cost:
    """Milliseconds of requests whose primary was broken, and of those beside them whose primary was well."""

    broken_ms: list[float] = field(default_factory=list)
    well_ms: list[float] = field(default_factory=list)
    failed: int = 0
    """Requests that were not answered, or did not go the way that they should."""

    def add(self, told: Told, *, is_broken: bool) -> None:
        """One more request."""
        if not told.answered or told.leaked or told.fallbacks != is_broken:
            self.failed += 1
        elif is_broken:
            self.broken_ms.append(told.took_s * 1000)
        else:
            self.well_ms.append(told.took_s * 1000)

    def added(self, percentile: int) -> float:
        """By how much it is higher with a fallback, in ms."""
        return cut(self.broken_ms, percentile) - cut(self.well_ms, percentile)


def cut(times: Sequence[float], percentile: int) -> float:
    """A percentile."""
    return quantiles(times, n=100, method="inclusive")[percentile - 1]


@asynccontextmanager
async def client_of(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """A caller's own connections, which stay open."""
    async with httpx.AsyncClient(base_url=stage.rig.base_url, timeout=PATIENCE_S) as client:
        yield client


async def break_it(upstream: Upstream, fault: str) -> None:
    """From now on it has this fault; `refused`: nobody listens."""
    if fault == "refused":
        await upstream._server.stop()
    else:
        upstream.fault = fault


async def mend_it(upstream: Upstream, fault: str) -> None:
    """It is well again."""
    if fault == "refused":
        await upstream._server.start()
    upstream.fault = ""


async def cost_of(stage: Stage, secret: str, fault: str, *, pairs: int) -> Cost:
    """A broken request and a healthy one, by turns; the same routes, plain and streamed, on both sides."""
    cost = Cost()
    async with client_of(stage) as client:
        for number in range(6):
            await stage.ask(client, secret, number)
        for number in range(pairs):
            await break_it(stage.rig.upstream, fault)
            cost.add(await stage.ask(client, secret, number), is_broken=True)
            await mend_it(stage.rig.upstream, fault)
            cost.add(await stage.ask(client, secret, number), is_broken=False)
    return cost


async def cost_at_once(folder: Path, fault: str) -> Cost:
    """Of a fault that opens a breaker at once: one request for each deployment, all of whose breakers are closed."""
    cost = Cost()
    async with staged(folder) as stage, client_of(stage) as client:
        secrets = [await stage.key(primary) for primary in PRIMARIES]
        for number, secret in enumerate(secrets):
            await stage.ask(client, secret, number)
            cost.add(await stage.ask(client, secret, number), is_broken=False)
        stage.rig.upstream.fault = fault
        for number, secret in enumerate(secrets):
            cost.add(await stage.ask(client, secret, number), is_broken=True)
    return cost


async def late_s(stage: Stage, secret: str, fault: str, *, both: bool, count: int) -> tuple[float, list[Told]]:
    """By how much the latest answer is past the caller's deadline, when the primary (or both) is never done."""
    stage.rig.upstream.fault = fault
    stage.backup.fault = fault if both else ""
    async with client_of(stage) as client:
        told = [await stage.ask(client, secret, number, deadline_s=SHORT_S) for number in range(count)]
    stage.rig.upstream.fault = stage.backup.fault = ""
    return max(one.took_s for one in told) - SHORT_S, told


async def play(folder: Path, arguments: argparse.Namespace) -> bool:
    """Every instant fault, then the deadlines."""
    parts: Mapping[str, Callable[[Path], Awaitable[bool]]] = {
        "kept": _kept_closed, "at once": _at_once, "deadlines": _deadlines, "all down": _all_down,
    }  # fmt: skip
    well = True
    for part in parts.values():
        with tempfile.TemporaryDirectory(dir=folder) as own:
            well &= await part(Path(own))
    return well


async def _kept_closed(folder: Path) -> bool:
    every, well = Cost(), True
    async with staged(folder) as stage:
        for number, fault in enumerate(INSTANT):
            secret = await stage.key(PRIMARIES[number % len(PRIMARIES)])
            cost = await cost_of(stage, secret, fault, pairs=PAIRS)
            every.broken_ms += cost.broken_ms
            every.well_ms += cost.well_ms
            every.failed += cost.failed
            say(f"{fault}: {figures(cost)}")
    say(f"all {len(INSTANT)}: {figures(every)}")
    return well and not every.failed and every.added(50) < P50_MS and every.added(99) < P99_MS


async def _at_once(folder: Path) -> bool:
    every = Cost()
    for fault in OPENS_AT_ONCE:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            cost = await cost_at_once(Path(own), fault)
        every.broken_ms += cost.broken_ms
        every.well_ms += cost.well_ms
        every.failed += cost.failed
        say(f"{fault} (opens at once): {cost.failed} failed, {[round(one, 1) for one in sorted(cost.broken_ms)]} ms")
    say(f"the {len(OPENS_AT_ONCE)} that open a breaker at once: {figures(every)}")
    return not every.failed and every.added(50) < P50_MS and every.added(99) < P99_MS


async def _deadlines(folder: Path) -> bool:
    well, primaries = True, iter(PRIMARIES)
    async with staged(folder) as stage:
        for fault in HANGING:
            late, told = await late_s(stage, await stage.key(next(primaries)), fault, both=False, count=6)
            say(f"{fault}, the primary: {statuses(told)}, the latest {late * 1000:+.0f} ms")
            well &= late < GRACE_S and all(one.answered or one.broken for one in told)
    for fault in HANGING:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            async with staged(Path(own)) as stage:
                late, told = await late_s(stage, await stage.key(next(primaries)), fault, both=True, count=6)
        say(f"{fault}, both: {statuses(told)}, the latest {late * 1000:+.0f} ms")
        well &= late < GRACE_S
    return well


async def _all_down(folder: Path) -> bool:
    """Both providers are broken: once the breakers are open the refusal is quick, and says when to come back."""
    async with staged(folder) as stage, client_of(stage) as client:
        secret = await stage.key(PRIMARIES[0])
        stage.rig.upstream.fault = stage.backup.fault = "close"
        for number in range(6):
            await stage.ask(client, secret, number)
        calls = len(stage.rig.upstream.calls) + len(stage.backup.calls)
        told = [await stage.ask(client, secret, number) for number in range(100)]
        calls = len(stage.rig.upstream.calls) + len(stage.backup.calls) - calls
    slow_ms = cut([one.took_s * 1000 for one in told], 99)
    say(f"both down, breakers open: {statuses(told)}, p99 {slow_ms:.1f} ms, {calls} calls in vain")
    return all(one.status == 503 and not one.leaked for one in told) and slow_ms < ALL_DOWN_MS


def statuses(told: Sequence[Told]) -> str:
    """How many were answered, and with what status the others were not."""
    others = Counter(one.status for one in told if not one.answered)
    return f"{sum(one.answered for one in told)} of {len(told)} answered, {dict(others)}"


def figures(cost: Cost) -> str:
    """One line."""
    return (
        f"{len(cost.broken_ms)} fell back, {len(cost.well_ms)} did not, {cost.failed} failed; healthy p50 "
        f"{cut(cost.well_ms, 50):.1f} ms, p99 {cut(cost.well_ms, 99):.1f} ms; added p50 {cost.added(50):+.1f} ms, "
        f"p99 {cost.added(99):+.1f} ms"
    )
