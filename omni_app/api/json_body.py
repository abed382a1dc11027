"""Reading a request's body: bounded in size before it is read, strict JSON after.

Refused with 400: duplicate keys, NaN, bad UTF-8, lone surrogates, nesting over 200 levels, integers over 4,300 digits,
more values than any request has.
"""

import asyncio
import re
from typing import Any

import jiter
from starlette.requests import Request

from omni_app.deadline import Deadline
from omni_app.errors import BodyTooLarge, InvalidRequest

BODY_S = 10.0
"""A body may take this long, and"""
SLOWEST_BYTES_S = 50_000
"""a second more for so many bytes that have come: 400 kbit/s, a bad mobile line."""
MOST_PIECES = 150_000
"""Strings, and separators between them, of one body. Each is an object in memory: 9 MB of empty messages become 90 MB
(measured)."""
LONG_BYTES = 250_000
"""A body that is shorter cannot hold enough of them to matter."""
DENSE_BYTES = 40
"""Where a separator comes every so many bytes or oftener, they are looked at; prose has one in 80."""
STRING = re.compile(rb'"[^"]*+"')
"""A string without escapes; in it nothing is counted."""


async def read_json_object(request: Request, *, max_bytes: int) -> dict[str, Any]:
    """The body as a JSON object. Raises `BodyTooLarge` or `InvalidRequest`."""
    body = await read_body(request, max_bytes=max_bytes)
    if not body.strip():
        raise InvalidRequest("the body is empty: send a JSON object")
    if len(body) > LONG_BYTES:
        _refuse_too_many_values(body)
    try:
        value = jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys")
    except ValueError as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be a JSON object")
    return value


async def read_body(request: Request, *, max_bytes: int) -> bytes:
    """The raw body, at most `max_bytes` long; a longer one is refused before it is read where its length is told."""
    _refuse_foreign_forms(request)
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise InvalidRequest("Content-Length: must be a whole number")
    if len(length) > 18 or int(length) > max_bytes:
        raise too_large(max_bytes)
    return await receive_body(request, max_bytes=max_bytes)


async def receive_body(request: Request, *, max_bytes: int) -> bytes:
    """What comes, while it comes fast enough. Raises `BodyTooLarge`, or `InvalidRequest` (408 for a slow one)."""
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


def _refuse_too_many_values(body: bytes) -> None:
    """Counted before anything is made of them; only where there are so many that not all can be in texts."""
    if _separators(body) + body.count(b'"') <= max(MOST_PIECES, len(body) // DENSE_BYTES):
        return
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    strings = plain.count(b'"') // 2
    if strings > MOST_PIECES or strings + _separators(STRING.sub(b"", plain)) > MOST_PIECES:
        raise InvalidRequest(f"the body has too many values: more than {MOST_PIECES} strings and separators")


def _separators(body: bytes) -> int:
    return body.count(b",") + body.count(b"{") + body.count(b"[")


def _refuse_foreign_forms(request: Request) -> None:
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise InvalidRequest(f"Content-Type: must be application/json, not {content_type[:80]!r}")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise InvalidRequest("Content-Encoding: send the body uncompressed")
