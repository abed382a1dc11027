"""Reading much, a little at a time."""

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

AT_ONCE = 2_000


async def streamed(session: AsyncSession, query: Select[*tuple[Any, ...]]) -> AsyncIterator[Any]:
    """The rows of a query as they come from the database, few of them in memory."""
    async for row in await session.stream(query.execution_options(yield_per=AT_ONCE)):
        yield row
