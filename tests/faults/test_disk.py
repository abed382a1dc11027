"""The disk fills up under a real server, and has room again. `make chaos ARGS="--play disk"` is the long form."""

import asyncio
from collections import Counter
from pathlib import Path

from tests.faults.disk import files_no_longer_than, until_ready_is
from tests.faults.rig import account, patient_client, rigged

IN_FLIGHT = 10


async def test_what_a_provider_was_called_for_is_answered_and_recorded_however_full_the_disk(tmp_path: Path) -> None:
    async with rigged(tmp_path, delay_s=1.0) as rig, patient_client() as client:
        await rig.start()
        asks = await rig.asks(5 * IN_FLIGHT)
        before = [asyncio.create_task(rig.send(client, ask)) for ask in asks[:IN_FLIGHT]]
        await rig.until_called(IN_FLIGHT)
        (worker,) = rig.workers()
        (segment,) = (tmp_path / "spool").glob("*.log")
        with files_no_longer_than(worker, segment.stat().st_size):
            during = [asyncio.create_task(rig.send(client, ask)) for ask in asks[IN_FLIGHT:-IN_FLIGHT]]
            await until_ready_is(rig, 503)
            ended = Counter(one.told for one in await asyncio.gather(*before))
            refused = Counter(one.told for one in await asyncio.gather(*during))
            called = len(rig.upstream.calls)
        await until_ready_is(rig, 200)
        after = Counter(one.told for one in await asyncio.gather(*(rig.send(client, ask) for ask in asks[-IN_FLIGHT:])))
        await rig.until_settled()
        code, _ = await rig.terminate()
        told = account(rig)
    assert ended == {"200": IN_FLIGHT // 2, "done": IN_FLIGHT // 2}
    assert refused["503 try again"] > 0 and set(refused) <= {"503 try again", "200", "done"}, refused
    assert called == IN_FLIGHT + refused["200"] + refused["done"], "who was refused had no provider called"
    assert set(after) == {"200", "done"}
    assert (code, told.balanced, told.unknown) == (0, True, 0), told
