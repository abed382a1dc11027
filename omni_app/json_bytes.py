"""JSON of what callers sent: their schemas and arguments may hold whole numbers of any size."""

import json
from collections.abc import Callable
from typing import Any

import orjson


def json_bytes(value: Any, *, default: Callable[[Any], Any] | None = None) -> bytes:
    """`value` as JSON. orjson writes whole numbers of 64 bits; where one is larger, the standard library takes over.

    `default` as orjson's. Raises `TypeError` for what is no JSON.
    """
    try:
        return orjson.dumps(value, default=default)
    except TypeError:
        return json.dumps(value, default=default, ensure_ascii=False, separators=(",", ":")).encode()
