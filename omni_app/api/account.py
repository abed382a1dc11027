"""`/auth/*`: signing up, logging in and out by native form posts, and the one route that hands out a new key.

A form's answer is always a redirect: to the app, or back to the form with a short `error` code that the page turns
into words. Cookies never open `/v1`, keys never open `/auth`. A new key leaves through `POST /auth/keys` once, to the
page's script, so that it is never in the web app's state.
"""

import hashlib
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from omni_app.api.json_body import read_json_object
from omni_app.api.responses import json_response
from omni_app.errors import BodyTooLarge, InvalidRequest, OmniError, PermissionDenied, RateLimited
from omni_app.origin import SESSION_MAX_AGE_S, client_address, cross_site_reason, is_https, session_cookie
from omni_app.routing.types import KeyKind
from omni_app.services import Services
from omni_app.settings import Settings
from omni_app.storage import accounts, keys
from omni_app.storage.accounts import EmailTaken, Identity, WeakPassword
from omni_app.storage.sign_in import ConfirmEmail

MAX_FORM_BYTES = 8_192
MAX_FORM_FIELDS = 8
MAX_KEY_BODY_BYTES = 2_048
MAX_NAME = 60
MAX_KEYS = 100
"""Active keys of one org."""
ADDRESS_LIMIT = 30
ACCOUNT_LIMIT = 8
LOGIN_WINDOW_S = 300.0
"""Tries per address, and per address and account together, in this window; nobody can lock out someone else."""
KEY_LIMIT = 20
"""New keys of one org per window."""

AFTER_LOGIN = frozenset(
    {"/overview/", "/usage/", "/models/", "/requests/", "/policy/", "/keys/", "/playground/", "/start/"}
)
"""Where `next` may lead: own pages only."""


def routes(services: Services) -> list[Route]:
    """The account routes; each one refuses what does not come from our own pages."""
    settings = services.settings

    async def signup(request: Request) -> Response:
        form = await _read_form(request, settings)
        if not await _may_try(request, services, account=form.get("email", "")):
            return _back("/signup/", "slow_down")
        try:
            async with services.database.reading() as session:
                who = await services.sign_in.sign_up(
                    session,
                    email=form.get("email", ""),
                    password=form.get("password", ""),
                    org_name=_org_name(form),
                )
                token = await accounts.open_session(session, user_id=who.user_id)
                await session.commit()
        except OmniError as error:
            return _back("/signup/", _error_code(error))
        return _signed_in("/start/", token, settings)

    async def login(request: Request) -> Response:
        form = await _read_form(request, settings)
        email, after = form.get("email", ""), form.get("next", "")
        if not await _may_try(request, services, account=email):
            return _back("/login/", "slow_down", after=after)
        try:
            async with services.database.reading() as session:
                who = await services.sign_in.verify_password(session, email=email, password=form.get("password", ""))
                if who is None:
                    return _back("/login/", "wrong", after=after)
                token = await accounts.open_session(session, user_id=who.user_id)
                await session.commit()
        except OmniError as error:
            return _back("/login/", _error_code(error), after=after)
        return _signed_in(after if after in AFTER_LOGIN else "/overview/", token, settings)

    async def logout(request: Request) -> Response:
        _refuse_cross_site(request, settings)
        token = request.cookies.get(session_cookie(settings), "")
        if token:
            async with services.database.reading() as session:
                await accounts.close_session(session, token=token)
                await session.commit()
        answer = RedirectResponse("/", status_code=303)
        answer.delete_cookie(
            session_cookie(settings), path="/", secure=is_https(settings), httponly=True, samesite="lax"
        )
        return answer

    async def new_key(request: Request) -> Response:
        _refuse_cross_site(request, settings)
        who = await signed_in(request, services)
        body = await read_json_object(request, max_bytes=MAX_KEY_BODY_BYTES)
        name, kind = _key_fields(body)
        await _limit(services, f"new-key:{who.org_id}", KEY_LIMIT)
        async with services.database.reading() as session:
            if len(await keys.list_keys(session, org_id=who.org_id)) >= MAX_KEYS:
                raise InvalidRequest(f"an org holds at most {MAX_KEYS} keys: revoke one first")
            key, plaintext = await keys.create_key(
                session, org_id=who.org_id, name=name, kind=kind, hasher=services.hasher
            )
            await session.commit()
        made = {"id": str(key.id), "name": key.name, "kind": key.kind, "key": plaintext}
        return json_response(made, status=201)

    return [
        Route("/auth/signup", signup, methods=["POST"]),
        Route("/auth/login", login, methods=["POST"]),
        Route("/auth/logout", logout, methods=["POST"]),
        Route("/auth/keys", new_key, methods=["POST"]),
    ]


