"""What can be called from outside, read from the running registries, and who may: `verdicts.toml`."""

import tomllib
from pathlib import Path
from typing import Any

from reflex_base.registry import RegistrationContext
from starlette.routing import Route
from starlette.types import ASGIApp

import omni_app.ui.site  # noqa: F401 brings in every page and its handlers

VERDICTS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("verdicts.toml").read_text())


def routes(api: ASGIApp) -> dict[str, Route]:
    """`METHOD path` -> route, for all of the API's app."""
    app: Any = api
    while not hasattr(app, "router"):
        app = app._app
    found: dict[str, Route] = {}
    for route in app.router.routes:
        assert isinstance(route, Route), f"{route}: only plain routes have verdicts"
        found |= {f"{method} {route.path}": route for method in (route.methods or set()) - {"HEAD"}}
    return found


def handlers(*, ours: bool = True) -> dict[str, tuple[Any, Any]]:
    """`page_state.handler` -> (state class, handler), for all of ours or all of Reflex's own."""
    found = {}
    for registered in RegistrationContext.ensure_context().event_handlers.values():
        for state in registered.states:
            if state.__module__.startswith("omni_app.") == ours and registered.handler.fn.__name__ != "setvar":
                name = f"{state.get_name().rpartition('___')[2]}.{registered.handler.fn.__name__}"
                found[name] = (state, registered.handler)
    return found
