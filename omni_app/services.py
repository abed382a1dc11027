"""Everything that runs behind the doors, built once from the settings, started and stopped together."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from omni_app.gateway.budgets import Budgets
from omni_app.gateway.gateway import Gateway, Limits
from omni_app.gateway.latency_exchange import LatencyExchange
from omni_app.gateway.sessions import Sessions
from omni_app.limits import build_limiter
from omni_app.limits.base import Limiter
from omni_app.providers.base import Provider
from omni_app.providers.catalog import build_providers
from omni_app.providers.transport import Transport
from omni_app.registry import packaged_registry
from omni_app.registry.store import load_registry, record_registry, registry_version, seed_models
from omni_app.settings import Settings
from omni_app.storage.answer_lengths import AnswerLengths
from omni_app.storage.database import DATABASE_ERRORS, Database
from omni_app.storage.keys import KeyCache, KeyHasher
from omni_app.storage.pause import pause
from omni_app.storage.prompts import PURPOSE, PromptKeeper
from omni_app.storage.retention import Retention
from omni_app.storage.sealing import Sealer
from omni_app.storage.sign_in import EmbeddedSignIn, SignIn
from omni_app.storage.spool import Drainer, Spool

log = logging.getLogger(__name__)

REGISTRY_POLL_S = 2.0
"""A changed price or model reaches every worker within this time."""
CONNECT_RETRY_S = 1.0
DRAIN_S = 10.0


@dataclass(slots=True)
class Services:
    """The running product without its doors. `start()` never waits for the database: `/ready` tells."""

    settings: Settings
    database: Database
    hasher: KeyHasher
    keys: KeyCache
    sign_in: SignIn
    limiter: Limiter
    providers: dict[str, Provider]
    transport: Transport
    spool: Spool
    drainer: Drainer
    gateway: Gateway
    budgets: Budgets
    sealer: Sealer
    """For kept prompts."""
    prompts: PromptKeeper
    retention: Retention
    lengths: AnswerLengths
    latencies: LatencyExchange
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Starts the background work."""
        keeping = (self.budgets.run, self.prompts.run, self.retention.run)
        measuring = (self.lengths.run, self.latencies.run)
        for work in (self.keys.run, self.drainer.run, *keeping, *measuring, self._follow_registry):
            self._tasks.append(asyncio.create_task(work(self._stopping)))
        self._tasks.append(asyncio.create_task(self._warm_up()))

    async def stop(self) -> None:
        """Stops it again: the ledger is drained first, then everything is closed.

        Work ends between two steps; what does not end in time is cancelled. What is not drained stays on disk.
        """
        self._stopping.set()
        self.spool.appended.set()
        _, late = await asyncio.wait(self._tasks, timeout=DRAIN_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        closers: list[Callable[[], Awaitable[None]]] = [self.limiter.aclose, self.database.close]
        closers += [*(provider.aclose for provider in self.providers.values()), self.transport.aclose]
        for close in closers:
            await close()
        self.spool.close()

    async def problems(self) -> dict[str, str]:
        """Dependency -> what is wrong with it, empty when it is well."""
        ready = any(not provider.unavailable_reason() for provider in self.providers.values())
        return {
            "database": await self.database.ping() or await self.database.schema_problem(),
            "limiter": await self.limiter.ping(),
            "providers": "" if ready else "no provider is configured",
            "ledger": self.spool.problem(),
        }

    async def _follow_registry(self, stopping: asyncio.Event) -> None:
        """Seeds the models table, then follows it: the database rules over the packaged file."""
        seeded = False
        while not stopping.is_set():
            with contextlib.suppress(*DATABASE_ERRORS):
                seeded = await self._sync_registry(seeded=seeded)
            await pause(stopping, REGISTRY_POLL_S if seeded else CONNECT_RETRY_S)

    async def _sync_registry(self, *, seeded: bool) -> bool:
        if await self.database.ping() or await self.database.schema_problem():
            return seeded
        async with self.database.session() as session:
            if not seeded:
                await seed_models(session, packaged_registry())
                await session.commit()
            if seeded and await registry_version(session) == self.gateway.registry.version:
                return True
            await record_registry(session, self.gateway.registry)
            current = await load_registry(session)
            await record_registry(session, current)
            await session.commit()
        if current.version != self.gateway.registry.version:
            self.gateway.use_registry(current)
        return True

    async def _warm_up(self) -> None:
        """Starts the local model in the background, so that the first request finds it awake."""
        warm_up = getattr(self.providers.get("local"), "warm_up", None)
        if warm_up is not None:
            await warm_up()


def build_services(settings: Settings) -> Services:
    """Wires everything; touches neither network nor database yet."""
    database = Database(settings.database)
    hasher = KeyHasher(settings.key_pepper)
    spool = Spool(settings.omni_data_dir / "spool")
    limiter = build_limiter(
        settings.upstash_redis_rest_url,
        settings.upstash_redis_rest_token.get_secret_value(),
        workers=settings.rate_limit_workers,
    )
    transport = Transport()
    providers = build_providers(settings, transport)
    budgets = Budgets(database)
    sealer = Sealer(settings.secret_key, purpose=PURPOSE)
    prompts = PromptKeeper(database, sealer)
    lengths = AnswerLengths(database)
    gateway = Gateway(
        registry=packaged_registry(),
        providers=providers,
        limiter=limiter,
        spool=spool,
        limits=Limits(
            rate_max=settings.rate_limit_max,
            rate_window_s=settings.rate_limit_window_sec,
            total_s=settings.provider_timeout_sec,
        ),
        budgets=budgets,
        prompts=prompts,
        sessions=Sessions(database),
        premium_model=settings.premium_model,
        expected_output=lengths.medians,
    )
    return Services(
        settings=settings,
        database=database,
        hasher=hasher,
        keys=KeyCache(database, hasher),
        sign_in=_sign_in(settings),
        limiter=limiter,
        providers=providers,
        transport=transport,
        spool=spool,
        drainer=Drainer(spool, database, budgets.outstanding),
        gateway=gateway,
        budgets=budgets,
        sealer=sealer,
        prompts=prompts,
        retention=Retention(database),
        lengths=lengths,
        latencies=LatencyExchange(database, gateway.latencies),
    )


def _sign_in(settings: Settings) -> SignIn:
    if not settings.supabase_url:
        return EmbeddedSignIn()
    from omni_app.storage.supabase_sign_in import SupabaseSignIn

    return SupabaseSignIn(settings.supabase_url, settings.supabase_service_key.get_secret_value())
