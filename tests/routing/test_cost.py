from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.routing.cost import actual_cost, expected_cost, output_that_fits, savings, worst_cost
from omni_app.routing.types import Price
from tests.cases import cases


@dataclass(frozen=True)
class Billed:
    input: int = 0
    output: int = 0
    cached_input: int = 0
    cache_write: int = 0
    images: int = 0


MONEY = cases(1_000)
PICO = st.integers(min_value=0, max_value=10**9)
TOKENS = st.integers(min_value=0, max_value=10**7)
PRICES = st.builds(
    Price, input=PICO, output=PICO, cached_input=st.none() | PICO, cache_write=st.none() | PICO, image=PICO
)
USAGES = st.builds(
    Billed, input=TOKENS, output=TOKENS, cached_input=TOKENS, cache_write=TOKENS, images=st.integers(0, 5)
)


def test_a_list_price_gives_the_cost_to_the_last_pico_dollar() -> None:
    # $2.50 and $10 per million tokens: 1,234 tokens in and 567 out cost $0.003085 + $0.00567.
    assert expected_cost(Price(2_500_000, 10_000_000), 1234, 567) == 8_755_000_000


def test_cached_and_written_tokens_have_their_own_price() -> None:
    price = Price(1000, 5000, cached_input=100, cache_write=1250)
    assert (
        actual_cost(price, Billed(input=100, output=10, cached_input=60, cache_write=30))
        == 10_000 + 6_000 + 37_500 + 50_000
    )


def test_without_a_cache_price_cached_tokens_cost_what_others_cost() -> None:
    assert actual_cost(Price(1000, 0), Billed(input=100, cached_input=60, cache_write=30)) == 100_000


def test_absurd_counts_of_a_provider_never_make_a_negative_cost() -> None:
    assert actual_cost(Price(1000, 1000), Billed(input=-5, output=-7, cached_input=-1, images=-2)) == 0
    assert actual_cost(Price(1000, 0, cached_input=10), Billed(input=50, cached_input=80)) == 800


def test_savings_are_negative_when_the_choice_cost_more() -> None:
    assert savings(Price(10, 10), Billed(input=5, output=5), cost=250) == -150


def test_the_baseline_gets_the_same_cache_hits() -> None:
    price = Price(1000, 5000, cached_input=100)
    usage = Billed(input=100, output=10, cached_input=90)
    assert savings(price, usage, cost=actual_cost(price, usage)) == 0


def test_an_image_has_no_baseline_among_models_that_make_none() -> None:
    assert savings(Price(10, 10), Billed(images=1), cost=40) is None
    assert savings(Price(10, 10, image=100), Billed(images=1), cost=40) == 60


@pytest.mark.invariants
@MONEY
@given(PRICES, USAGES)
def test_the_actual_cost_is_never_above_the_worst_case_of_the_same_tokens(price: Price, usage: Billed) -> None:
    given_tokens = max(usage.input, usage.cached_input + usage.cache_write)
    assert 0 <= actual_cost(price, usage) <= worst_cost(price, given_tokens, usage.output, images=usage.images)


@pytest.mark.invariants
@MONEY
@given(PRICES, USAGES, st.tuples(*[st.integers(0, 10**6)] * 5))
def test_more_tokens_of_any_kind_never_cost_less(price: Price, usage: Billed, more: tuple[int, ...]) -> None:
    """Those that were read from the cache or written to it are input, and more of it."""
    read, written, cached, stored, images = more
    grown = Billed(
        usage.input + read + cached + stored,
        usage.output + written,
        usage.cached_input + cached,
        usage.cache_write + stored,
        usage.images + images,
    )
    assert actual_cost(price, grown) >= actual_cost(price, usage) >= 0


@pytest.mark.invariants
@MONEY
@given(PRICES, USAGES, USAGES)
def test_costs_add_up_exactly(price: Price, one: Billed, other: Billed) -> None:
    plain = [Billed(usage.input, usage.output) for usage in (one, other)]
    both = Billed(one.input + other.input, one.output + other.output)
    assert sum(actual_cost(price, usage) for usage in plain) == actual_cost(price, both)


@MONEY
@given(PRICES, TOKENS, st.integers(0, 10**15))
def test_the_output_that_fits_is_the_most_that_fits(price: Price, tokens: int, budget: int) -> None:
    fits = output_that_fits(price, input_tokens=tokens, budget=budget)
    if fits is None:
        assert price.output == 0 and worst_cost(price, tokens, 10**9) <= budget
    elif fits < 0:
        assert worst_cost(price, tokens, 0) > budget
    else:
        assert worst_cost(price, tokens, fits) <= budget < worst_cost(price, tokens, fits + 1)
