"""Two gateways over one Postgres and one Redis behind a proxy are one gateway to those who use them."""

from pathlib import Path

from tests.faults.scale import budget_is_one, fleet, limit_is_one, revoked_within_s
from tests.servers.postgres import Postgres
from tests.servers.upstash import UpstashServer, running_redis


async def test_limits_budgets_revocations_and_figures_are_one_across_gateways(
    postgres: Postgres, postgres_url: str, tmp_path: Path
) -> None:
    with running_redis() as port:
        upstash = UpstashServer(port)
        upstash.start()
        try:
            async with fleet(tmp_path, postgres_url, upstash.url, size=2) as made:
                assert await limit_is_one(made, limit=8) == {200: 8, 429: 16}
                statuses, spent, limit = await budget_is_one(made, fits=12)
                assert statuses.keys() == {200, 402} and 0 < spent <= limit
                assert await revoked_within_s(made) < 5
                _, _, secret = await made.key()
                told = await made.until_drained(secret, 8)
                assert told[0]["total_requests"] >= 8
                assert all(one["by_model"] == told[0]["by_model"] for one in told)
        finally:
            upstash.stop()
