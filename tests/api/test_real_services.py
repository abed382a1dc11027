"""The API over the real services: Postgres, and Redis behind Upstash's protocol; two workers that share them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from omni_app.storage import keys
from tests.api.conftest import HELLO, Running, run, settings_for
from tests.api.test_api import CODE, settled
from tests.servers.upstash import TOKEN, UpstashServer, running_upstash
from tests.storage.conftest import as_server, migrated_sqlite, postgres, postgres_name, postgres_url

__all__ = ["migrated_sqlite", "postgres", "postgres_name", "postgres_url"]


@pytest.fixture(scope="module")
def upstash() -> Iterator[UpstashServer]:
    with running_upstash() as server:
        yield server


@asynccontextmanager
async def two_workers(
    folder: Path, postgres_url: str, upstash: UpstashServer, *, limit: int
) -> AsyncIterator[list[Running]]:
    """Two workers, as two machines would run them: nothing shared but Postgres and Redis, and the pepper."""
    async with AsyncExitStack() as stack:
        workers = []
        for name in ("one", "two"):
            settings = settings_for(
                folder / name,
                database_url=as_server(postgres_url),
                upstash_redis_rest_url=upstash.url,
                upstash_redis_rest_token=TOKEN,
                omni_key_pepper="p" * 32,
                rate_limit_max=limit,
                rate_limit_workers=2,
            )
            workers.append(await stack.enter_async_context(asynccontextmanager(run)(settings)))
        yield workers


async def test_a_key_made_at_one_worker_works_at_the_other_and_their_figures_are_one(
    tmp_path: Path, postgres_url: str, upstash: UpstashServer
) -> None:
    async with two_workers(tmp_path, postgres_url, upstash, limit=1_000) as (one, two):
        answers = [await worker.post("/v1/chat", CODE, key=one.key) for worker in (one, two, one, two)]
        assert [answer.status_code for answer in answers] == [200] * 4
        await settled(one)
        await settled(two)
        usage = (await two.get("/v1/usage", key=one.key)).json()
        assert usage["total_requests"] == 4
        assert usage["total_cost"] == pytest.approx(sum(answer.json()["cost"] for answer in answers), rel=1e-12)
        async with one.services.database.session() as session:
            key = next(k for k in await keys.list_keys(session, org_id=one.org_id) if k.last4 == one.key[-4:])
            await keys.revoke_key(session, org_id=one.org_id, key_id=key.id)
            await session.commit()
        await asyncio.sleep(0.9)
        assert [(await worker.get("/v1/models", key=one.key)).status_code for worker in (one, two)] == [401, 401]


async def test_two_workers_together_allow_no_more_than_the_limit(
    tmp_path: Path, postgres_url: str, upstash: UpstashServer
) -> None:
    async with two_workers(tmp_path, postgres_url, upstash, limit=20) as (one, two):
        for worker in (one, two):
            worker.services.limiter._door._timeout_s = 20.0  # type: ignore[attr-defined]  # a busy test machine
        asked = [worker.post("/v1/router/debug", HELLO, key=one.key) for _ in range(20) for worker in (one, two)]
        codes = Counter(answer.status_code for answer in await asyncio.gather(*asked))
        assert codes == {200: 20, 429: 20}
        refused = await two.post("/v1/chat", HELLO, key=one.key)
        assert refused.headers["x-ratelimit-mode"] == "shared"


async def test_when_redis_dies_in_the_middle_two_workers_together_stay_within_the_limit(
    tmp_path: Path, postgres_url: str
) -> None:
    with running_upstash() as mortal:
        async with two_workers(tmp_path, postgres_url, mortal, limit=21) as (one, two):
            for worker in (one, two):
                worker.services.limiter._door._timeout_s = 20.0  # type: ignore[attr-defined]  # a busy test machine
            before = [await worker.post("/v1/chat", HELLO, key=one.key) for worker in (one, two)]
            assert {answer.headers["x-ratelimit-mode"] for answer in before} == {"shared"}
            mortal.stop()
            asked = [worker.post("/v1/router/debug", HELLO, key=one.key) for _ in range(30) for worker in (one, two)]
            codes = Counter(answer.status_code for answer in await asyncio.gather(*asked))
            assert 18 <= codes[200] <= 20 and codes.total() == 60, (
                "21 with the two before; one had not heard of the other"
            )
            refused = [await worker.post("/v1/chat", HELLO, key=one.key) for worker in (one, two)]
            assert {(answer.status_code, answer.headers["x-ratelimit-mode"]) for answer in refused} == {(429, "local")}


async def test_when_redis_is_away_requests_go_on_by_local_limits(tmp_path: Path, postgres_url: str) -> None:
    settings = settings_for(
        tmp_path / uuid4().hex,
        database_url=postgres_url,
        upstash_redis_rest_url="http://127.0.0.1:9",
        upstash_redis_rest_token=TOKEN,
    )
    async for running in run(settings):
        answers = [await running.post("/v1/chat", HELLO) for _ in range(5)]
        assert {answer.status_code for answer in answers} == {200}
        assert answers[-1].headers["x-ratelimit-mode"] == "local"
        assert (await running.client.get("/ready")).status_code == 200
