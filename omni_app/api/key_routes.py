"""`POST /auth/keys/rotate`: a key's new secret leaves here once, to the page's script, never through a state."""

from datetime import timedelta
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.forms import refuse_cross_site, signed_in
from omni_app.api.json_body import read_json_object
from omni_app.api.noted import note
from omni_app.api.responses import json_response
from omni_app.errors import InvalidRequest, NotFound
from omni_app.services import Services
from omni_app.storage import key_changes
from omni_app.storage.tables import utc_now

MAX_BODY_BYTES = 1_024
GRACE_HOURS_MAX = 7 * 24


def routes(services: Services) -> list[Route]:
    """The route; it refuses what does not come from our own pages."""

    async def rotate(request: Request) -> Response:
        refuse_cross_site(request, services.settings)
        who = await signed_in(request, services)
        body = await read_json_object(request, max_bytes=MAX_BODY_BYTES)
        key_id, grace = _key_id(body.get("id")), _grace(body.get("grace_hours"))
        async with services.database.reading() as session:
            secret = await key_changes.rotate_key(
                session, org_id=who.org_id, key_id=key_id, hasher=services.hasher, grace=grace, now=utc_now()
            )
            if secret is None:
                raise NotFound("that key is not there any more")
            await session.commit()
        note(services, request, "key_rotated", who=who, key_id=key_id)
        return json_response({"id": str(key_id), "key": secret})

    return [Route("/auth/keys/rotate", rotate, methods=["POST"])]


def _key_id(value: object) -> UUID:
    try:
        return UUID(value if isinstance(value, str) else "")
    except ValueError:
        raise InvalidRequest("id: must be a key's id", param="id") from None


def _grace(value: object) -> timedelta:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= GRACE_HOURS_MAX:
        return timedelta(hours=value)
    raise InvalidRequest(f"grace_hours: must be a whole number from 0 to {GRACE_HOURS_MAX}", param="grace_hours")
