"""`POST /auth/lost-factor`: who lost phone and recovery codes takes the second factor off, once it was allowed to them.

Whoever runs the server allows it, for a day and for the factor that is on now, and takes nothing off: a link goes to
the account's address, or is handed over where no mail is sent. It counts only with the account's password, which is
what setting a factor up asked for.
"""

from functools import partial
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.forms import back, may_try, read_form
from omni_app.api.mails import Links, StaleLink, send, sends_mail
from omni_app.api.noted import note
from omni_app.errors import OmniError
from omni_app.services import Services
from omni_app.settings import Settings
from omni_app.storage import accounts, second_factors
from omni_app.storage.accounts import Identity, normalised_email
from omni_app.storage.tables import User

KIND = "lost-factor"
PAGE = f"/{KIND}/"
LASTS_S = 24 * 3600
SUBJECT = "Your second factor"
ALLOWED = """Whoever runs {origin} was told that you lost your second factor there.

Open this link within a day and type your password to take it off:

{link}

If you did not ask for that, do nothing and tell them: your second factor stays on.
"""
TAKEN_OFF = """The second factor of your account at {origin} was taken off, and you were logged out everywhere.

Set up a new one in Settings. If it was not you, change your password and tell whoever runs the server.
"""


async def allow(session: AsyncSession, settings: Settings, *, email: str) -> str | None:
    """The link that takes the account's second factor off; "" when none is on, None when there is no such account."""
    user_id = await session.scalar(select(col(User.id)).where(col(User.email) == normalised_email(email)))
    if user_id is None:
        return None
    mark = await second_factors.mark_of(session, user_id=user_id)
    facts = {"user": str(user_id), "mark": mark}
    return Links(settings).link(KIND, facts, lasts_s=LASTS_S) if mark else ""


def routes(services: Services) -> list[Route]:
    """The one route."""
    return [Route("/auth/lost-factor", partial(take_off, services), methods=["POST"])]


async def take_off(services: Services, request: Request) -> Response:
    """Off, and every session ended, for whoever has the link and the password; one without the other is nobody."""
    form = await read_form(request, services.settings)
    try:
        user_id, email = await _whose(services, form.get("token", ""))
        if not await may_try(request, services, account=email):
            note(services, request, "second_factor_reset", refused="slow_down", email=email, about=user_id)
            return back(PAGE, "slow_down")
        who = await _with_password(services, user_id, email, form.get("password", ""))
    except StaleLink:
        return back(PAGE, "stale")
    except OmniError:
        return back(PAGE, "away")
    if who is None:
        note(services, request, "second_factor_reset", refused="wrong", email=email, about=user_id)
        return back(PAGE, "wrong_lost")
    note(services, request, "second_factor_reset", who=who, email=email, about=user_id)
    answer = back("/login/", "factor_off")
    if sends_mail(services.settings):
        text = TAKEN_OFF.format(origin=services.settings.origin)
        answer.background = BackgroundTask(send, services, email, SUBJECT, text)
    return answer


async def _whose(services: Services, token: str) -> tuple[UUID, str]:
    """Whose factor the link takes off, and their address. Raises `StaleLink`, also when that factor is off already."""
    facts = Links(services.settings).facts(KIND, token)
    user_id = UUID(facts["user"])
    async with services.database.reading() as session:
        user = await session.get(User, user_id)
        if user is None or await second_factors.mark_of(session, user_id=user_id) != facts["mark"]:
            raise StaleLink("this link was used already")
        return user_id, user.email


async def _with_password(services: Services, user_id: UUID, email: str, password: str) -> Identity | None:
    """Takes it off. None, and nothing done, when the password is wrong."""
    proof = await services.sign_in.verify_password(services.database, email=email, password=password)
    if proof is None or proof.user_id != user_id:
        return None
    async with services.database.reading() as session:
        who = await accounts.proven(session, proof)
        if who is None:
            return None
        await second_factors.turn_off(session, user_id=user_id)
        await accounts.close_all_sessions(session, user_id=user_id)
        await session.commit()
    return who
