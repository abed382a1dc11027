"""What a request's own steps cost as things grow: `make bench-growth`. CPU time in one process, medians; prints ratios.

Models in the registry, keys in memory, orgs that are counted, bytes of the prompt. Each is compared with the smallest.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from statistics import median
from uuid import uuid4

import jiter
import orjson

from omni_app.api.openai_schema import parse_completions
from omni_app.gateway.gateway import route_request
from omni_app.gateway.types import Caller
from omni_app.limits import MemoryLimiter, Quota
from omni_app.registry import packaged_registry
from omni_app.routing.decide import decide
from omni_app.routing.shortlist import RoutingTable
from omni_app.routing.types import Policy, RouteRequest, Snapshot, Task
from omni_app.storage.keys import KeyHasher, generate_key

MODELS = (10, 100, 1_000, 10_000)
KEYS = (10, 1_000, 10_000)
ORGS = (10, 1_000, 10_000)
PROMPTS = (1_000, 10_000, 100_000, 1_000_000)
FILLER = "Routers choose the model that gives the best result for the price; this text is here to be long. "
PINNED = "openai/gpt-4.1-mini"


def cpu_us(work: Callable[[], object], *, times: int) -> float:
    """CPU microseconds of one call, the median of seven runs after a first one."""
    work()
    runs = []
    for _ in range(7):
        began_s = time.process_time()
        for _ in range(times):
            work()
        runs.append((time.process_time() - began_s) / times * 1e6)
    return median(runs)


def models(count: int) -> dict[str, float]:
    """A decision among so many: with the shortlist that is kept, and when a new state of the world makes it anew."""
    real = packaged_registry().serving("live")
    many = [replace(real[n % len(real)], id=f"{real[n % len(real)].id}-{n}") for n in range(count)]
    table, policy = RoutingTable(many), Policy()
    asked = RouteRequest({Task.CHAT: 1.0}, 500, 2_000, "live")
    named = replace(asked, pinned=(many[0].id,))
    calm = Snapshot("calm")

    def choose(request: RouteRequest, snapshot: Snapshot) -> object:
        return decide(request, deployments=table, policy=policy, snapshot=snapshot, registry_version="v")

    return {
        "decide, auto": cpu_us(lambda: choose(asked, calm), times=max(1, 2_000 // count)),
        "decide, model named": cpu_us(lambda: choose(named, calm), times=200),
        "decide, auto, a new state of the world": cpu_us(lambda: choose(asked, Snapshot(uuid4().hex)), times=1),
    }


def keys(count: int) -> dict[str, float]:
    """A key's digest, of so many that are in use."""
    hasher, used = KeyHasher("pepper" * 6), [generate_key("live") for _ in range(count)]
    turns = iter(used * 1_000)
    return {"a key's digest": cpu_us(lambda: hasher.digest(next(turns)), times=max(count, 1_000))}


def orgs(count: int) -> dict[str, float]:
    """One count against a rate limit, with so many orgs counted at the same time."""
    limiter, subjects = MemoryLimiter(), [Quota(f"org:{n}", 10**9, 1.0) for n in range(count)]
    turns = iter(subjects * 1_000)
    return {"a count against a limit": cpu_us(lambda: limiter.count(next(turns)), times=max(count, 1_000))}


def prompt(size: int) -> dict[str, float]:
    """Reading the body, checking it, telling the task and the tokens, and writing it out for the provider."""
    text = (FILLER * (size // len(FILLER) + 1))[:size]
    body = json.dumps({"model": PINNED, "messages": [{"role": "user", "content": text}], "max_tokens": 64}).encode()
    caller, deployments = Caller(uuid4(), uuid4(), "live"), packaged_registry().serving("live")

    def serve() -> object:
        value = jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys")
        asked = parse_completions(value, deployments=deployments, key_kind="live", timeout_s=None).request
        route_request(caller, asked)
        return orjson.dumps({"model": PINNED, "messages": asked.messages})

    return {"reading and writing a prompt": cpu_us(serve, times=max(2, 300_000 // size))}


def table(thing: str, sizes: Iterable[int], measured: Callable[[int], dict[str, float]]) -> list[str]:
    """Lines of Markdown: a row for each step and size."""
    rows: dict[str, list[tuple[int, float]]] = {}
    for size in sizes:
        for step, found_us in measured(size).items():
            rows.setdefault(step, []).append((size, found_us))
    return [
        f"| {step} | {size:,} {thing} | {found_us:,.1f} | {found_us / seen[0][1]:,.1f} |"
        for step, seen in rows.items()
        for size, found_us in seen
    ]


async def measured() -> list[str]:
    """All tables, on a running loop, as in the product."""
    return [
        *table("models", MODELS, models),
        *table("keys", KEYS, keys),
        *table("orgs", ORGS, orgs),
        *table("bytes", PROMPTS, prompt),
    ]


def main() -> None:
    """Prints the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print("| step | with | CPU, µs | × the smallest |\n|---|---|---:|---:|")
    print("\n".join(asyncio.run(measured())))


if __name__ == "__main__":
    main()
