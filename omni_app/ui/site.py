"""The list of pages: path, function, title, what runs when it opens. Everything that Reflex is told is told here."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import reflex as rx
from reflex_base.registry import RegistrationContext

from omni_app.ui.components.basics import button_link
from omni_app.ui.components.shell import APP_PAGES, public_page
from omni_app.ui.pages import (
    auth,
    join,
    keys,
    landing,
    models,
    overview,
    playground,
    policy,
    policy_state,
    request,
    requests,
    settings,
    settings_state,
    start,
    usage,
)
from omni_app.ui.pages.account_state import AccountState
from omni_app.ui.pages.request_state import RequestState
from omni_app.ui.session import TabOwner

ASSETS = Path(__file__).resolve().parent.parent.parent / "assets"
NAME = "Omni-Model Router"
DESCRIPTION = "One endpoint for every model: the right one for each request, with fallback, and the saving shown."
GUARDED = (*(path for path, _ in APP_PAGES), "/request/")
"""Pages that need somebody to be signed in."""


def head() -> list[rx.Component]:
    """The stylesheet, the scripts and the icon; their addresses change with their content."""
    return [
        rx.el.link(rel="stylesheet", href=_versioned("omni.css")),
        # Not deferred: it takes an invitation's secret out of the address before the web app starts and tells it.
        rx.el.script(src=_versioned("omni.js")),
        rx.el.script(src=_versioned("estimate.js"), defer=True),
        rx.el.link(rel="icon", href=_versioned("favicon.svg"), type="image/svg+xml"),
    ]


def _versioned(name: str) -> str:
    return f"/{name}?v={hashlib.sha256((ASSETS / name).read_bytes()).hexdigest()[:12]}"


def add_pages(app: rx.App) -> None:
    """Adds every page to the app, and the guard of what their tabs hold."""
    app.add_middleware(TabOwner())
    _add(app, landing.landing, "/", title=NAME, on_load=landing.LandingState.load)
    _add(app, auth.signup, "/signup", title="Sign up", on_load=auth.AuthState.load)
    _add(app, auth.login, "/login", title="Log in", on_load=auth.AuthState.load)
    _add(app, auth.code, "/login-code", title="Second factor", on_load=auth.AuthState.load)
    _add(app, auth.forgot, "/forgot", title="Forgotten password", on_load=auth.AuthState.load)
    _add(app, auth.confirm, "/confirm", title="Confirm your address", on_load=auth.AuthState.load)
    _add(app, auth.reset, "/reset", title="Choose another password", on_load=auth.AuthState.load)
    lost = "Take your second factor off"
    _add(app, auth.lost_factor, "/lost-factor", title=lost, on_load=auth.AuthState.load)
    _add(app, start.page, "/start", title="Get started", on_load=start.StartState.load)
    _add(app, overview.page, "/overview", title="Overview", on_load=overview.OverviewState.load)
    _add(app, usage.page, "/usage", title="Usage", on_load=usage.UsageState.load)
    _add(app, models.page, "/models", title="Models", on_load=models.ModelsState.load)
    _add(app, requests.page, "/requests", title="Requests", on_load=requests.RequestsState.load)
    _add(app, request.page, "/request", title="Request", on_load=RequestState.load)
    _add(app, policy.page, "/policy", title="Routing policy", on_load=policy_state.PolicyState.load)
    _add(app, playground.page, "/playground", title="Playground", on_load=playground.PlaygroundState.load)
    _add(app, keys.page, "/keys", title="API keys", on_load=keys.KeysState.load)
    own = [settings_state.SettingsState.load, AccountState.load]
    _add(app, settings.page, "/settings", title="Settings", on_load=own)
    _add(app, join.page, "/join", title="Join a team", on_load=join.JoinState.load)
    app.add_page(missing_page, route="404", title=f"No such page · {NAME}", description=DESCRIPTION)


def event_names() -> frozenset[str]:
    """What a page may call: the names of all event handlers, Reflex's own too."""
    return frozenset(RegistrationContext.ensure_context().event_handlers)


def missing_page() -> rx.Component:
    """What an unknown address shows."""
    return public_page(
        rx.el.div(
            rx.el.h1("There is no such page"),
            rx.el.p("The address may be old or mistyped."),
            button_link("Go to the start", "/", kind="primary"),
            class_name="empty",
        ),
        class_name="narrow",
    )


def _add(app: rx.App, page: Callable[[], rx.Component], route: str, *, title: str, on_load: Any) -> None:
    shown = title if title == NAME else f"{title} · {NAME}"
    app.add_page(page, route=route, title=shown, description=DESCRIPTION, image="favicon.svg", on_load=on_load)
