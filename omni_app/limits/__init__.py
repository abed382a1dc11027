"""Rate limits: one Protocol, in memory for one process, in Upstash's Redis for many."""

from omni_app.authorities import web_client
from omni_app.limits.base import Limiter, Quota, Verdict
from omni_app.limits.memory import MemoryLimiter

__all__ = ["Limiter", "MemoryLimiter", "Quota", "Verdict", "build_limiter"]


TIMEOUT_S = 10.0
"""Of Upstash's client; `Door` gives up long before."""


def build_limiter(url: str, token: str, *, workers: int = 1) -> Limiter:
    """Upstash's when its address and token are given, else the one in memory. `workers` share that Redis."""
    if not url:
        return MemoryLimiter()
    # Only those who use Upstash pay for its client's memory and start-up time.
    from upstash_redis.asyncio import Redis

    from omni_app.limits.upstash import UpstashLimiter

    redis = Redis(url=url, token=token, rest_retries=0, allow_telemetry=False)
    # Its client would believe a list of its own, and ask by way of a proxy of the environment.
    redis._http._client = web_client(TIMEOUT_S)
    return UpstashLimiter(redis, workers=workers)
