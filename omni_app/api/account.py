"""`/auth/*`: signing up, logging in and out by native form posts, and the one route that hands out a new key.

A form's answer is always a redirect: to the app, or back to the form with a short `error` code that the page turns
into words. Cookies never open `/v1`, keys never open `/auth`. A new key leaves through `POST /auth/keys` once, to the
page's script, so that it is never in the web app's state.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from omni_app.api.forms import (
    LOGIN_WINDOW_S,
    back,
    may_try,
    open_here,
    read_form,
    refuse_cross_site,
    session_token,
    sign_in_at,
    signed_in,
)
from omni_app.api.invitations import first_page, forget_invitation
from omni_app.api.json_body import read_json_object
from omni_app.api.mail_routes import begin_sign_up
from omni_app.api.mails import sends_mail
from omni_app.api.noted import note
from omni_app.api.responses import json_response
from omni_app.api.second_step import half_way, second_step
from omni_app.errors import InvalidRequest, OmniError, RateLimited
from omni_app.limits.base import Quota
from omni_app.origin import is_https, session_cookie
from omni_app.routing.types import KeyKind
from omni_app.services import Services
from omni_app.storage import accounts, keys, second_factors
from omni_app.storage.accounts import EmailTaken, WeakPassword
from omni_app.storage.scopes import Scope, checked_scopes
from omni_app.storage.sign_in import ConfirmEmail

Work = Callable[[Services, Request], Awaitable[Response]]
MAX_KEY_BODY_BYTES = 2_048
MAX_NAME = 60
MAX_KEYS = 100
"""Active keys of one org."""
KEY_LIMIT = 20
"""New keys of one org per window."""


def routes(services: Services) -> list[Route]:
    """The account routes; each one refuses what does not come from our own pages."""
    works: Mapping[str, Work] = {
        "/auth/signup": sign_up,
        "/auth/login": log_in,
        "/auth/second-factor": second_step,
        "/auth/logout": log_out,
        "/auth/keys": new_key,
    }
    return [Route(path, partial(work, services), methods=["POST"]) for path, work in works.items()]


async def sign_up(services: Services, request: Request) -> Response:
    """A new account with an org of its own, signed in."""
    form = await read_form(request, services.settings)
    email, after = form.get("email", ""), form.get("next", "")
    if not services.settings.takes_sign_ups:
        note(services, request, "sign_up", refused="closed")
        return back("/signup/", "closed", after=after)
    if not await may_try(request, services, account=email):
        note(services, request, "sign_up", refused="slow_down", email=email)
        return back("/signup/", "slow_down", after=after)
    org_name = accounts.team_name(form.get("org_name", ""), email=email)
    try:
        if sends_mail(services.settings):
            answer = await begin_sign_up(services, email=email, password=form.get("password", ""), org_name=org_name)
            note(services, request, "sign_up_begun", email=email)
            return answer
        who = await services.sign_in.sign_up(
            services.database, email=email, password=form.get("password", ""), org_name=org_name
        )
    except OmniError as error:
        note(services, request, "sign_up", refused=error_code(error), email=email)
        return back("/signup/", error_code(error), after=after)
    note(services, request, "sign_up", who=who, email=email)
    try:
        async with services.database.reading() as session:
            token = await open_here(session, request, services, user_id=who.user_id)
            await session.commit()
    except OmniError:
        return back("/login/", "away", after=after)  # the account is there
    page = first_page(request, services.settings, after=after, usual="/start/")
    return sign_in_at(page, token, services, email=who.email)


async def log_in(services: Services, request: Request) -> Response:
    """A session for whoever has the password, or the way to the second step."""
    form = await read_form(request, services.settings)
    email, after = form.get("email", ""), form.get("next", "")
    if not await may_try(request, services, account=email, log_in=True):
        note(services, request, "log_in", refused="slow_down", email=email)
        return back("/login/", "slow_down", after=after)
    try:
        password = form.get("password", "")
        proof = await services.sign_in.verify_password(services.database, email=email, password=password)
        async with services.database.reading() as session:
            who = await accounts.proven(session, proof) if proof else None
            if who is None or proof is None:
                note(services, request, "log_in", refused="wrong", email=email)
                return back("/login/", "wrong", after=after)
            if await second_factors.is_on(session, user_id=who.user_id):
                await session.commit()
                note(services, request, "password_right", who=who, email=email)
                return half_way(services, proof, after=after)
            token = await open_here(session, request, services, user_id=who.user_id)
            await session.commit()
    except OmniError as error:
        note(services, request, "log_in", refused=error_code(error), email=email)
        return back("/login/", error_code(error), after=after)
    note(services, request, "log_in", who=who, email=email)
    page = first_page(request, services.settings, after=after, usual="/overview/")
    return sign_in_at(page, token, services, email=who.email)


async def log_out(services: Services, request: Request) -> Response:
    """Ends the browser's session."""
    settings = services.settings
    refuse_cross_site(request, settings)
    if token := session_token(request, settings):
        async with services.database.reading() as session:
            who = await accounts.read_session(session, token=token, for_self=True)
            await accounts.close_session(session, token=token)
            await session.commit()
        note(services, request, "log_out", who=who)
    answer = RedirectResponse("/", status_code=303)
    answer.delete_cookie(session_cookie(settings), path="/", secure=is_https(settings), httponly=True, samesite="lax")
    forget_invitation(answer, settings)
    return answer


