"""More requests than a worker can serve: it serves what it can, and says no to the others at once."""

import argparse
import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omni_app.api.load_shedding import LoadShedding
from omni_app.turns import Turns
from tests.faults.load import Outcome, Plan, Reply, Step, loaded
from tests.faults.rig import MODEL, Rig, rigged, say

PROMPT = "Explain in plain words how a binary heap keeps its order when the smallest element is taken away. " * 6
PROVIDER_S = 0.05
CALLERS = 6_000
RAMP = (16, 64, 256)
"""Callers of the closed loop; the best of them is the peak."""
TIMES = (2, 5, 10)
CALM = 1 / 4
"""Of the peak: the load before, between and after."""
CALM_S, BUSY_S = 6.0, 12.0
COUNTED, RUNS = 20_000, 5
SETTLING_S = 2.0
"""At the start of a step, not counted in its goodput."""
WINDOW_S = 0.5
"""Recovered: the first such stretch whose p99 is at most twice that of the calm before."""
GOODPUT, SHED_MS, RECOVERY_S = 0.9, 50.0, 5.0
"""What is promised."""


def plan(rig: Rig, secret: str, steps: Sequence[Step]) -> Plan:
    """Pinned to one model, so that each request costs the same."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}
    return Plan(f"{rig.base_url}/v1/chat/completions", secret, body, steps)


def within(replies: Sequence[Reply], from_s: float, to_s: float, status: int) -> list[Reply]:
    """Answers with this status that were whole in this time."""
    return [one for one in replies if one.status == status and from_s <= one.done_s < to_s]


def goodput(outcome: Outcome, step: int, seconds: float) -> float:
    """Whole answers per second, once the step has settled."""
    began_s = outcome.began_s[step]
    served = within(outcome.replies, began_s + SETTLING_S, began_s + seconds, 200)
    return len(served) / (seconds - SETTLING_S)


def percentile_ms(replies: Sequence[Reply], share: float) -> float:
    """A percentile of latencies; 0 of none."""
    ordered = sorted(one.latency_s for one in replies)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def recovered_s(outcome: Outcome, step: int, seconds: float, *, normal_ms: float) -> float:
    """From the start of a calm step until requests that come are served as before; all of it when they never are."""
    began_s = outcome.began_s[step]
    for number in range(int(seconds / WINDOW_S)):
        from_s = began_s + number * WINDOW_S
        window = [one for one in outcome.replies if from_s <= one.due_s < from_s + WINDOW_S]
        if window and {one.status for one in window} == {200} and percentile_ms(window, 0.99) <= 2 * normal_ms:
            return number * WINDOW_S
    return seconds


async def peak_goodput(rig: Rig, secret: str) -> float:
    """The best of a closed loop that grows."""
    steps = [Step(0, BUSY_S / 2, callers) for callers in RAMP]
    outcome = await loaded(plan(rig, secret, steps))
    found = [goodput(outcome, step, BUSY_S / 2) for step in range(len(steps))]
    say(
        "closed loop: "
        + ", ".join(f"{callers} callers {rate:.0f}/s" for callers, rate in zip(RAMP, found, strict=True))
    )
    return max(found)


async def overloaded(rig: Rig, secret: str, *, times: int, peak: float) -> bool:
    """Calm, `times` the peak, calm again; whether every promise was kept."""
    calm = Step(peak * CALM, CALM_S, CALLERS)
    busy = Step(peak * times, BUSY_S, CALLERS)
    outcome = await loaded(plan(rig, secret, (calm, busy, calm)))
    before = within(outcome.replies, SETTLING_S, CALM_S, 200)
    normal_ms = percentile_ms(before, 0.99)
    served_per_s = goodput(outcome, 1, BUSY_S)
    began_s, over_s = outcome.began_s[1:]
    served, shed = (within(outcome.replies, began_s, over_s, status) for status in (200, 503))
    others = [one.status for one in outcome.replies if one.status not in (200, 503)]
    shed_ms, back_s = percentile_ms(shed, 0.99), recovered_s(outcome, 2, CALM_S, normal_ms=normal_ms)
    say(
        f"{times} x: offered {outcome.sent[1] / BUSY_S:.0f}/s, goodput {served_per_s:.0f}/s "
        f"({served_per_s / peak:.0%} of the peak), served p50 {percentile_ms(served, 0.5):.0f} ms "
        f"p99 {percentile_ms(served, 0.99):.0f} ms; shed {len(shed) / BUSY_S:.0f}/s in p50 "
        f"{percentile_ms(shed, 0.5):.1f} ms p99 {shed_ms:.1f} ms; calm again after {back_s:.1f} s "
        f"(p99 {normal_ms:.0f} ms before); others {len(others)}, unanswered {outcome.unanswered}"
    )
    honest = not others and not outcome.unanswered and all(one.patient for one in shed)
    return honest and served_per_s >= GOODPUT * peak and shed_ms < SHED_MS and back_s <= RECOVERY_S


def layer_us() -> tuple[float, float]:
    """What the layer costs a request that is let in, and one that is refused, in microseconds of this process.

    Requests come one to a round of the loop, which is the dearest; the best of some runs, as the machine is shared.
    """
    scope = {"type": "http", "path": "/v1/chat", "headers": [(b"content-length", b"500")], "omni_request_id": "req_1"}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)

    async def nothing() -> Message:
        return {}

    async def sink(message: Message) -> None:
        del message

    async def each_us(layer: ASGIApp) -> float:
        began_s = time.thread_time()
        for _ in range(COUNTED):
            await layer({**scope}, nothing, sink)
        return (time.thread_time() - began_s) / COUNTED * 1e6

    async def measure() -> tuple[float, float]:
        bare = min([await each_us(app) for _ in range(RUNS)])
        let_in = min([await each_us(LoadShedding(app, Turns(), most_in_flight=2)) for _ in range(RUNS)])
        refused = min([await each_us(LoadShedding(app, Turns(), most_in_flight=0)) for _ in range(RUNS)])
        return let_in - bare, refused

    return uvloop.run(measure())


async def play(folder: Path, arguments: argparse.Namespace) -> bool:
    """The peak, then more and more than it."""
    let_in_us, refused_us = await asyncio.to_thread(layer_us)
    say(f"the layer adds {let_in_us:.1f} us to a request, and refuses one in {refused_us:.1f} us")
    async with rigged(folder, delay_s=PROVIDER_S) as rig:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:1])
        await rig.start()  # on one core: provider and callers would be on machines of their own
        os.sched_setaffinity(0, cores[1:] or cores)
        secret = (await rig.asks(1))[0].secret
        await loaded(plan(rig, secret, [Step(0, CALM_S, RAMP[0])]))  # warm
        peak = await peak_goodput(rig, secret)
        kept = [await overloaded(rig, secret, times=times, peak=peak) for times in TIMES]
        await rig.terminate()
    return all(kept)
