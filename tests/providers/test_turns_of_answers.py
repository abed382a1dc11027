"""What many answers at the same time take of the event loop."""

import asyncio

import orjson

from omni_app.providers.base import Timeouts
from omni_app.providers.transport import Reply, Transport
from omni_app.turns import Turns
from tests.servers.upstream import Upstream

TIMEOUTS = Timeouts()
BODY = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello"}]})


async def call(transport: Transport, upstream: Upstream) -> Reply:
    headers = {"Authorization": f"Bearer {upstream.key}", "Content-Type": "application/json"}
    url = f"{upstream.openai_url}/chat/completions"
    return await transport.post(url, headers=headers, body=BODY, timeouts=TIMEOUTS)


async def test_an_answer_waits_for_its_turn() -> None:
    turns = Turns(clock=iter(range(10**9)).__next__, call_soon=lambda _: None)
    transport = Transport(turns)
    async with Upstream() as upstream:
        await turns.to_begin()  # somebody uses up this round, and no other comes
        waiting = asyncio.create_task(call(transport, upstream))
        async with asyncio.timeout(10):
            while not turns.waiting:  # noqa: ASYNC110 a count has no event
                await asyncio.sleep(0.01)
        assert not waiting.done()
        turns._round()
        assert (await waiting).status == 200
        await transport.aclose()
