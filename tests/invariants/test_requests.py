"""Single requests through the real gateway: what they and the baseline cost, and what the provider counted."""

import json
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.gateway.types import Answer
from omni_app.providers import anthropic_answers, openai_answers
from omni_app.providers.base import Completion, ProviderRequest, Usage
from omni_app.providers.gathering import Gathering, Gatherings, deltas_of
from omni_app.providers.transport import Reply
from omni_app.registry import Registry
from omni_app.registry.store import record_registry
from omni_app.routing.cost import actual_cost
from omni_app.storage.database import Database
from omni_app.storage.ledger import AttemptRecord, RequestRecord
from omni_app.storage.spool import Drainer
from omni_app.storage.tables import utc_now
from omni_app.verify import verify_ledger
from tests.cases import batch, batches, cases
from tests.gateway.scripted import FLEET, facts
from tests.invariants.scripts import LIMITS, PRICES, REGISTRIES, SCRIPTS, Script, stage
from tests.providers.asking import HELLO, QUICK
from tests.servers.upstream import completion_events, message_events

pytestmark = pytest.mark.invariants

COUNTS = st.none() | st.integers(-3, 10**9) | st.floats(0, 10**6) | st.just("12")
"""What providers have been seen to send for a count."""


Account = list[tuple[str, Usage | None]]
"""What the provider says of its calls: model, and what it billed."""


async def played(folder: Path, registry: Registry, scripts: Iterable[Script]) -> tuple[list[Answer | None], Account]:
    """Each script's answer (None when it failed), and the provider's own account."""
    on = stage(folder, registry)
    answers = [await on.play(script) for script in scripts]
    on.gateway.spool.close()
    return answers, on.billed


@batches()
@given(registry=REGISTRIES, scripts=batch(SCRIPTS))
async def test_what_the_provider_counted_is_what_the_ledger_has(registry: Registry, scripts: list[Script]) -> None:
    with TemporaryDirectory() as folder:
        answers, billed = await played(Path(folder), registry, scripts)
        spooled = facts(Path(folder))
    attempts = [one for one in spooled if isinstance(one, AttemptRecord)]
    rows = [one for one in spooled if isinstance(one, RequestRecord)]
    assert [one.model for one in attempts] == [model for model, _ in billed]
    for attempt, (model, usage) in zip(attempts, billed, strict=True):
        deployment = registry.get(model)
        assert deployment is not None
        assert attempt.cost == (actual_cost(deployment.price, usage) if usage else 0) >= 0
        assert (attempt.tokens_input, attempt.tokens_output) == ((usage.input, usage.output) if usage else (0, 0))
    costs: Counter[str] = Counter()
    for attempt in attempts:
        costs[attempt.request_id] += attempt.cost
    assert len(rows) == len(scripts) and sum(row.attempts for row in rows) == len(billed)
    assert {row.request_id: row.cost for row in rows} == {row.request_id: costs[row.request_id] for row in rows}
    assert [answer.cost for answer in answers if answer] == [row.cost for row in rows if row.success]


@batches()
@given(registry=REGISTRIES, scripts=batch(SCRIPTS))
async def test_a_saving_is_the_baseline_s_price_for_the_same_tokens_minus_all_that_was_spent(
    registry: Registry, scripts: list[Script]
) -> None:
    with TemporaryDirectory() as folder:
        answers, _ = await played(Path(folder), registry, scripts)
        rows = [one for one in facts(Path(folder)) if isinstance(one, RequestRecord)]
    baseline = registry.get("alpha/large")
    assert baseline is not None
    for answer, row in zip(answers, rows, strict=True):
        assert row.savings == row.premium_cost - row.cost
        if answer is None:
            assert (row.premium_cost, row.failed_cost, row.success) == (0, row.cost, False)
            continue
        assert row.premium_cost == actual_cost(baseline.price, answer.usage)
        assert answer.savings == row.savings == actual_cost(baseline.price, answer.usage) - answer.cost
        answered_by = registry.get(row.model)
        assert answered_by is not None
        assert row.failed_cost == row.cost - actual_cost(answered_by.price, answer.usage)


