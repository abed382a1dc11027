"""Who checks passwords: our own table, or Supabase Auth when it is configured. Both give an `Identity` of ours.

Sessions, orgs and keys are ours in either case: Supabase only says whether a password is right.
"""

from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.errors import PermissionDenied
from omni_app.storage import accounts
from omni_app.storage.accounts import Identity


class ConfirmEmail(PermissionDenied):
    """The account is there, but its address has to be confirmed first."""


class SignIn(Protocol):
    """Signing up and checking passwords. The caller owns the session and commits."""

    async def sign_up(self, session: AsyncSession, *, email: str, password: str, org_name: str) -> Identity:
        """A new user with an org. Raises `EmailTaken`, `WeakPassword`, `ConfirmEmail` or `Unavailable`."""
        ...

    async def verify_password(self, session: AsyncSession, *, email: str, password: str) -> Identity | None:
        """Who this is; None when address and password do not belong together."""
        ...

    async def change_password(self, session: AsyncSession, *, who: Identity, password: str) -> None:
        """Another password, the current one having been checked. Raises `WeakPassword`, or `Conflict` where passwords
        are kept elsewhere.
        """
        ...

    async def change_email(self, session: AsyncSession, *, who: Identity, email: str) -> None:
        """Another address. Raises `EmailTaken`, `InvalidRequest`, or `Conflict` where accounts are kept elsewhere."""
        ...


class EmbeddedSignIn:
    """Passwords in our own users table."""

    async def sign_up(self, session: AsyncSession, *, email: str, password: str, org_name: str) -> Identity:
        """See `SignIn`."""
        return await accounts.sign_up(session, email=email, password=password, org_name=org_name)

    async def verify_password(self, session: AsyncSession, *, email: str, password: str) -> Identity | None:
        """See `SignIn`."""
        return await accounts.verify_password(session, email=email, password=password)

    async def change_password(self, session: AsyncSession, *, who: Identity, password: str) -> None:
        """See `SignIn`."""
        await accounts.reset_password(session, email=who.email, password=password)

    async def change_email(self, session: AsyncSession, *, who: Identity, email: str) -> None:
        """See `SignIn`."""
        await accounts.change_email(session, user_id=who.user_id, email=email)
