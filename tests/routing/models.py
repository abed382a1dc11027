"""The small fixed registry of cases.toml, and requests and decisions with it."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from omni_app.evaluate.situations import Model, read_situations
from omni_app.routing.decide import decide
from omni_app.routing.shortlist import RoutingTable
from omni_app.routing.types import Decision, Deployment, Policy, RouteRequest, Snapshot, Task


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
    return Model(
        id=name,
        usd_in=Decimal(prices[0]),
        usd_out=Decimal(prices[1]),
        rating=rating,
        ratings=dict(ratings or {}),
        latency_ms=latency_ms,
        window=window,
    ).deployment()


SITUATIONS = read_situations(Path(__file__).with_name("cases.toml"))
MODELS = SITUATIONS.deployments
GENIUS, QUICK, SOLID, TINY, CODER, UNRATED, OLD, PAINTER = MODELS
TODAY = Snapshot(id="snap-1", today=SITUATIONS.today)


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
