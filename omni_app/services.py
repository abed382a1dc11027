"""Everything that runs behind the doors, built once from the settings, started and stopped together."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from omni_app import collector, large_pages
from omni_app.gateway.budgets import Budgets, lease_for
from omni_app.gateway.gateway import Gateway
from omni_app.gateway.grounds import KeyOpener
from omni_app.gateway.latency_exchange import LatencyExchange
from omni_app.gateway.rate_limits import Limits
from omni_app.gateway.sessions import Sessions
from omni_app.limits import MemoryLimiter, build_limiter
from omni_app.limits.base import Limiter
from omni_app.observe import families as of
from omni_app.observe.families import FAMILIES
from omni_app.observe.line_writer import write_to_stdout, write_with_copy
from omni_app.observe.metrics import Lines, Sample, exposition
from omni_app.observe.neighbours import Neighbours
from omni_app.observe.observer import Observer, Reporter
from omni_app.observe.process import process_samples
from omni_app.observe.request_log import RequestLog
from omni_app.observe.security_log import SecurityEvent, SecurityLog
from omni_app.providers.base import Provider
from omni_app.providers.catalog import build_providers, use_keys
from omni_app.providers.transport import Transport
from omni_app.registry import packaged_registry
from omni_app.registry.registry import packaged_file
from omni_app.registry.store import load_registry, record_registry, registry_version, seed_models
from omni_app.secret_files import LOOK_S, SecretFiles, exchanged
from omni_app.settings import Settings, SettingsError, load_settings
from omni_app.storage import provider_keys, second_factors
from omni_app.storage.answer_lengths import AnswerLengths
from omni_app.storage.database import DATABASE_ERRORS, Database
from omni_app.storage.keys import KeyCache, KeyHasher
from omni_app.storage.pause import pause
from omni_app.storage.prompts import PURPOSE, PromptKeeper
from omni_app.storage.retention import Retention
from omni_app.storage.sealing import Sealer
from omni_app.storage.sign_in import EmbeddedSignIn, SignIn
from omni_app.storage.spool import Drainer, Spool
from omni_app.turns import Turns

if TYPE_CHECKING:
    from omni_app.observe.alerts import Alerts
    from omni_app.observe.log_sender import LogSender
    from omni_app.registry.refresh import DailySync

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
    turns: Turns
    spool: Spool
    drainer: Drainer
    gateway: Gateway
    budgets: Budgets
    sealer: Sealer
    """For kept prompts."""
    key_sealer: Sealer
    """For the orgs' own provider keys."""
    factor_sealer: Sealer
    """For the secrets of second factors."""
    prompts: PromptKeeper
    retention: Retention
    lengths: AnswerLengths
    latencies: LatencyExchange
    observer: Observer
    security: SecurityLog
    log_sender: "LogSender | None"
    otlp_headers: dict[str, str]
    """What goes to the collector beside each batch; held by whoever sends one."""
    neighbours: Neighbours
    strangers: MemoryLimiter = field(default_factory=MemoryLimiter)
    """This worker's count of unknown API keys, by address."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Starts the background work."""
        keeping = (self.budgets.run, self.prompts.run, self.retention.run)
        measuring = (self.lengths.run, self.latencies.run)
        for reporter in self.observer.reporters:
            self._tasks.append(asyncio.create_task(reporter.run(self._stopping)))
        if self.settings.omni_secrets_dir:
            self._tasks.append(asyncio.create_task(self._follow_secrets(self.settings.omni_secrets_dir)))
        if self.log_sender:
            self._tasks.append(asyncio.create_task(self.log_sender.run(self._stopping)))
        if self.settings.metrics_token.get_secret_value():
            self._tasks.append(asyncio.create_task(self.neighbours.run(self._stopping, self._metric_lines)))
        if self.settings.alert_webhook_url:
            self._tasks.append(asyncio.create_task(self._alerts().run(self._stopping)))
        if self.settings.catalog_sync == "daily":
            self._tasks.append(asyncio.create_task(self._catalogue().run(self._stopping)))
        for work in (self.keys.run, self.drainer.run, *keeping, *measuring, self._follow_registry, self.security.run):
            self._tasks.append(asyncio.create_task(work(self._stopping)))
        self._tasks.append(asyncio.create_task(self._warm_up()))

    async def _follow_secrets(self, folder: Path) -> None:
        """Takes credentials that were exchanged in their files."""
        files = SecretFiles(folder)
        while not self._stopping.is_set():
            await pause(self._stopping, LOOK_S)
            if await asyncio.to_thread(files.changed):
                try:
                    self.exchange(load_settings())
                except SettingsError as error:
                    log.warning("the files of OMNI_SECRETS_DIR are not taken: %s", "; ".join(error.problems))

    def exchange(self, told: Settings) -> None:
        """Uses the credentials of these settings from now on; what is being served goes on with the earlier ones."""
        changed = exchanged(self.settings, told)
        if "database_url" in changed and not self.database.use_credentials(told.database):
            log.warning("DATABASE_URL names another database in its file: that takes a restart")
            del changed["database_url"]
        if not changed:
            return
        self.settings = self.settings.model_copy(update=changed)
        use_keys(self.providers, self.settings)
        self.limiter.use_token(self.settings.upstash_redis_rest_token.get_secret_value())
        self.otlp_headers.clear()
        self.otlp_headers.update(self.settings.otlp_headers)
        self.sign_in = _sign_in(self.settings)
        for name in changed:
            self.security.tell(SecurityEvent("secret_exchanged", about=name.upper()))

    def own_process(self) -> None:
        """To be called once, when a server's process is this product's alone, and started."""
        self._heed_signals()
        collector.rest()
        self._tasks.append(asyncio.create_task(asyncio.to_thread(large_pages.gather)))

    def _heed_signals(self) -> None:
        """From the first SIGTERM or SIGINT on, what is in flight has `STOP_GRACE_SEC`.

        The server drains its connections before it tells us of the stop, so the signal itself has to. The server's own
        stop goes on as before: an event loop hears of signals by a file descriptor, and an earlier handler is called.
        """
        loop = asyncio.get_running_loop()
        later = partial(loop.call_later, self.settings.stop_grace_sec, self.gateway.cut_off)

        def heed(earlier: object, number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(later)
            if callable(earlier):
                earlier(number, frame)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, partial(heed, signal.getsignal(number)))

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
        if self.log_sender:
            await self.log_sender.finish()
        closers: list[Callable[[], Awaitable[None]]] = [self.limiter.aclose, self.database.close]
        closers += [*(provider.aclose for provider in self.providers.values()), self.transport.aclose]
        for close in closers:
            await close()
        self.spool.close()
        self.neighbours.close()

    def _alerts(self) -> "Alerts":
        """Loaded, as the tracer, where it was asked for: they bring an HTTP client of 8 MB."""
        from omni_app.observe.alerts import Alerts

        secret = self.settings.alert_webhook_secret.get_secret_value()
        url, health = self.settings.alert_webhook_url, self.gateway.health
        return Alerts(url, secret, database=self.database, health=health)

    def _catalogue(self) -> "DailySync":
        from omni_app.registry.refresh import Catalogues, DailySync  # what builds the registry, for whoever asks for it

        where = Catalogues(self.settings.catalog_openrouter_url, self.settings.catalog_litellm_url)
        return DailySync(self.database, where)

    def metrics_text(self) -> str:
        """What this worker and the others on the machine say of themselves, for Prometheus."""
        return exposition(FAMILIES, [self._metric_lines(), *self.neighbours.others()])

    def _metric_lines(self) -> Lines:
        return self.observer.figures.lines(self.observer.samples(), worker=self.neighbours.number)

    def _samples(self) -> Iterator[Sample]:
        """The figures of what runs here."""
        yield of.SPOOL, (), self.drainer.waiting_bytes()
        yield of.LAG, (), self.drainer.lag_s()
        yield of.DRAINED, (), self.drainer.drained_requests
        yield of.DAMAGED, (), self.drainer.damaged_lines
        for model, is_down in self.gateway.health.down(now_s=self.gateway.clock()).items():
            yield of.BREAKER, (model.partition("/")[0], model), is_down

    async def problems(self) -> dict[str, str]:
        """Dependency -> what is wrong with it, empty when it is well. Never raises: a check that fails is a problem."""
        checks = {
            "database": self._database_problem,
            "limiter": self._limiter_problem,
            "providers": self._providers_problem,
            "ledger": self._ledger_problem,
        }
        return {name: await _outcome(name, check) for name, check in checks.items()}

    async def _database_problem(self) -> str:
        return await self.database.ping() or await self.database.schema_problem()

    async def _limiter_problem(self) -> str:
        return await self.limiter.ping()

    async def _providers_problem(self) -> str:
        ready = any(not provider.unavailable_reason() for provider in self.providers.values())
        return "" if ready else "no provider is configured"

    async def _ledger_problem(self) -> str:
        return self.spool.problem() or self.drainer.problem

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
                await seed_models(session, packaged_registry(), as_of=packaged_file()["as_of"])
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


