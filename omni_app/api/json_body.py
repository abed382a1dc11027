"""Reading a request's body: bounded in size before it is read, strict JSON after.

Refused with 400: duplicate keys, NaN, bad UTF-8, lone surrogates, nesting over 200 levels, integers over 4,300 digits,
more values than any request has.
"""

import asyncio
from typing import Any

import jiter
from starlette.requests import Request

from omni_app.api.json_values import MOST_PIECES, MOST_STRINGS, ValueCount
from omni_app.deadline import Deadline
from omni_app.errors import BodyTooLarge, InvalidRequest

BODY_S = 10.0
"""A body may take this long, and"""
SLOWEST_BYTES_S = 50_000
"""a second more for so many bytes that have come: 400 kbit/s, a bad mobile line."""
JSON = "application/json"


async def read_json_object(request: Request, *, max_bytes: int) -> dict[str, Any]:
    """The body as a JSON object. Raises `BodyTooLarge` or `InvalidRequest`."""
    body = await read_body(request, max_bytes=max_bytes, values=ValueCount())
    if not body.strip():
        raise InvalidRequest("the body is empty: send a JSON object")
    try:
        value = jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys")
    except ValueError as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be a JSON object")
    return value


async def read_body(request: Request, *, max_bytes: int, values: ValueCount | None = None) -> bytes:
    """The raw body, at most `max_bytes` long; a longer one is refused before it is read where its length is told.

    `values`: of JSON, counts them.
    """
    _refuse_foreign_forms(request)
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise InvalidRequest("Content-Length: must be a whole number")
    if len(length) > 18 or int(length) > max_bytes:
        raise too_large(max_bytes)
    return await receive_body(request, max_bytes=max_bytes, values=values)


async def receive_body(request: Request, *, max_bytes: int, values: ValueCount | None = None) -> bytes:
    """What comes, while it comes fast enough, and as long as it does not hold too much.

    Raises `BodyTooLarge`, or `InvalidRequest` (408 for a slow one).
    """
    parts: list[bytes] = []
    size = 0
    began_s = asyncio.get_running_loop().time()
    try:
        with Deadline(BODY_S) as deadline:
            while (message := await request.receive())["type"] == "http.request":
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > max_bytes:
                    raise too_large(max_bytes)
                if values is not None and values.too_many(parts[-1]):
                    raise too_many_values()
                if not message.get("more_body", False):
                    return b"".join(parts)
                deadline.extend(began_s + allowed_s(size))
    except TimeoutError:
        slow = f"the body came too slowly: {size} bytes in {allowed_s(size):.0f} s"
        raise InvalidRequest(slow, status=408, headers={"Connection": "close"}) from None
    raise InvalidRequest("the connection was closed before the body was complete")


def allowed_s(size: int) -> float:
    """How long so many bytes may take to come."""
    return BODY_S + size / SLOWEST_BYTES_S


def too_large(max_bytes: int) -> BodyTooLarge:
    """The refusal of a longer body; the rest of it is not read."""
    return BodyTooLarge(f"the body is larger than {max_bytes} bytes", headers={"Connection": "close"})


def too_many_values() -> InvalidRequest:
    """The refusal of a body with more values than any request has; the rest of it is not read."""
    message = f"the body has too many values: over {MOST_STRINGS} strings, or {MOST_PIECES} with the separators"
    return InvalidRequest(message, headers={"Connection": "close"})


def _refuse_foreign_forms(request: Request) -> None:
    given = request.headers.get("content-type", JSON)
    content_type = given if given == JSON else given.partition(";")[0].strip().lower()
    if content_type != JSON:
        raise InvalidRequest(f"Content-Type: must be application/json, not {content_type[:80]!r}")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise InvalidRequest("Content-Encoding: send the body uncompressed")
