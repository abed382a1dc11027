"""Prompts and answers of the orgs that opted in: sealed, kept for the days they chose, then gone.

They are a convenience of the request's page and no part of the ledger: what is offered waits in memory for its turn,
off the request's way, and a killed process loses what was waiting. Nothing is ever written down in clear.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.json_bytes import json_bytes
from omni_app.storage.database import DATABASE_ERRORS, Database
from omni_app.storage.pause import pause
from omni_app.storage.sealing import CannotOpen, Sealer
from omni_app.storage.tables import KeptPrompt, utc_now

log = logging.getLogger(__name__)

PURPOSE = "kept prompts"
MAX_BYTES = 1_000_000
"""A larger exchange (pictures, mostly) is not kept."""
MOST_WAITING = 2_000
WRITE_EVERY_S = 0.5
AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class KeptExchange:
    """What was asked and what was answered. `params` are the provider parameters of the request."""

    messages: Sequence[Mapping[str, Any]]
    params: Mapping[str, Any]
    answer: str


@dataclass(frozen=True, slots=True)
class _Waiting:
    request_id: str
    org_id: UUID
    sealed: bytes
    created_at: datetime
    expires_at: datetime


class PromptKeeper:
    """Takes exchanges without making anybody wait, and writes them down in batches."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer
        self._waiting: deque[_Waiting] = deque(maxlen=MOST_WAITING)

    def offer(self, *, org_id: UUID, request_id: str, days: int, exchange: KeptExchange) -> None:
        """Seals an exchange and lines it up; the oldest gives way when too many wait."""
        kept = {"messages": exchange.messages, "params": exchange.params, "answer": exchange.answer}
        text = json_bytes(kept, default=dict)
        if len(text) > MAX_BYTES:
            return
        now = utc_now()
        sealed = self._sealer.seal(text, about=_about(org_id, request_id))
        self._waiting.append(_Waiting(request_id, org_id, sealed, now, now + timedelta(days=days)))

    async def run(self, stopping: asyncio.Event) -> None:
        """Writes what waits, until it is to stop; then once more."""
        while not stopping.is_set():
            await pause(stopping, WRITE_EVERY_S)
            with suppress(*DATABASE_ERRORS):  # they wait for the database, as many as there is room for
                await self.flush()

    async def flush(self) -> None:
        """Writes all that waits. Raises what the database raises."""
        while self._waiting:
            batch = [self._waiting[place] for place in range(min(AT_ONCE, len(self._waiting)))]
            async with self._database.session() as session:
                await _insert(session, batch)
                await session.commit()
            for _ in batch:
                self._waiting.popleft()


async def _insert(session: AsyncSession, batch: Sequence[_Waiting]) -> None:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    rows = [{name: getattr(one, name) for name in one.__slots__} for one in batch]
    await session.execute(insert(KeptPrompt).on_conflict_do_nothing(), rows)


async def read_prompt(session: AsyncSession, *, org_id: UUID, request_id: str, sealer: Sealer) -> KeptExchange | None:
    """What this org's request asked and was answered; None when it was not kept, is gone, or cannot be opened."""
    query = select(KeptPrompt).where(
        col(KeptPrompt.request_id) == request_id,
        col(KeptPrompt.org_id) == org_id,
        col(KeptPrompt.expires_at) > utc_now(),
    )
    row = (await session.scalars(query)).first()
    if row is None:
        return None
    try:
        return KeptExchange(**json.loads(sealer.open(row.sealed, about=_about(org_id, request_id))))
    except CannotOpen:
        log.warning("a kept prompt cannot be opened with today's OMNI_SECRET_KEY")
        return None


async def forget_prompts(session: AsyncSession, *, org_id: UUID) -> None:
    """Deletes all that is kept of an org. The caller commits."""
    await session.execute(delete(KeptPrompt).where(col(KeptPrompt.org_id) == org_id))


async def forget_expired(session: AsyncSession) -> None:
    """Deletes what has been kept for as long as its org wished. The caller commits."""
    await session.execute(delete(KeptPrompt).where(col(KeptPrompt.expires_at) < utc_now()))


def _about(org_id: UUID, request_id: str) -> str:
    return f"{org_id} {request_id}"
