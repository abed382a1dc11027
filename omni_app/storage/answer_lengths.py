"""How long answers are, per task, in our own traffic: what a request without `max_tokens` is expected to cost."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.routing.types import Task
from omni_app.storage.database import DATABASE_ERRORS, Database
from omni_app.storage.pause import pause
from omni_app.storage.tables import RequestRow, RoutingLog

EVERY_S = 300.0
NEWEST = 10_000
"""How many of the newest requests are looked at: bounds the query, and lets the figures follow the traffic."""
ENOUGH = 30
"""With fewer answers than this a task keeps its prior: a convention, for a median that one odd day does not move."""


class AnswerLengths:
    """The medians as they were read last; none until the first reading, and while there is too little traffic."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._medians: Mapping[Task, int] = {}

    def medians(self) -> Mapping[Task, int]:
        """Task -> output tokens, from memory."""
        return self._medians

    async def run(self, stopping: asyncio.Event) -> None:
        """Reads them anew now and then, until it is to stop; keeps the last ones while the database is away."""
        while not stopping.is_set():
            with suppress(*DATABASE_ERRORS):
                await self.refresh()
            await pause(stopping, EVERY_S)

    async def refresh(self) -> None:
        """One reading. Raises what the database raises."""
        async with self._database.session() as session:
            self._medians = await median_output_tokens(session)


async def median_output_tokens(session: AsyncSession, *, newest: int = NEWEST) -> dict[Task, int]:
    """Task -> the median of its answers' output tokens (the lower one of two), to two digits.

    Of live requests of any org that were answered once (`n` = 1), by no simulated model, and were free in their length
    (no `max_tokens`, which would tell of the limit and not of the task). A task with too few of them is missing. More
    digits would be noise, and would make every moment a state of its own.
    """
    looked_at = (
        select(col(RoutingLog.request_id), col(RoutingLog.created_at), col(RoutingLog.features))
        .order_by(col(RoutingLog.created_at).desc())
        .limit(newest)
        .subquery()
    )
    ranked = (
        select(
            col(RequestRow.task),
            col(RequestRow.tokens_output),
            func.row_number()
            .over(partition_by=col(RequestRow.task), order_by=col(RequestRow.tokens_output))
            .label("place"),
            func.count().over(partition_by=col(RequestRow.task)).label("answers"),
        )
        .join(
            looked_at,
            and_(
                looked_at.c.request_id == col(RequestRow.request_id),
                looked_at.c.created_at == col(RequestRow.created_at),
            ),
        )
        .where(
            col(RequestRow.key_kind) == "live",
            col(RequestRow.success),
            ~col(RequestRow.simulated),
            col(RequestRow.task).in_([task.value for task in Task]),
            looked_at.c.features["max_tokens"].as_integer().is_(None),
            looked_at.c.features["choices"].as_integer() == 1,
        )
        .subquery()
    )
    middle = select(ranked.c.task, ranked.c.tokens_output).where(
        ranked.c.answers >= ENOUGH, ranked.c.place == (ranked.c.answers + 1) // 2
    )
    return {Task(task): int(float(f"{tokens:.1e}")) for task, tokens in await session.execute(middle)}
