"""Callers go away. `make chaos ARGS="--play hangups"` is the long form."""

import asyncio
from pathlib import Path

from tests.faults.hangups import (
    DOORS,
    TEXT,
    WAYS,
    asked_again,
    hang_up,
    missing_or_free,
    settled_budget,
    until_alone,
    walk_away,
    with_budget,
)
from tests.faults.rig import account, patient_client, rigged

STREAMS = 24


async def test_a_stream_that_is_left_costs_what_was_produced_and_the_providers_call_ends(tmp_path: Path) -> None:
    async with rigged(tmp_path, delay_s=0.5) as rig:
        rig.upstream.text = TEXT
        await with_budget(rig)
        await rig.start()
        heard = await asyncio.gather(
            *(
                hang_up(rig, ask, path=DOORS[number % 3], words=1 + number % 5, way=WAYS[number % 2])
                for number, ask in enumerate(await rig.asks(STREAMS))
            )
        )
        let_go_s = await until_alone(rig)
        await rig.until_settled()
        standing = await settled_budget(rig)
        bad, told, rows = missing_or_free(rig, heard), account(rig), rig.ledger()
    assert not bad and len(rows) == STREAMS
    assert told.balanced, told
    assert let_go_s < 10, "the whole stream would take minutes"
    assert (standing.spent, standing.reserved) == (sum(row.cost for row in rows), 0)


async def test_a_plain_answer_is_finished_and_a_stream_ends_with_its_first_piece(tmp_path: Path) -> None:
    async with rigged(tmp_path, delay_s=1.5) as rig, patient_client() as client:
        rig.upstream.text = TEXT
        await with_budget(rig)
        await rig.start()
        plain, streams = (asks := await rig.asks(12))[:6], asks[6:]
        await asyncio.gather(
            *(walk_away(rig, ask, way=WAYS[number % 2]) for number, ask in enumerate(plain)),
            *(walk_away(rig, ask, way=WAYS[number % 2], stream=True) for number, ask in enumerate(streams)),
        )
        again = await asyncio.gather(*(asked_again(rig, client, ask) for ask in plain))
        await rig.until_settled()
        standing = await settled_budget(rig)
        told, rows = account(rig), {row.mark: row for row in rig.ledger()}
    assert all(again), "the answer was kept for the caller who comes back with the same Idempotency-Key"
    assert {(rows[ask.mark].error_code, rows[ask.mark].cost > 0) for ask in plain} == {("", True)}
    assert {(rows[ask.mark].error_code, rows[ask.mark].tokens_output < 50) for ask in streams} == {("cancelled", True)}
    assert told.balanced and told.calls == 12, told
    assert (standing.spent, standing.reserved) == (sum(row.cost for row in rows.values()), 0)
