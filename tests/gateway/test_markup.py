"""A markup: on every figure that is billed, exact, and within what was promised."""

import csv
import io
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.api.chat_schema import CHAT_FIELDS, parse_chat
from omni_app.gateway.types import Caller
from omni_app.money import cost_within, markup_on, pico
from omni_app.settings import Settings
from omni_app.storage import budgets
from omni_app.storage.spool import Admission
from omni_app.storage.tables import utc_now
from omni_app.verify.ledger import verify_ledger
from tests.api.conftest import HELLO, Running, run, settings_for
from tests.storage.facts import KEY, NOON, ORG, attempt, record

RATE = 1_250
"""12.5 percent."""
COSTS = st.integers(0, 10**18)
RATES = st.integers(0, 100_000)


@given(COSTS, RATES)
def test_a_markup_is_rounded_up_to_a_whole_pico_dollar_and_no_further(cost: int, rate: int) -> None:
    assert 0 <= markup_on(cost, rate) * 10_000 - cost * rate < 10_000
    assert isinstance(markup_on(cost, rate), int)


@given(COSTS, RATES)
def test_the_cost_within_a_promise_is_the_highest_that_keeps_it(promised: int, rate: int) -> None:
    cost = cost_within(promised, rate)
    assert cost + markup_on(cost, rate) <= promised
    assert cost + 1 + markup_on(cost + 1, rate) > promised


@pytest.mark.parametrize(("text", "points"), [("0", 0), ("12.5", 1_250), ("0.01", 1), ("1000", 100_000)])
def test_the_rate_is_read_in_hundredths_of_a_percent(text: str, points: int) -> None:
    assert Settings(markup_percent=Decimal(text)).markup_bp == points


@pytest.mark.parametrize("text", ["-1", "0.001", "1000.01"])
def test_a_rate_that_cannot_be_kept_exactly_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="markup_percent"):
        Settings(markup_percent=Decimal(text))


@pytest.fixture
async def dear(tmp_path: Path) -> AsyncIterator[Running]:
    async for running in run(settings_for(tmp_path, markup_percent=Decimal("12.5"))):
        yield running


def exact(amount: object) -> int:
    return pico(Decimal(str(amount)))


async def test_every_door_tells_what_is_billed_and_all_tell_the_same(dear: Running, tmp_path: Path) -> None:
    plain = await dear.post("/v1/chat", HELLO)
    openai = await dear.post("/v1/chat/completions", HELLO | {"model": "auto"})
    failed = await dear.post("/v1/chat", HELLO | {"metadata": {"sandbox_fail": "error"}})
    await dear.services.drainer.flush()
    told = [plain.json(), openai.json()["omni"], failed.json()]
    for one in told:
        cost = exact(one["cost"])
        assert exact(one["billed"]) == cost + markup_on(cost, RATE) > cost
    assert plain.headers["x-omni-billed-usd"] == str(Decimal(str(plain.json()["billed"])))

    usage = (await dear.get("/v1/usage?mode=test")).json()
    billed = sum(exact(one["billed"]) for one in told)
    assert exact(usage["total_billed"]) == billed
    for name in ("by_model", "by_task", "by_day"):
        assert sum(exact(line["billed"]) for line in usage[name]) == billed

    text = (await dear.get("/v1/requests.csv?mode=test")).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert sum(int(row["billed_pico"]) for row in rows) == billed
    assert {row["markup_bp"] for row in rows} == {str(RATE)}
    for tampered, status in ((text, 0), (text.replace(f",{rows[0]['billed_pico']},", ",1,"), 1)):
        (tmp_path / "requests.csv").write_text(tampered)
        program = [sys.executable, "docs/recompute.py", str(tmp_path / "requests.csv")]
        ran = subprocess.run(  # noqa: ASYNC221 nothing else runs
            program, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
        )
        assert ran.returncode == status, ran.stdout + ran.stderr


async def broken(running: Running) -> set[str]:
    async with running.services.database.consistent_reading() as session:
        findings = await verify_ledger(session, now=utc_now(), on_its_way=timedelta(0))
    return {one.invariant for one in findings if one.violations}


async def test_the_ledger_is_held_against_the_rate_of_its_rows(dear: Running) -> None:
    from sqlalchemy import text

    await dear.post("/v1/chat", HELLO)
    await dear.services.drainer.flush()
    assert await broken(dear) == set()
    async with dear.services.database.session() as session:
        await session.execute(text("UPDATE requests SET markup = markup - 1"))
        await session.commit()
    assert await broken(dear) >= {
        "the markup is the cost at the rate of its moment, rounded up",
        "a roll-up of hours is the sum of its rows",
    }


async def test_a_budget_counts_what_is_billed(dear: Running) -> None:
    """Of live keys; what reaches a provider is not the point here, so its records are written as they are."""
    at = utc_now()
    live = await dear.services.keys.authenticate(await dear.new_key("live"))
    async with dear.services.database.session() as session:
        await budgets.set_budget(session, org_id=live.org_id, key_id=None, period="day", limit=10**12, now=at)
        await session.commit()
    row = replace(
        record("req_live"), org_id=live.org_id, key_id=live.id, created_at=at, cost=81, markup=11, markup_bp=RATE
    )
    dear.services.spool.finish(row)
    await dear.services.drainer.flush()
    async with dear.services.database.session() as session:
        (standing,) = await budgets.standings(session, org_id=live.org_id, now=at)
    assert standing.spent == 92


@pytest.mark.parametrize("part", [1, 2, 3])
async def test_max_cost_holds_for_what_is_billed(dear: Running, part: int) -> None:
    gateway = dear.services.gateway
    caller = Caller.with_key(await dear.services.keys.authenticate(dear.key))
    request = parse_chat(HELLO, fields=CHAT_FIELDS, endpoint="chat", key_kind="test", timeout_s=None)
    free = gateway.decide(caller, request)
    promised = max(step.worst_cost for step in free.steps) * part // 3
    steps = gateway.decide(caller, replace(request, max_cost=promised)).steps
    assert steps and all(step.worst_cost + markup_on(step.worst_cost, RATE) <= promised for step in steps)
    gateway.markup_bp = 0
    bare = gateway.decide(caller, replace(request, max_cost=promised)).steps
    assert any(step.worst_cost + markup_on(step.worst_cost, RATE) > promised for step in bare), "else nothing is shown"


def test_a_request_whose_process_died_has_the_markup_of_its_admission() -> None:
    admission = Admission("req_a", ORG, KEY, "live", "chat", "chat", NOON, markup_bp=RATE)
    row = admission.unfinished([replace(attempt("req_a"), cost=81)])
    assert (row.cost, row.markup, row.billed) == (81, 11, 92)
