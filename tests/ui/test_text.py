"""Figures as people read them."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.ui import text

AMOUNTS = st.integers(min_value=-(10**18), max_value=10**18)


@pytest.mark.parametrize(
    ("pico", "shown"),
    [
        (0, "$0"),
        (1, "$0.000000000001"),
        (123_000_000, "$0.000123"),
        (123_456_789, "$0.000123"),
        (500_000_000_000, "$0.50"),
        (999_999_999_999, "$1.00"),
        (12_345_000_000_000, "$12.34"),  # half-even
        (1_234_567_890_000_000_000, "$1,234,567.89"),
        (-5_000_000, "-$0.000005"),
    ],
)
def test_money_has_the_digits_it_needs(pico: int, shown: str) -> None:
    assert text.money(pico) == shown


@given(AMOUNTS)
def test_money_that_is_not_zero_never_looks_like_zero(pico: int) -> None:
    assert (Decimal(text.money(pico).replace("$", "").replace(",", "")) == 0) == (pico == 0)


@given(AMOUNTS)
def test_shown_money_is_within_half_a_percent_of_the_truth(pico: int) -> None:
    shown = Decimal(text.money(pico).replace("$", "").replace(",", "")) * 10**12
    assert abs(shown - pico) <= max(abs(pico) / Decimal(199), Decimal(0))


@given(AMOUNTS)
def test_exact_money_loses_nothing(pico: int) -> None:
    assert Decimal(text.exact_money(pico).replace("$", "")) * 10**12 == pico


@pytest.mark.parametrize(
    ("part", "whole", "shown"), [(0, 0, "–"), (0, 5, "0%"), (1, 3, "33%"), (1, 30, "3.3%"), (5, 5, "100%")]
)
def test_shares(part: int, whole: int, shown: str) -> None:
    assert text.percent(part, whole) == shown


def test_times_are_utc_until_the_page_makes_them_local() -> None:
    moment = datetime(2026, 11, 23, 7, 4, 5, tzinfo=UTC)
    assert text.instant(moment) == "2026-11-23T07:04:05Z"
    assert text.utc_text(moment) == "23 Nov 2026, 07:04 UTC"
    assert (text.instant(None), text.utc_text(None)) == ("", "never")


@pytest.mark.parametrize(("value", "shown"), [(None, "–"), (0, "0 ms"), (999, "999 ms"), (1240, "1.24 s")])
def test_latencies(value: float | None, shown: str) -> None:
    assert text.milliseconds(value) == shown


@pytest.mark.parametrize(("now", "before", "shown"), [(5, 0, ""), (15, 10, "+50%"), (5, 10, "-50%"), (10, 10, "+0%")])
def test_changes(now: int, before: int, shown: str) -> None:
    assert text.change(now, before).partition(" ")[0] == shown
