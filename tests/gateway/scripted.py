"""A provider that plays a part: it answers what the script says, in order, and remembers what it was asked."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from omni_app.gateway.gateway import Gateway
from omni_app.gateway.rate_limits import Limits
from omni_app.gateway.types import Caller, ChatRequest
from omni_app.limits import MemoryLimiter
from omni_app.providers.base import Completion, Deltas, FaultKind, Provider, ProviderFault, ProviderRequest, Usage
from omni_app.registry import build_registry
from omni_app.routing.types import Deployment, Price, Rating, Task
from omni_app.storage.ledger import RequestRecord
from omni_app.storage.spool import Fact, Spool, decode

Line = Completion | ProviderFault | Callable[[], Completion]
OK = Completion(text="fine", usage=Usage(input=1000, output=100))
DOWN = ProviderFault(FaultKind.SERVER_ERROR, "the server is on fire")


@dataclass
class ScriptedProvider:
    """Answers the lines of `script` in order, and the last one for ever; `delay_s` comes before each."""

    name: str
    script: list[Line] = field(default_factory=lambda: [OK])
    delay_s: float = 0.0
    simulated: bool = False
    reason: str = ""
    asked: list[ProviderRequest] = field(default_factory=list)

    def unavailable_reason(self) -> str:
        return self.reason

    async def complete(self, request: ProviderRequest) -> Completion:
        self.asked.append(request)
        await asyncio.sleep(self.delay_s)
        line = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(line, ProviderFault):
            raise line
        return line if isinstance(line, Completion) else line()

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Deltas | Completion, None]:
        yield await self.complete(request)

    async def aclose(self) -> None:
        """Nothing to close."""


def deployment(
    model_id: str, *, usd_in: int = 1, usd_out: int = 5, quality: float = 0.5, window: int = 100_000
) -> Deployment:
    """A model that can do everything, priced in dollars per million tokens."""
    provider, _, name = model_id.partition("/")
    rating = Rating(quality, "a measure", 1.0, "2026-01-01")
    return Deployment(
        id=model_id,
        provider=provider,
        model_name=name,
        price=Price(input=usd_in * 1_000_000, output=usd_out * 1_000_000),
        context_window=window,
        max_output_tokens=8_000,
        ratings=dict.fromkeys(Task, rating),
        overall=rating,
        prior_latency_ms=500,
        supports_functions=True,
        supports_vision=True,
        supports_response_schema=True,
        price_version="v1",
    )


FLEET = (
    deployment("alpha/small", usd_in=1, usd_out=4, quality=0.9),
    deployment("beta/medium", usd_in=2, usd_out=8, quality=0.8),
    deployment("alpha/large", usd_in=10, usd_out=40, quality=0.95, window=1_000_000),
)
CALLER = Caller(org_id=uuid4(), key_id=uuid4(), kind="live")
HELLO = ChatRequest(messages=[{"role": "user", "content": "Hello there"}], endpoint="chat")


def gateway(spool_dir: Path, *providers: Provider, premium_model: str = "alpha/large", total_s: float = 5) -> Gateway:
    """A real gateway over scripted providers."""
    return Gateway(
        registry=build_registry(FLEET),
        providers={provider.name: provider for provider in providers},
        limiter=MemoryLimiter(),
        spool=Spool(spool_dir),
        limits=Limits(rate_max=1_000, rate_window_s=60, total_s=total_s),
        premium_model=premium_model,
    )


def facts(spool_dir: Path) -> list[Fact]:
    """What the spool holds, in order."""
    lines = [line for path in sorted(spool_dir.glob("*.log")) for line in path.read_bytes().splitlines(keepends=True)]
    return [fact for fact in map(decode, lines) if fact is not None]


def records(spool_dir: Path) -> list[RequestRecord]:
    """The finished requests."""
    return [fact for fact in facts(spool_dir) if isinstance(fact, RequestRecord)]
