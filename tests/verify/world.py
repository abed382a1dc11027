"""A ledger with one of everything, made by the real gateway, spool and drainer over scripted providers."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.errors import OmniError
from omni_app.gateway.budgets import Budgets
from omni_app.gateway.gateway import Gateway
from omni_app.gateway.rate_limits import Limits
from omni_app.gateway.types import Caller
from omni_app.limits import MemoryLimiter
from omni_app.providers.base import Completion, FaultKind, ProviderFault, Usage
from omni_app.registry import build_registry
from omni_app.registry.store import record_registry
from omni_app.routing.types import KeyKind
from omni_app.storage import accounts, keys
from omni_app.storage import budgets as budget_rows
from omni_app.storage.budgets import Period
from omni_app.storage.database import Database
from omni_app.storage.spool import Admission, Drainer, Spool
from omni_app.verify import Finding, verify_ledger
from tests.gateway.scripted import DOWN, FLEET, HELLO, ScriptedProvider, deployment
from tests.storage.facts import NOON, attempt

NEXT_DAY = NOON + timedelta(days=1, hours=2)
"""When the ledger is looked at: the day of its rows is a whole one."""
SANDBOX = deployment("sandbox/small", usd_in=0, usd_out=0)
CACHING = replace(FLEET[2], price=replace(FLEET[2].price, cached_input=1_000_000, cache_write=12_500_000))
REGISTRY = build_registry([*FLEET[:2], CACHING, SANDBOX])
ANSWER = Completion("fine", Usage(input=1_000, output=100))
FROM_CACHE = Completion("fine", Usage(input=1_000, output=100, cached_input=600, cache_write=50))
EMPTY = ProviderFault(FaultKind.EMPTY, "nothing was said", usage=Usage(input=20, output=5))
EMPTY_FROM_CACHE = ProviderFault(FaultKind.EMPTY, "nothing was said", usage=Usage(input=20, output=5, cached_input=10))


async def fill(database: Database, folder: Path, *, at: datetime = NOON) -> None:
    """Answers (plain, from a cache, after a failed attempt), failures, a test key's request, an unknown outcome."""
    periods: Sequence[Period] = ("month", "total")
    hasher = keys.KeyHasher("pepper")
    async with database.session() as session:
        await record_registry(session, REGISTRY)
        org_id = await accounts.org_named(session, "Acme")
        made: dict[KeyKind, Caller] = {}
        for kind in ("live", "test"):
            key, _ = await keys.create_key(session, org_id=org_id, name=kind, kind=kind, hasher=hasher)
            made[kind] = Caller(org_id=org_id, key_id=key.id, kind=kind)
        terms = [
            await budget_rows.set_budget(
                session, org_id=org_id, key_id=key_id, period=period, limit=10**15, now=at - timedelta(days=2)
            )
            for key_id, period in zip((made["live"].key_id, None), periods, strict=True)
        ]
        await session.commit()
    live = replace(made["live"], budgets=tuple(terms))
    budgets = Budgets(database, now=lambda: at)
    spool = Spool(folder / "spool")
    drainer = Drainer(spool, database, budgets.outstanding)
    await serve(spool, budgets, live, [ANSWER], ["alpha/small"])
    await serve(spool, budgets, live, [FROM_CACHE], ["alpha/large"])
    await serve(spool, budgets, live, [EMPTY, ANSWER], ["alpha/small", "beta/medium"])
    await serve(spool, budgets, live, [EMPTY_FROM_CACHE, ANSWER], ["alpha/large", "beta/medium"])
    await serve(spool, budgets, live, [EMPTY, DOWN], ["alpha/small", "beta/medium"])
    await serve(spool, budgets, made["test"], [ANSWER], ["sandbox/small"])
    await drainer.flush()
    spool.close()
    dead = Spool(folder / "spool")
    dead.admit(Admission("req_dead", org_id, live.key_id, "live", "chat", "chat", at))
    spent = replace(attempt("req_dead"), model="alpha/small", provider="alpha", cost=7, created_at=at)
    dead.attempt(replace(spent, outcome="cancelled"))
    dead.close()
    await Drainer(Spool(folder / "spool"), database).replay()


async def serve(
    spool: Spool,
    budgets: Budgets,
    caller: Caller,
    script: Sequence[Completion | ProviderFault],
    pinned: Sequence[str],
) -> None:
    """One request; its attempts meet the script's lines in order."""
    lines = list(script)
    providers = [ScriptedProvider(name, [lambda: line_of(lines)]) for name in ("alpha", "beta", "sandbox")]
    gateway = Gateway(
        registry=REGISTRY,
        providers={one.name: one for one in providers},
        limiter=MemoryLimiter(),
        spool=spool,
        limits=Limits(rate_max=1_000, rate_window_s=60, total_s=5),
        budgets=budgets,
        premium_model="alpha/large",
        now=budgets.now,
    )
    try:
        await gateway.chat(caller, replace(HELLO, max_tokens=200, pinned=tuple(pinned)))
    except OmniError:
        assert lines == []


def line_of(lines: list[Completion | ProviderFault]) -> Completion:
    line = lines.pop(0)
    if isinstance(line, ProviderFault):
        raise line
    return line


async def verified(
    session: AsyncSession, *, now: datetime = NEXT_DAY, on_its_way: timedelta = timedelta(0)
) -> dict[str, Finding]:
    """Invariant -> what it came to."""
    return {one.invariant: one for one in await verify_ledger(session, now=now, on_its_way=on_its_way)}


def violations(findings: dict[str, Finding]) -> dict[str, list[str]]:
    """Those that do not hold, with their examples."""
    return {name: one.examples for name, one in findings.items() if one.violations}