def _refuse_cross_site(request: Request, settings: Settings) -> None:
    reason = cross_site_reason(request.headers, settings)
    if reason:
        raise PermissionDenied(reason)


async def _read_form(request: Request, settings: Settings) -> Mapping[str, str]:
    """A small urlencoded form from our own page. Raises `PermissionDenied`, `InvalidRequest` or `BodyTooLarge`."""
    _refuse_cross_site(request, settings)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/x-www-form-urlencoded":
        raise InvalidRequest("Content-Type: must be application/x-www-form-urlencoded")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise BodyTooLarge(f"the form is larger than {MAX_FORM_BYTES} bytes", headers={"Connection": "close"})
    if not body:
        return {}
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=MAX_FORM_FIELDS, errors="strict"
        )
    except ValueError:
        raise InvalidRequest("the form could not be read") from None
    return dict(pairs)


async def _may_try(request: Request, services: Services, *, account: str) -> bool:
    """Counts one try of an address, and of an address at an account."""
    peer = request.client.host if request.client else ""
    address = client_address(peer, request.headers.getlist("x-forwarded-for"), services.settings)
    who = hashlib.sha256(account.strip().casefold().encode()).hexdigest()[:32]
    for subject, limit in ((f"login:{address}", ADDRESS_LIMIT), (f"login:{address}:{who}", ACCOUNT_LIMIT)):
        verdict = await services.limiter.hit(subject, limit=limit, window_s=LOGIN_WINDOW_S)
        if not verdict.allowed:
            return False
    return True


async def _limit(services: Services, subject: str, limit: int) -> None:
    verdict = await services.limiter.hit(subject, limit=limit, window_s=LOGIN_WINDOW_S)
    if not verdict.allowed:
        wait_s = -int(-verdict.reset_s // 1)
        raise RateLimited(f"too many new keys: try again in {wait_s} s", headers={"Retry-After": str(wait_s)})


async def signed_in(request: Request, services: Services) -> Identity:
    """Who the cookie says. Raises `PermissionDenied` (401) without a living session."""
    token = request.cookies.get(session_cookie(services.settings), "")
    if token:
        async with services.database.reading() as session:
            who = await accounts.read_session(session, token=token)
        if who is not None:
            return who
    raise PermissionDenied("your session has ended: log in again", status=401)


def _key_fields(body: Mapping[str, object]) -> tuple[str, KeyKind]:
    for field in body.keys() - {"name", "kind"}:
        raise InvalidRequest(f"{field[:80]}: unknown field", param=field[:80])
    name, kind = body.get("name"), body.get("kind", "test")
    if not isinstance(name, str) or not (0 < len(name.strip()) <= MAX_NAME) or not name.isprintable():
        raise InvalidRequest(f"name: must be 1 to {MAX_NAME} printable characters", param="name")
    if kind == "live" or kind == "test":
        return name.strip(), kind
    raise InvalidRequest("kind: must be live or test", param="kind")


def _org_name(form: Mapping[str, str]) -> str:
    """The team's name as typed, else made from the address."""
    typed = "".join(one for one in form.get("org_name", "") if one.isprintable()).strip()[:MAX_NAME]
    return typed or f"{form.get('email', '').partition('@')[0][:40]}'s team"


def _error_code(error: OmniError) -> str:
    """The code that the page turns into words (`omni_app.ui.pages.auth`)."""
    if isinstance(error, EmailTaken):
        return "taken"
    if isinstance(error, WeakPassword):
        return "weak"
    if isinstance(error, ConfirmEmail):
        return "confirm"
    if isinstance(error, InvalidRequest):
        return "email"
    return "away"


def _back(path: str, error: str, *, after: str = "") -> Response:
    """Back to the form. What was typed is kept by the page itself, never in the address."""
    query = {"error": error} | ({"next": after} if after in AFTER_LOGIN else {})
    return RedirectResponse(f"{path}?{urlencode(query)}", status_code=303)


def _signed_in(path: str, token: str, settings: Settings) -> Response:
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
