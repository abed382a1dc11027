"""The API alone, without the web app and without Reflex: `python -m omni_app.server omni_app.asgi:create`.

For those who outgrow one process: any number of workers, with Postgres and Redis behind them.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from omni_app import log_lines, redaction
from omni_app.api.app import create_api
from omni_app.services import Services, build_services
from omni_app.settings import load_settings


def create() -> ASGIApp:
    """Builds the services and the API; the services start and stop with the server."""
    redaction.install()
    log_lines.install()
    return ApiAlone(build_services(load_settings()))


class ApiAlone:
    """The API, and the life of what is behind it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._api = create_api(services)
        self.refusals = self._api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._api(scope, receive, send)
            return
        await receive()
        await self._services.start()
        self._services.own_process()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._services.stop()
        await send({"type": "lifespan.shutdown.complete"})
