"""JSON of what callers and models say to each other: schemas and arguments may hold whole numbers of any size."""

import json
import re
from collections.abc import Callable
from typing import Any

import orjson

LONG = re.compile(r"\d{19}")
"""A whole number that may be larger than 64 bits."""
LONG_BYTES = re.compile(rb"\d{19}")


def json_bytes(value: Any, *, default: Callable[[Any], Any] | None = None) -> bytes:
    """`value` as JSON. orjson writes whole numbers of 64 bits; where one is larger, the standard library takes over.

    `default` as orjson's. Raises `TypeError` for what is no JSON.
    """
    try:
        return orjson.dumps(value, default=default)
    except TypeError:
        return json.dumps(value, default=default, ensure_ascii=False, separators=(",", ":")).encode()


def json_value(text: str | bytes) -> Any:
    """What this JSON says. orjson makes a float of a whole number beyond 64 bits, the standard library keeps it.

    Raises `ValueError`: what is JSON is orjson's to say, for the other takes half a character and `NaN` too.
    """
    value = orjson.loads(text)
    long = LONG.search(text) if isinstance(text, str) else LONG_BYTES.search(text)
    if not long:
        return value
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
