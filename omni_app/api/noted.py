"""Writes to the security log what happens at the API's doors."""

from collections.abc import Iterable
from functools import wraps

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.auth import address_of
from omni_app.api.dispatch import Endpoint
from omni_app.api.responses import request_id
from omni_app.errors import PermissionDenied
from omni_app.observe.security_log import SecurityEvent
from omni_app.services import Services
from omni_app.storage.accounts import Identity, SecondFactorWanted

UNKNOWN, FORBIDDEN = ("session_refused", "no_session"), ("permission_denied", "not_allowed")


def note(
    services: Services,
    request: Request,
    event: str,
    *,
    who: Identity | None = None,
    refused: str = "",
    key_id: object = "",
    email: str = "",
    about: object = "",
) -> None:
    """One event. `refused`: why, when it came to nothing. `email`: an address that was typed, told as a mark.

    `about`: an id or a route's path.
    """
    services.security.tell(
        SecurityEvent(
            event,
            "refused" if refused else "ok",
            reason=refused,
            request_id=request_id(request),
            address=address_of(request, services.settings),
            user_id=str(who.user_id) if who else "",
            org_id=str(who.org_id) if who else "",
            key_id=str(key_id),
            account=services.security.mark(email) if email else "",
            about=str(about),
        )
    )


def noting_refusals(routes: Iterable[Route], services: Services) -> list[Route]:
    """The same routes; a request that is not let in is noted: no living session, another site, not an owner,
    without the second factor that the team asks for.
    """
    return [
        Route(one.path, _noting(one.endpoint, one.path, services), methods=list(one.methods or ())) for one in routes
    ]


def _noting(endpoint: Endpoint, path: str, services: Services) -> Endpoint:
    @wraps(endpoint)
    async def noted(request: Request) -> Response:
        try:
            return await endpoint(request)
        except SecondFactorWanted as refusal:
            note(services, request, "permission_denied", who=refusal.who, refused=refusal.code, about=path)
            raise
        except PermissionDenied as refusal:
            event, why = UNKNOWN if refusal.status == 401 else FORBIDDEN
            note(services, request, event, refused=why, about=path)
            raise

    return noted