async def _outcome(name: str, check: Callable[[], Awaitable[str]]) -> str:
    """What a check says; that it failed, when it raises."""
    try:
        return await check()
    except Exception as error:
        log.exception("the check of %s failed", name)
        return f"cannot be checked ({type(error).__name__})"


def build_services(settings: Settings) -> Services:
    """Wires everything; touches neither network nor database yet."""
    database = Database(settings.database, pool_size=settings.database_pool_size)
    hasher = KeyHasher(settings.key_pepper, settings.omni_key_pepper_other.get_secret_value())
    spool = Spool(settings.omni_data_dir / "spool")
    limiter = build_limiter(
        settings.upstash_redis_rest_url,
        settings.upstash_redis_rest_token.get_secret_value(),
        workers=settings.rate_limit_workers,
    )
    turns = Turns()
    transport = Transport(turns, max_connections=settings.max_in_flight, client=settings.http_client)
    providers = build_providers(settings, transport)
    budgets = Budgets(database, lease_s=lease_for(settings.provider_timeout_sec))
    sealer = Sealer(settings.secret_key, purpose=PURPOSE, other_key=settings.secret_key_other)
    key_sealer = Sealer(settings.sealing_key, purpose=provider_keys.PURPOSE, other_key=settings.sealing_key_other)
    prompts = PromptKeeper(database, sealer)
    lengths = AnswerLengths(database)
    otlp_headers = settings.otlp_headers
    log_sender = _log_sender(settings, otlp_headers)
    reporters = _reporters(settings, otlp_headers, log_sender)
    observer = Observer(counts=bool(settings.metrics_token.get_secret_value()), reporters=reporters)
    gateway = Gateway(
        registry=packaged_registry(),
        providers=providers,
        limiter=limiter,
        spool=spool,
        limits=Limits(
            rate_max=settings.rate_limit_max,
            rate_window_s=settings.rate_limit_window_sec,
            total_s=settings.provider_timeout_sec,
            token_max=settings.rate_limit_tokens,
        ),
        budgets=budgets,
        prompts=prompts,
        sessions=Sessions(database),
        premium_model=settings.premium_model,
        markup_bp=settings.markup_bp,
        open_key=KeyOpener(providers, key_sealer),
        expected_output=lengths.medians,
        on_finished=observer.finished,
    )
    services = Services(
        settings=settings,
        database=database,
        hasher=hasher,
        keys=KeyCache(database, hasher),
        sign_in=_sign_in(settings),
        limiter=limiter,
        providers=providers,
        transport=transport,
        turns=turns,
        spool=spool,
        drainer=Drainer(spool, database, budgets.outstanding),
        gateway=gateway,
        budgets=budgets,
        sealer=sealer,
        key_sealer=key_sealer,
        factor_sealer=Sealer(settings.secret_key, purpose=second_factors.PURPOSE, other_key=settings.secret_key_other),
        prompts=prompts,
        retention=Retention(database),
        lengths=lengths,
        latencies=LatencyExchange(database, gateway.latencies),
        observer=observer,
        security=SecurityLog(
            settings.secret_key,
            observer.figures,
            writes=settings.log_security == "on",
            write=write_with_copy(log_sender.security.put) if log_sender else write_to_stdout,
        ),
        log_sender=log_sender,
        otlp_headers=otlp_headers,
        neighbours=Neighbours(settings.omni_data_dir / "metrics"),
    )
    observer.sources += [
        services._samples,
        services.security.samples,
        process_samples,
        *(one.samples for one in observer.reporters),
        *([log_sender.samples] if log_sender else []),
    ]
    return services


