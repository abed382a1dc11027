"""`/auth/confirm`, `/auth/forgot`, `/auth/reset`: what the links of our mails lead to, and the asking for one.

Where mail is configured, neither signing up nor a forgotten password says whether an address has an account.
"""

from functools import partial
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.forms import back, may_try, open_here, read_form, sign_in_at
from omni_app.api.invitations import first_page
from omni_app.api.mails import Links, StaleLink, send, sends_mail
from omni_app.api.noted import note
from omni_app.errors import InvalidRequest, OmniError
from omni_app.services import Services
from omni_app.storage import accounts, passwords
from omni_app.storage.accounts import EmailTaken, Proof, WeakPassword, normalised_email
from omni_app.storage.tables import User

CONFIRM_LASTS_S, RESET_LASTS_S = 24 * 3600, 3600
CONFIRM = """Somebody, hopefully you, wants an account at {origin} with this address.

Open this link within a day and type the password that you chose:

{link}

If it was not you, do nothing: there is no account without that.
"""
HAVE_ONE = """Somebody, hopefully you, wants an account at {origin} with this address. There is one already: log in.

Forgotten the password? {origin}/forgot/

If it was not you, do nothing: nothing was changed.
"""
RESET = """Somebody, hopefully you, forgot the password at {origin}.

Open this link within an hour to choose another one:

{link}

If it was not you, do nothing: nothing was changed.
"""


def routes(services: Services) -> list[Route]:
    """The three of them."""
    works = {"/auth/confirm": confirm, "/auth/forgot": forgot, "/auth/reset": reset}
    return [Route(path, partial(work, services), methods=["POST"]) for path, work in works.items()]


async def begin_sign_up(services: Services, *, email: str, password: str, org_name: str) -> Response:
    """The same answer, after the same work, whether the address has an account or not; the mail tells its reader.

    Raises `WeakPassword` or `InvalidRequest`.
    """
    origin = services.settings.origin
    address, hashed = await accounts.address_and_hash(email=email, password=password, org_name=org_name)
    async with services.database.reading() as session:
        taken = await session.scalar(select(col(User.id)).where(col(User.email) == address)) is not None
    facts = {"email": address, "hash": hashed, "org": org_name}
    link = Links(services.settings).link("confirm", facts, lasts_s=CONFIRM_LASTS_S)
    text = HAVE_ONE.format(origin=origin) if taken else CONFIRM.format(origin=origin, link=link)
    answer = back("/signup/", "sent")
    answer.background = BackgroundTask(send, services, address, "Your account", text)
    return answer


async def confirm(services: Services, request: Request) -> Response:
    """The account, for whoever has the mail and knows the password that was chosen: one without the other is nobody."""
    form = await read_form(request, services.settings)
    try:
        facts = Links(services.settings).facts("confirm", form.get("token", ""))
        if not await may_try(request, services, account=facts["email"]):
            return back("/confirm/", "slow_down")
        if not await passwords.matches(form.get("password", ""), facts["hash"]):
            note(services, request, "sign_up", refused="wrong", email=facts["email"])
            return back("/confirm/", "wrong_confirm")
        async with services.database.reading() as session:
            who = await accounts.join(session, email=facts["email"], password_hash=facts["hash"], org_name=facts["org"])
            token = await open_here(session, request, services, user_id=who.user_id)
            await session.commit()
    except StaleLink:
        return back("/confirm/", "stale")
    except EmailTaken:
        return back("/login/", "confirmed")
    except OmniError:
        return back("/confirm/", "away")
    note(services, request, "sign_up", who=who, email=who.email)
    page = first_page(request, services.settings, after="", usual="/start/")
    return sign_in_at(page, token, services, email=who.email)


async def forgot(services: Services, request: Request) -> Response:
    """A mail with a link, if the address has an account with a password of ours; the answer says nothing of that."""
    form = await read_form(request, services.settings)
    email = form.get("email", "")
    if not sends_mail(services.settings):
        return back("/forgot/", "no_mail")
    if not await may_try(request, services, account=email):
        return back("/forgot/", "slow_down")
    try:
        address = normalised_email(email)
        async with services.database.reading() as session:
            user = (await session.scalars(select(User).where(col(User.email) == address))).first()
    except InvalidRequest:
        return back("/forgot/", "email")
    except OmniError:
        return back("/forgot/", "away")
    note(services, request, "password_forgotten", email=email)
    answer = back("/forgot/", "sent_reset")
    known = user is not None and bool(user.password_hash)
    facts = {"user": str(user.id), "mark": passwords.mark_of(user.password_hash)} if user is not None and known else {}
    link = Links(services.settings).link("reset", facts, lasts_s=RESET_LASTS_S)
    if known:
        text = RESET.format(origin=services.settings.origin, link=link)
        answer.background = BackgroundTask(send, services, address, "Your password", text)
    return answer


async def reset(services: Services, request: Request) -> Response:
    """Another password; every session is ended. A link works once: the next password makes it another mark."""
    form = await read_form(request, services.settings)
    try:
        facts = Links(services.settings).facts("reset", form.get("token", ""))
        proof = Proof(UUID(facts["user"]), facts["mark"])
        email = await _whose(services, proof)
        if not await may_try(request, services, account=str(proof.user_id)):  # apart from the log-in that follows
            note(services, request, "password_reset", refused="slow_down", email=email, about=proof.user_id)
            return back("/reset/", "slow_down")
        await _set_password(services, proof, form.get("new_password", ""))
    except StaleLink:
        return back("/reset/", "stale")
    except WeakPassword:
        return back("/reset/", "weak")
    except OmniError:
        return back("/reset/", "away")
    note(services, request, "password_reset", email=email, about=proof.user_id)
    return back("/login/", "reset_done")


async def _whose(services: Services, proof: Proof) -> str:
    """The address of whose password a link replaces. Raises `StaleLink` when that was done."""
    async with services.database.reading() as session:
        user = await session.get(User, proof.user_id)
        if user is None or not await accounts.holds(session, proof):
            raise StaleLink("this link was used already")
        return user.email


async def _set_password(services: Services, proof: Proof, password: str) -> None:
    """Raises `WeakPassword`, or `StaleLink` when another one was faster by the same link."""
    hashed = await accounts.new_hash(services.database, user_id=proof.user_id, password=password)
    async with services.database.reading() as session:
        if not await accounts.holds(session, proof):
            raise StaleLink("this link was used already")
        await accounts.set_password(session, user_id=proof.user_id, password_hash=hashed)
        await session.commit()
