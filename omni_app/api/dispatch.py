"""The short way to an endpoint: by method and path, before Starlette's router looks at each route and each layer.

Routes without a parameter in their path, which is nearly all, are found in a table. Whatever is not there (a path with
a parameter, one that does not exist, another method) goes to Starlette, whose answers stay what they are.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
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
    """A request's headers by name: endpoints look for half a dozen, and Starlette reads all of them each time."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self._values: dict[str, list[str]] = {}
        for name, value in self._list:
            self._values.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))

    def getlist(self, key: str) -> list[str]:
        return self._values.get(key.lower(), [])

    def __getitem__(self, key: str) -> str:
        return self._values[key.lower()][0]

    def __contains__(self, key: Any) -> bool:
        return key.lower() in self._values


class ApiRequest(Request):
    """A request that finds its headers at once."""

    @property
    def headers(self) -> Headers:
        if not hasattr(self, "_headers"):
            self._headers: Headers = FieldTable(self.scope)
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
