"""Figures as people read them: money with the digits it needs, times, shares. Text only; nothing is computed here."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from omni_app.money import usd, usd_text

SIGNIFICANT_DIGITS = 3
"""Of an amount below a dollar."""
TASK_NAMES = {
    "chat": "Chat",
    "coding": "Coding",
    "reasoning": "Reasoning",
    "summarization": "Summarization",
    "translation": "Translation",
    "image": "Image",
    "agent_step": "Agent step",
    "embedding": "Embedding",
}


def money(pico: int) -> str:
    """Rounded half-even: to cents from a dollar on, to three significant digits below: `$12.34`, `$0.000123`."""
    amount = abs(usd(pico))
    if amount == 0:
        return "$0"
    places = 2 if amount >= 1 else max(2, SIGNIFICANT_DIGITS - 1 - amount.adjusted())
    rounded = amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
    whole, _, cents = f"{rounded:,f}".partition(".")
    return f"{'-' if pico < 0 else ''}${whole}.{cents[:2]}{cents[2:].rstrip('0')}"


def exact_money(pico: int) -> str:
    """The same amount to the last digit, as `/v1/usage` gives it."""
    text = usd_text(pico)
    return f"-${text[1:]}" if text.startswith("-") else f"${text}"


def number(value: int) -> str:
    """`1,234,567`."""
    return f"{value:,d}"


def percent(part: int, whole: int) -> str:
    """`part` of `whole` in percent, with one decimal below ten; a dash when there is no whole."""
    if whole == 0:
        return "–"
    share = Decimal(100 * part) / Decimal(whole)
    return f"{share:.1f}%" if abs(share) < 10 and share != share.to_integral_value() else f"{share:.0f}%"


def milliseconds(value: float | None) -> str:
    """`850 ms`, `1.24 s`; a dash when nothing was measured."""
    if value is None:
        return "–"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def instant(value: datetime | None) -> str:
    """ISO, UTC, to the second: the `datetime` of a `<time>`, which the page shows in the reader's zone."""
    return "" if value is None else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc_text(value: datetime | None) -> str:
    """The same instant in words, until the page has put it in the reader's zone: `23 Nov 2026, 07:14 UTC`."""
    return "never" if value is None else value.astimezone(UTC).strftime("%-d %b %Y, %H:%M UTC")


def change(now: int, before: int) -> str:
    """How a figure moved against the period before: `+12%`; empty when there is nothing to compare with."""
    if before <= 0:
        return ""
    moved = Decimal(100 * (now - before)) / Decimal(before)
    return f"{moved:+.0f}% vs the period before"


def task_name(task: str) -> str:
    """`agent_step` as `Agent step`."""
    return TASK_NAMES.get(task, task)


def mode_name(mode: str) -> str:
    """`live` and `test` as words."""
    return "Live" if mode == "live" else "Test"
