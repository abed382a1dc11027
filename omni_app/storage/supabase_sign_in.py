"""Passwords at Supabase Auth, through the `supabase` package. Imported only when it is configured: it is heavy."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from supabase import AsyncClient, AsyncClientOptions, AuthApiError, AuthError, acreate_client

from omni_app.authorities import web_client
from omni_app.errors import Conflict, InvalidRequest, Unavailable
from omni_app.storage import accounts
from omni_app.storage.accounts import EmailTaken, Identity, Proof, normalised_email
from omni_app.storage.database import Database
from omni_app.storage.password_rules import WeakPassword, check_strength
from omni_app.storage.passwords import mark_of
from omni_app.storage.sign_in import ConfirmEmail
from omni_app.storage.tables import User

TIMEOUT_S = 10.0
AWAY = "Supabase Auth does not answer; try again in a moment"
ELSEWHERE = "this server keeps its accounts at Supabase Auth: change it there"
TAKEN_CODES = frozenset({"user_already_exists", "email_exists"})
WRONG_CODES = frozenset({"invalid_credentials", "user_not_found", "user_banned"})


class SupabaseSignIn:
    """Passwords at Supabase Auth. A fresh client each call: a client remembers whom it signed in."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._key = key

    async def sign_up(self, database: Database, *, email: str, password: str, org_name: str) -> Identity:
        """See `SignIn`. The user's rows of ours are made at once, also when the address is still to be confirmed."""
        address = normalised_email(email)
        check_strength(password, about=(address, org_name))
        try:
            async with self._client() as client:
                answer = await client.auth.sign_up({"email": address, "password": password})
        except AuthError as error:
            raise _refusal(error) from None
        # For an address that is taken, Supabase answers with a user without identities instead of an error.
        if answer.user is None or answer.user.identities == []:
            raise EmailTaken("email: there is an account with this address; log in instead", param="email")
        async with database.reading() as session:
            who = await accounts.join(session, email=address, password_hash="", org_name=org_name)
            await session.commit()
        if answer.session is None:
            raise ConfirmEmail("open the link in the e-mail that was sent to you, then log in")
        return who

    async def verify_password(self, database: Database, *, email: str, password: str) -> Proof | None:
        """See `SignIn`. A user whom Supabase knows and we do not gets an org of their own."""
        try:
            address = normalised_email(email)
        except InvalidRequest:
            return None
        try:
            async with self._client() as client:
                answer = await client.auth.sign_in_with_password({"email": address, "password": password})
        except AuthError as error:
            if isinstance(error, AuthApiError) and (
                error.code in WRONG_CODES or (error.status == 400 and not error.code)
            ):
                return None
            raise _refusal(error) from None
        async with database.reading() as session:
            user = (await session.scalars(select(User).where(col(User.email) == address))).first()
            if user is None:
                org_name = accounts.team_name("", email=address)
                who = await accounts.join(session, email=address, password_hash="", org_name=org_name)
                await session.commit()
                return Proof(who.user_id, mark_of(""))
        if user.password_hash and not (answer.user and answer.user.email_confirmed_at):
            # The account was made with a password of ours: whoever signs up at Supabase must own the address.
            raise ConfirmEmail("open the link in the e-mail that was sent to you, then log in")
        return Proof(user.id, mark_of(user.password_hash))

    async def new_hash(self, database: Database, *, who: Identity, password: str) -> str:
        """See `SignIn`."""
        raise Conflict(ELSEWHERE)

    async def change_email(self, session: AsyncSession, *, who: Identity, email: str) -> None:
        """See `SignIn`."""
        raise Conflict(ELSEWHERE)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[AsyncClient]:
        async with web_client(TIMEOUT_S) as http:
            options = AsyncClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=http)
            yield await acreate_client(self._url, self._key, options)


def _refusal(error: AuthError) -> Exception:
    """What Supabase's refusal means for the person at the form."""
    code = str(getattr(error, "code", "") or "")
    if code in TAKEN_CODES:
        return EmailTaken("email: there is an account with this address; log in instead", param="email")
    if code == "weak_password":
        return WeakPassword("password: this one is too easy to guess", param="password")
    if code == "email_not_confirmed":
        return ConfirmEmail("open the link in the e-mail that was sent to you, then log in")
    if code in ("email_address_invalid", "validation_failed"):
        return InvalidRequest("email: Supabase does not take this address", param="email")
    return Unavailable(AWAY, headers={"Retry-After": "5"})
