"""People, their orgs and their sessions. Plain functions; the caller owns the session and commits."""

import hashlib
import re
import secrets
import unicodedata
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import case, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.errors import InvalidRequest, PermissionDenied
from omni_app.storage.database import Database
from omni_app.storage.password_rules import WeakPassword, check_strength
from omni_app.storage.passwords import hash_password, mark_of, matches, outdated
from omni_app.storage.tables import FACTOR_OF_USER, Invitation, Membership, Org, SecondFactor, Session, User, utc_now

__all__ = ["EmailTaken", "Identity", "WeakPassword", "sign_up", "verify_password"]

IDLE = timedelta(hours=12)
ABSOLUTE = timedelta(days=7)
SEEN_STEP = timedelta(minutes=5)
"""`last_seen_at` is written at most this often."""
OWNER, MEMBER = "owner", "member"
LONGEST_TEAM_NAME = 60
EMAIL = re.compile(
    r"[^@\s\x00-\x1f\x7f<>,;\"]{1,64}@[^@\s\x00-\x1f\x7f<>,;\"]{1,250}\.[^@\s\x00-\x1f\x7f<>,;\".]{2,63}"
)


class EmailTaken(InvalidRequest):
    """Somebody has an account with this address."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is signed in, and for which org they act."""

    user_id: UUID
    org_id: UUID
    email: str
    org_name: str
    role: str
    session_id: UUID | None = None
    lacks_factor: bool = False
    """The org asks for a second factor, and this person has none on."""

    @property
    def is_owner(self) -> bool:
        """Owners change what holds for the whole team."""
        return self.role == OWNER


@dataclass(frozen=True, slots=True)
class Proof:
    """That somebody's password was right: whose, and the mark of what was kept of it then.

    Of a password that Supabase keeps the mark is always the same: nothing here changes with it.
    """

    user_id: UUID
    mark: str


class SecondFactorWanted(PermissionDenied):
    """The team asks for a second factor that its member `who` does not have."""

    code = "second_factor_wanted"

    def __init__(self, who: Identity) -> None:
        super().__init__(f"«{who.org_name}» asks for a second factor: set it up in Settings to go on")
        self.who = who


def normalised_email(text: str) -> str:
    """One spelling per address. Raises `InvalidRequest` when it cannot be an address."""
    email = unicodedata.normalize("NFKC", text).strip().casefold()
    if not EMAIL.fullmatch(email):
        raise InvalidRequest("email: must be an address like you@example.com", param="email")
    return email


async def sign_up(session: AsyncSession, *, email: str, password: str, org_name: str) -> Identity:
    """A new user with an org of their own. Raises `EmailTaken`, `WeakPassword` or `InvalidRequest`."""
    address, hashed = await address_and_hash(email=email, password=password, org_name=org_name)
    return await join(session, email=address, password_hash=hashed, org_name=org_name)


async def address_and_hash(*, email: str, password: str, org_name: str) -> tuple[str, str]:
    """What is kept of who signs up. Raises `WeakPassword` or `InvalidRequest`."""
    address = normalised_email(email)
    check_strength(password, about=(address, org_name))
    return address, await hash_password(password)


async def join(session: AsyncSession, *, email: str, password_hash: str, org_name: str) -> Identity:
    """The rows of a new user: user, org, membership. Raises `EmailTaken`."""
    user = User(email=email, password_hash=password_hash)
    try:
        async with session.begin_nested():
            session.add(user)
            await session.flush()
            return await _team_of_their_own(session, user, name=org_name)
    except IntegrityError:
        raise EmailTaken("email: there is an account with this address; log in instead", param="email") from None


async def _team_of_their_own(session: AsyncSession, user: User, *, name: str) -> Identity:
    org = Org(name=name)
    session.add(org)
    await session.flush()
    session.add(Membership(user_id=user.id, org_id=org.id, role=OWNER))
    await session.flush()
    return Identity(user_id=user.id, org_id=org.id, email=user.email, org_name=name, role=OWNER)