@batches()
@given(registries=st.lists(REGISTRIES, min_size=2, max_size=3), scripts=batch(SCRIPTS))
async def test_an_old_request_costs_the_same_at_its_stored_prices_whatever_changed_since(
    migrated_sqlite: Path, registries: list[Registry], scripts: list[Script]
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copyfile(migrated_sqlite, folder / "omni.db")
        database = Database(f"sqlite:///{folder / 'omni.db'}", patience_s=None)
        on = stage(folder / "spool", registries[0])
        async with database.session() as session:
            for registry in registries:
                await record_registry(session, registry)
            await session.commit()
        answers = []
        for number, script in enumerate(scripts):
            on.gateway.use_registry(registries[number % len(registries)])
            answers.append(await on.play(script))
        await Drainer(on.gateway.spool, database).flush()
        on.gateway.spool.close()
        async with database.consistent_reading() as session:
            findings = await verify_ledger(session, now=utc_now(), on_its_way=timedelta(0))
        await database.close()
    assert {one.invariant: one.examples for one in findings if one.violations} == {}
    found = {one.invariant: one for one in findings}
    prices = found["an answer costs its tokens at the price of its moment"]
    baselines = found["the baseline's cost is the same tokens at its price of that moment"]
    assert (prices.checked, baselines.checked) == (sum(one is not None for one in answers), len(scripts))
    assert not prices.unchecked and not baselines.unchecked


@batches()
@given(registry=REGISTRIES, scripts=batch(SCRIPTS), limits=batch(LIMITS), markup_bp=st.integers(0, 5_000))
async def test_no_request_is_billed_more_than_its_promise_whatever_providers_count(
    registry: Registry, scripts: list[Script], limits: list[int], markup_bp: int
) -> None:
    with TemporaryDirectory() as name:
        on = stage(Path(name), registry)
        on.gateway.markup_bp = markup_bp
        for script, limit in zip(scripts, limits, strict=True):
            await on.play(replace(script, max_cost=limit))
        on.gateway.spool.close()
        spooled = facts(Path(name))
    rows = [one for one in spooled if isinstance(one, RequestRecord)]
    attempts = [one for one in spooled if isinstance(one, AttemptRecord)]
    assert all(0 <= row.cost <= row.billed <= limit for row, limit in zip(rows, limits, strict=True))
    for attempt, (model, usage) in zip(attempts, on.billed, strict=True):
        deployment = registry.get(model)
        assert deployment is not None
        assert attempt.cost + attempt.overrun == (actual_cost(deployment.price, usage) if usage else 0)
        assert min(attempt.cost, attempt.overrun) >= 0


# Streams


async def lines_of(events: Iterable[bytes]) -> AsyncIterator[list[bytes]]:
    for event in events:
        yield event.splitlines(keepends=True)


def asked() -> ProviderRequest:
    return ProviderRequest(deployment=FLEET[0], messages=HELLO, params={"max_tokens": 100}, timeouts=QUICK)


@cases(200)
@given(prompt=COUNTS, completion=COUNTS, total=COUNTS, cached=COUNTS, written=COUNTS, reasoning=COUNTS, price=PRICES)
async def test_a_stream_of_openai_s_costs_what_the_plain_answer_does(price: Any, **counts: Any) -> None:
    details = {"cached_tokens": counts["cached"], "cache_write_tokens": counts["written"]}
    usage = {
        "prompt_tokens": counts["prompt"],
        "completion_tokens": counts["completion"],
        "total_tokens": counts["total"],
        "prompt_tokens_details": details,
        "completion_tokens_details": {"reasoning_tokens": counts["reasoning"]},
    }
    choice = {"index": 0, "message": {"role": "assistant", "content": "all is well"}, "finish_reason": "stop"}
    body = {"id": "1", "model": "m", "choices": [choice], "usage": usage}
    plain = openai_answers.read_completion(Reply(200, {}, json.dumps(body).encode()), asked())
    gatherings = Gatherings(asked())
    events = completion_events(body, {"stream_options": {"include_usage": True}})
    async for _ in deltas_of(lines_of(events), lambda data: openai_answers.read_event(data, gatherings), gatherings):
        pass
    same_cost(price, plain, gatherings.completion())


@cases(200)
@given(plain=COUNTS, output=COUNTS, cached=COUNTS, written=COUNTS, price=PRICES)
async def test_a_stream_of_anthropic_s_costs_what_the_plain_answer_does(price: Any, **counts: Any) -> None:
    usage = {
        "input_tokens": counts["plain"],
        "output_tokens": counts["output"],
        "cache_read_input_tokens": counts["cached"],
        "cache_creation_input_tokens": counts["written"],
    }
    content = [{"type": "text", "text": "all is well"}]
    body = {"id": "1", "model": "m", "content": content, "stop_reason": "end_turn", "usage": usage}
    plain = anthropic_answers.read_message(body, asked())
    gathering = Gathering(asked())
    async for _ in deltas_of(lines_of(message_events(body)), anthropic_answers.EventReader(gathering).read, gathering):
        pass
    same_cost(price, plain, gathering.completion())


def same_cost(price: Any, plain: Completion, streamed: Completion) -> None:
    assert plain.text == streamed.text
    assert streamed.usage == plain.usage
    assert actual_cost(price, streamed.usage) == actual_cost(price, plain.usage) >= 0


@batches()
@given(registry=REGISTRIES, scripts=batch(SCRIPTS))
async def test_a_streamed_request_is_billed_as_a_plain_one(registry: Registry, scripts: list[Script]) -> None:
    told = []
    for stream in (False, True):
        with TemporaryDirectory() as folder:
            await played(Path(folder), registry, [replace(one, stream=stream) for one in scripts])
            rows = [one for one in facts(Path(folder)) if isinstance(one, RequestRecord)]
        told.append([(row.cost, row.failed_cost, row.premium_cost, row.model, row.attempts) for row in rows])
    assert told[0] == told[1]
