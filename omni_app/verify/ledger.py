"""All invariants over one database, as it is at one moment."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.storage.reports import ceiling
from omni_app.storage.retention import REQUESTS_KEPT
from omni_app.verify import budgets, requests, sums
from omni_app.verify.findings import Finding


async def verify_ledger(session: AsyncSession, *, now: datetime, on_its_way: timedelta) -> Sequence[Finding]:
    """Every invariant, in the order in which they are told. Reads only, in pages and streams.

    The session's statements must see one state of the database (`Database.consistent_reading`). `on_its_way`: how long
    a request may take from its arrival to its row; zero when nothing can be under way.
    """
    kept_since = now - REQUESTS_KEPT
    rows = requests.RowChecks(now=now, kept_since=kept_since)
    await rows.run(session)
    scopes = await sums.scopes(session, start=ceiling(kept_since, "day"), end=now)
    return [
        await requests.once(session),
        await requests.orphans(session, ended_before=now - on_its_way),
        *rows.findings,
        *await sums.rollups(session, scopes),
        await sums.breakdowns(session, scopes),
        *await budgets.periods(session, kept_since=kept_since),
        await budgets.deadlines(session, now=now),
    ]
