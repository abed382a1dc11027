"""The composition root of the whole product: settings → services → API and pages → one ASGI app.

`app` is what Reflex and the server look for. The API stands in front of Reflex, so that a call to `/v1` passes none of
Reflex's layers.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import reflex as rx
from reflex.utils.prerequisites import get_web_dir
from starlette.types import ASGIApp, Receive, Scope, Send

from omni_app import log_lines, redaction
from omni_app.api.app import create_api, serves
from omni_app.services import build_services
from omni_app.settings import load_settings
from omni_app.ui.front import Front, log_browser_error, log_event_error, read_site
from omni_app.ui.session import backstage
from omni_app.ui.site import GUARDED, add_pages, event_names, head
from omni_app.ui.socket_gate import SocketGate

redaction.install()
log_lines.install()
settings = load_settings()
services = build_services(settings)
api = create_api(services)

WELCOME = f"""Ready. Open {settings.origin} and sign up: the first page shows a key and a request to paste.
Reading: {settings.origin}/docs (the API). Stop with Ctrl+C."""


class FastApp(rx.App):
    """A Reflex app whose API does not pass through Reflex."""

    def __call__(self) -> ASGIApp:
        built_pages = super().__call__()  # with hot reload this builds them first
        site = read_site(get_web_dir() / "build" / "client")
        gate = SocketGate(built_pages, settings, handlers=event_names())
        pages = Front(gate, site=site, settings=settings, guarded=GUARDED)

        return ApiFirst(pages, gate)


class ApiFirst:
    """The API's paths, then the pages."""

    def __init__(self, pages: ASGIApp, gate: SocketGate) -> None:
        self._pages = pages
        self._gate = gate
        self.refusals = self
        self.crowded = api.crowded

    def let_in(self, scope: Scope) -> None:
        """Told of what is on its way."""
        if scope["type"] == "http":
            api.let_in(scope)

    def refusal(self, scope: Scope) -> bytes:
        """Of the API its own, of a socket the gate's."""
        return api.refusal(scope) if scope["type"] == "http" else self._gate.refusal(scope)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and serves(scope["path"]):
            await api(scope, receive, send)
        else:
            await self._pages(scope, receive, send)


@asynccontextmanager
async def run_services() -> AsyncIterator[None]:
    """The services live as long as the server."""
    await services.start()
    services.own_process()
    print(WELCOME, flush=True)  # noqa: T201 for the person at the terminal
    try:
        yield
    finally:
        await services.stop()


def tab_is_open(token: str) -> bool:
    """Whether a browser tab is connected to this process."""
    return app.event_namespace is None or token in app.event_namespace.sid_to_token.values()


app = FastApp(
    head_components=head(),
    reset_style=False,
    toaster=None,
    html_lang="en",
    backend_exception_handler=log_event_error,
    frontend_exception_handler=log_browser_error,
)
backstage.open(services, tab_is_open=tab_is_open)
app.register_lifespan_task(run_services)
add_pages(app)
