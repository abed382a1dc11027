"""Migrations: what they may do while older code serves, and that no figure is lost on the way down and up again."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from alembic import command
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.pool import NullPool

from omni_app.storage import accounts, ledger
from omni_app.storage.database import OLDEST_CODE, Database, _alembic_config, current_schema, sync_url
from tests.storage.facts import NOON, attempt, record
from tests.storage.filling import fill_every_table

PASSWORD = "seven lamps on a quiet harbour"
REVISIONS: list[Script] = list(ScriptDirectory.from_config(_alembic_config("")).walk_revisions())[::-1]
NAMES = [script.revision for script in REVISIONS]
BREAKING = {
    "drops": r"^DROP (TABLE|VIEW)|^ALTER TABLE .* DROP",
    "renames": r"^ALTER TABLE .* RENAME",
    "changes a column": r"^ALTER TABLE .* ALTER (COLUMN )?",
    "adds a column that older code cannot fill": r"^ALTER TABLE .* ADD COLUMN (?!.*DEFAULT).*NOT NULL",
    "adds a constraint that older code may break": r"^ALTER TABLE .* ADD (CONSTRAINT|UNIQUE|PRIMARY|CHECK|FOREIGN)"
    r"|^CREATE UNIQUE INDEX",
    "changes or deletes rows": r"^(UPDATE|DELETE FROM|TRUNCATE)",
}
"""What is wrong -> the statements that do it, when their table was there before."""
CHANGES = r"(?:ALTER TABLE|CREATE INDEX \w+ ON) (\w+)"
"""Whoever does two of these in one transaction holds one table while it waits for the other, or for its index."""
OWN = ("alembic_version", "meta")
"""Tables that every revision notes itself in."""


def breaks(statements: Sequence[str], tables: set[str]) -> list[str]:
    """What of it older code, serving with these tables, may not survive."""
    found = []
    for statement in (" ".join(one.split()) for one in statements):
        named = set(re.findall(r"[a-z_]+", statement))
        for what, pattern in BREAKING.items():
            if re.search(pattern, statement, re.IGNORECASE) and named & tables - set(OWN):
                found.append(f"{what}: {statement}")
    return found


def crowded(statements: Sequence[str], tables: set[str]) -> list[str]:
    """What a revision, which is one transaction, had better leave to others: columns of one table, or one index."""
    changed = [re.match(CHANGES, " ".join(one.split()), re.IGNORECASE) for one in statements]
    touched = {(one[1], "INDEX" in one[0].upper()) for one in changed if one and one[1] in tables - set(OWN)}
    return sorted(f"{table}{' (index)' * is_index}" for table, is_index in touched) if len(touched) > 1 else []


@contextmanager
def listening() -> Iterator[list[str]]:
    """All that is said to any database."""
    said: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        said.append(statement)

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


def tables_of(url: str) -> set[str]:
    engine = create_engine(sync_url(url), poolclass=NullPool)
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names


def rows_of(url: str) -> dict[str, list[dict[str, Any]]]:
    """Table -> its rows, in one order."""
    engine = create_engine(sync_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        found = {
            name: sorted((dict(row) for row in connection.execute(text(f"SELECT * FROM {name}")).mappings()), key=repr)
            for name in inspect(engine).get_table_names()
        }
    engine.dispose()
    return found


@pytest.mark.parametrize("place", range(1, len(REVISIONS)), ids=NAMES[1:])
def test_a_migration_that_older_code_does_not_survive_says_why(place: int, database_url: str) -> None:
    config = _alembic_config(sync_url(database_url))
    command.downgrade(config, NAMES[place - 1])
    before = tables_of(database_url)
    with listening() as said:
        command.upgrade(config, NAMES[place])
    assert any("alembic_version" in one for one in said)
    found = breaks(said, before) + crowded(said, before)
    assert not found or REVISIONS[place].module.contract, found


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE orgs",
        "ALTER TABLE orgs DROP COLUMN name",
        "ALTER TABLE orgs RENAME TO teams",
        "ALTER TABLE orgs RENAME COLUMN name TO title",
        "ALTER TABLE orgs ALTER COLUMN name SET NOT NULL",
        "ALTER TABLE orgs ALTER COLUMN name TYPE TEXT",
        "ALTER TABLE orgs ADD COLUMN colour VARCHAR(7) NOT NULL",
        "ALTER TABLE orgs ADD CONSTRAINT one_name UNIQUE (name)",
        "CREATE UNIQUE INDEX one_name ON orgs (name)",
        "UPDATE orgs SET name = 'x'",
        "DELETE FROM\n  orgs",
    ],
)
def test_what_breaks_older_code_is_seen(statement: str) -> None:
    assert len(breaks([statement], {"orgs", "meta"})) == 1
    assert breaks([statement], {"requests"}) == [], "a table of its own"


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE orgs ADD COLUMN colour VARCHAR(7)",
        "ALTER TABLE orgs ADD COLUMN colour VARCHAR(7) DEFAULT '' NOT NULL",
        "CREATE INDEX some ON orgs (name)",
        "CREATE TABLE teams (id INTEGER NOT NULL)",
        "ALTER TABLE orgs ENABLE ROW LEVEL SECURITY",
        "UPDATE alembic_version SET version_num = '2'",
    ],
)
def test_what_older_code_survives_is_allowed(statement: str) -> None:
    assert breaks([statement], {"orgs", "alembic_version", "meta"}) == []


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (["ALTER TABLE orgs ADD COLUMN a INT", "ALTER TABLE orgs ADD COLUMN b INT"], []),
        (["CREATE TABLE teams (id INT)", "CREATE INDEX t ON teams (id)", "ALTER TABLE orgs ADD COLUMN a INT"], []),
        (["ALTER TABLE orgs ADD COLUMN a INT", "ALTER TABLE users ADD COLUMN a INT"], ["orgs", "users"]),
        (["ALTER TABLE orgs ADD COLUMN a INT", "CREATE INDEX o ON orgs (a)"], ["orgs", "orgs (index)"]),
    ],
)
def test_two_locks_in_one_transaction_are_seen(statements: list[str], found: list[str]) -> None:
    assert crowded(statements, {"orgs", "users"}) == found


def test_the_schema_says_which_code_may_serve_it(database_url: str) -> None:
    config = _alembic_config(sync_url(database_url))
    for place in reversed(range(len(REVISIONS))):
        command.downgrade(config, NAMES[place])
        contracts = [one.revision for one in REVISIONS[: place + 1] if one.module.contract]
        (row,) = [one for one in rows_of(database_url)["meta"] if one["key"] == OLDEST_CODE]
        assert row["value"] == contracts[-1]
    command.upgrade(config, "head")
    assert current_schema(database_url).revision == NAMES[-1]


# Data


async def fill(url: str) -> None:
    """A row in every table, and a ledger whose roll-ups are the sums of its rows."""
    database = Database(url)
    async with database.session() as session:
        person = await accounts.sign_up(session, email="a@example.com", password=PASSWORD, org_name="A")
        await fill_every_table(session, {"org_id": person.org_id, "user_id": person.user_id})
        for table in ("requests", "attempts", "usage_rollups", "latency_rollups"):
            await session.execute(text(f"DELETE FROM {table}"))
        for number in range(60):
            await write_one(session, number)
        await session.commit()
    await database.close()


async def write_one(session: Any, number: int) -> None:
    """A request of some hour or other; every third was rescued, every fifth failed."""
    name, tries = f"req_{number}", 2 if number % 3 == 0 else 1
    attempts = [replace(attempt(name, position), cost=7 + number + position) for position in range(tries)]
    cost, served = sum(one.cost for one in attempts), number % 5 != 0
    row = replace(
        record(name),
        created_at=NOON + timedelta(hours=number),
        cost=cost,
        failed_cost=cost - attempts[-1].cost if served else cost,
        attempts=tries,
        rescued=served and tries > 1,
        success=served,
        error_code="" if served else "provider_error",
        images=number % 2,
    )
    await ledger.insert_records(session, [row], attempts)


def kept(rows: dict[str, list[dict[str, Any]]], columns: dict[str, set[str]]) -> dict[str, list[dict[str, Any]]]:
    """What a schema with these columns holds of it."""
    return {
        table: sorted(({name: row[name] for name in names} for row in rows[table]), key=repr)
        for table, names in columns.items()
        if table not in OWN
    }


@pytest.mark.parametrize("revision", NAMES[:-1])
async def test_nothing_that_an_older_schema_holds_is_lost_on_the_way_down_and_up(
    revision: str, database_url: str
) -> None:
    await fill(database_url)
    config = _alembic_config(sync_url(database_url))
    before = rows_of(database_url)
    command.downgrade(config, revision)
    columns = {table: set(rows[0]) for table, rows in rows_of(database_url).items() if rows}
    at_least = {"requests", "attempts", "routing_logs", "orgs", "users", "api_keys", "models", "sessions"}
    assert columns.keys() >= at_least
    command.upgrade(config, "head")
    after = rows_of(database_url)
    assert kept(after, columns) == kept(before, columns)
    derived = {name: set(before[name][0]) for name in ("usage_rollups", "latency_rollups", "requests")}
    if revision == "0001":  # it does not hold how long routing took, nor the first token
        derived["usage_rollups"] -= {"routed", "routing_us"}
    assert kept(after, derived) == kept(before, derived), "sums are made again from the rows"
