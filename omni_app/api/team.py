"""`/auth/*` of the Settings page: what needs a password or shows a link once, by native forms.

Passwords and invitation links never pass through the web app's state. A form's answer is a redirect to the page with
a short code that it turns into words.
"""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlencode

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from omni_app.api.devices import remember_device
from omni_app.api.forms import may_try, read_form, sign_in_at, signed_in
from omni_app.api.invitations import forget_invitation, read_join_form
from omni_app.api.noted import note
from omni_app.errors import Conflict, InvalidRequest, NotFound, OmniError, PermissionDenied, Unavailable
from omni_app.origin import is_https, session_cookie
from omni_app.providers.catalog import base_url_of
from omni_app.services import Services
from omni_app.settings import Settings
from omni_app.storage import accounts, provider_keys, sessions, teams
from omni_app.storage.accounts import EmailTaken, Identity, Proof, WeakPassword
from omni_app.storage.second_factors import TeamAsks, WrongCode

SETTINGS = "/settings/"
NOT_YOURS = "this is not your password"
Form = Mapping[str, str]
Work = Callable[[Services, Identity, Form], Awaitable[Response]]
Read = Callable[[Request, Settings], Awaitable[Form]]


def routes(services: Services) -> list[Route]:
    """Change password or address, log out everywhere, invite, join, delete."""
    own: Mapping[str, tuple[str, Work]] = {
        "/auth/password": ("password_changed", change_password),
        "/auth/email": ("address_changed", change_email),
        "/auth/logout-everywhere": ("logged_out_everywhere", log_out_everywhere),
    }
    works: Mapping[str, tuple[str, Work]] = {
        "/auth/invitations": ("invited", invite),
        "/auth/delete": ("team_deleted", delete_org),
        "/auth/provider-keys": ("provider_key_set", set_provider_key),
    }
    routes_of_own = [form_route(path, *one, services=services, for_self=True) for path, one in own.items()]
    joining = form_route("/auth/join", "joined", join, services=services, read=read_join_form)
    return [*routes_of_own, joining, *(form_route(path, *one, services=services) for path, one in works.items())]


def form_route(
    path: str, event: str, work: Work, *, services: Services, for_self: bool = False, read: Read = read_form
) -> Route:
    """A form of the page, for whoever is signed in; tries at a password are counted, what came of it is noted.

    `for_self`: it is about the person and nothing of the team's (`forms.signed_in`).
    """

    async def handled(request: Request) -> Response:
        form = await read(request, services.settings)
        who = await signed_in(request, services, for_self=for_self)
        if "password" in form and not await may_try(request, services, account=who.email):
            note(services, request, event, who=who, refused="slow_down")
            return said("slow_down")
        try:
            answer = await work(services, who, form)
        except OmniError as error:
            note(services, request, event, who=who, refused=error_code(error))
            return said(error_code(error))
        note(services, request, event, who=who)
        return answer

    return Route(path, handled, methods=["POST"])


async def change_password(services: Services, who: Identity, form: Form) -> Response:
    """Another password; every other browser is logged out."""
    proof = await check_password(services, who, form)
    hashed = await services.sign_in.new_hash(services.database, who=who, password=form.get("new_password", ""))
    async with services.database.reading() as session:
        here = await sessions.place_of(session, session_id=who.session_id)
        await refuse_another(session, proof)
        await accounts.set_password(session, user_id=who.user_id, password_hash=hashed)
        token = await accounts.open_session(session, user_id=who.user_id, browser=here[0], address=here[1])
        await session.commit()
    return sign_in_at(f"{SETTINGS}?said=password", token, services, email=who.email)


async def change_email(services: Services, who: Identity, form: Form) -> Response:
    """Another address to log in with."""
    await check_password(services, who, form)
    async with services.database.reading() as session:
        await services.sign_in.change_email(session, who=who, email=form.get("email", ""))
        await session.commit()
    answer = said("email_changed")
    remember_device(answer, services, email=accounts.normalised_email(form.get("email", "")))
    return answer


