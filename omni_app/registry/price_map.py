"""What LiteLLM's price map says of a model: price, limits, abilities, the day it is switched off.

The map is a file of the installed `litellm` package (MIT). It is found and read without importing LiteLLM, and its
numbers are read as decimals, so that no price passes through a float.
"""

import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from omni_app.money import pico
from omni_app.routing.types import Price

MAP_FILE = "model_prices_and_context_window_backup.json"
CHAT_ENDPOINT = "/v1/chat/completions"
DEARER_ABOVE = re.compile(r"(?:input|output)_cost_per_token_above_(\d+)k_tokens")
REFUSED_BY_OPENAIS_REASONING = ("stop", "frequency_penalty", "presence_penalty")
"""Whatever the effort (litellm/llms/openai/chat/gpt_5_transformation.py)."""
SNAPSHOT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8})$")
"""How makers date a model that does not change any more; the name without it is an alias of the newest one."""


class SourceError(Exception):
    """A source is missing, or does not say what a deployment needs; the message names the row."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What one row of the map says of a model, but for its price."""

    context_window: int
    """How long a prompt may be at one price: never beyond the length from which the row asks more per token."""
    max_output_tokens: int
    supports_functions: bool
    supports_vision: bool
    supports_response_schema: bool
    makes_images: bool
    sees_temperature: bool
    refuses: tuple[str, ...]
    thinks: bool
    """Whether the row says that it thinks before it answers, unless told otherwise."""
    has_off_peak_price: bool
    deprecated_on: date | None


@dataclass(frozen=True, slots=True)
class PriceMap:
    """The whole map with the version of the package that it came with."""

    version: str
    rows: Mapping[str, Mapping[str, Any]]

    def facts(self, key: str) -> Facts:
        """Limits and abilities. Raises `SourceError` when there is no such row, or it cannot serve chat or images."""
        with self._named(key) as row:
            return read_facts(row, ends=self.deprecated_on(key))

    def price(self, key: str) -> Price:
        """The exact price. Raises `SourceError` when there is none, or it is finer than a pico-dollar per token."""
        with self._named(key) as row:
            return read_price(row)

    @contextmanager
    def _named(self, key: str) -> Iterator[Mapping[str, Any]]:
        """The row; what is wrong with it is told with its name."""
        try:
            yield self.rows[key]
        except (KeyError, ValueError, TypeError) as error:
            raise SourceError(f"LiteLLM {self.version}, row {key!r}: {error!r}") from error

    def deprecated_on(self, key: str) -> date | None:
        """The row's own date; without one, an alias lives as long as its last dated snapshot."""
        own = self.rows[key].get("deprecation_date")
        if own:
            return date.fromisoformat(own)
        snapshots = [name for name in self.rows if name.startswith(key) and SNAPSHOT.fullmatch(name[len(key) :])]
        ends = [date.fromisoformat(end) for name in snapshots if (end := self.rows[name].get("deprecation_date"))]
        return max(ends) if ends and len(ends) == len(snapshots) else None

    def embedding(self, key: str) -> tuple[Price, int, int]:
        """`(price, longest input in tokens, numbers of a vector)`; 0 numbers where the row does not say.

        Raises `SourceError` when there is no such row, or it makes no embeddings.
        """
        with self._named(key) as row:
            return read_embedding(row)


def installed_price_map() -> PriceMap:
    """The map of the installed LiteLLM. Raises `SourceError` when it is not installed."""
    found = importlib.util.find_spec("litellm")
    if found is None or found.origin is None:
        raise SourceError("litellm is not installed: its price map cannot be read")
    text = (Path(found.origin).parent / MAP_FILE).read_text(encoding="utf-8")
    return PriceMap(importlib.metadata.version("litellm"), json.loads(text, parse_float=Decimal))


def read_facts(row: Mapping[str, Any], *, ends: date | None) -> Facts:
    """A row in our terms. Raises `KeyError` or `ValueError` when it lacks a price or a limit, or serves another API."""
    endpoints = row.get("supported_endpoints") or [CHAT_ENDPOINT]
    makes_images = row["mode"] == "image_generation"
    if row["mode"] not in ("chat", "image_generation") or CHAT_ENDPOINT not in endpoints:
        raise ValueError(f"mode {row['mode']}, endpoints {endpoints}: not a chat model")
    if makes_images and not row.get("output_cost_per_image"):
        raise ValueError("makes images, but has no price per image")
    window = min(row["max_input_tokens"], flat_up_to(row))
    return Facts(
        context_window=window,
        max_output_tokens=min(row.get("max_output_tokens") or row["max_tokens"], window),
        supports_functions=row.get("supports_function_calling") is True,
        supports_vision=row.get("supports_vision") is True,
        supports_response_schema=row.get("supports_response_schema") is True,
        makes_images=makes_images,
        sees_temperature=sees_temperature(row),
        refuses=REFUSED_BY_OPENAIS_REASONING if reasons_at_openai(row) else (),
        thinks=row.get("thinking_always_on") is True or thinks_at_openai(row),
        has_off_peak_price="off_peak_pricing" in row,
        deprecated_on=ends,
    )


def read_price(row: Mapping[str, Any]) -> Price:
    """Exact prices. A cache-write price of 0 means that none is asked beyond the input's: then it is left out."""
    cached, write = row.get("cache_read_input_token_cost"), row.get("cache_creation_input_token_cost")
    return Price(
        input=pico(row["input_cost_per_token"]),
        output=pico(row["output_cost_per_token"]),
        cached_input=None if cached is None else pico(cached),
        cache_write=pico(write) if write else None,
        image=pico(row.get("output_cost_per_image", 0)),
    )


def read_embedding(row: Mapping[str, Any]) -> tuple[Price, int, int]:
    """Input price, longest input, vector size. Raises `KeyError` or `ValueError` when the row makes no embeddings."""
    if row["mode"] != "embedding":
        raise ValueError(f"mode {row['mode']}: makes no embeddings")
    if row.get("output_cost_per_token"):
        raise ValueError("asks for output tokens, of which embeddings have none")
    price = Price(input=pico(row["input_cost_per_token"]), output=0)
    return price, int(row["max_input_tokens"]), int(row.get("output_vector_size", 0))


def flat_up_to(row: Mapping[str, Any]) -> int:
    """The prompt length up to which the row has one price; the window's own size when it always has."""
    steps = [int(found[1]) * 1000 for field in row if (found := DEARER_ABOVE.fullmatch(field))]
    return min(steps, default=int(row["max_input_tokens"]))


def sees_temperature(row: Mapping[str, Any]) -> bool:
    """Whether `temperature` and `top_p` are accepted.

    LiteLLM's own rules: not when the row says so (`supports_sampling_params: false`), and for OpenAI's reasoning models
    only when their effort is `none` by default (litellm/llms/openai/chat/gpt_5_transformation.py).
    """
    return row.get("supports_sampling_params") is not False and not thinks_at_openai(row)


def thinks_at_openai(row: Mapping[str, Any]) -> bool:
    """Whether it is a reasoning model of OpenAI's whose effort is not `none` by default; undeclared counts as not."""
    return reasons_at_openai(row) and row.get("default_reasoning_effort") != "none"


def reasons_at_openai(row: Mapping[str, Any]) -> bool:
    """Whether it is a reasoning model of OpenAI's, at whatever effort."""
    return row["litellm_provider"] == "openai" and row.get("supports_reasoning") is True