async def verify_password(database: Database, *, email: str, password: str) -> Proof | None:
    """That the password is right, or None. A known and an unknown address take the same time.

    Whoever waits for their turn to be hashed holds nothing of the database. A hash of weaker parameters is replaced.
    """
    try:
        address = normalised_email(email)
    except InvalidRequest:
        address = ""
    async with database.reading() as session:
        user = (await session.scalars(select(User).where(col(User.email) == address))).first()
    if not await matches(password, user.password_hash if user else "") or user is None:
        return None
    if outdated(user.password_hash):
        await _hash_anew(database, user, password)
        return await verify_password(database, email=email, password=password)  # another log-in may have been faster
    return Proof(user.id, mark_of(user.password_hash))


async def _hash_anew(database: Database, user: User, password: str) -> None:
    hashed = await hash_password(password)
    as_it_was = update(User).where(col(User.id) == user.id, col(User.password_hash) == user.password_hash)
    async with database.reading() as session:
        await session.execute(as_it_was.values(password_hash=hashed))
        await session.commit()


async def holds(session: AsyncSession, proof: Proof) -> bool:
    """Whether the password is still the one that was right. If so it stays that until the commit."""
    # Written as it is: SQLite knows no row locks, and who writes there lets nobody else write.
    kept = update(User).where(col(User.id) == proof.user_id).values(password_hash=col(User.password_hash))
    stored = await session.scalar(kept.returning(col(User.password_hash)).execution_options(synchronize_session=False))
    return stored is not None and mark_of(stored) == proof.mark


async def proven(session: AsyncSession, proof: Proof) -> Identity | None:
    """Who it is; None when the password has become another one since.

    Whoever left or was taken out of their last team has an empty one of their own from now on; the caller commits.
    """
    if not await holds(session, proof):
        return None
    who = await identity_of(session, proof.user_id)
    if who is not None:
        return who
    user = await session.get_one(User, proof.user_id)
    return await _team_of_their_own(session, user, name=team_name("", email=user.email))


async def identity_of(
    session: AsyncSession, user_id: UUID, *, session_id: UUID | None = None, acting_for: UUID | None = None
) -> Identity | None:
    """The user with the org they act for, else with their first one; None when there is none (any more)."""
    query = (
        select(User, Org, Membership, col(SecondFactor.user_id).is_(None))
        .join(Membership, col(Membership.user_id) == col(User.id))
        .join(Org, col(Org.id) == col(Membership.org_id))
        .outerjoin(SecondFactor, FACTOR_OF_USER)
        .where(col(User.id) == user_id, col(Org.deleted_at).is_(None))
        .order_by(case((col(Org.id) == acting_for, 0), else_=1), col(Membership.created_at))
        .limit(1)
    )
    found = (await session.execute(query)).first()
    if found is None:
        return None
    user, org, membership, without_factor = found
    lacks = org.asks_second_factor and without_factor
    return Identity(user.id, org.id, user.email, org.name, membership.role, session_id, lacks)


def _token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def open_session(
    session: AsyncSession, *, user_id: UUID, instead_of: str = "", browser: str = "", address: str = ""
) -> str:
    """A new signed-in session; gives the token for the cookie (256 bits), of which only a hash is kept.

    Ends the session of the token `instead_of`: what the browser had before its log-in. `browser` and `address` are what
    its person knows it by in the list of their sessions.
    """
    token = secrets.token_urlsafe(32)
    if instead_of:
        await close_session(session, token=instead_of)
    await session.execute(delete(Session).where(col(Session.created_at) < utc_now() - ABSOLUTE))
    session.add(Session(token_hash=_token_hash(token), user_id=user_id, browser=browser, address=address))
    await session.flush()
    return token