async def log_out_everywhere(services: Services, who: Identity, form: Form) -> Response:
    """Ends every session of the user, this one too."""
    async with services.database.reading() as session:
        await accounts.close_all_sessions(session, user_id=who.user_id)
        await session.commit()
    return _signed_out("/login/?error=everywhere", services)


async def invite(services: Services, who: Identity, form: Form) -> Response:
    """A link for somebody to join. What stands behind its # stays in the browser: in no log, no state."""
    async with services.database.reading() as session:
        token = await teams.invite(session, who=who, role=form.get("role", accounts.MEMBER))
        await session.commit()
    return RedirectResponse(f"{SETTINGS}?said=invited#invite={token}", status_code=303)


async def join(services: Services, who: Identity, form: Form) -> Response:
    """Into the team of a link."""
    async with services.database.reading() as session:
        org_id = await teams.accept(session, user_id=who.user_id, token=form.get("token", ""))
        await teams.act_for(session, who=who, org_id=org_id)
        await session.commit()
    answer = RedirectResponse("/overview/", status_code=303)
    forget_invitation(answer, services.settings)
    return answer


async def delete_org(services: Services, who: Identity, form: Form) -> Response:
    """The end of the team, once its name was typed and the password was right."""
    await check_password(services, who, form)
    if form.get("org_name", "").strip() != who.org_name:
        raise NameNotTyped("the team's name was not typed as it is")
    async with services.database.reading() as session:
        await teams.delete_org(session, who=who)
        await session.commit()
    return _signed_out("/login/?error=deleted", services)


async def set_provider_key(services: Services, who: Identity, form: Form) -> Response:
    """A provider's key of the team's own; for the address at which this server reaches that provider now."""
    teams.refuse_all_but_owners(who)
    name = form.get("provider", "")
    base_url = base_url_of(services.providers[name]) if name in services.providers else ""
    if not base_url:
        raise InvalidRequest("provider: must be one that wants a key", param="provider")
    async with services.database.reading() as session:
        await provider_keys.set_provider_key(
            session, org_id=who.org_id, provider=name, base_url=base_url, secret=form.get("key", "").strip(),
            entered_by=who.email, sealer=services.key_sealer,
        )  # fmt: skip
        await session.commit()
    return said("provider_key")


def _signed_out(path: str, services: Services) -> Response:
    settings = services.settings
    answer = RedirectResponse(path, status_code=303)
    answer.delete_cookie(session_cookie(settings), path="/", secure=is_https(settings), httponly=True, samesite="lax")
    return answer


class NameNotTyped(InvalidRequest):
    """The confirmation is not what was asked for."""


class WrongPassword(PermissionDenied):
    """The current password was not the right one."""


async def check_password(services: Services, who: Identity, form: Form) -> Proof:
    """Raises `WrongPassword` unless the form has the current one. One without any is no try that counts: not hashed."""
    password = form.get("password", "")
    if not password:
        raise WrongPassword(NOT_YOURS)
    proof = await services.sign_in.verify_password(services.database, email=who.email, password=password)
    if proof is None or proof.user_id != who.user_id:
        raise WrongPassword(NOT_YOURS)
    async with services.database.reading() as session:
        await refuse_another(session, proof)
    return proof


async def refuse_another(session: AsyncSession, proof: Proof) -> None:
    """Raises `WrongPassword` when the password was changed while it was hashed."""
    if not await accounts.holds(session, proof):
        raise WrongPassword(NOT_YOURS)


def said(code: str) -> Response:
    """Back to the page, with what came of it."""
    return RedirectResponse(f"{SETTINGS}?{urlencode({'said': code})}", status_code=303)


def error_code(error: OmniError) -> str:
    """The code that the page turns into words (`omni_app.ui.pages.settings_state`)."""
    codes: tuple[tuple[type[OmniError], str], ...] = (
        (WrongPassword, "wrong"),
        (WrongCode, "code"),
        (WeakPassword, "weak"),
        (EmailTaken, "taken"),
        (PermissionDenied, "owners"),
        (TeamAsks, "team_asks"),
        (Conflict, "conflict"),
        (NotFound, "gone"),
        (NameNotTyped, "name"),
        (Unavailable, "away"),
    )
    return next((code for kind, code in codes if isinstance(error, kind)), "wrong_input")
