"""Amounts as people write them."""

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from omni_app.money import PICO_PER_USD, usd
from omni_app.routing.wording import dollars


@pytest.mark.parametrize(
    ("pico", "words"),
    [
        (0, "$0"),
        (1, "$0.0000000000010"),
        (123_456_789, "$0.00012"),
        (125_000_000, "$0.00012"),
        (135_000_000, "$0.00014"),
        (996_000_000_000, "$1.0"),
        (3_104_000_000_000, "$3.10"),
    ],
)
def test_an_amount_has_about_two_digits(pico: int, words: str) -> None:
    assert dollars(pico) == words


@given(pico=st.integers(1, PICO_PER_USD - 1))
@example(pico=PICO_PER_USD - 1)
@example(pico=995 * 10**9)
def test_an_amount_below_a_dollar_is_rounded_as_decimals_are(pico: int) -> None:
    assert dollars(pico) == f"${Decimal(f'{usd(pico):.1e}'):f}"