def _log_sender(settings: Settings, headers: Mapping[str, str]) -> "LogSender | None":
    """Where a collector is named."""
    if not settings.otel_exporter_otlp_endpoint or settings.otel_logs_exporter == "none":
        return None
    from omni_app.observe.log_sender import LogSender

    endpoint, service = settings.otel_exporter_otlp_endpoint, settings.otel_service_name
    return LogSender(endpoint, headers=headers, service=service)


def _reporters(settings: Settings, headers: Mapping[str, str], log_sender: "LogSender | None") -> list[Reporter]:
    """Those that were asked for."""
    write = write_with_copy(log_sender.requests.put) if log_sender else write_to_stdout
    found: list[Reporter] = [RequestLog(write)] if settings.log_requests == "on" else []
    if settings.otel_exporter_otlp_endpoint:
        from omni_app.observe.traces import Tracer

        found.append(
            Tracer(
                settings.otel_exporter_otlp_endpoint,
                headers=headers,
                ratio=settings.otel_traces_sampler_arg,
                service=settings.otel_service_name,
            )
        )
    return found


def _sign_in(settings: Settings) -> SignIn:
    if not settings.supabase_url:
        return EmbeddedSignIn()
    from omni_app.storage.supabase_sign_in import SupabaseSignIn

    return SupabaseSignIn(settings.supabase_url, settings.supabase_key)
