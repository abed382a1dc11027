"""Who belongs to an org: invitations, roles, leaving, and the end of an org. The caller commits."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, CursorResult, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.errors import Conflict, InvalidRequest, NotFound, PermissionDenied
from omni_app.storage.accounts import MEMBER, OWNER, Identity, close_all_sessions
from omni_app.storage.meta import REVOCATIONS, bump
from omni_app.storage.second_factors import hold, turn_off
from omni_app.storage.tables import (
    FACTOR_OF_USER,
    ApiKeyRow,
    Invitation,
    Membership,
    Org,
    SecondFactor,
    Session,
    User,
    utc_now,
)

ROLES = (OWNER, MEMBER)
INVITATION_LASTS = timedelta(days=7)
MOST_OPEN = 50
LAST_OWNER = "an org needs an owner: make somebody else one first"
OWN_FIRST = "set up a second factor of your own first: without one you could not go on here yourself"


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody of the org."""

    user_id: UUID
    email: str
    role: str
    joined_at: datetime
    factor_on: bool = False


@dataclass(frozen=True, slots=True)
class OpenInvitation:
    """A link that has not been used yet."""

    id: UUID
    role: str
    invited_by: str
    expires_at: datetime


def refuse_all_but_owners(who: Identity) -> None:
    """Raises `PermissionDenied` for a member."""
    if not who.is_owner:
        raise PermissionDenied("only an owner of the team may do this")


async def members(session: AsyncSession, *, org_id: UUID) -> list[Member]:
    """Everybody, in the order in which they joined."""
    query = (
        select(User, Membership, col(SecondFactor.user_id).is_not(None))
        .join(Membership, col(Membership.user_id) == col(User.id))
        .outerjoin(SecondFactor, FACTOR_OF_USER)
        .where(col(Membership.org_id) == org_id)
        .order_by(col(Membership.created_at))
    )
    found = (await session.execute(query)).all()
    return [Member(user.id, user.email, one.role, one.created_at, factor_on) for user, one, factor_on in found]


async def invite(session: AsyncSession, *, who: Identity, role: str) -> str:
    """A new link's token, which is not to be had again; it works once, for a week."""
    refuse_all_but_owners(who)
    if role not in ROLES:
        raise InvalidRequest("role: must be owner or member", param="role")
    if len(await open_invitations(session, org_id=who.org_id)) >= MOST_OPEN:
        raise InvalidRequest(f"a team has at most {MOST_OPEN} open invitations: take one back first")
    token = secrets.token_urlsafe(32)
    session.add(
        Invitation(
            org_id=who.org_id,
            token_hash=_hash(token),
            role=role,
            invited_by=who.email,
            expires_at=utc_now() + INVITATION_LASTS,
        )
    )
    await session.flush()
    return token


async def open_invitations(session: AsyncSession, *, org_id: UUID) -> list[OpenInvitation]:
    """The org's links that still work, newest first."""
    query = select(Invitation).where(col(Invitation.org_id) == org_id, *_still_works())
    rows = await session.scalars(query.order_by(col(Invitation.created_at).desc()))
    return [OpenInvitation(row.id, row.role, row.invited_by, row.expires_at or utc_now()) for row in rows]


async def take_back(session: AsyncSession, *, who: Identity, invitation_id: UUID) -> None:
    """Ends a link. Raises `NotFound` for another org's, as for none."""
    refuse_all_but_owners(who)
    gone = delete(Invitation).where(col(Invitation.id) == invitation_id, col(Invitation.org_id) == who.org_id)
    if not cast(CursorResult[Any], await session.execute(gone)).rowcount:
        raise NotFound("that invitation is not there any more")


async def accept(session: AsyncSession, *, user_id: UUID, token: str) -> UUID:
    """Joins the org of a link; gives its id. Raises `NotFound` when the link does not work (any more)."""
    found = select(col(Org.id)).join(Invitation, col(Invitation.org_id) == col(Org.id))
    found = found.where(col(Invitation.token_hash) == _hash(token), col(Org.deleted_at).is_(None))
    org_id = await session.scalar(found.with_for_update(of=Org))  # after whoever takes the inviter out just now
    use = update(Invitation).where(col(Invitation.token_hash) == _hash(token), *_still_works())
    role = await session.scalar(use.values(used_at=utc_now()).returning(col(Invitation.role)))
    if org_id is None or role is None:
        raise NotFound("this invitation does not work any more: ask for another one")
    already = await session.get(Membership, (user_id, org_id))
    if already is None:
        session.add(Membership(user_id=user_id, org_id=org_id, role=role))
    await session.flush()
    return org_id


