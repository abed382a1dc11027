"""Changes of models in words: for the command line, alerts and pages."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from omni_app.money import usd
from omni_app.registry.sync import DROPPED, HELD

PER_MILLION = 1_000_000
SHORT = 60


def change_text(name: str, old: Any, new: Any) -> str:
    """What a row of `model_changes` says."""
    if name == "added":
        return f"added at {price_text(new['price'])}" if isinstance(new, Mapping) and "price" in new else "added"
    if name.endswith(DROPPED):
        return f"{name.removesuffix(DROPPED)}: the held change is over"
    if name.endswith(HELD):
        field = name.removesuffix(HELD)
        return f"{change_text(field, old, new[field])} (held)"
    if name == "price":
        return f"price: {price_text(old)} -> {price_text(new)} ({percent_text(old, new)})"
    return f"{name}: {_short(old)} -> {_short(new)}"


def price_text(price: Mapping[str, Any]) -> str:
    """USD per million tokens in and out, or per image."""
    text = f"${_per_million(price['input'])} in, ${_per_million(price['output'])} out per 1M"
    return text + (f", ${usd(price['image'])} per image" if price.get("image") else "")


def percent_text(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """By how much the dearest-moved tariff changed: `+20 % out`."""
    moves = [(name, old[name], new[name]) for name in ("input", "output", "image") if old[name] != new[name]]
    if not moves:
        return "cache tariffs"
    words = {"input": "in", "output": "out", "image": "per image"}
    return ", ".join(f"{_percent(before, after)} {words[name]}" for name, before, after in moves)


def _percent(before: int, after: int) -> str:
    if not before:
        return "new"
    share = Decimal(100 * (after - before)) / before
    return f"{share:+.0f} %" if abs(share) >= 1 else f"{share:+.2f} %"


def _per_million(pico_per_token: int) -> Decimal:
    return usd(pico_per_token * PER_MILLION)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= SHORT else text[: SHORT - 1] + "…"
