"""The time to first token that we add to the provider's own: `make first-token` (ARGS=requests).

A provider on this machine waits 20 ms before it answers; it is asked directly and through the product's API, in turn,
so that both meet the same load. Rows: a model by its name, and `auto`, which classifies and chooses.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
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
MODELS = ("openai/gpt-4.1", "auto")
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


async def measure(folder: Path, requests: int) -> dict[str, list[float]]:
    """Milliseconds by row: `direct`, and through us by what was asked for."""
    found: dict[str, list[float]] = {"direct": [], **{model: [] for model in MODELS}}
    async with Upstream(delay_s=DELAY_S) as upstream, httpx.AsyncClient() as client:
        settings = settings_for(
            folder, openai_api_key=KEY, openai_base_url=upstream.openai_url, rate_limit_max=1_000_000
        )
        async for running in run(settings):
            key: Any = await running.new_key("live")
            async with serving(create_api(running.services)) as url:
                for _ in range(WARM_UP + requests):
                    address = f"{upstream.openai_url}/chat/completions"
                    found["direct"].append(await first_token_ms(client, address, KEY, "m"))
                    for model in MODELS:
                        found[model].append(await first_token_ms(client, f"{url}/v1/chat/completions", key, model))
    return {name: times[WARM_UP:] for name, times in found.items()}


def main(arguments: Sequence[str]) -> None:
    """Prints medians and 90th percentiles, and the median of what each call took beyond its direct twin."""
    requests = int(arguments[0]) if arguments else REQUESTS
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), requests))
    sys.stdout.write(f"time to first token, {requests} requests each; ms at the median and the 90th percentile\n")
    for name, times in found.items():
        added = statistics.median(one - twin for one, twin in zip(times, found["direct"], strict=True))
        told = "" if name == "direct" else f"   added {added:.1f}"
        p90 = statistics.quantiles(times, n=10)[-1]
        sys.stdout.write(f"{name:<20} {statistics.median(times):6.1f} {p90:6.1f}{told}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
