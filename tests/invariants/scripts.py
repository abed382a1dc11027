"""Requests as a strategy: prices, what each provider does, and the real gateway that serves them."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import strategies as st

from omni_app.errors import OmniError
from omni_app.gateway.gateway import Gateway
from omni_app.gateway.rate_limits import Limits
from omni_app.gateway.types import Answer
from omni_app.limits import MemoryLimiter
from omni_app.providers.base import Completion, FaultKind, ProviderFault, Usage
from omni_app.registry import Registry, build_registry
from omni_app.routing.types import Price
from omni_app.storage.spool import Spool
from tests.gateway.scripted import CALLER, FLEET, HELLO, ScriptedProvider

TOKENS = st.integers(0, 100_000)
PICO = st.integers(0, 10**8)
PRICES = st.builds(Price, input=PICO, output=PICO, cached_input=st.none() | PICO, cache_write=st.none() | PICO)
USAGES = st.builds(
    lambda plain, cached, written, output: Usage(plain + cached + written, output, cached, written),
    TOKENS, TOKENS, TOKENS, TOKENS,
)  # fmt: skip
FAULTS = st.builds(
    lambda kind, usage: ProviderFault(kind, "it broke", usage=usage),
    st.sampled_from([FaultKind.SERVER_ERROR, FaultKind.EMPTY, FaultKind.INTERRUPTED, FaultKind.BAD_REQUEST]),
    st.none() | USAGES,
)
ANSWERS = st.builds(lambda usage: Completion("fine", usage), USAGES)
MODELS = tuple(one.id for one in FLEET)


@dataclass(frozen=True)
class Script:
    """One request: what the models of its chain do, in order, and whether it is a stream."""

    lines: tuple[Completion | ProviderFault, ...]
    stream: bool
    max_cost: int | None = None


SCRIPTS = st.builds(Script, st.tuples(*[FAULTS | ANSWERS | ANSWERS] * len(MODELS)), st.booleans())
LIMITS = st.integers(0, 10**13)
"""Pico-dollars: some refuse every model, some are above all that can be counted."""
REGISTRIES = st.tuples(*[PRICES] * len(MODELS)).map(
    lambda prices: build_registry(replace(one, price=price) for one, price in zip(FLEET, prices, strict=True))
)


@dataclass
class Stage:
    """A gateway whose providers play scripts; `billed` is the provider's own account of each call."""

    gateway: Gateway
    lines: list[Completion | ProviderFault]
    billed: list[tuple[str, Usage | None]]
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.gateway.clock = lambda: self.now_s

    async def play(self, script: Script) -> Answer | None:
        """Serves one request, a day after the one before: no breaker is open any more. None when it failed."""
        self.now_s += 86_400
        self.lines[:] = script.lines
        request = replace(HELLO, pinned=MODELS, stream=script.stream, max_cost=script.max_cost)
        with suppress(OmniError):
            if not script.stream:
                return await self.gateway.chat(CALLER, request)
            async for piece in self.gateway.stream(CALLER, request):
                if isinstance(piece, Answer):
                    return piece
        return None


def stage(folder: Path, registry: Registry) -> Stage:
    """A new one over `folder`."""
    lines: list[Completion | ProviderFault] = []
    billed: list[tuple[str, Usage | None]] = []
    providers: list[ScriptedProvider] = []

    def line(provider: ScriptedProvider) -> Completion:
        said = lines.pop(0)
        billed.append((provider.asked[-1].deployment.id, said.usage))
        if isinstance(said, ProviderFault):
            raise said
        return said

    for name in ("alpha", "beta"):
        provider = ScriptedProvider(name)
        provider.script = [lambda provider=provider: line(provider)]  # type: ignore[misc]
        providers.append(provider)
    gateway = Gateway(
        registry=registry,
        providers={one.name: one for one in providers},
        limiter=MemoryLimiter(),
        spool=Spool(folder),
        limits=Limits(rate_max=10**9, rate_window_s=60, total_s=60),
        premium_model="alpha/large",
    )
    return Stage(gateway, lines, billed)