def _still_works() -> tuple[ColumnElement[bool], ...]:
    """Of a link: it was not used, its week is not over, and whoever made it is still an owner of the org."""
    by_an_owner = (
        select(col(User.id))
        .join(Membership, col(Membership.user_id) == col(User.id))
        .where(
            col(User.email) == col(Invitation.invited_by),
            col(Membership.org_id) == col(Invitation.org_id),
            col(Membership.role) == OWNER,
        )
    )
    return col(Invitation.used_at).is_(None), col(Invitation.expires_at) > utc_now(), by_an_owner.exists()


async def act_for(session: AsyncSession, *, who: Identity, org_id: UUID) -> None:
    """Shows another org of this user in this browser. Raises `NotFound` when they are not in it."""
    if await session.get(Membership, (who.user_id, org_id)) is None:
        raise NotFound("you are not in that team")
    await session.execute(update(Session).where(col(Session.id) == who.session_id).values(acting_for=org_id))


async def orgs_of(session: AsyncSession, *, user_id: UUID) -> list[tuple[UUID, str]]:
    """The living orgs of a user: id and name, the first joined first."""
    query = (
        select(col(Org.id), col(Org.name))
        .join(Membership, col(Membership.org_id) == col(Org.id))
        .where(col(Membership.user_id) == user_id, col(Org.deleted_at).is_(None))
        .order_by(col(Membership.created_at))
    )
    return [(org_id, name) for org_id, name in await session.execute(query)]


async def set_role(session: AsyncSession, *, who: Identity, user_id: UUID, role: str) -> None:
    """Makes somebody an owner or a member. Raises `Conflict` when no owner would be left."""
    refuse_all_but_owners(who)
    if role not in ROLES:
        raise InvalidRequest("role: must be owner or member", param="role")
    membership = await _membership(session, who.org_id, user_id)
    if role != OWNER:
        await _keep_an_owner(session, who.org_id, without=user_id)
    membership.role = role
    await session.flush()


async def remove(session: AsyncSession, *, who: Identity, user_id: UUID) -> None:
    """Takes somebody out of the org; members may only leave themselves. Raises `Conflict` for the last owner."""
    if user_id != who.user_id:
        refuse_all_but_owners(who)
    membership = await _membership(session, who.org_id, user_id)
    await _keep_an_owner(session, who.org_id, without=user_id)
    await session.delete(membership)
    await session.flush()


async def ask_for_factor(session: AsyncSession, *, who: Identity, wanted: bool) -> None:
    """From now on the org's people need a second factor of their own, or no longer.

    Raises `Conflict` when the owner who asks has none: they would lock themself out.
    """
    refuse_all_but_owners(who)
    await session.execute(select(col(Org.id)).where(col(Org.id) == who.org_id).with_for_update())
    if wanted and not await hold(session, user_id=who.user_id):
        raise Conflict(OWN_FIRST)
    await session.execute(update(Org).where(col(Org.id) == who.org_id).values(asks_second_factor=wanted))


async def delete_org(session: AsyncSession, *, who: Identity) -> None:
    """Ends the org: its keys open nothing from now on, its data goes after `retention.DELETED_ORGS_KEPT`.

    Users who are in no other org go with it, so that their addresses are free again.
    """
    refuse_all_but_owners(who)
    people = [member.user_id for member in await members(session, org_id=who.org_id)]
    now = utc_now()
    await session.execute(update(Org).where(col(Org.id) == who.org_id).values(deleted_at=now))
    unrevoked = update(ApiKeyRow).where(col(ApiKeyRow.org_id) == who.org_id, col(ApiKeyRow.revoked_at).is_(None))
    await session.execute(unrevoked.values(revoked_at=now))
    await session.execute(delete(Membership).where(col(Membership.org_id) == who.org_id))
    await session.execute(delete(Invitation).where(col(Invitation.org_id) == who.org_id))
    for user_id in people:
        if not await session.scalar(select(func.count()).where(col(Membership.user_id) == user_id)):
            await close_all_sessions(session, user_id=user_id)
            await turn_off(session, user_id=user_id)
            await session.execute(delete(User).where(col(User.id) == user_id))
    await bump(session, REVOCATIONS)


async def _membership(session: AsyncSession, org_id: UUID, user_id: UUID) -> Membership:
    found = await session.get(Membership, (user_id, org_id))
    if found is None:
        raise NotFound("that person is not in the team")
    return found


async def _keep_an_owner(session: AsyncSession, org_id: UUID, *, without: UUID) -> None:
    """Raises `Conflict` when nobody else owns the org. Locks it, so that two owners cannot both leave at once."""
    await session.execute(select(col(Org.id)).where(col(Org.id) == org_id).with_for_update())
    others = select(func.count()).where(
        col(Membership.org_id) == org_id, col(Membership.role) == OWNER, col(Membership.user_id) != without
    )
    mine = await session.get(Membership, (without, org_id))
    if mine is not None and mine.role == OWNER and not await session.scalar(others):
        raise Conflict(LAST_OWNER)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
