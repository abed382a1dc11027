"""`GET /metrics` for Prometheus: for whoever holds `METRICS_TOKEN`; without that setting there is no such path."""

import hmac

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.errors import InvalidApiKey, NotFound
from omni_app.services import Services

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
WHO = {"WWW-Authenticate": "Bearer"}


def routes(services: Services) -> list[Route]:
    """The one route."""
    expected = services.settings.metrics_token.get_secret_value()

    async def metrics(request: Request) -> Response:
        if not expected:
            raise NotFound("no such path: /metrics")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), expected.encode()):
            raise InvalidApiKey("/metrics wants `Authorization: Bearer` and the server's METRICS_TOKEN", headers=WHO)
        return Response(services.metrics_text(), media_type=CONTENT_TYPE)

    return [Route("/metrics", metrics, methods=["GET"])]
