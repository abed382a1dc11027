"""Answers and errors as HTTP: JSON with exact money, one error shape, one place that maps errors."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from omni_app.errors import InvalidRequest, MethodNotAllowed, NotFound, OmniError
from omni_app.money import usd_text

log = logging.getLogger(__name__)


def money(pico: int) -> orjson.Fragment:
    """Pico-dollars as an exact JSON number of dollars with at most twelve decimals."""
    return orjson.Fragment(usd_text(pico).encode())


class JsonResponse(Response):
    """JSON that is written already. Its headers are put together once: Starlette looks for each that might be there."""

    def __init__(self, body: bytes, status: int, headers: Mapping[str, str]) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *[(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
        ]


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`value` as JSON."""
    return JsonResponse(orjson.dumps(value), status, headers or {})


def error_response(error: OmniError, request: Request) -> Response:
    """The error shape of every path: `{"error": {"code", "message"}, "request_id"}`."""
    return json_response(error_body(error, request), status=error.status, headers=error.headers)


def error_body(error: OmniError, request: Request) -> dict[str, Any]:
    """The error shape as plain data."""
    shape: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.param:
        shape["param"] = error.param
    return {"error": shape, "request_id": request_id(request)}


def request_id(request: Request) -> str:
    """The id given to this request by the outermost layer."""
    value: str = request.scope["omni_request_id"]
    return value


async def on_omni_error(request: Request, error: Exception) -> Response:
    """Maps our own errors."""
    if not isinstance(error, OmniError):
        raise error
    return error_response(error, request)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Maps Starlette's: 404 and 405 from the router, 400 from a malformed request."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 404:
        return error_response(NotFound(f"no such path: {request.url.path[:200]}"), request)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        message = f"{request.method} is not allowed here; use {allowed}"
        return error_response(MethodNotAllowed(message, headers={"Allow": allowed}), request)
    return error_response(InvalidRequest(str(error.detail), status=error.status_code), request)


async def on_unexpected_error(request: Request, error: Exception) -> Response:
    """The outermost net: logged with its request id, answered without internals."""
    log.error("request %s failed: %s", request_id(request), type(error).__name__)
    message = "something went wrong on our side; quote the request id when you report it"
    return error_response(OmniError(message), request)
