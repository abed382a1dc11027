"""The next version's migration runs while this one serves. `make chaos ARGS="--play migrations"` is the long form."""

from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest

from omni_app.storage.database import current_schema
from tests.faults.migrations import (
    NEWEST,
    NEXT,
    alembic,
    long_transaction,
    next_version,
    rows_of_requests,
    under_load,
    until_rows,
)
from tests.faults.rig import rigged
from tests.servers.postgres import Postgres


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of either kind, not migrated yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'omni.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.create(f"omni_{uuid4().hex}")


async def test_the_next_version_migrates_up_and_down_while_this_one_serves(empty_url: str, tmp_path: Path) -> None:
    ini = next_version(tmp_path)
    async with rigged(tmp_path, delay_s=0.1, environment={"DATABASE_URL": empty_url}) as rig:
        asks = await rig.asks(1_000)
        await rig.start()
        async with under_load(rig, asks) as watch:
            await (await alembic(rig, ini, "upgrade", "head")).ended()
            revision = current_schema(empty_url).revision
            await (await alembic(rig, ini, "downgrade", f"-{len(NEXT)}")).ended()
        rows = await until_rows(rig, len(rig.upstream.calls))
        await rig.terminate()
        outcomes = Counter(one.told for one in rig.outcomes)
    assert revision == NEWEST
    assert set(outcomes) == {"200", "done"}, outcomes
    assert set(watch.ready) == {200}, "this version may serve the next one's schema"
    assert (rows, rows_of_requests(empty_url)[1]) == (len(rig.upstream.calls), 0)


async def test_an_upgrade_behind_a_long_transaction_lets_everybody_pass(postgres: Postgres, tmp_path: Path) -> None:
    ini, url = next_version(tmp_path), postgres.create(f"omni_{uuid4().hex}")
    async with rigged(tmp_path, delay_s=0.1, environment={"DATABASE_URL": url}) as rig:
        asks = await rig.asks(1_000)
        await rig.start()
        async with under_load(rig, asks):
            with long_transaction(url):
                upgrading = await alembic(rig, ini, "upgrade", "head")
                await upgrading.until_said("tries again")
                await rig.until_answered(len(rig.outcomes) + 10)
            await upgrading.ended()
        await rig.terminate()
        outcomes = Counter(one.told for one in rig.outcomes)
    assert current_schema(url).revision == NEWEST
    assert set(outcomes) == {"200", "done"}, outcomes
