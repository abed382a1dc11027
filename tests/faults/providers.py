"""The primary provider is broken in every way that a provider can be; the other one is well. A play of `make chaos`.

The API is a real process, both providers are servers on real sockets: OpenAI's wire is broken, Anthropic's is not.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
from sqlalchemy import create_engine, func, select, update
from sqlalchemy.pool import NullPool
from sqlmodel import col

from omni_app.storage import accounts, keys
from omni_app.storage.database import Database, sync_url
from omni_app.storage.tables import ApiKeyRow, AttemptRow
from tests.faults.rig import Rig, rigged, say
from tests.product import free_port
from tests.servers.bad_manners import BAD_MANNERS
from tests.servers.upstream import HOLLOW, KEY, MID_STREAM, REFUSALS, USAGES, Upstream

PRIMARIES = (
    "openai/gpt-4o-mini", "openai/gpt-4.1-mini", "openai/gpt-5.4-nano", "openai/gpt-5.6-luna", "openai/gpt-6-luna",
    "openai/gpt-5.4-mini", "openai/gpt-4.1", "openai/gpt-5.1",
)  # fmt: skip
"""Each has a breaker of its own, and is cheaper than the backup."""
BACKUP = "anthropic/claude-opus-4-5"
DEADLINE_S = 8.0
GRACE_S = 0.1
"""What an answer may be late by; the machine's own noise comes on top."""
CALLERS_OWN = frozenset(
    {
        "400",
        "413",
        "422",
        "content_policy",
        "context_length",
        "context_length_words",
        "context_length_xai",
        "context_length_both",
    }
)
"""Faults that are the request's own, or need a larger window: told or served elsewhere, and tested there."""
WELL = frozenset({"drip", "stale", "close_after"})
"""Bad manners that an answer survives."""
PLAYED = tuple(one for one in (*BAD_MANNERS, *REFUSALS, *USAGES, *HOLLOW, *MID_STREAM) if one not in CALLERS_OWN | WELL)
AFTER_THE_FIRST_PIECE = frozenset(MID_STREAM) - {"redirect"}
"""They break a stream when nobody can take over any more."""
NOWHERE: Mapping[str, str] = {
    "refused": "http://127.0.0.1:{free}/v1",
    "no_such_name": "http://provider.invalid/v1",
    "tls_to_plain": "https://127.0.0.1:{plain}/v1",
}
"""Addresses where no call arrives."""
SLOW = frozenset({"hang", "drip_head", "stall", "mid_hang"})
"""Ended by a deadline alone."""
ROUTES = ("/v1/chat", "/v1/agent-step", "/v1/chat/completions")


@dataclass(frozen=True, slots=True)
class Told:
    """What one caller saw. `answered`: a whole answer; `broken`: a stream that ended with an error event."""

    answered: bool
    broken: bool
    status: int
    took_s: float
    fallbacks: int
    leaked: bool


@dataclass(slots=True)
class Stage:
    """One server, its broken provider (`rig.upstream`) and its healthy one."""

    rig: Rig
    backup: Upstream

    async def key(self, primary: str) -> str:
        """A live key that may use the primary and the backup."""
        settings = self.rig.settings
        database = Database(settings.database)
        async with database.session() as session:
            org_id = await accounts.org_named(session, "Acme")
            hasher = keys.KeyHasher(settings.key_pepper)
            key, secret = await keys.create_key(session, org_id=org_id, name="k", kind="live", hasher=hasher)
            allowed = update(ApiKeyRow).where(col(ApiKeyRow.id) == key.id)
            await session.execute(allowed.values(allowed_models=[primary, BACKUP]))
            await session.commit()
        await database.close()
        return secret

    async def ask(self, client: httpx.AsyncClient, secret: str, number: int, *, deadline_s: float = DEADLINE_S) -> Told:
        """One request: the routes in turn, every other round a stream."""
        route, stream = ROUTES[number % 3], number // 3 % 2 == 1
        headers = {"Authorization": f"Bearer {secret}", "x-omni-timeout-ms": str(round(deadline_s * 1000))}
        began_s = time.monotonic()
        answer = await client.post(route, json=body_for(route, stream=stream), headers=headers)
        took_s = time.monotonic() - began_s
        text = answer.text
        broken = stream and '"error"' in text and not text.rstrip().endswith("[DONE]")
        ended = '"finish_reason":"stop"' in text.replace(" ", "")
        return Told(
            answered=answer.status_code == 200 and ended and not broken,
            broken=broken,
            status=answer.status_code,
            took_s=took_s,
            fallbacks=int(answer.headers.get("x-omni-fallbacks", 0)),
            leaked=KEY in text or (answer.status_code != 200 and not is_our_error(text)),
        )

    async def asked(self, secret: str, count: int, *, at_once: int) -> list[Told]:
        """So many requests by `at_once` callers."""
        numbers, told = iter(range(count)), list[Told]()
        limits = httpx.Limits(max_connections=at_once)

        async def caller(client: httpx.AsyncClient) -> None:
            for number in numbers:
                told.append(await self.ask(client, secret, number))

        async with httpx.AsyncClient(base_url=self.rig.base_url, timeout=60, limits=limits) as client:
            await asyncio.gather(*(caller(client) for _ in range(at_once)))
        return told

    def attempts(self) -> Counter[str]:
        """Provider -> attempts in the ledger."""
        engine = create_engine(sync_url(self.rig.settings.database), poolclass=NullPool)
        with engine.connect() as connection:
            query = select(col(AttemptRow.provider), func.count()).group_by(col(AttemptRow.provider))
            found = Counter({provider: count for provider, count in connection.execute(query)})  # noqa: C416 rows are no pairs
        engine.dispose()
        return found

    async def settled(self, *, arrives: bool) -> bool:
        """Whether the ledger has each provider's calls, no more and no less, within some seconds."""
        calls = {"openai": len(self.rig.upstream.calls), "anthropic": len(self.backup.calls)}
        wanted = {name: count for name, count in calls.items() if count and (arrives or name != "openai")}
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            found = {name: count for name, count in self.attempts().items() if arrives or name != "openai"}
            if found == wanted:
                return True
            await asyncio.sleep(0.05)
        return False