async def new_key(services: Services, request: Request) -> Response:
    """A new API key, shown this once."""
    refuse_cross_site(request, services.settings)
    who = await signed_in(request, services)
    body = await read_json_object(request, max_bytes=MAX_KEY_BODY_BYTES)
    name, kind, scopes = _key_fields(body)
    await _limit(services, f"new-key:{who.org_id}", KEY_LIMIT)
    async with services.database.reading() as session:
        if len(await keys.list_keys(session, org_id=who.org_id)) >= MAX_KEYS:
            raise InvalidRequest(f"an org holds at most {MAX_KEYS} keys: revoke one first")
        key, plaintext = await keys.create_key(
            session, org_id=who.org_id, name=name, kind=kind, hasher=services.hasher, scopes=scopes
        )
        await session.commit()
    note(services, request, "key_made", who=who, key_id=key.id)
    made = {"id": str(key.id), "name": key.name, "kind": key.kind, "key": plaintext}
    return json_response(made, status=201)


async def _limit(services: Services, subject: str, limit: int) -> None:
    verdict = await services.limiter.take(Quota(subject, limit, LOGIN_WINDOW_S))
    if not verdict.allowed:
        wait_s = -int(-verdict.reset_s // 1)
        raise RateLimited(f"too many new keys: try again in {wait_s} s", headers={"Retry-After": str(wait_s)})


def _key_fields(body: Mapping[str, object]) -> tuple[str, KeyKind, frozenset[Scope] | None]:
    for field in body.keys() - {"name", "kind", "scopes"}:
        raise InvalidRequest(f"{field[:80]}: unknown field", param=field[:80])
    name, kind = body.get("name"), body.get("kind", "test")
    if not isinstance(name, str) or not (0 < len(name.strip()) <= MAX_NAME) or not name.isprintable():
        raise InvalidRequest(f"name: must be 1 to {MAX_NAME} printable characters", param="name")
    if kind == "live" or kind == "test":
        return name.strip(), kind, _scopes(body.get("scopes"))
    raise InvalidRequest("kind: must be live or test", param="kind")


def _scopes(value: object) -> frozenset[Scope] | None:
    if value is None or isinstance(value, list):
        return None if value is None else checked_scopes(value)
    raise InvalidRequest("scopes: must be a list of scopes", param="scopes")


def error_code(error: OmniError) -> str:
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
