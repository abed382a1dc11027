"""Writes to the security log what happens at the API's doors."""

from collections.abc import Iterable
from functools import wraps

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from omni_app.api.auth import address_of
from omni_app.api.dispatch import Endpoint
from omni_app.api.responses import request_id
from omni_app.errors import PermissionDenied
from omni_app.observe.observer import Seen
from omni_app.observe.security_log import SecurityEvent
from omni_app.services import Services
from omni_app.storage.accounts import Identity, SecondFactorWanted
from omni_app.storage.keys import ApiKey

TURNED_AWAY = {400: "input", 413: "input", 422: "input", 402: "budget", 429: "limit"}
"""Status of an API call's answer -> why it was refused; other refusals have events of their own."""
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


def note_turned_away(services: Services, scope: Scope, seen: Seen) -> None:
    """Tells the security log of a call with a good key that was refused for what it holds, or for a limit."""
    key: ApiKey | None = scope.get("omni_key")
    if key is None or seen.status not in TURNED_AWAY:
        return
    services.security.tell(
        SecurityEvent(
            "request_refused",
            "refused",
            reason=TURNED_AWAY[seen.status],
            request_id=seen.request_id,
            address=address_of(Request(scope), services.settings),
            org_id=str(key.org_id),
            key_id=str(key.id),
            about=seen.route,
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