def body_for(route: str, *, stream: bool) -> dict[str, Any]:
    """A small request for which the cheapest model comes first."""
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello! How are you?"}], "stream": stream}
    if route == "/v1/chat/completions":
        return body | {"model": "auto:cheap"}
    return body | {"priority": "cheap"}


def is_our_error(text: str) -> bool:
    """Whether an error's body has our shape."""
    try:
        told = json.loads(text)
    except ValueError:
        return False
    return bool({"error", "request_id"} <= told.keys() and {"code", "message"} <= told["error"].keys())


@asynccontextmanager
async def staged(folder: Path, address: str = "") -> AsyncIterator[Stage]:
    """A running server. `address`: of the broken provider, where it is not the rig's own."""
    async with Upstream() as backup:
        environment = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": backup.anthropic_url}
        if address:
            environment["OPENAI_BASE_URL"] = address
        async with rigged(folder, delay_s=0, environment=environment) as rig:
            await rig.start()
            yield Stage(rig, backup)
            await rig.terminate()


def address_of(fault: str, plain: Upstream) -> str:
    """Where nobody answers as a provider would."""
    port = plain.openai_url.split(":")[2].split("/")[0]
    return NOWHERE[fault].format(free=free_port(), plain=port)


def kept(fault: str, told: Sequence[Told]) -> bool:
    """Whether the promise was kept: an answer, or where a stream had begun an error event; in time; nothing leaked."""
    expected = all(one.answered or (fault in AFTER_THE_FIRST_PIECE and one.broken) for one in told)
    return expected and not any(one.leaked for one in told)


def late_s(told: Sequence[Told]) -> float:
    """The longest time that an answer took beyond the caller's deadline; negative when all came before it."""
    return max(one.took_s for one in told) - DEADLINE_S


async def broken(folder: Path, fault: str, *, count: int, at_once: int) -> tuple[list[Told], list[Told], bool]:
    """Answers while both are well, answers while the primary has the fault, and whether the ledger agrees."""
    async with Upstream() as plain, staged(folder, address_of(fault, plain) if fault in NOWHERE else "") as stage:
        secret = await stage.key(PRIMARIES[0])
        calm = [] if fault in NOWHERE else await stage.asked(secret, 10 * at_once, at_once=at_once)
        stage.rig.upstream.fault = fault if fault not in NOWHERE else ""
        told = await stage.asked(secret, count, at_once=at_once)
        return calm, told, await stage.settled(arrives=fault not in NOWHERE)


async def play(folder: Path, arguments: argparse.Namespace) -> bool:
    """Every fault, each before a server of its own: 1,000 requests on three routes, plain and streamed."""
    well = True
    for fault in arguments.fault or (*NOWHERE, *PLAYED):
        with tempfile.TemporaryDirectory(dir=folder) as own:
            calm, told, agrees = await broken(Path(own), fault, count=arguments.requests, at_once=arguments.at_once)
        well &= kept(fault, told) and agrees and late_s(told) < GRACE_S
        say(f"{fault}: {summary(calm, told)}, ledger {'agrees' if agrees else 'DIFFERS'}")
    return well


def summary(calm: Sequence[Told], told: Sequence[Told]) -> str:
    """One line of figures."""
    answered, cut = sum(one.answered for one in told), sum(one.broken for one in told)
    others = Counter(one.status for one in told if not one.answered and not one.broken)
    met = [one.took_s for one in told if one.fallbacks]
    before = [one.took_s for one in calm] or [one.took_s for one in told if not one.fallbacks]
    added = [(high - low) * 1000 for high, low in zip(cuts(met), cuts(before), strict=True)] if len(met) > 1 else []
    cost = f"{len(met)} met it, added p50 {added[49]:.1f} ms, p99 {added[98]:.1f} ms" if added else "none fell back"
    slowest = f"slowest {max(one.took_s for one in told):.2f} s"
    return f"{answered} of {len(told)} answered, {cut} cut off with an error event, {dict(others)}; {cost}; {slowest}"


def cuts(times_s: Sequence[float]) -> list[float]:
    """The percentiles 1 to 99."""
    return quantiles(times_s, n=100, method="inclusive")
