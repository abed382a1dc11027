"""When and from where the catalogues are read: once, by an operator's command; or daily, by one worker for all."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import delete
from sqlmodel import col

from omni_app.providers.fetch import FetchError, fetch
from omni_app.registry.build import Sources, load_sources
from omni_app.registry.feeds import MOST_BYTES, sources_of
from omni_app.registry.price_map import SourceError
from omni_app.registry.sync import Report, Told, follow, read_catalogues
from omni_app.storage.database import DATABASE_ERRORS, Database
from omni_app.storage.meta import first_meta
from omni_app.storage.pause import pause
from omni_app.storage.tables import Meta, utc_now

log = logging.getLogger(__name__)

LOOK_S = 3_600.0
CLAIM = "catalog_day:"


@dataclass(frozen=True, slots=True)
class Catalogues:
    """The two addresses that the operator lets us read."""

    openrouter_url: str
    litellm_url: str

    async def read(self) -> Told:
        """What they say today. Raises `SourceError` when one cannot be had, or is not right."""
        try:
            bodies = [await fetch(url, most_bytes=MOST_BYTES) for url in (self.openrouter_url, self.litellm_url)]
        except FetchError as error:
            raise SourceError(str(error)) from error
        return await asyncio.to_thread(_understood, *bodies)


def _understood(openrouter: bytes, litellm: bytes) -> Told:
    seen = datetime.now(UTC).date()
    return read_catalogues(sources_of(load_sources(), openrouter=openrouter, litellm=litellm, seen=seen))


def packaged() -> tuple[Told, str]:
    """What the packaged catalogues say, and their day. Raises `SourceError`."""
    sources: Sources = load_sources()
    return read_catalogues(sources), sources.catalog.as_of.isoformat()


class DailySync:
    """Follows the catalogues once a UTC day, whichever worker comes first; what went wrong is tried an hour later."""

    def __init__(self, database: Database, catalogues: Catalogues, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._catalogues = catalogues
        self._clock = clock

    async def run(self, stopping: asyncio.Event) -> None:
        """Until it is to stop."""
        while not stopping.is_set():
            with suppress(*DATABASE_ERRORS):  # `/ready` tells
                await self.once_today()
            await pause(stopping, LOOK_S)

    async def once_today(self) -> Report | None:
        """What it came to; None when another worker has today, or it went wrong. Raises what the database raises."""
        day = self._clock().date().isoformat()
        if not await self._is_mine(day):
            return None
        try:
            told = await self._catalogues.read()
            async with self._database.session() as session:
                report = await follow(session, told, day=day, is_new=True)
                await session.commit()
        except (SourceError, *DATABASE_ERRORS) as error:
            await self._give_back(day)
            if not isinstance(error, SourceError):
                raise
            log.warning("the catalogues were not followed, nothing is changed: %s", error)
            return None
        log.info("catalogues followed: %d changes, %d wait for `catalog accept`", len(report.applied), len(report.held))
        return report

    async def _is_mine(self, day: str) -> bool:
        claim = uuid4().hex
        async with self._database.session() as session:
            mine = await first_meta(session, CLAIM + day, claim) == claim
            past = (col(Meta.key).startswith(CLAIM), col(Meta.key) < CLAIM + day)
            await session.execute(delete(Meta).where(*past))
            await session.commit()
        return mine

    async def _give_back(self, day: str) -> None:
        async with self._database.session() as session:
            await session.execute(delete(Meta).where(col(Meta.key) == CLAIM + day))
            await session.commit()
