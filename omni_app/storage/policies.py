"""Saved routing policies: versions that are only ever added, numbered per org, at most one in force for each scope.

A scope is the whole org or one of its keys. A key without a policy of its own follows its org, an org without one the
server. Rolling back adds a version with the old one's numbers, so the list tells what was in force when.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.errors import InvalidRequest, NotFound
from omni_app.routing.policies import DEFAULTS, Data, data_of, policy_from
from omni_app.routing.types import Policy
from omni_app.storage.meta import REVOCATIONS, bump
from omni_app.storage.tables import ApiKeyRow, PolicyRow

log = logging.getLogger(__name__)

MAX_NOTE = 200
MOST_LISTED = 200


@dataclass(frozen=True, slots=True)
class SavedPolicy:
    """One version. With `is_default` the scope went back to what stands above it; else `policy` None cannot be read."""

    number: int
    version: str
    key_id: UUID | None
    policy: Policy | None
    is_default: bool
    note: str
    author: str
    active: bool
    created_at: datetime


async def active_policies(
    session: AsyncSession, *, org_ids: Collection[UUID]
) -> dict[tuple[UUID, UUID | None], Policy]:
    """(org, key) -> the key's own policy, (org, None) -> the org's; scopes without one are missing. One query."""
    query = select(PolicyRow).where(col(PolicyRow.org_id).in_(org_ids), col(PolicyRow.active).is_(True))
    rows = await session.scalars(query.order_by(col(PolicyRow.number)))
    return {(row.org_id, row.key_id): found for row in rows if (found := _policy(row)) is not None}


async def save_policy(
    session: AsyncSession, *, org_id: UUID, key_id: UUID | None, data: Data | None, note: str, author: str
) -> SavedPolicy:
    """Adds a version and puts it in force for its scope; `data` None = back to what stands above the scope.

    Savers wait for each other: the counter's row is locked before the numbers are read. Every field is stored, so that
    later defaults change nothing. Raises `InvalidRequest` for bad data or a bad note, `NotFound` for a key that the
    org does not have. The caller commits, and has made sure that the author may do this.
    """
    kept_note = _checked_note(note)
    version = f"p_{uuid4().hex}"
    whole = None if data is None else data_of(policy_from(data, version))
    await bump(session, REVOCATIONS)
    if key_id is not None:
        await _have_key(session, org_id, key_id)
    number = 1 + (await session.scalar(select(func.max(PolicyRow.number)).where(_of(org_id))) or 0)
    in_force = (_of(org_id), _of_scope(key_id), col(PolicyRow.active).is_(True))
    await session.execute(
        update(PolicyRow).where(*in_force).values(active=False).execution_options(synchronize_session=False)
    )
    row = PolicyRow(
        org_id=org_id, key_id=key_id, number=number, version=version, data=whole, note=kept_note, author=author
    )
    session.add(row)
    await session.flush()
    return _saved(row)


async def roll_back(session: AsyncSession, *, org_id: UUID, number: int, author: str) -> SavedPolicy:
    """A new version with the numbers of an old one, in force for the old one's scope. The caller commits.

    Raises `NotFound` when the org has no such version, or when its key is gone.
    """
    query = select(PolicyRow).where(_of(org_id), col(PolicyRow.number) == number)
    row = (await session.scalars(query)).first()
    if row is None:
        raise NotFound(f"there is no version {number}")
    note = f"Back to version {number}"
    return await save_policy(session, org_id=org_id, key_id=row.key_id, data=row.data, note=note, author=author)


async def list_policies(session: AsyncSession, *, org_id: UUID, limit: int = MOST_LISTED) -> list[SavedPolicy]:
    """The org's versions of every scope, newest first; those in force are among them, however old."""
    newest = (col(PolicyRow.active).desc(), col(PolicyRow.number).desc())
    rows = await session.scalars(select(PolicyRow).where(_of(org_id)).order_by(*newest).limit(limit))
    return sorted(map(_saved, rows), key=lambda one: -one.number)


async def policies_at(session: AsyncSession, *, versions: Collection[str]) -> dict[str, Policy]:
    """Version -> the policy as it decided then, the product's own included; one that nobody knows is missing."""
    known = {version: DEFAULTS[version] for version in versions if version in DEFAULTS}
    saved = [version for version in versions if version not in known]
    if saved:
        rows = await session.scalars(select(PolicyRow).where(col(PolicyRow.version).in_(saved)))
        known |= {row.version: found for row in rows if (found := _policy(row)) is not None}
    return known


def _of(org_id: UUID) -> ColumnElement[bool]:
    return col(PolicyRow.org_id) == org_id


def _of_scope(key_id: UUID | None) -> ColumnElement[bool]:
    return col(PolicyRow.key_id).is_(None) if key_id is None else col(PolicyRow.key_id) == key_id


async def _have_key(session: AsyncSession, org_id: UUID, key_id: UUID) -> None:
    key = await session.scalar(
        select(col(ApiKeyRow.id)).where(
            col(ApiKeyRow.id) == key_id,
            col(ApiKeyRow.org_id) == org_id,
            col(ApiKeyRow.hidden).is_(False),
            col(ApiKeyRow.replaced_by).is_(None),
            col(ApiKeyRow.revoked_at).is_(None),
        )
    )
    if key is None:
        raise NotFound("that key is not there any more")


def _checked_note(note: object) -> str:
    if isinstance(note, str) and len(note.strip()) <= MAX_NOTE and note.isprintable():
        return note.strip()
    raise InvalidRequest(f"note: must be at most {MAX_NOTE} printable characters", param="note")


def _saved(row: PolicyRow) -> SavedPolicy:
    return SavedPolicy(
        number=row.number,
        version=row.version,
        key_id=row.key_id,
        policy=_policy(row),
        is_default=row.data is None,
        note=row.note,
        author=row.author,
        active=row.active,
        created_at=row.created_at,
    )


def _policy(row: PolicyRow) -> Policy | None:
    """The row's policy; None for a return to the default, and for a row that a later version of us wrote."""
    if row.data is None:
        return None
    try:
        return policy_from(row.data, row.version)
    except InvalidRequest as error:
        log.warning("policy %s is left out: %s", row.version, error.message)
        return None
