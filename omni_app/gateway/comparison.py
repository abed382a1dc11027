"""What the same texts would have cost with other models, and how sure a saving is. Sums come from the ledger's reports.

Two prices, on purpose. The baseline's cost is what the ledger recorded, at the price of each request's moment. A
comparison is made at today's price: it answers what the model would cost now, for any stretch of time, and a model that
is newer than the requests has no other price.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from omni_app.errors import InvalidRequest
from omni_app.registry import Registry
from omni_app.routing.band import OF_MANY, Band, output_part, savings_band
from omni_app.routing.cost import actual_cost
from omni_app.routing.types import Deployment, KeyKind
from omni_app.storage.reports import Comparable, UsageGroup

MOST_COMPARISONS = 3
Known = Callable[[str], Deployment | None]
"""Model id -> the deployment; None when it is not in the registry any more."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model's cost for the same texts, in pico-dollars, and what was saved against it."""

    model: str
    price_version: str
    cost: int
    savings: int
    band: Band


def recorded_band(by_baseline: Iterable[UsageGroup], known: Known) -> Band:
    """The band of the recorded saving; what the baseline itself answered is sure. `by_baseline`: a report's."""
    baseline = cost = output = 0
    for group in by_baseline:
        found = known(group.key)
        baseline, cost = baseline + group.premium_cost, cost + group.cost
        if group.model != group.key:
            output += output_part(found.price if found else None, group.texts.tokens, group.texts.premium_cost)
    return savings_band(baseline, output, cost=cost, ratio=OF_MANY)


def compared(by_baseline: Sequence[UsageGroup], deployments: Iterable[Deployment]) -> list[Comparison]:
    """The report's texts at each deployment's price. What has no baseline, or made images, counts as in the ledger."""
    cost = sum(group.cost for group in by_baseline)
    others = sum(group.premium_cost - group.texts.premium_cost for group in by_baseline)
    return [_compared(one, by_baseline, others=others, cost=cost) for one in deployments]


def _compared(deployment: Deployment, groups: Sequence[UsageGroup], *, others: int, cost: int) -> Comparison:
    price = deployment.price
    would = others + actual_cost(price, _texts(groups).tokens)
    unsure = _texts([group for group in groups if group.model != deployment.id]).tokens
    output = output_part(price, unsure, actual_cost(price, unsure))
    band = savings_band(would, output, cost=cost, ratio=OF_MANY)
    return Comparison(deployment.id, deployment.price_version, would, would - cost, band)


def _texts(groups: Iterable[UsageGroup]) -> Comparable:
    return sum((group.texts for group in groups), Comparable())


def comparable_models(registry: Registry, kind: KeyKind) -> list[Deployment]:
    """Those of this kind of key that write text and have a price, in order of their ids."""
    return [one for one in registry.serving(kind) if not one.makes_images and has_price(one)]


def chosen(models: Iterable[str], registry: Registry, kind: KeyKind) -> list[Deployment]:
    """Those of an org's choice that this kind of key could reach; simulated prices are never beside real ones."""
    able = {one.id: one for one in comparable_models(registry, kind)}
    return [able[model] for model in models if model in able]


def has_price(deployment: Deployment) -> bool:
    """Whether its tokens cost anything: the model on this machine costs nothing on purpose."""
    return deployment.price.input > 0 or deployment.price.output > 0


def check_comparisons(models: Sequence[str], registry: Registry) -> None:
    """Raises `InvalidRequest` unless they can all be compared with, each once."""
    if len(models) > MOST_COMPARISONS:
        raise InvalidRequest(f"comparisons: at most {MOST_COMPARISONS} models", param="comparisons")
    if len(set(models)) < len(models):
        raise InvalidRequest("comparisons: each model only once", param="comparisons")
    for model in models:
        problem = _problem(registry.get(model))
        if problem:
            raise InvalidRequest(f"comparisons: {model} {problem}", param="comparisons")


def _problem(found: Deployment | None) -> str:
    if found is None:
        return "is not in this server's catalogue"
    if found.makes_images or found.vector_size:
        return "does not write text"
    return "" if has_price(found) else "has no price to compare with"
