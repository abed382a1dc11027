"""Forms of our own pages: reading them, refusing everybody else's, and where they lead afterwards."""

import hashlib
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from omni_app.api.auth import address_of
from omni_app.api.json_body import receive_body
from omni_app.errors import InvalidRequest, PermissionDenied
from omni_app.limits.base import Quota
from omni_app.origin import SESSION_MAX_AGE_S, cross_site_reason, is_https, session_cookie
from omni_app.services import Services
from omni_app.settings import Settings
from omni_app.storage import accounts
from omni_app.storage.accounts import Identity

MAX_FORM_BYTES = 8_192
MAX_FORM_FIELDS = 8
MAX_NEXT = 500
LOGIN_WINDOW_S = 300.0
ADDRESS_TRIES = ((30, LOGIN_WINDOW_S), (300, 86_400.0))
ACCOUNT_TRIES = ((5, 30.0), (8, LOGIN_WINDOW_S), (16, 3_600.0), (32, 86_400.0))
"""Tries in so many seconds: of one address, and of one address at one account. The more tries, the longer the wait;
nobody can lock out someone else.
"""

AFTER_LOGIN = frozenset(
    {
        "/overview/",
        "/usage/",
        "/models/",
        "/requests/",
        "/request/",
        "/policy/",
        "/keys/",
        "/playground/",
        "/settings/",
        "/start/",
        "/join/",
    }
)
"""Where `next` may lead: own pages only, with any query."""


def safe_next(address: str) -> str:
    """An address of our own pages to go on to, path and query; "" for any other."""
    if len(address) > MAX_NEXT or not (address.isascii() and address.isprintable()) or "\\" in address:
        return ""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    own = not parts.scheme and not parts.netloc and parts.path in AFTER_LOGIN
    return parts._replace(fragment="").geturl() if own else ""


def refuse_cross_site(request: Request, settings: Settings) -> None:
    """Raises `PermissionDenied` when the request does not come from our own pages."""
    reason = cross_site_reason(request.headers, settings)
    if reason:
        raise PermissionDenied(reason)


async def read_form(request: Request, settings: Settings) -> Mapping[str, str]:
    """A small urlencoded form from our own page. Raises `PermissionDenied`, `InvalidRequest` or `BodyTooLarge`."""
    refuse_cross_site(request, settings)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/x-www-form-urlencoded":
        raise InvalidRequest("Content-Type: must be application/x-www-form-urlencoded")
    body = await receive_body(request, max_bytes=MAX_FORM_BYTES)
    if not body:
        return {}
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=MAX_FORM_FIELDS, errors="strict"
        )
    except ValueError:
        raise InvalidRequest("the form could not be read") from None
    return dict(pairs)


async def may_try(request: Request, services: Services, *, account: str) -> bool:
    """Counts one try of an address, and of an address at an account. What is refused counts to no longer window."""
    address = address_of(request, services.settings)
    who = hashlib.sha256(account.strip().casefold().encode()).hexdigest()[:32]
    for subject, tries in ((f"login:{address}:{who}", ACCOUNT_TRIES), (f"login:{address}", ADDRESS_TRIES)):
        for limit, window_s in tries:
            verdict = await services.limiter.take(Quota(f"{subject}:{window_s:g}", limit, window_s))
            if not verdict.allowed:
                return False
    return True


def session_token(request: Request, settings: Settings) -> str:
    """What the session cookie holds; "" without one."""
    return request.cookies.get(session_cookie(settings), "")


async def signed_in(request: Request, services: Services) -> Identity:
    """Who the cookie says. Raises `PermissionDenied` (401) without a living session."""
    if token := session_token(request, services.settings):
        async with services.database.reading() as session:
            who = await accounts.read_session(session, token=token)
        if who is not None:
            return who
    raise PermissionDenied("your session has ended: log in again", status=401)


def back(path: str, error: str, *, after: str = "") -> Response:
    """Back to the form. What was typed is kept by the page itself, never in the address."""
    query = {"error": error} | ({"next": target} if (target := safe_next(after)) else {})
    return RedirectResponse(f"{path}?{urlencode(query)}", status_code=303)


def sign_in_at(path: str, token: str, settings: Settings) -> Response:
    """To a page, signed in."""
    answer = RedirectResponse(path, status_code=303)
    answer.set_cookie(
        session_cookie(settings),
        token,
        max_age=SESSION_MAX_AGE_S,
        path="/",
        secure=is_https(settings),
        httponly=True,
        samesite="lax",
    )
    return answer
