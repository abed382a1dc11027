"""Reading a request's body: bounded in size before it is read, strict JSON after.

Refused with 400: duplicate keys, NaN, bad UTF-8, lone surrogates, nesting over 200 levels, integers over 4,300 digits.
"""

from typing import Any

import jiter
from starlette.requests import ClientDisconnect, Request

from omni_app.errors import BodyTooLarge, InvalidRequest


async def read_json_object(request: Request, *, max_bytes: int) -> dict[str, Any]:
    """The body as a JSON object. Raises `BodyTooLarge` or `InvalidRequest`."""
    body = await read_body(request, max_bytes=max_bytes)
    if not body.strip():
        raise InvalidRequest("the body is empty: send a JSON object")
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
    too_large = BodyTooLarge(f"the body is larger than {max_bytes} bytes", headers={"Connection": "close"})
    if len(length) > 18 or int(length) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise too_large
    except ClientDisconnect:
        raise InvalidRequest("the connection was closed before the body was complete") from None
    return bytes(body)


def _refuse_foreign_forms(request: Request) -> None:
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise InvalidRequest(f"Content-Type: must be application/json, not {content_type[:80]!r}")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise InvalidRequest("Content-Encoding: send the body uncompressed")
