"""Percentiles for models that no public measure rates: careful guesses, labelled as such (`prior`).

    prior(price) = the median percentile of the rated models of its price band, less MARGIN;
                   never above the best rated model less BELOW_THE_BEST; 0 for a model that is free

Each task has priors of its own, since the fields of the measures differ: a middling figure among a few agents of the
front rank says more than a middling one among hundreds. The band is that of the blended list price (three input tokens
to one output token). The median of a band never falls below that of a cheaper band, so a prior never falls when the
price rises. Priors stay out of every claim of quality.
"""

from collections.abc import Iterable
from statistics import median

from omni_app.money import PICO_PER_USD
from omni_app.routing.types import Price, Rating

MARGIN = 0.1
"""What being unrated costs a model against the median of its price band."""
BELOW_THE_BEST = 0.02
TASK_MARGIN = 0.05
"""What a task without a figure costs a model against its own overall rating."""
BAND_TOPS_USD = (0.25, 1.0, 3.0, 8.0)
"""Upper ends of the price bands, blended USD per million tokens; the last band is open."""


class PricePriors:
    """The priors of one task: `rated` holds price and percentile of each model of ours that is rated at it."""

    def __init__(self, rated: Iterable[tuple[Price, float]]) -> None:
        bands: list[list[float]] = [[] for _ in range(len(BAND_TOPS_USD) + 1)]
        for price, percentile in rated:
            bands[band_of(price)].append(percentile)
        self._cap = max((one for band in bands for one in band), default=0.0) - BELOW_THE_BEST
        self._medians = _never_falling(median(band) if band else 0.0 for band in bands)

    def at(self, price: Price) -> Rating:
        """The prior of a model at this price."""
        guess = self._medians[band_of(price)] - MARGIN if price.input or price.output else 0.0
        percentile = round(max(0.0, min(guess, self._cap)), 4)
        return Rating(percentile, "unrated: derived from its price", prior=True)


def below(overall: Rating) -> Rating:
    """For a task without a figure, where the same leaderboard rates the model overall: somewhat less than that."""
    percentile = round(max(0.0, overall.percentile - TASK_MARGIN), 4)
    return Rating(percentile, "unrated at this: derived from its overall rating", prior=True)


def blended_usd_per_million(price: Price) -> float:
    """Three parts input to one part output, in USD per million tokens."""
    return (3 * price.input + price.output) / 4 * 1_000_000 / PICO_PER_USD


def band_of(price: Price) -> int:
    """The number of the price's band, from 0."""
    blended = blended_usd_per_million(price)
    return sum(blended > top for top in BAND_TOPS_USD)


def _never_falling(medians: Iterable[float]) -> list[float]:
    highest = 0.0
    rising = []
    for one in medians:
        highest = max(highest, one)
        rising.append(highest)
    return rising
