"""A provider that plays a prompt cache, and agent runs to play on it: what they cost is billed as real providers bill.

The cache is the documented one: a prompt's longest beginning that was sent to the same model within the time to live
is billed at the price for cached input, what was new at the price for writing where there is one, else as input;
prompts of less than 1,024 tokens are not cached; each use renews the time to live. Whole messages only.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from omni_app.gateway.gateway import Gateway
from omni_app.gateway.rate_limits import Limits
from omni_app.gateway.sessions import CACHE_TTL, SHORTEST_CACHED, Sessions
from omni_app.gateway.types import Answer, Caller, ChatRequest
from omni_app.limits import MemoryLimiter
from omni_app.providers.base import Completion, FaultKind, ProviderFault, ProviderRequest, Usage
from omni_app.registry import build_registry
from omni_app.routing.types import Deployment, Message, Price, Priority, Task
from omni_app.storage.database import Database
from omni_app.storage.spool import Spool
from tests.gateway.scripted import ScriptedProvider, deployment

ANSWER_TOKENS = 150
"""As long as routing expects an agent's step to be: its prior for the task."""
HARD = (
    "Prove by induction that the sum of the first n cubes is $\\frac{n^2(n+1)^2}{4}$ "
    "and that no smaller exponent works."
)
"""Difficult enough that a model rated below 0.43 is held back."""
EASY = "Go on with the next file."


