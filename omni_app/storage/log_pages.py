"""The request log, a page at a time: filtered, newest first, in both directions from any row.

A page is found by the place of its first or last row (instant and id), so it stays as it is while rows arrive.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.routing.types import KeyKind
from omni_app.storage.by_id import ID_LENGTH, made_between, row_of
from omni_app.storage.ledger import RequestRecord
from omni_app.storage.tables import IN_SESSION, TROUBLED, RequestRow, in_words

Outcome = Literal["", "answered", "rescued", "failed"]


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which requests are wanted; what is left empty wants all. `start` and `end` are half-open."""

    mode: KeyKind
    task: str = ""
    model: str = ""
    key_id: UUID | None = None
    outcome: Outcome = ""
    session_id: str = ""
    id_prefix: str = ""
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class LogPage:
    """One page, newest first. `newer`, `older`: the request ids to turn the page at; empty where there is no more."""

    records: list[RequestRecord]
    newer: str = ""
    older: str = ""


async def log_page(
    session: AsyncSession, *, org_id: UUID, wanted: LogFilter, limit: int, after: str = "", before: str = ""
) -> LogPage:
    """The newest page, or the one that follows the request `after` (older), or the one `before` it (newer).

    Where less than a page is newer, and for an id that is not of this org, it is the newest page.
    """
    query = select(RequestRow).where(*_conditions(org_id, wanted))
    mark = await _mark(session, org_id, after or before)
    if mark is not None and after:
        found = await _read(session, query.where(_older_than(mark)), limit)
        return _page(found, limit, newer=found[0].request_id if found else mark.request_id)
    if mark is not None:
        found = await _read(session, query.where(_newer_than(mark)), limit, newest_first=False)
        if len(found) > limit:
            records = found[limit - 1 :: -1]
            return LogPage(records, newer=records[0].request_id, older=records[-1].request_id)
    return _page(await _read(session, query, limit), limit)


async def log_rows(
    session: AsyncSession, *, org_id: UUID, wanted: LogFilter, limit: int, after: RequestRecord | None = None
) -> list[RequestRecord]:
    """The newest rows, or those that follow the one `after` (older), which need not be there any more."""
    query = select(RequestRow).where(*_conditions(org_id, wanted))
    return (await _read(session, query if after is None else query.where(_older_than(after)), limit))[:limit]


def _page(found: list[RequestRecord], limit: int, *, newer: str = "") -> LogPage:
    records = found[:limit]
    return LogPage(records, newer=newer, older=records[-1].request_id if len(found) > limit else "")


async def _read(
    session: AsyncSession, query: Select[RequestRow], limit: int, *, newest_first: bool = True
) -> list[RequestRecord]:
    """One more than a page, so that it is known whether there is another."""
    keys = (col(RequestRow.created_at), col(RequestRow.request_id))
    ordered = query.order_by(*((key.desc() for key in keys) if newest_first else keys))
    return [_record(row) for row in await session.scalars(ordered.limit(limit + 1))]


async def _mark(session: AsyncSession, org_id: UUID, request_id: str) -> RequestRow | None:
    if not request_id:
        return None
    found = await row_of(session, select(RequestRow).where(col(RequestRow.org_id) == org_id), request_id)
    return None if found is None else found[0]


# The first bound stands alone so that an index on the time begins there.


def _older_than(mark: RequestRow | RequestRecord) -> ColumnElement[bool]:
    at, request_id = col(RequestRow.created_at), col(RequestRow.request_id)
    return and_(at <= mark.created_at, or_(at < mark.created_at, request_id < mark.request_id))


def _newer_than(mark: RequestRow) -> ColumnElement[bool]:
    at, request_id = col(RequestRow.created_at), col(RequestRow.request_id)
    return and_(at >= mark.created_at, or_(at > mark.created_at, request_id > mark.request_id))


def _conditions(org_id: UUID, wanted: LogFilter) -> list[ColumnElement[bool]]:
    row = RequestRow
    found = [col(row.org_id) == org_id, _of_mode(wanted)]
    for column, value in ((row.task, wanted.task), (row.model, wanted.model), (row.key_id, wanted.key_id)):
        if value:
            found.append(col(column) == value)
    if wanted.session_id:
        found += [in_words(IN_SESSION), col(row.session_id) == wanted.session_id]
    if wanted.start:
        found.append(col(row.created_at) >= wanted.start)
    if wanted.end:
        found.append(col(row.created_at) < wanted.end)
    return [*found, *_of_outcome(wanted.outcome), *_of_prefix(wanted.id_prefix)]


def _of_mode(wanted: LogFilter) -> ColumnElement[bool]:
    """Where a key, a model or a session is asked for, the mode is no column for an index.

    The indexes of those three do not have it, and SQLite, which knows no statistics, would rather take one that does.
    """
    kind = col(RequestRow.key_kind)
    narrow = wanted.key_id or wanted.model or wanted.session_id
    return (kind.concat("") if narrow else kind) == wanted.mode


def _of_outcome(outcome: Outcome) -> list[ColumnElement[bool]]:
    """With the words of the index of the few where it serves."""
    success, rescued = col(RequestRow.success), col(RequestRow.rescued)
    conditions: Mapping[Outcome, list[ColumnElement[bool]]] = {
        "": [],
        "answered": [success.is_(True), rescued.is_(False)],
        "rescued": [in_words(TROUBLED), success.is_(True), rescued.is_(True)],
        "failed": [in_words(TROUBLED), success.is_(False)],
    }
    return conditions[outcome]


def _of_prefix(prefix: str) -> list[ColumnElement[bool]]:
    """A whole id by its own index; a part of one within the time that its digits tell."""
    if len(prefix) >= ID_LENGTH:
        return [col(RequestRow.request_id) == prefix]
    if not prefix:
        return []
    made = made_between(prefix)
    within = [col(RequestRow.created_at) >= made[0], col(RequestRow.created_at) < made[1]] if made else []
    return [*within, col(RequestRow.request_id).startswith(prefix, autoescape=True)]


def _record(row: RequestRow) -> RequestRecord:
    return RequestRecord(**{name: getattr(row, name) for name in RequestRecord.__slots__ if name != "routing"})
