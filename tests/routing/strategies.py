"""Any deployments and requests, for the properties that hold for all of them."""

from dataclasses import replace

from hypothesis import strategies as st

from omni_app.routing.types import AgentSession, Deployment, LatencyPref, Price, Priority, Rating, RouteRequest, Task
from tests.routing.models import only

percentiles = st.integers(0, 20).map(lambda twentieth: twentieth / 20)
"""Coarse on purpose: ties must happen."""


@st.composite
def cached_prices(draw: st.DrawFn) -> Price:
    """Prices as providers set them: what is read from the cache costs no more than input, what is written no less."""
    given, made = draw(st.integers(0, 10**8)), draw(st.integers(0, 10**8))
    cached = draw(st.none() | st.integers(0, given))
    write = None if cached is None else draw(st.none() | st.integers(given, 2 * given))
    return Price(given, made, cached_input=cached, cache_write=write)


names = st.builds("{}/model-{}".format, st.sampled_from(["alpha", "beta", "gamma"]), st.integers(0, 4))
"""Ids that the deployments below may have."""
sessions = st.builds(
    AgentSession,
    home=names,
    last=names,
    held=st.dictionaries(names, st.integers(0, 30_000), max_size=3).map(lambda held: tuple(sorted(held.items()))),
)


@st.composite
def deployments(draw: st.DrawFn, *, number: int = 0, cached: bool = False) -> Deployment:
    """A deployment that can do everything but make images."""
    provider = draw(st.sampled_from(["alpha", "beta", "gamma"]))
    coding = draw(st.none() | percentiles)
    return Deployment(
        id=f"{provider}/model-{number}",
        provider=provider,
        model_name=f"model-{number}",
        price=draw(cached_prices()) if cached else Price(draw(st.integers(0, 10**8)), draw(st.integers(0, 10**8))),
        context_window=draw(st.sampled_from([4_096, 128_000, 1_000_000])),
        max_output_tokens=draw(st.sampled_from([512, 4_096, 65_536])),
        ratings={} if coding is None else {Task.CODING: Rating(coding, "test")},
        overall=Rating(draw(percentiles), "test"),
        prior_latency_ms=draw(st.integers(1, 100_000)),
        supports_functions=True,
        supports_vision=True,
        supports_response_schema=True,
    )


registries = st.integers(1, 5).flatmap(
    lambda count: st.tuples(*(deployments(number=number) for number in range(count))),
)
cached_registries = st.integers(1, 5).flatmap(
    lambda count: st.tuples(*(deployments(number=number, cached=True) for number in range(count))),
)

requests = st.builds(
    RouteRequest,
    task_scores=st.sampled_from([only(Task.CHAT), only(Task.CODING)]),
    input_tokens=st.integers(0, 20_000),
    input_tokens_bound=st.integers(20_000, 80_000),
    key_kind=st.just("live"),
    max_tokens=st.none() | st.integers(1, 100_000),
    priority=st.sampled_from(list(Priority)),
    latency_pref=st.sampled_from(list(LatencyPref)),
    max_cost=st.none() | st.integers(1, 10**13),
    difficulty=st.floats(0, 1),
    subtask=st.sampled_from(["", "mathematics", "knowledge"]),
)
steps = st.builds(lambda request, session: replace(request, session=session), requests, sessions)
"""Requests that are further steps of an agent session."""
