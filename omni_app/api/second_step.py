"""The second step of a log-in: until the code is right there is no session, only a sealed note of who had the password.

The note stands in a cookie of its own for five minutes, ends with the password, and opens nothing by itself.
"""

import time
from urllib.parse import urlencode
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from omni_app.api.forms import back, may_try_code, open_here, read_form, safe_next, sign_in_at
from omni_app.api.invitations import first_page
from omni_app.api.noted import note
from omni_app.errors import OmniError
from omni_app.origin import half_cookie, is_https
from omni_app.services import Services
from omni_app.storage import accounts, second_factors
from omni_app.storage.accounts import Proof
from omni_app.storage.sealing import CannotOpen, Sealer

PAGE = "/login-code/"
PURPOSE = "half log-ins"
ABOUT = "log-in"
LASTS_S = 300
MAX_COOKIE = 500


def half_way(services: Services, proof: Proof, *, after: str) -> Response:
    """To the page that asks for the code; the browser keeps who had the password."""
    note_of = {"user": str(proof.user_id), "mark": proof.mark, "until": int(time.time()) + LASTS_S}
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
    after, proof = form.get("next", ""), _proof_of(request, services)
    if proof is None:
        return back("/login/", "too_late", after=after)
    user_id = proof.user_id
    if not await may_try_code(services, user_id):
        note(services, request, "second_factor", refused="slow_down", about=user_id)
        return back(PAGE, "slow_down", after=after)
    try:
        async with services.database.reading() as session:
            who = await accounts.proven(session, proof)
            if who is None:
                note(services, request, "second_factor", refused="changed", about=user_id)
                return back("/login/", "changed", after=after)
            code, sealer = form.get("code", ""), services.factor_sealer
            await second_factors.check(session, user_id=user_id, code=code, sealer=sealer)
            token = await open_here(session, request, services, user_id=user_id)
            await session.commit()
    except second_factors.WrongCode:
        note(services, request, "second_factor", refused="wrong", about=user_id)
        return back(PAGE, "code", after=after)
    except OmniError:
        return back(PAGE, "away", after=after)
    note(services, request, "second_factor", who=who, about=user_id)
    page = first_page(request, services.settings, after=after, usual="/overview/")
    answer = sign_in_at(page, token, services, email=who.email)
    answer.delete_cookie(
        half_cookie(services.settings), path="/", secure=is_https(services.settings), httponly=True, samesite="lax"
    )
    return answer


def _proof_of(request: Request, services: Services) -> Proof | None:
    sealed = request.cookies.get(half_cookie(services.settings), "")
    try:
        found = orjson.loads(_sealer(services).open(bytes.fromhex(sealed[:MAX_COOKIE]), about=ABOUT))
    except (CannotOpen, ValueError):
        return None
    return Proof(UUID(found["user"]), found.get("mark", "")) if found["until"] > time.time() else None


def _sealer(services: Services) -> Sealer:
    return Sealer(services.settings.secret_key, purpose=PURPOSE, other_key=services.settings.secret_key_other)
