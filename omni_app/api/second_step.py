"""The second step of a log-in: until the code is right there is no session, only a sealed note of who had the password.

The note stands in a cookie of its own for five minutes and opens nothing by itself.
"""

import time
from urllib.parse import urlencode
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from omni_app.api.forms import back, may_try_code, open_here, read_form, safe_next, sign_in_at
from omni_app.api.noted import note
from omni_app.errors import OmniError
from omni_app.origin import half_cookie, is_https
from omni_app.services import Services
from omni_app.storage import accounts, second_factors
from omni_app.storage.accounts import Identity
from omni_app.storage.sealing import CannotOpen, Sealer

PAGE = "/login-code/"
PURPOSE = "half log-ins"
ABOUT = "log-in"
LASTS_S = 300
MAX_COOKIE = 500


def half_way(services: Services, who: Identity, *, after: str) -> Response:
    """To the page that asks for the code; the browser keeps who had the password."""
    note_of = {"user": str(who.user_id), "until": int(time.time()) + LASTS_S}
    sealed = _sealer(services).seal(orjson.dumps(note_of), about=ABOUT).hex()
    target = safe_next(after)
    answer = RedirectResponse(PAGE + (f"?{urlencode({'next': target})}" if target else ""), status_code=303)
    answer.set_cookie(
        half_cookie(services.settings), sealed, max_age=LASTS_S, path="/", secure=is_https(services.settings),
        httponly=True, samesite="lax",
    )  # fmt: skip
    return answer


async def second_step(services: Services, request: Request) -> Response:
    """A session for whoever had the password just now and has the code."""
    form = await read_form(request, services.settings)
    after, user_id = form.get("next", ""), _who_is_half_way(request, services)
    if user_id is None:
        return back("/login/", "too_late", after=after)
    if not await may_try_code(services, user_id):
        note(services, request, "second_factor", refused="slow_down", about=user_id)
        return back(PAGE, "slow_down", after=after)
    try:
        async with services.database.reading() as session:
            code, sealer = form.get("code", ""), services.factor_sealer
            await second_factors.check(session, user_id=user_id, code=code, sealer=sealer)
            who = await accounts.identity_of(session, user_id)
            token = await open_here(session, request, services, user_id=user_id)
            await session.commit()
    except second_factors.WrongCode:
        note(services, request, "second_factor", refused="wrong", about=user_id)
        return back(PAGE, "code", after=after)
    except OmniError:
        return back(PAGE, "away", after=after)
    note(services, request, "second_factor", who=who, about=user_id)
    answer = sign_in_at(safe_next(after) or "/overview/", token, services, email=who.email if who else "")
    answer.delete_cookie(
        half_cookie(services.settings), path="/", secure=is_https(services.settings), httponly=True, samesite="lax"
    )
    return answer


def _who_is_half_way(request: Request, services: Services) -> UUID | None:
    sealed = request.cookies.get(half_cookie(services.settings), "")
    try:
        found = orjson.loads(_sealer(services).open(bytes.fromhex(sealed[:MAX_COOKIE]), about=ABOUT))
    except (CannotOpen, ValueError):
        return None
    return UUID(found["user"]) if found["until"] > time.time() else None


def _sealer(services: Services) -> Sealer:
    return Sealer(services.settings.secret_key, purpose=PURPOSE, other_key=services.settings.secret_key_other)
