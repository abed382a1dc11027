"""`POST /auth/keep-invitation`: an invitation whose reader has to log in first waits in their browser, for an hour.

Its secret came behind a `#` and is in the page's memory only. The page hands it over once; the browser gets it back
sealed, in a cookie that no script reads. The form that joins a team has the secret itself, or else the cookie's.
"""

import time
from collections.abc import Mapping

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.forms import read_form, safe_next
from omni_app.origin import invitation_cookie, is_https
from omni_app.services import Services
from omni_app.settings import Settings
from omni_app.storage.sealing import CannotOpen, Sealer

PURPOSE = "invitations"
ABOUT = "join"
LASTS_S = 3600
MAX_TOKEN = 100
MAX_COOKIE = 500


def routes(services: Services) -> list[Route]:
    """The one route."""

    async def keep(request: Request) -> Response:
        form = await read_form(request, services.settings)
        kept = {"token": form.get("token", "")[:MAX_TOKEN], "until": int(time.time()) + LASTS_S}
        sealed = _sealer(services.settings).seal(orjson.dumps(kept), about=ABOUT).hex()
        answer = Response(status_code=204)
        answer.set_cookie(
            invitation_cookie(services.settings), sealed, max_age=LASTS_S, path="/",
            secure=is_https(services.settings), httponly=True, samesite="lax",
        )  # fmt: skip
        return answer

    return [Route("/auth/keep-invitation", keep, methods=["POST"])]


async def read_join_form(request: Request, settings: Settings) -> Mapping[str, str]:
    """As `read_form`; the token of an invitation that waited, where the form has none."""
    form = await read_form(request, settings)
    return form if form.get("token") else {**form, "token": _kept(request, settings)}


def first_page(request: Request, settings: Settings, *, after: str, usual: str) -> str:
    """Where somebody goes who has just come in: the page they wanted, an invitation that waits, or the usual one."""
    return safe_next(after) or ("/join/" if _kept(request, settings) else usual)


def forget_invitation(answer: Response, settings: Settings) -> None:
    """None waits any more."""
    answer.delete_cookie(
        invitation_cookie(settings), path="/", secure=is_https(settings), httponly=True, samesite="lax"
    )


def _kept(request: Request, settings: Settings) -> str:
    sealed = request.cookies.get(invitation_cookie(settings), "")
    try:
        kept = orjson.loads(_sealer(settings).open(bytes.fromhex(sealed[:MAX_COOKIE]), about=ABOUT))
    except (CannotOpen, ValueError):
        return ""
    return str(kept["token"]) if kept["until"] > time.time() else ""


def _sealer(settings: Settings) -> Sealer:
    return Sealer(settings.secret_key, purpose=PURPOSE, other_key=settings.secret_key_other)
