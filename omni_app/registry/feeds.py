"""The two public catalogues as their makers serve them, read into what `build` reads: or refused as a whole.

OpenRouter's list of models (`{"data": [{"id", "pricing": {…}, "context_length", …}]}`, prices as text, USD a token) and
LiteLLM's price map (the file that its package holds, as its repository has it today).
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal, DecimalException
from typing import Any, NoReturn

from omni_app.registry.build import Sources
from omni_app.registry.price_map import PriceMap, SourceError

MOST_BYTES = 20_000_000
"""LiteLLM's map has 3 MB, OpenRouter's list less than 1."""
MILLION = 1_000_000


def sources_of(packaged: Sources, *, openrouter: bytes, litellm: bytes, seen: date) -> Sources:
    """The packaged sources with both catalogues as of today. Raises `SourceError` when one of them is not what it is.

    Only the rows that the registry lists are looked into: others may be as they like.
    """
    return replace(
        packaged,
        price_map=PriceMap(seen.isoformat(), _object(read_json(litellm, "LiteLLM's price map"), "LiteLLM's price map")),
        openrouter=openrouter_prices(openrouter, packaged, seen=seen),
    )


def openrouter_prices(body: bytes, packaged: Sources, *, seen: date) -> dict[str, Any]:
    """The list in the form of prices/openrouter.json, as far as the registry lists its models."""
    title = "OpenRouter's list of models"
    entries = _object(read_json(body, title), title).get("data")
    if not isinstance(entries, list) or not entries:
        raise SourceError(f"{title}: no list of models in it")
    named = {entry["id"]: entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)}
    wanted = [one.model_name for one in packaged.catalog.live if one.provider == "openrouter"]
    rows = {}
    for name in wanted:
        if name in named:
            before = packaged.openrouter["rows"].get(name, {})
            rows[name] = _row(named[name], title=f"{title}, {name}", flat_up_to=before.get("flat_up_to_tokens"))
    version = f"openrouter-{seen.isoformat()}"
    return {"title": title, "version": version, "seen": seen.isoformat(), "rows": rows}


def _row(entry: Mapping[str, Any], *, title: str, flat_up_to: int | None) -> dict[str, Any]:
    """A row as the packaged file has them."""
    pricing = _object(entry.get("pricing"), title)
    steps, times = _overrides(pricing, title)
    row: dict[str, Any] = {
        "input": _dearest("prompt", pricing, times, title),
        "output": _dearest("completion", pricing, times, title),
    }
    if pricing.get("input_cache_read"):
        row["cached_input"] = _dearest("input_cache_read", pricing, times, title)
    write = _per_million(pricing.get("input_cache_write") or "0", title)
    if write >= row["input"]:  # less is storage by the hour: plain input is charged in its place
        row["cache_write"] = write
    row["context_window"] = _tokens(entry.get("context_length"), title)
    known = [*steps, *([flat_up_to] if flat_up_to else [])]
    if known:
        row["flat_up_to_tokens"] = min(known)
    if entry.get("expiration_date"):
        row["ends"] = _day(entry["expiration_date"], title)
    return row


def _overrides(pricing: Mapping[str, Any], title: str) -> tuple[list[int], list[Mapping[str, Any]]]:
    """Prompt lengths from which another price holds, and the prices of certain hours."""
    found = pricing.get("overrides") or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise SourceError(f"{title}: its price steps cannot be read")
    steps = [_tokens(one["min_prompt_tokens"], title) for one in found if "min_prompt_tokens" in one]
    return steps, [one for one in found if "min_prompt_tokens" not in one]


def _dearest(name: str, pricing: Mapping[str, Any], times: list[Mapping[str, Any]], title: str) -> Decimal:
    """The price of the dearest hour: a ledger's cost is then never too low."""
    if name not in pricing:
        raise SourceError(f"{title}: no price {name!r}")
    return max(_per_million(one[name], title) for one in (pricing, *times) if name in one)


def _tokens(value: object, title: str) -> int:
    if type(value) is not int or value < 1:
        raise SourceError(f"{title}: {str(value)[:40]!r} is not a number of tokens")
    return value


def _day(value: object, title: str) -> str:
    try:
        return date.fromisoformat(str(value)[:10]).isoformat()
    except ValueError:
        raise SourceError(f"{title}: {str(value)[:40]!r} is not a day") from None


def _per_million(price: object, title: str) -> Decimal:
    """A price as text, USD a token, in USD per million. Raises `SourceError` for anything else, below zero too."""
    try:
        amount = Decimal(price) if isinstance(price, str) else Decimal("NaN")
    except DecimalException:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise SourceError(f"{title}: {str(price)[:40]!r} is not a price")
    return amount * MILLION


def read_json(body: bytes, title: str) -> Any:
    """Strict JSON: numbers as decimals, no NaN. Raises `SourceError`."""

    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{name} is not a number")

    try:
        return json.loads(body, parse_float=Decimal, parse_constant=refuse)
    except (ValueError, RecursionError, DecimalException) as error:
        raise SourceError(f"{title}: not JSON ({type(error).__name__})") from None


def _object(value: object, title: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not value:
        raise SourceError(f"{title}: not an object")
    return value
