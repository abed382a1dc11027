"""A small fixed registry: three providers, cheap and dear, fast and slow, one that paints, one that nobody rated."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from omni_app.money import pico, pico_per_token
from omni_app.routing.decide import decide
from omni_app.routing.shortlist import RoutingTable
from omni_app.routing.types import Decision, Deployment, Policy, Price, Rating, RouteRequest, Snapshot, Task


def model(
    name: str,
    *,
    prices: tuple[str, str],
    rating: float,
    latency_ms: int,
    ratings: Mapping[Task, float] | None = None,
    window: int = 128_000,
) -> Deployment:
    """A deployment that calls tools, sees nothing, makes nothing. `prices` in USD per million tokens, in and out."""
    per_task = dict.fromkeys(Task, rating) | dict(ratings or {})
    return Deployment(
        id=name,
        provider=name.split("/", 1)[0],
        model_name=name.split("/", 1)[1],
        price=Price(pico_per_token(prices[0]), pico_per_token(prices[1])),
        context_window=window,
        max_output_tokens=16_384,
        ratings={task: Rating(percentile, "test") for task, percentile in per_task.items()},
        overall=Rating(rating, "test"),
        prior_latency_ms=latency_ms,
        supports_functions=True,
    )


GENIUS = replace(
    model("alpha/genius", prices=("10", "40"), rating=0.96, latency_ms=6000, window=1_000_000),
    supports_vision=True,
    supports_response_schema=True,
)
QUICK = model("alpha/quick", prices=("0.5", "2"), rating=0.55, latency_ms=700)
SOLID = replace(
    model("beta/solid", prices=("2", "8"), rating=0.85, latency_ms=3000, window=200_000),
    supports_vision=True,
    supports_response_schema=True,
)
TINY = replace(
    model("beta/tiny", prices=("0.05", "0.2"), rating=0.25, latency_ms=500, window=8_192), supports_functions=False
)
CODER = model("gamma/coder", prices=("0.6", "2.4"), rating=0.6, latency_ms=2000, ratings={Task.CODING: 0.92})
UNRATED = replace(
    model("gamma/unrated", prices=("0.4", "1.6"), rating=0.4, latency_ms=4000),
    ratings={},
    overall=Rating(0.4, "price band", prior=True),
)
OLD = replace(model("gamma/old", prices=("0.3", "0.9"), rating=0.5, latency_ms=900), deprecated_on=date(2026, 1, 31))
PAINTER = replace(
    model("gamma/painter", prices=("0", "0"), rating=0.7, latency_ms=9000),
    price=Price(0, 0, image=pico("0.04")),
    makes_images=True,
    supports_functions=False,
    tasks=frozenset({Task.IMAGE}),
)

MODELS = (GENIUS, QUICK, SOLID, TINY, CODER, UNRATED, OLD, PAINTER)
TODAY = Snapshot(id="snap-1", today=date(2026, 6, 1))


def only(task: Task, probability: float = 0.94) -> dict[Task, float]:
    """Scores that leave little doubt."""
    rest = (1 - probability) / (len(Task) - 1)
    return dict.fromkeys(Task, rest) | {task: probability}


def asking(task: Task = Task.CODING, *, tokens: int = 200, **more: object) -> RouteRequest:
    """A live request of a task, with `tokens` expected and four times that as the bound."""
    known = RouteRequest(
        only(task), input_tokens=tokens, input_tokens_bound=4 * tokens, key_kind="live", difficulty=0.3
    )
    return replace(known, **more)  # type: ignore[arg-type]  # checked by the dataclass's own fields


def decided(
    request: RouteRequest,
    *models: Deployment,
    policy: Policy | None = None,
    snapshot: Snapshot = TODAY,
) -> Decision:
    """The decision among these models, or among all of them."""
    return decide(
        request,
        deployments=RoutingTable(models or MODELS),
        policy=policy or Policy(),
        snapshot=snapshot,
        registry_version="reg-1",
    )
