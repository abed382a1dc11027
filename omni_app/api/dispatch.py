"""The short way to an endpoint: by method and path, before Starlette's router looks at each route and each layer.

Routes without a parameter in their path, which is nearly all, are found in a table. Whatever is not there (a path with
a parameter, one that does not exist, another method) goes to Starlette, whose answers stay what they are.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from omni_app.api.responses import on_http_error, on_omni_error, on_unexpected_error
from omni_app.errors import OmniError

Endpoint = Callable[[Request], Awaitable[Response]]


class FieldTable(Headers):
    """A request's headers by name: endpoints look for half a dozen, and Starlette reads all of them each time.

    Names stand in lower case, as ASGI has them. Only what is asked for is decoded: most of what browsers and SDKs send
    is for nobody here.
    """

    def __init__(self, scope: Scope) -> None:
        self._list = scope["headers"]
        self._values: dict[bytes, list[bytes]] = {}
        for name, value in self._list:
            self._values.setdefault(name, []).append(value)

    def getlist(self, key: str) -> list[str]:
        return [value.decode("latin-1") for value in self._values.get(_name(key), ())]

    def get(self, key: str, default: Any = None) -> Any:
        found = self._values.get(_name(key))
        return default if found is None else found[0].decode("latin-1")

    def __getitem__(self, key: str) -> str:
        return self._values[_name(key)][0].decode("latin-1")

    def __contains__(self, key: Any) -> bool:
        return _name(key) in self._values


@lru_cache(maxsize=256)
def _name(key: str) -> bytes:
    """A header's name as it comes; our own code asks for some dozens."""
    return key.lower().encode("latin-1")


class ApiRequest(Request):
    """A request that finds its headers at once."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self._headers: Headers = FieldTable(scope)

    @property
    def headers(self) -> Headers:
        return self._headers


class Dispatch:
    """The table, with Starlette behind it."""

    def __init__(self, routes: Sequence[Route], otherwise: ASGIApp) -> None:
        self._endpoints = table_of(routes)
        self._app = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        request = ApiRequest(scope, receive, send)
        try:
            await (await _answer(endpoint, request))(scope, receive, send)
        except Exception as error:
            if "omni_status" not in scope:
                await (await on_unexpected_error(request, error))(scope, receive, send)
            raise  # for the server's own log


async def _answer(endpoint: Endpoint, request: Request) -> Response:
    try:
        return await endpoint(request)
    except OmniError as error:
        return await on_omni_error(request, error)
    except HTTPException as error:
        return await on_http_error(request, error)


def table_of(routes: Sequence[Route]) -> Mapping[tuple[str, str], Endpoint]:
    """Method and path -> endpoint, of the routes without a parameter. As in Starlette's router the first one counts."""
    plain = [route for route in routes if not route.param_convertors]
    return {(method, one.path): one.endpoint for one in reversed(plain) for method in one.methods or ()}
