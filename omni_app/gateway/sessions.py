"""Agent sessions: which model a session stays with, and what each model's prompt cache may hold of it.

A worker keeps what its own answers told. What it does not know, or has not served for as long as a cache lives, it
asks the ledger once: other workers and earlier processes write there. Nothing here is needed for an answer; a session
that is forgotten is routed as a new one (docs/decisions/0013-sessions.md).
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from omni_app.gateway.types import Caller
from omni_app.providers.base import Usage
from omni_app.routing.types import AgentSession, Deployment, KeyKind, Price
from omni_app.storage.agent_sessions import KeptStep, last_steps
from omni_app.storage.database import DATABASE_ERRORS, Database

log = logging.getLogger(__name__)

CACHE_TTL = timedelta(minutes=5)
"""How long an unused prompt cache is taken to live. Anthropic: 5 minutes, renewed by each use
(docs.anthropic.com, prompt caching). OpenAI: 5 to 10 minutes of inactivity (platform.openai.com, prompt caching).
The others publish no figure to rely on: a stated assumption. Too short a time costs a wrong estimate, never a wrong
bill: the next usage tells what was really read from the cache."""
SHORTEST_CACHED = 1024
"""Tokens below which a prompt is not cached (OpenAI; Anthropic's limits are this or higher)."""
KEPT_SESSIONS = 10_000
"""How many sessions a worker remembers, the last used ones: bounds its memory."""
READ_STEPS = 20
"""How many of a session's last steps are read: enough to know every cache that is still alive."""
RECALL_S = 0.5
"""A request waits no longer than this for the database to tell about its session."""
NEVER = datetime.min.replace(tzinfo=UTC)

Key = tuple[UUID, KeyKind, str]
DeploymentOf = Callable[[str], Deployment | None]


@dataclass(frozen=True, slots=True)
class Step:
    """One answered step. `tokens` is our estimate of its prompt, `usage` what the provider counted."""

    model: str
    tokens: int
    usage: Usage
    at: datetime
    home: str
    """The model that the session stays with after it."""


@dataclass(frozen=True, slots=True)
class Cache:
    """What one model's prompt cache is believed to hold: `tokens` by our estimate, `billed` as its provider counts."""

    tokens: int
    billed: int
    at: datetime

    def lives(self, now: datetime) -> bool:
        """Whether it was used lately enough."""
        return now - self.at < CACHE_TTL


@dataclass(frozen=True, slots=True)
class Remembered:
    """One session after its last step."""

    home: str = ""
    last: str = ""
    caches: Mapping[str, Cache] = field(default_factory=dict)
    stepped_at: datetime = NEVER

    def lives(self, now: datetime) -> bool:
        """Whether a cache may still be believed in; later than that another worker may have served it."""
        return now - self.stepped_at < CACHE_TTL

    def at(self, now: datetime) -> AgentSession:
        """What routing needs of it at this moment."""
        held = sorted((model, cache.tokens) for model, cache in self.caches.items() if cache.lives(now))
        return AgentSession(self.home, self.last, tuple(held))

    def after(self, step: Step, price: Price) -> "Remembered":
        """The session once this step is answered; caches that have lapsed by then are forgotten."""
        caches = {model: cache for model, cache in self.caches.items() if cache.lives(step.at)}
        found = cache_after(step, price, before=caches.pop(step.model, None))
        caches |= {step.model: found} if found else {}
        return Remembered(step.home, step.model, caches, max(self.stepped_at, step.at))


def cache_after(step: Step, price: Price, *, before: Cache | None) -> Cache | None:
    """What the step's model holds now, by what its provider reported; None when nothing can be told.

    Where writing has its own price, it holds what was read and written. Elsewhere prompts are cached by themselves: it
    holds the prompt, or, where it held some of it before, the share of that which it did find again.
    """
    usage = step.usage
    if price.cached_input is None or usage.estimated or usage.input < SHORTEST_CACHED:
        return None
    if price.cache_write is not None:
        share = (usage.cached_input + usage.cache_write) / usage.input
    elif before is None or (before.billed == 0 and usage.cached_input):
        share = 1.0
    else:
        share = usage.cached_input / before.billed if before.billed else 0.0
    share = min(1.0, share)
    return Cache(int(step.tokens * share), int(usage.input * share), step.at)


def newest(*found: Remembered | None) -> Remembered | None:
    """What knows the latest step; this worker may have learned of one that the ledger does not have yet."""
    return max((one for one in found if one), key=lambda one: one.stepped_at, default=None)


def step_of(kept: KeptStep) -> Step:
    """A step as the ledger has it. Without its routing log the model that answered is taken for the home."""
    features = kept.features or {}
    usage = Usage(kept.tokens_input, 0, kept.tokens_cached, kept.tokens_cache_write, estimated=kept.estimated)
    tokens, home = features.get("input_tokens", kept.tokens_input), features.get("home", kept.model)
    return Step(kept.model, tokens, usage, kept.created_at, home)


@dataclass(slots=True)
class Sessions:
    """One worker's sessions; without a database it knows its own alone."""

    database: Database | None = None
    _known: OrderedDict[Key, Remembered] = field(default_factory=OrderedDict)
    _reading: set[asyncio.Task[Remembered | None]] = field(default_factory=set)

    async def recall(
        self, caller: Caller, session_id: str, *, now: datetime, deployment_of: DeploymentOf
    ) -> AgentSession | None:
        """What is known before the next step; None for a new session, and for one that nothing is known of."""
        key = (caller.org_id, caller.kind, session_id)
        known = self._known.get(key)
        if known is None or not known.lives(now):
            read = await self._read(key, deployment_of)
            known = newest(read, self._known.get(key))
        if known is None:
            return None
        self._keep(key, known)
        return known.at(now)

    def learn(self, caller: Caller, session_id: str, step: Step, *, deployment_of: DeploymentOf) -> None:
        """An answered step. One that failed, or was given up, is never told: nothing of it counts as cached."""
        key, deployment = (caller.org_id, caller.kind, session_id), deployment_of(step.model)
        if deployment is not None:
            self._keep(key, self._known.get(key, Remembered()).after(step, deployment.price))

    def _keep(self, key: Key, session: Remembered) -> None:
        self._known[key] = session
        self._known.move_to_end(key)
        if len(self._known) > KEPT_SESSIONS:
            self._known.popitem(last=False)

    async def _read(self, key: Key, deployment_of: DeploymentOf) -> Remembered | None:
        """From the ledger; None when it has no such session, or does not answer in time.

        A late answer is not waited for and not cancelled: a driver that cancels asks the hanging server for its leave.
        """
        if self.database is None:
            return None
        reading = asyncio.create_task(_from_ledger(self.database, key, deployment_of))
        self._reading.add(reading)
        reading.add_done_callback(self._reading.discard)
        done, _ = await asyncio.wait({reading}, timeout=RECALL_S)
        return reading.result() if done else None


async def _from_ledger(database: Database, key: Key, deployment_of: DeploymentOf) -> Remembered | None:
    org_id, mode, session_id = key
    try:
        async with database.session() as session:
            kept = await last_steps(session, org_id=org_id, mode=mode, session_id=session_id, limit=READ_STEPS)
    except DATABASE_ERRORS:
        log.warning("an agent session could not be read; it is routed as a new one")
        return None
    found = None
    for step in map(step_of, kept):
        deployment = deployment_of(step.model)
        if deployment is not None:
            found = (found or Remembered()).after(step, deployment.price)
    return found
