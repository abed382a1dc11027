"""Forms of our own pages: reading them, refusing everybody else's, and where they lead afterwards."""

import hashlib
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from omni_app.api.auth import address_of
from omni_app.api.devices import browser_of, known_device, remember_device
from omni_app.api.json_body import receive_body
from omni_app.errors import InvalidRequest, PermissionDenied
from omni_app.limits.base import Quota
from omni_app.origin import SESSION_MAX_AGE_S, cross_site_reason, is_https, session_cookie
from omni_app.services import Services
from omni_app.settings import Settings
from omni_app.storage import accounts
from omni_app.storage.accounts import Identity

Tries = tuple[tuple[int, float], ...]
MAX_FORM_BYTES = 8_192
MAX_FORM_FIELDS = 8
MAX_NEXT = 500
LOGIN_WINDOW_S = 300.0
ADDRESS_TRIES = ((30, LOGIN_WINDOW_S), (300, 86_400.0))
ACCOUNT_TRIES = ((5, 30.0), (8, LOGIN_WINDOW_S), (16, 3_600.0), (32, 86_400.0))
"""Tries in so many seconds: of one address, and of one address at one account. The more tries, the longer the wait;
nobody can lock out someone else.
"""
ANYWHERE_TRIES = ((20, LOGIN_WINDOW_S), (50, 3_600.0), (100, 86_400.0))
"""Of all addresses together at one account; browsers that were logged in to it before do not count and do not wait."""
CODE_TRIES = ((5, 30.0), (10, LOGIN_WINDOW_S), (20, 3_600.0), (50, 86_400.0))
"""At one user's second factor: three codes of a million are right at a time."""

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


async def may_try(request: Request, services: Services, *, account: str, log_in: bool = False) -> bool:
    """Counts one try of an address, of an address at an account, and for a log-in of all addresses at the account.

    A browser that was logged in to the account before is counted by itself instead of with its address, and apart from
    all others. What is refused counts to no longer window.
    """
    address, device = address_of(request, services.settings), known_device(request, services, email=account)
    who = hashlib.sha256(account.strip().casefold().encode()).hexdigest()[:32]
    whose = f"login-device:{device}" if device else f"login:{address}:{who}"
    counted: list[tuple[str, Tries]] = [(whose, ACCOUNT_TRIES), (f"login:{address}", ADDRESS_TRIES)]
    if log_in and not device:
        counted.append((f"login-anywhere:{who}", ANYWHERE_TRIES))
    return await _all_allow(services, counted)


async def may_try_code(services: Services, user_id: UUID) -> bool:
    """Counts one try at a user's second factor, from wherever it comes: who tries has had the password."""
    return await _all_allow(services, [(f"code:{user_id}", CODE_TRIES)])


async def _all_allow(services: Services, counted: Sequence[tuple[str, Tries]]) -> bool:
    for subject, tries in counted:
        for limit, window_s in tries:
            verdict = await services.limiter.take(Quota(f"{subject}:{window_s:g}", limit, window_s))
            if not verdict.allowed:
                return False
    return True


def session_token(request: Request, settings: Settings) -> str:
    """What the session cookie holds; "" without one."""
    return request.cookies.get(session_cookie(settings), "")


async def signed_in(request: Request, services: Services, *, for_self: bool = False) -> Identity:
    """Who the cookie says. Raises `PermissionDenied` (401) without a living session.

    Raises `SecondFactorWanted` when their team asks for a second factor that they lack, unless what they want is
    `for_self`: about themselves and nothing of the team's.
    """
    if token := session_token(request, services.settings):
        async with services.database.reading() as session:
            who = await accounts.read_session(session, token=token, for_self=for_self)
        if who is not None:
            return who
    raise PermissionDenied("your session has ended: log in again", status=401)


def back(path: str, error: str, *, after: str = "") -> Response:
    """Back to the form. What was typed stays in the page, never in the address."""
    query = {"error": error} | ({"next": target} if (target := safe_next(after)) else {})
    return RedirectResponse(f"{path}?{urlencode(query)}", status_code=303)


async def open_here(session: AsyncSession, request: Request, services: Services, *, user_id: UUID) -> str:
    """A session for this browser, in place of the one it had; gives its token."""
    return await accounts.open_session(
        session,
        user_id=user_id,
        instead_of=session_token(request, services.settings),
        browser=browser_of(request),
        address=address_of(request, services.settings),
    )


def sign_in_at(path: str, token: str, services: Services, *, email: str) -> Response:
    """To a page, signed in; the browser is known from now on as one of the account's."""
    settings = services.settings
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
    remember_device(answer, services, email=email)
    return answer
