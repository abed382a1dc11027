"""Money: whole pico-dollars (1e-12 USD), never floats.

A price in USD per million tokens with at most six decimals is a whole number of pico-dollars per token,
so the cost of a request is one exact integer multiplication and sums of any size stay exact.
"""

from decimal import Decimal

PICO_PER_USD = 10**12
"""Pico-dollars in one US dollar."""


def usd(pico: int) -> Decimal:
    """Pico-dollars as dollars, exact, without trailing zeros or an exponent."""
    amount = (Decimal(pico) / PICO_PER_USD).normalize()
    return amount.quantize(Decimal(1)) if amount == amount.to_integral_value() else amount


def pico(amount_usd: Decimal | str | int) -> int:
    """Dollars as pico-dollars. Raises `ValueError` when the amount is finer than a pico-dollar."""
    scaled = Decimal(amount_usd) * PICO_PER_USD
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{amount_usd} USD is finer than a pico-dollar")
    return int(scaled)


def pico_per_token(usd_per_million: Decimal | str | int) -> int:
    """A list price in USD per million tokens as pico-dollars per token.

    Raises `ValueError` when the price has more than six decimals.
    """
    return pico(Decimal(usd_per_million) / 1_000_000)


def markup_on(cost: int, basis_points: int) -> int:
    """What is billed on top of a cost, in pico-dollars, rounded up to a whole one. 100 basis points are one percent."""
    return -(-cost * basis_points // 10_000)


def cost_within(billed: int, basis_points: int) -> int:
    """The highest cost that comes to no more than `billed` with its markup."""
    return billed * 10_000 // (10_000 + basis_points)


def usd_text(amount_pico: int) -> str:
    """Dollars as plain decimal text for JSON and CSV: `0.000123`, `-1.5`, `0`."""
    whole, part = divmod(abs(amount_pico), PICO_PER_USD)
    text = f"{whole}.{part:012d}".rstrip("0").removesuffix(".")
    return f"-{text}" if amount_pico < 0 else text
