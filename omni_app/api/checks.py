"""Checks of single JSON values: each gives the value, or raises `InvalidRequest` naming the field's full path."""

import math
from collections.abc import Callable
from typing import Any

from omni_app.errors import InvalidRequest

MAX_ID_LENGTH = 200

Check = Callable[[Any, str], Any]
"""(value, path) -> the value as the gateway wants it; raises `InvalidRequest` naming the path."""


def wrong(path: str, message: str) -> InvalidRequest:
    """The error of one field: `path: message`."""
    return InvalidRequest(f"{path}: {message}", param=path)


def check_whole(value: Any, path: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(path, "must be a whole number")
    if not low <= value <= high:
        raise wrong(path, f"must be between {low} and {high}")
    return value


def check_number(value: Any, path: str, low: float, high: float) -> float:
    """A finite number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(path, "must be a number")
    if not (math.isfinite(value) and low <= value <= high):
        raise wrong(path, f"must be between {low:g} and {high:g}")
    return value


def check_string(value: Any, path: str) -> str:
    """Text."""
    if not isinstance(value, str):
        raise wrong(path, "must be a string")
    return value


def check_id(value: Any, path: str) -> str:
    """A short printable text of the caller's own."""
    text = check_string(value, path)
    if not (0 < len(text) <= MAX_ID_LENGTH and text.isprintable()):
        raise wrong(path, f"must be 1 to {MAX_ID_LENGTH} printable characters")
    return text


def check_boolean(value: Any, path: str) -> bool:
    """`true` or `false`."""
    if not isinstance(value, bool):
        raise wrong(path, "must be true or false")
    return value


def check_object(value: Any, path: str) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise wrong(path, "must be an object")
    return value


def check_list(value: Any, path: str, high: int, *, low: int = 1) -> list[Any]:
    """A list of `low` (0 or 1) to `high` entries."""
    if not isinstance(value, list):
        raise wrong(path, "must be a list")
    if len(value) < low:
        raise wrong(path, "must not be empty")
    if len(value) > high:
        raise wrong(path, f"has {len(value)} entries, the limit is {high}")
    return value


def check_choice(value: Any, path: str, names: tuple[str, ...]) -> str:
    """One of the names."""
    if not isinstance(value, str) or value not in names:
        raise wrong(path, f"must be one of {', '.join(names)}")
    return value
