"""The row that a request's id names, and what the id tells of where it is."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.storage.tables import RequestRow

ID_LENGTH = 36
"""`req_` and 32 hex digits."""
TIME_DIGITS = 12
"""So many of them are the milliseconds since 1970 at which the id was made."""
BODY_TAKES_AT_MOST = timedelta(hours=1)
"""An id is made when the request's head is read, the row's instant when its body was: far above any timeout."""
CLOCK_STEPS_BACK = timedelta(minutes=5)


def made_between(prefix: str) -> tuple[datetime, datetime] | None:
    """When a request whose id begins so can have been recorded; None when the beginning tells nothing."""
    digits = prefix.removeprefix("req_")[:TIME_DIGITS]
    try:
        first, last = (int(digits.ljust(TIME_DIGITS, fill), 16) for fill in "0f")
        start, end = (datetime.fromtimestamp(value / 1000, UTC) for value in (first, last))
        return start - CLOCK_STEPS_BACK, end + BODY_TAKES_AT_MOST
    except (ValueError, OverflowError, OSError):
        return None


async def row_of(session: AsyncSession, query: Select[*tuple[Any, ...]], request_id: str) -> Any:
    """The row of a query over requests that has this id; None when there is none.

    It is asked for around the moment that the id tells, which is one month of the ledger; only when it is not there,
    in all of them.
    """
    named = query.where(col(RequestRow.request_id) == request_id)
    made = made_between(request_id) if len(request_id) == ID_LENGTH else None
    if made is not None:
        around = named.where(col(RequestRow.created_at) >= made[0], col(RequestRow.created_at) < made[1])
        if (found := (await session.execute(around)).first()) is not None:
            return found
    return (await session.execute(named)).first()
