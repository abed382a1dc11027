"""The band of a saving: around the figure, exact where the price is known, and as wide as was measured."""

import csv
from itertools import permutations
from math import ceil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.routing.band import OF_MANY, OF_ONE, Band, OutputRatio, output_part, savings_band
from omni_app.routing.cost import TokenSums, actual_cost, savings
from omni_app.routing.types import Price
from tests.routing.test_cost import MONEY, PRICES, USAGES, Billed

LENGTHS = Path(__file__).parent / "output_lengths.csv"
AMOUNTS = st.integers(0, 10**15)
RATIOS = st.builds(OutputRatio, low=st.integers(0, 100), high=st.integers(100, 2_000), source=st.just("made up"))


def percentile(values: list[float], share: float) -> float:
    """By nearest rank."""
    return sorted(values)[ceil(share * len(values)) - 1]


def test_the_range_of_sums_is_the_one_of_the_published_lengths() -> None:
    lines = [line for line in LENGTHS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    lengths = [int(row["avg_length"]) for row in csv.DictReader(lines)]
    ratios = [100 * other / one for one, other in permutations(lengths, 2)]
    assert (len(lengths), len(ratios)) == (35, 1190)
    assert (OF_MANY.low, OF_MANY.high) == tuple(round(percentile(ratios, share)) for share in (0.1, 0.9))


def test_one_request_is_less_sure_than_many() -> None:
    assert OF_ONE.low < OF_MANY.low and OF_ONE.high > OF_MANY.high


@MONEY
@given(price=PRICES, usage=USAGES, cost=AMOUNTS, ratio=RATIOS)
def test_the_band_holds_the_saving(price: Price, usage: Billed, cost: int, ratio: OutputRatio) -> None:
    text = Billed(usage.input, usage.output, usage.cached_input, usage.cache_write)
    baseline = actual_cost(price, text)
    band = savings_band(baseline, output_part(price, text, baseline), cost=cost, ratio=ratio)
    saved = savings(price, text, cost=cost)
    assert saved is not None and band.low <= saved <= band.high


@MONEY
@given(price=PRICES, usage=USAGES, cost=AMOUNTS, percent=st.integers(100, 400))
def test_its_ends_are_the_savings_of_an_answer_of_that_length(
    price: Price, usage: Billed, cost: int, percent: int
) -> None:
    text = Billed(usage.input, 100 * usage.output, usage.cached_input, usage.cache_write)
    longer = Billed(usage.input, percent * usage.output, usage.cached_input, usage.cache_write)
    baseline = actual_cost(price, text)
    ratio = OutputRatio(100, percent, "made up")
    assert savings_band(baseline, output_part(price, text, baseline), cost=cost, ratio=ratio) == Band(
        baseline - cost, actual_cost(price, longer) - cost
    )


def test_a_loss_stays_a_loss() -> None:
    assert savings_band(100, 60, cost=250, ratio=OutputRatio(50, 200, "made up")) == Band(-180, -90)


def test_a_price_that_has_doubled_since_does_not_widen_the_band() -> None:
    tokens, then, today = Billed(input=30, output=70), Price(10, 10), Price(20, 20)
    recorded = actual_cost(then, tokens)
    assert output_part(today, tokens, recorded) == output_part(then, tokens, recorded) == 700


@pytest.mark.parametrize("price", [None, Price(0, 0)])
def test_where_the_price_is_not_known_any_more_the_band_is_the_widest(price: Price | None) -> None:
    assert output_part(price, Billed(input=30, output=70), 1_000) == 1_000


@given(st.lists(st.builds(TokenSums, *[st.integers(0, 10**9)] * 5), max_size=5))
def test_token_sums_add_up(parts: list[TokenSums]) -> None:
    whole = sum(parts, TokenSums())
    assert whole.output == sum(part.output for part in parts) and whole.images == sum(part.images for part in parts)
    assert whole.cache_write == sum(part.cache_write for part in parts)


@pytest.mark.parametrize(("low", "high"), [(101, 150), (-1, 150), (50, 99)])
def test_a_range_that_does_not_hold_one_is_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="100 %"):
        OutputRatio(low, high, "made up")