def counted(messages: Sequence[Message]) -> int:
    """The provider's own count, about a tenth above our estimate: they never agree in life."""
    return sum(4 + len(str(message["content"])) * 27 // 100 for message in messages)


@dataclass
class Clock:
    """Wall and monotonic time, moved by hand."""

    wall: datetime = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)

    def pass_(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.wall.timestamp()


@dataclass
class CachingProvider(ScriptedProvider):
    """Answers everything, at once, and bills what its caches do not hold; `down`: it fails."""

    clock: Clock = field(default_factory=Clock)
    down: bool = False
    caches: bool = True
    _sent: dict[tuple[str, tuple[str, ...]], datetime] = field(default_factory=dict)
    """Model and messages -> when a prompt that begins with them was sent last."""

    async def complete(self, request: ProviderRequest) -> Completion:
        self.asked.append(request)
        await asyncio.sleep(self.delay_s)
        if self.down:
            raise ProviderFault(FaultKind.SERVER_ERROR, "down")
        tokens = counted(request.messages)
        cached = self._read_and_write(request) if self.caches and tokens >= SHORTEST_CACHED else 0
        written = tokens - cached if self.caches and request.deployment.price.cache_write is not None else 0
        if tokens < SHORTEST_CACHED:
            written = 0
        return Completion("done", Usage(tokens, ANSWER_TOKENS, cached_input=cached, cache_write=written))

    def _read_and_write(self, request: ProviderRequest) -> int:
        model, now = request.deployment.id, self.clock.now()
        said = tuple(str(message["content"]) for message in request.messages)
        begun = [count for count in range(len(said), 0, -1) if self._lives(model, said[:count], now)]
        for count in range(1, len(said) + 1):
            self._sent[model, said[:count]] = now
        return counted(request.messages[: begun[0]]) if begun else 0

    def _lives(self, model: str, said: tuple[str, ...], now: datetime) -> bool:
        sent = self._sent.get((model, said))
        return sent is not None and now - sent < CACHE_TTL


@dataclass(frozen=True)
class Step:
    """One step of a script: what it adds to the conversation, and what happens meanwhile."""

    adds: int = 400
    """About so many tokens of the last tool's result."""
    hard: bool = False
    gap_s: float = 20.0
    down: tuple[str, ...] = ()
    """Providers that fail during this step."""


def model(name: str, price: Price, *, rating: float, latency_ms: int) -> Deployment:
    """A model of the fleets below."""
    return replace(deployment(name, quality=rating, window=1_000_000), price=price, prior_latency_ms=latency_ms)


def price(given: float, made: float, cached: float | None = None, write: float | None = None) -> Price:
    """US dollars per million tokens: input, output, cached input, cache write."""
    pico = [None if one is None else int(one * 1_000_000) for one in (cached, write)]
    return Price(int(given * 1_000_000), int(made * 1_000_000), cached_input=pico[0], cache_write=pico[1])


SMALL = model("alpha/small", price(0.25, 2, 0.025), rating=0.4, latency_ms=600)
MIDDLE = model("beta/middle", price(1, 5, 0.1, 1.25), rating=0.6, latency_ms=1_500)
LARGE = model("gamma/large", price(5, 25, 0.5, 6.25), rating=0.95, latency_ms=5_000)
FLAT = model("beta/flat", price(0.3, 0.5), rating=0.39, latency_ms=700)
"""Cheap answers, no cache: the cheapest for a short prompt."""
LIKED = model("delta/liked", price(0.26, 4), rating=0.42, latency_ms=600)
"""A little better than the small one, dear answers, no cache: by list prices the better choice for a long prompt."""
WITH_CACHES = (SMALL, MIDDLE, LARGE)
WITHOUT_CACHES = tuple(replace(one, price=Price(one.price.input, one.price.output)) for one in WITH_CACHES)
MIXED = (SMALL, WITHOUT_CACHES[1], LARGE, FLAT, LIKED)
FLEETS: Mapping[str, tuple[Deployment, ...]] = {
    "prices with a cache tariff": WITH_CACHES,
    "prices without one": WITHOUT_CACHES,
    "some with, some without": MIXED,
}


@dataclass
class Played:
    """One run: its answers in order, and what they cost together, in pico-dollars."""

    answers: list[Answer]

    @property
    def total(self) -> int:
        return sum(answer.cost for answer in self.answers)

    @property
    def models(self) -> list[str]:
        return [answer.model for answer in self.answers]


@dataclass
class Stage:
    """A real gateway over caching providers, with a clock of its own."""

    gateway: Gateway
    providers: dict[str, CachingProvider]
    clock: Clock
    caller: Caller
    messages: list[dict[str, str]] = field(default_factory=list)

    async def step(self, step: Step, request: ChatRequest) -> Answer:
        """One step: the conversation grows, time passes, the whole of it is sent."""
        number = len(self.messages)
        if step.hard:
            self.messages.append({"role": "user", "content": HARD})
        else:
            filler = f"line {number} of the file that the tool has read; "
            text = filler * max(1, step.adds * 4 // len(filler))
            self.messages.append({"role": "user", "content": f"{EASY} {text}"})
        self.clock.pass_(step.gap_s)
        for provider in self.providers.values():
            provider.down = provider.name in step.down
        answer = await self.gateway.chat(self.caller, replace(request, messages=[*self.messages]))
        self.messages.append({"role": "assistant", "content": f"I have read part {number}. " + "So it is. " * 20})
        return answer


def stage(
    spool_dir: Path,
    fleet: Sequence[Deployment],
    *,
    database: Database | None = None,
    clock: Clock | None = None,
    caller: Caller | None = None,
) -> Stage:
    """A stage whose gateway remembers sessions, in the database too where one is given."""
    clock = clock or Clock()
    names = {one.provider for one in fleet}
    providers = {name: CachingProvider(name, clock=clock) for name in sorted(names)}
    gateway = Gateway(
        registry=build_registry(tuple(fleet)),
        providers=providers,
        limiter=MemoryLimiter(),
        spool=Spool(spool_dir),
        limits=Limits(rate_max=10_000, rate_window_s=60, total_s=100),
        sessions=Sessions(database),
        clock=clock.monotonic,
        now=clock.now,
    )
    system = {"role": "system", "content": "You are an agent with tools; answer in one line. " * 200}
    caller = caller or Caller(org_id=uuid4(), key_id=uuid4(), kind="live")
    return Stage(gateway, providers, clock, caller, [system])


def asked(
    session_id: str = "run-1", *, priority: Priority = Priority.BALANCED, pinned: Sequence[str] = ()
) -> ChatRequest:
    """A step of an agent."""
    return ChatRequest(
        messages=[], endpoint="agent-step", task=Task.AGENT_STEP, session_id=session_id, priority=priority,
        pinned=tuple(pinned),
    )  # fmt: skip
