"""Amounts and lists as people write them, for the sentences about a decision."""

from collections.abc import Sequence
from decimal import Decimal
from math import ceil

from omni_app.money import PICO_PER_USD, usd, usd_text

DECIMALS = 12
"""Of a pico-dollar, in dollars."""
NAMED = 3
"""How many names a list gives before it counts the rest."""


def dollars(pico: int) -> str:
    """About two significant digits: `$0.00012`, `$3.10`; `$0` for nothing."""
    if not pico:
        return "$0"
    if not 0 < pico < PICO_PER_USD:
        amount = usd(pico)
        return f"${amount:.2f}" if amount >= 1 else f"${Decimal(f'{amount:.1e}'):f}"
    # Every reason in the ledger has an amount below a dollar: a float holds those exactly, and is written in a third
    # of a decimal's time.
    digits, _, exponent = f"{pico:.1e}".partition("e")
    places = DECIMALS - int(exponent)
    return f"$0.{'0' * (places - 1)}{digits[0]}{digits[2]}" if places else f"${digits}"


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
