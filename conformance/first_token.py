"""The time to first token that we add to the provider's own: `python -m conformance.first_token`.

A provider on this machine waits 20 ms before it answers; it is asked directly and through the product's API, in turn.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from omni_app.api.app import create_api
from tests.api.conftest import run, settings_for
from tests.servers.asgi import serving
from tests.servers.upstream import KEY, Upstream

REQUESTS = 200
WARM_UP = 10
DELAY_S = 0.02
BODY = {
    "messages": [{"role": "user", "content": "Write a Python function that reverses a linked list."}],
    "stream": True,
}


async def first_token_ms(client: httpx.AsyncClient, url: str, key: str, model: str) -> float:
    """From sending the request to the first chunk with content."""
    started_s = time.perf_counter()
    headers, found_s = {"Authorization": f"Bearer {key}"}, 0.0
    async with client.stream("POST", url, json={**BODY, "model": model}, headers=headers) as answer:
        async for line in answer.aiter_lines():
            if not found_s and '"content":' in line and '"content":""' not in line:
                found_s = time.perf_counter()
    return (found_s - started_s) * 1000


async def measure(folder: Path) -> tuple[list[float], list[float]]:
    """Milliseconds, direct and through us."""
    direct: list[float] = []
    through: list[float] = []
    async with Upstream(delay_s=DELAY_S) as upstream, httpx.AsyncClient() as client:
        settings = settings_for(
            folder, openai_api_key=KEY, openai_base_url=upstream.openai_url, rate_limit_max=1_000_000
        )
        async for running in run(settings):
            key: Any = await running.new_key("live")
            async with serving(create_api(running.services)) as url:
                for _ in range(WARM_UP + REQUESTS):
                    address = f"{upstream.openai_url}/chat/completions"
                    direct.append(await first_token_ms(client, address, KEY, "m"))
                    through.append(await first_token_ms(client, f"{url}/v1/chat/completions", key, "auto"))
    return direct[WARM_UP:], through[WARM_UP:]


def main() -> None:
    """Prints the medians."""
    with tempfile.TemporaryDirectory() as folder:
        direct, through = (statistics.median(one) for one in asyncio.run(measure(Path(folder))))
    added = f"added {through - direct:.1f} ms, ratio {through / direct:.2f}"
    sys.stdout.write(f"median of {REQUESTS}: direct {direct:.1f} ms, through {through:.1f} ms; {added}\n")


if __name__ == "__main__":
    main()
