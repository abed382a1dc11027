"""`GET /health` (are we alive) and `GET /ready` (can we serve, dependency by dependency)."""

from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.responses import json_response
from omni_app.services import Services


def routes(services: Services) -> list[Route]:
    """Both probes; neither needs a key, neither says more than which dependency is at fault."""

    async def health(request: Request) -> Response:
        return json_response({"status": "ok"})

    async def ready(request: Request) -> Response:
        problems = await services.problems()
        checks: dict[str, dict[str, bool | str | float]] = {
            name: {"ok": not problem, "detail": problem or "ok"} for name, problem in problems.items()
        }
        with suppress(OSError):  # no descriptor is free
            checks["ledger"]["waiting_mb"] = round(services.drainer.waiting_bytes() / 1e6, 1)
        is_ready = not any(problems.values())
        body = {"status": "ready" if is_ready else "not ready", "checks": checks}
        return json_response(body, status=200 if is_ready else 503, headers={} if is_ready else {"Retry-After": "2"})

    return [Route("/health", health, methods=["GET"]), Route("/ready", ready, methods=["GET"])]
