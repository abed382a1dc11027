"""How a database says that it would run a statement."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

OF_WHICH = """
    SELECT part.relname, whole.relname FROM pg_inherits
    JOIN pg_class part ON part.oid = inhrelid JOIN pg_class whole ON whole.oid = inhparent
    WHERE whole.relkind = 'I'
"""
"""Partition's index -> the index that it is a part of."""


async def plan_of(connection: AsyncConnection, statement: str, parameters: Any, *, how: str = "") -> str:
    """The plan, a line a step, with each partition's index under its table's name for it. `how`: Postgres' options."""
    if connection.dialect.name == "sqlite":
        rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return "\n".join(str(row) for row in rows)
    rows = await connection.exec_driver_sql(f"EXPLAIN {how} {statement}", parameters)
    plan = "\n".join(str(line) for (line,) in rows)
    for part, whole in await connection.execute(text(OF_WHICH)):
        plan = plan.replace(f"{part} ", f"{whole} ")
    return plan
