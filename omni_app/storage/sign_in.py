"""Who checks passwords: our own table, or Supabase Auth when it is configured. Both give an `Identity` of ours.

Sessions, orgs and keys are ours in either case: Supabase only says whether a password is right.
"""

from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.errors import PermissionDenied
from omni_app.storage import accounts
from omni_app.storage.accounts import Identity, Proof
from omni_app.storage.database import Database


class ConfirmEmail(PermissionDenied):
    """The account is there, but its address has to be confirmed first."""


class SignIn(Protocol):
    """Signing up and checking passwords. A hash and an answer from elsewhere take long: meanwhile nothing is held of
    the database, so it is handed in where a session would be; not to be called within a reading.
    """

    async def sign_up(self, database: Database, *, email: str, password: str, org_name: str) -> Identity:
        """A new user with an org. Raises `EmailTaken`, `WeakPassword`, `ConfirmEmail` or `Unavailable`."""
        ...

    async def verify_password(self, database: Database, *, email: str, password: str) -> Proof | None:
        """For `accounts.proven`; None when address and password do not belong together."""
        ...

    async def new_hash(self, database: Database, *, who: Identity, password: str) -> str:
        """Of another password, for `accounts.set_password`. Raises `WeakPassword`, or `Conflict` where passwords are
        kept elsewhere.
        """
        ...

    async def change_email(self, session: AsyncSession, *, who: Identity, email: str) -> None:
        """Another address; the caller commits. Raises `EmailTaken`, `InvalidRequest`, or `Conflict` where accounts are
        kept elsewhere.
        """
        ...


class EmbeddedSignIn:
    """Passwords in our own users table."""

    async def sign_up(self, database: Database, *, email: str, password: str, org_name: str) -> Identity:
        """See `SignIn`."""
        address, hashed = await accounts.address_and_hash(email=email, password=password, org_name=org_name)
        async with database.reading() as session:
            who = await accounts.join(session, email=address, password_hash=hashed, org_name=org_name)
            await session.commit()
        return who

    async def verify_password(self, database: Database, *, email: str, password: str) -> Proof | None:
        """See `SignIn`."""
        return await accounts.verify_password(database, email=email, password=password)

    async def new_hash(self, database: Database, *, who: Identity, password: str) -> str:
        """See `SignIn`."""
        return await accounts.new_hash(database, user_id=who.user_id, password=password)

    async def change_email(self, session: AsyncSession, *, who: Identity, email: str) -> None:
        """See `SignIn`."""
        await accounts.change_email(session, user_id=who.user_id, email=email)
