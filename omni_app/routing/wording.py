"""Amounts and lists as people write them, for the sentences about a decision."""

from collections.abc import Sequence
from decimal import Decimal
from math import ceil

from omni_app.money import usd, usd_text

NAMED = 3
"""How many names a list gives before it counts the rest."""


def dollars(pico: int) -> str:
    """About two significant digits: `$0.00012`, `$3.10`; `$0` for nothing."""
    amount = usd(pico)
    if not amount:
        return "$0"
    if amount >= 1:
        return f"${amount:.2f}"
    return f"${Decimal(f'{amount:.1e}'):f}"


def exact_dollars(pico: int) -> str:
    """To the last digit, for limits that a caller may copy: `$0.000123456`."""
    return f"${usd_text(pico)}"


def beside(amount: int, other: int) -> str:
    """One amount beside another: `8 times less than`, `12 % more than`, `as much as`."""
    if amount == other:
        return "as much as"
    if not amount or not other:
        return "less than" if amount < other else "more than"
    low, high = sorted((amount, other))
    word = "less than" if amount < other else "more than"
    if high < 1.5 * low:
        return f"{abs(1 - amount / other) * 100:.0f} % {word}"
    times = high / low
    return f"{times:.2g} times {word}" if times < 10 else f"{times:,.0f} times {word}"


def percent(share: float) -> str:
    """A share in percent with one decimal, rounded up: `18.1 %`."""
    return f"{ceil(share * 1000) / 10:,.1f} %"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b, c and 4 more`."""
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def count_of(number: int, thing: str) -> str:
    """`1 model`, `12 models`."""
    return f"{number:,} {thing}" + ("s" if number != 1 else "")
