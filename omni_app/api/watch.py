"""The outermost layer: every answer is told to the observer, with its status and how long it took.

The status is what the envelope below leaves in the scope: so only one layer stands in the way of what is sent.
"""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from omni_app.observe.observer import CURRENT, Observer, Seen

OTHER = "other"
"""What a path without a route, and a method nobody knows, is called: a caller's text is no label."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Guarded(Protocol):
    """The layer below."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    @property
    def crowded(self) -> Callable[[], bool]: ...

    def refusal(self, scope: Scope) -> bytes: ...

    def let_in(self, scope: Scope) -> None: ...


class Watch:
    """The layer. What a route is called stands in `routes`, never in a caller's path."""

    def __init__(
        self, app: Guarded, observer: Observer, routes: Sequence[Route], *, turned_away: Callable[[Scope, Seen], None]
    ) -> None:
        """`turned_away` is told of every answer that says no to the caller (4xx)."""
        self._app = app
        self._observer = observer
        self._turned_away = turned_away
        self.crowded = app.crowded
        """Whether some requests are refused now (`omni_app.server.refusals`)."""
        paths = {route.path for route in routes}
        self._plain = {path: path for path in paths if "{" not in path}
        self._prefixes = [(path.partition("{")[0], path) for path in sorted(paths) if "{" in path]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.perf_counter()
        seen = Seen(
            scope["method"] if scope["method"] in METHODS else OTHER, self._route(scope["path"]), _traceparent(scope)
        )
        CURRENT.set(seen)
        try:
            await self._app(scope, receive, send)
        finally:
            seen.request_id = scope.get("omni_request_id", "")
            seen.status = scope.get("omni_status", 0)
            seen.duration_s = time.perf_counter() - began_s
            self._observer.answered(seen)
            if 400 <= seen.status < 500:
                self._turned_away(scope, seen)

    def refusal(self, scope: Scope) -> bytes:
        """A whole answer for who is refused by his head alone, else nothing."""
        refusal = self._app.refusal(scope)
        if refusal and self._observer.listens:
            seen = Seen(scope["method"], self._route(scope["path"]), _traceparent(scope))
            seen.request_id, seen.status = scope["omni_request_id"], 503
            self._observer.answered(seen)
        return refusal

    def let_in(self, scope: Scope) -> None:
        """A request is on its way here."""
        self._app.let_in(scope)

    def _route(self, path: str) -> str:
        found = self._plain.get(path)
        return found or next((route for prefix, route in self._prefixes if path.startswith(prefix)), OTHER)


def _traceparent(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"traceparent":
            return str(value[:64], "latin-1")
    return ""
