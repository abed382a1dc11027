"""What to take in place of a model that ends: worked out from the registry, so it never names one that is gone too."""

from collections.abc import Mapping
from datetime import date

from omni_app.registry.priors import blended_usd_per_million
from omni_app.registry.registry import Registry
from omni_app.routing.types import Deployment

AS_GOOD_WITHIN = 0.03
"""Percentile that a replacement may be below the model that ends."""
LONG_ENOUGH = 200_000
"""A context window of so many tokens stands in for any longer one: few requests are longer."""


def replacement(registry: Registry, ending: Deployment) -> Deployment | None:
    """A model that can do what this one can, stays longer and is about as good; None when there is none.

    Of the same provider where there is one (the caller's key and contract stay), then the nearest in price.
    """
    able = [one for one in registry.deployments if _can_stand_in(one, ending)]
    return min(
        able, key=lambda one: (one.provider != ending.provider, _price_distance(one, ending), one.id), default=None
    )


def _can_stand_in(one: Deployment, ending: Deployment) -> bool:
    return (
        one.id != ending.id
        and one.simulated == ending.simulated
        and one.makes_images == ending.makes_images
        and one.vector_size == ending.vector_size  # vectors of another model do not compare: same size at the least
        and (one.deprecated_on or date.max) > (ending.deprecated_on or date.max)
        and one.overall.percentile >= ending.overall.percentile - AS_GOOD_WITHIN
        and one.context_window >= min(ending.context_window, LONG_ENOUGH)
        and one.supports_functions >= ending.supports_functions
        and one.supports_vision >= ending.supports_vision
        and one.provider != "local"
    )


def _price_distance(one: Deployment, ending: Deployment) -> float:
    """How many times dearer or cheaper, either way."""
    ours, theirs = (float(blended_usd_per_million(each.price)) + 0.001 for each in (one, ending))
    return max(ours / theirs, theirs / ours)


def replacements(registry: Registry) -> Mapping[str, str]:
    """Model id -> the id of what can take its place, for each that ends."""
    ending = (one for one in registry.deployments if one.deprecated_on)
    pairs = ((one.id, replacement(registry, one)) for one in ending)
    return {model: instead.id for model, instead in pairs if instead}
