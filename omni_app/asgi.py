"""The API alone, without the web app and without Reflex: `granian --interface asgi --factory omni_app.asgi:create`.

For those who outgrow one process: any number of workers, with Postgres and Redis behind them.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from omni_app import redaction
from omni_app.api.app import create_api
from omni_app.services import build_services
from omni_app.settings import load_settings


def create() -> ASGIApp:
    """Builds the services and the API; the services start and stop with the server."""
    redaction.install()
    services = build_services(load_settings())
    api = create_api(services)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await api(scope, receive, send)
            return
        await receive()
        await services.start()
        services.own_process()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await services.stop()
        await send({"type": "lifespan.shutdown.complete"})

    return app