async def read_session(session: AsyncSession, *, token: str, for_self: bool = False) -> Identity | None:
    """Who is signed in with this token; None when the session is unknown, idle for too long or too old.

    `for_self`: what they want is about themselves and nothing of their team's. For all else it raises
    `SecondFactorWanted` when the team asks for a second factor and they have none.
    """
    row = (await session.scalars(select(Session).where(col(Session.token_hash) == _token_hash(token)))).first()
    now = utc_now()
    if row is None or now - row.last_seen_at > IDLE or now - row.created_at > ABSOLUTE:
        return None
    if now - row.last_seen_at > SEEN_STEP:
        row.last_seen_at = now
        await session.commit()
    who = await identity_of(session, row.user_id, session_id=row.id, acting_for=row.acting_for)
    if who is not None and who.lacks_factor and not for_self:
        raise SecondFactorWanted(who)
    return who


async def close_session(session: AsyncSession, *, token: str) -> None:
    """Ends one session."""
    await session.execute(delete(Session).where(col(Session.token_hash) == _token_hash(token)))


async def close_all_sessions(session: AsyncSession, *, user_id: UUID) -> None:
    """Logs the user out everywhere."""
    await session.execute(delete(Session).where(col(Session.user_id) == user_id))


async def reset_password(session: AsyncSession, *, email: str, password: str) -> bool:
    """Sets a new password and ends every session of the user. False when there is no such user."""
    address = normalised_email(email)
    user = (await session.scalars(select(User).where(col(User.email) == address))).first()
    check_strength(password, about=(address, *(await _org_names(session, user.id) if user else ())))
    if user is None:
        return False
    await set_password(session, user_id=user.id, password_hash=await hash_password(password))
    return True


async def new_hash(database: Database, *, user_id: UUID, password: str) -> str:
    """Of another password for this user; holds nothing of the database meanwhile. Raises `WeakPassword`."""
    async with database.reading() as session:
        address = await session.scalar(select(col(User.email)).where(col(User.id) == user_id))
        names = await _org_names(session, user_id)
    check_strength(password, about=(address or "", *names))
    return await hash_password(password)


async def set_password(session: AsyncSession, *, user_id: UUID, password_hash: str) -> None:
    """Another password; ends every session of the user."""
    await session.execute(update(User).where(col(User.id) == user_id).values(password_hash=password_hash))
    await close_all_sessions(session, user_id=user_id)


async def _org_names(session: AsyncSession, user_id: UUID) -> list[str]:
    query = select(col(Org.name)).join(Membership, col(Membership.org_id) == col(Org.id))
    return list(await session.scalars(query.where(col(Membership.user_id) == user_id)))


async def change_email(session: AsyncSession, *, user_id: UUID, email: str) -> None:
    """Another address for the user, also as whoever made their invitations. Raises `EmailTaken` or `InvalidRequest`."""
    address = normalised_email(email)
    before = select(col(User.email)).where(col(User.id) == user_id).scalar_subquery()
    theirs = update(Invitation).where(col(Invitation.invited_by) == before)
    try:
        async with session.begin_nested():
            await session.execute(theirs.values(invited_by=address))
            await session.execute(update(User).where(col(User.id) == user_id).values(email=address))
    except IntegrityError:
        raise EmailTaken("email: there is an account with this address", param="email") from None


def team_name(typed: str, *, email: str) -> str:
    """The team's name as typed, else made from the address."""
    shown = "".join(one for one in typed if one.isprintable()).strip()[:LONGEST_TEAM_NAME]
    return shown or f"{email.strip().partition('@')[0][:40]}'s team"


async def org_named(session: AsyncSession, name: str) -> UUID:
    """The id of the oldest org of this name; made when there is none."""
    query = select(Org).where(col(Org.name) == name, col(Org.deleted_at).is_(None)).order_by(col(Org.created_at))
    org = (await session.scalars(query.limit(1))).first()
    if org is None:
        org = Org(name=name)
        session.add(org)
        await session.flush()
    return org.id
