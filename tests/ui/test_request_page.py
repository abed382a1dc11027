"""One request's page: its time line, its candidates and its cost lines, over the real ledger and the real gateway."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, update
from sqlmodel import col

from omni_app.gateway.types import Answer, Caller, ChatRequest
from omni_app.money import usd_text
from omni_app.providers.base import Usage
from omni_app.registry import packaged_registry
from omni_app.registry.store import edit_model, record_registry, seed_models
from omni_app.routing.band import OF_ONE, savings_band
from omni_app.routing.cost import actual_cost
from omni_app.routing.types import Deployment, Price
from omni_app.services import Services
from omni_app.storage import keys
from omni_app.storage.ledger import AttemptRecord, RequestRecord, RoutingRecord, insert_records
from omni_app.storage.org_settings import set_model_enabled
from omni_app.storage.prompts import forget_prompts
from omni_app.storage.tables import Org, RequestRow, SnapshotRow
from omni_app.ui import text
from omni_app.ui.cost_lines import baseline_rows, cost_rows, price_note
from omni_app.ui.pages.request_state import RequestState
from omni_app.ui.savings_view import band_of_one, between
from omni_app.ui.session import AppState
from omni_app.ui.time_line import ticks, time_rows
from tests.ui.conftest import Person
from tests.ui.live import LiveTab, running_tabs
from tests.ui.test_pages import record, write
from tests.ui.test_requests_page import counted_statements

PROMPT = "Write a Python function that sorts a list."


@pytest.fixture
async def started(services: Services) -> AsyncIterator[Services]:
    """The services with what drains the spool, so that rows arrive."""
    await services.start()
    yield services
    await services.stop()


async def asked(services: Services, person: Person, **request: Any) -> str:
    """Sends one request with the org's test key; gives its id."""
    async with services.database.session() as session:
        key = await keys.playground_key(session, org_id=person.who.org_id, kind="test", hasher=services.hasher)
        await session.commit()
    values: dict[str, Any] = {"messages": [{"role": "user", "content": PROMPT}], "endpoint": "chat"}
    asking = ChatRequest(**values | request)
    answer: Answer | None = None
    if asking.stream:
        async for piece in services.gateway.stream(Caller.with_key(key), asking):
            answer = piece if isinstance(piece, Answer) else answer
    else:
        answer = await services.gateway.chat(Caller.with_key(key), asking)
    assert answer is not None
    await drained(services)
    return answer.request_id


async def drained(services: Services) -> None:
    """Waits until the ledger has what the spool has."""
    async with asyncio.timeout(5):
        while True:
            async with services.database.session() as session:
                found = await session.scalar(select(func.count()).select_from(RequestRow))
            if found:
                return
            await asyncio.sleep(0.02)


async def opened(person: Person, request_id: str) -> Any:
    await person.tab.at("/request/", id=request_id).fire(RequestState, "load")
    return person.tab.state(RequestState)


def total(rows: list[dict[str, str]], kinds: tuple[str, ...]) -> int:
    return sum(int(row["pico"]) for row in rows if row["kind"] in kinds)


async def test_the_page_tells_when_why_and_for_how_much(started: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    state = await opened(person, await asked(started, person))
    assert state.loaded
    assert state.times[0]["name"] == "Decision"
    assert state.times[1]["told"] == "answered"
    assert state.best[0]["chosen"] == "yes"
    assert state.reason.startswith("Chosen for coding")
    until = [row["kind"] for row in state.costs].index("total")
    assert total(state.costs[:until], ("line", "rest")) == int(state.costs[until]["pico"])
    assert state.facts["cost_exact"] == state.costs[until]["exact"]
    assert state.costs[-1]["what"] == "Saved"
    assert state.facts["saved_exact"] == state.costs[-1]["exact"]
    assert "rest" not in [row["kind"] for row in state.costs]


async def test_a_rescued_request_shows_both_attempts_on_one_scale(started: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    state = await opened(person, await asked(started, person, sandbox_fail="error"))
    assert [row["kind"] for row in state.times] == ["route", "bad", "ok"]
    assert "500" in state.times[1]["detail"]
    starts = [float(row["x"].rstrip("%")) for row in state.times]
    assert starts == sorted(starts)
    assert state.facts["outcome"] == "rescued"


async def test_a_stream_shows_where_its_first_piece_came(started: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    state = await opened(person, await asked(started, person, stream=True))
    assert (state.times[-1]["kind"], state.times[-1]["kind2"]) == ("wait", "ok")
    assert "first piece after" in state.facts["latency_note"]


async def test_bars_stack_to_the_score_and_the_table_has_the_figures(started: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    state = await opened(person, await asked(started, person))
    assert state.stacked
    for row in state.candidates:
        points = sum(float(row[f"points_{term}"]) for term in ("cost", "latency", "task", "quality"))
        assert points == pytest.approx(float(row["score"]), abs=0.003)
        width = float(row["x_quality"]) + float(row["w_quality"])
        assert width == pytest.approx(float(row["width"]), abs=0.1)


async def test_every_model_is_weighed_again_with_the_reason_why_not_and_what_would_change_it(
    started: Services, sign_up: Any
) -> None:
    person = await sign_up("ada@example.com")
    async with started.database.session() as session:
        await set_model_enabled(session, org_id=person.who.org_id, model_id="sandbox/swift", enabled=False)
        await session.commit()
    state = await opened(person, await asked(started, person))
    assert state.candidates_note == ""
    assert {row["model"] for row in state.candidates} == {one.id for one in started.gateway.registry.serving("test")}
    why = {row["model"]: row["why"] for row in state.candidates if row["excluded"] == "yes"}
    assert why["sandbox/swift"] == "is switched off for this org"
    assert any("wins when" in hint for hint in state.hints)
    assert f"and {len(why)} that could not be taken" in state.counted


async def test_without_what_a_replay_needs_the_kept_candidates_are_shown_and_that_is_said(
    started: Services, sign_up: Any
) -> None:
    person = await sign_up("ada@example.com")
    request_id = await asked(started, person)
    whole = list((await opened(person, request_id)).best)
    async with started.database.session() as session:
        await session.execute(delete(SnapshotRow))
        await session.commit()
    state = await opened(person, request_id)
    assert list(state.best) == whole
    assert state.stacked
    assert "cannot be worked out again" in state.candidates_note


async def test_the_page_asks_the_database_a_bounded_number_of_times(started: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    request_id = await asked(started, person, sandbox_fail="error")
    with counted_statements(started) as statements:
        await opened(person, request_id)
    mine = [one for one in statements if "meta" not in one and "api_keys.digest IN" not in one]
    assert len(mine) <= QUERIES, mine


QUERIES = 12
"""Session and identity; the request with its log, attempts, the org's keys; what a replay needs; the kept prompt."""


async def test_a_price_that_changed_since_is_said_and_the_old_one_is_shown(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    await services.start()
    request_id = await asked(services, person)
    state = await opened(person, request_id)
    costs, facts = list(state.costs), dict(state.facts)
    assert state.price_note == "" and facts["against"] == "against sandbox/premium"
    async with services.database.session() as session:
        await seed_models(session, services.gateway.registry)
        await record_registry(session, services.gateway.registry)
        price = {"input": 1, "output": 2, "cached_input": None, "cache_write": None, "image": 0}
        for model in (facts["model"], "sandbox/premium"):
            await edit_model(session, model_id=model, changes={"price": price}, source="test")
        await session.commit()
    await services._sync_registry(seeded=True)
    await opened(person, request_id)
    await services.stop()
    assert (list(state.costs), state.facts["band"]) == (costs, facts["band"])
    assert "has changed since" in state.price_note


async def test_what_cannot_be_told_any_more_is_not_made_up(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    old = record(person.who.org_id, 5)
    await write(services, old)
    state = await opened(person, old.request_id)
    assert (state.times, state.candidates, state.hints) == ([], [], [])
    assert [row["kind"] for row in state.costs[:3]] == ["part", "rest", "total"]
    assert state.costs[2]["exact"] == f"${usd_text(old.cost)}"
    assert "not kept" in state.price_note
    widest = savings_band(old.premium_cost, old.premium_cost, cost=old.cost, ratio=OF_ONE)
    assert state.facts["band"] == between(widest, OF_ONE)


async def test_what_a_failed_request_cost_is_told_with_the_price_of_the_model_that_was_paid(
    services: Services, sign_up: Any
) -> None:
    person, registry = await sign_up("ada@example.com"), services.gateway.registry
    swift = registry.get("sandbox/swift")
    assert swift is not None
    cost = actual_cost(swift.price, Usage(100, 10))
    log = RoutingRecord([], {}, "", "", {}, "p", registry.version, "")
    failed = record(person.who.org_id, 5, success=False, model="", provider="", cost=cost, attempts=2, routing=log)
    paid = AttemptRecord(failed.request_id, 0, swift.id, "sandbox", "broken", "", 5, 100, 10, cost, failed.created_at)
    free = replace(paid, position=1, model="sandbox/coder", tokens_input=0, tokens_output=0, cost=0)
    async with services.database.session() as session:
        await insert_records(session, [failed], [paid, free])
        await session.commit()
    state = await opened(person, failed.request_id)
    assert [row["what"] for row in state.costs if row["kind"] == "line"] == ["Input", "Output"]
    assert state.price_note == ""


async def test_a_revoked_key_keeps_its_name(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    async with services.database.session() as session:
        key, _ = await keys.create_key(
            session, org_id=person.who.org_id, name="App", kind="live", hasher=services.hasher
        )
        await keys.revoke_key(session, org_id=person.who.org_id, key_id=key.id)
        await session.commit()
    old = record(person.who.org_id, 5, key_id=key.id)
    await write(services, old)
    assert (await opened(person, old.request_id)).facts["key"] == f"App (…{key.last4})"


def test_the_band_of_a_request_is_of_its_own_price_and_negative_when_the_choice_cost_more() -> None:
    then = packaged_registry()
    price = then.deployments[0].price
    told = replace(
        record(uuid4(), 1), premium_model=then.deployments[0].id, tokens_input=0, tokens_output=100,
        premium_cost=100 * price.output, cost=300 * price.output,
    )  # fmt: skip
    low, high = (text.money((100 * ratio // 100 - 300) * price.output) for ratio in (OF_ONE.low, OF_ONE.high))
    assert low.startswith("-$") and high.startswith("-$")
    assert band_of_one(told, then) == f"{low} to {high} with answers 41% shorter to 69% longer"
    assert band_of_one(replace(told, images=1), then) == band_of_one(replace(told, premium_model=""), then) == ""
    assert band_of_one(replace(told, model=told.premium_model), then) == "", "the baseline wrote what it wrote"


async def test_a_request_of_another_team_looks_like_one_that_does_not_exist(services: Services, sign_up: Any) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    theirs = record(bob.who.org_id, 1)
    await write(services, theirs)
    problems = []
    for request_id in (theirs.request_id, "req_none", "req_\x00"):
        assert not (await opened(ada, request_id)).loaded
        problems.append(ada.tab.state(AppState).problem)
    assert problems[0] == problems[1] == problems[2] != ""
    assert (await opened(bob, theirs.request_id)).facts["id"] == theirs.request_id


# Cost lines


MODEL = Deployment(
    id="p/m", provider="p", model_name="m", price=Price(3, 15), context_window=1000, max_output_tokens=100,
    ratings={}, overall=None, prior_latency_ms=100,  # type: ignore[arg-type]
)  # fmt: skip
COUNTS = st.integers(min_value=0, max_value=10**7)
PRICES = st.builds(
    Price,
    input=COUNTS,
    output=COUNTS,
    cached_input=st.none() | COUNTS,
    cache_write=st.none() | COUNTS,
    image=COUNTS,
)
USAGES = st.builds(
    Usage, input=COUNTS, output=COUNTS, cached_input=COUNTS, cache_write=COUNTS, reasoning=COUNTS, images=COUNTS
)


def answered(price: Price, usage: Usage, *, failed_cost: int = 0) -> tuple[RequestRecord, list[AttemptRecord]]:
    """A request whose second attempt answered, as the gateway records it."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    cost = actual_cost(price, usage)
    attempts = [
        AttemptRecord("r", 0, "p/other", "p", "server_error", "", 5, 7, 9, failed_cost, at),
        AttemptRecord("r", 1, "p/m", "p", "ok", "", 5, usage.input, usage.output, cost, at),
    ]
    request = RequestRecord(
        request_id="r", org_id=uuid4(), key_id=uuid4(), key_kind="live", endpoint="chat", task="chat", created_at=at,
        model="p/m", provider="p", success=True, cost=cost + failed_cost, tokens_input=usage.input,
        tokens_output=usage.output, tokens_cached=usage.cached_input, tokens_cache_write=usage.cache_write,
        tokens_reasoning=usage.reasoning, images=usage.images, premium_cost=2 * cost, premium_model="p/m",
    )  # fmt: skip
    return request, attempts


@given(PRICES, USAGES, COUNTS)
def test_the_lines_add_up_to_the_recorded_cost_whatever_was_billed(price: Price, usage: Usage, failed: int) -> None:
    request, attempts = answered(price, usage, failed_cost=failed)
    deployment = replace(MODEL, price=price)
    rows = cost_rows(request, attempts, lambda model: deployment if model == "p/m" else None)
    assert total(rows, ("line", "rest")) == total(rows, ("total",)) == request.cost


@given(PRICES, USAGES)
def test_baseline_less_cost_is_the_saving(price: Price, usage: Usage) -> None:
    request, _ = answered(price, usage)
    rows = baseline_rows(
        replace(request, premium_cost=actual_cost(price, usage)), lambda _: replace(MODEL, price=price)
    )
    assert total(rows, ("line", "rest", "less")) == total(rows, ("total",)) == 0


def test_lines_say_tokens_and_price_with_cache_and_reasoning_apart() -> None:
    price = Price(3_000_000, 15_000_000, cached_input=300_000, cache_write=3_750_000)
    request, attempts = answered(price, Usage(1_000, 500, cached_input=200, cache_write=100, reasoning=400))
    rows = cost_rows(request, attempts, lambda model: replace(MODEL, price=price))
    lines = [(row["what"], row["count"], row["price"]) for row in rows if row["kind"] == "line"]
    assert lines == [
        ("Input", "700", "$3.00"),
        ("Input from the cache", "200", "$0.30"),
        ("Input written to the cache", "100", "$3.75"),
        ("Reasoning", "400", "$15.00"),
        ("Output", "100", "$15.00"),
    ]


def test_an_amount_that_the_kept_tokens_do_not_give_stands_alone() -> None:
    request, attempts = answered(Price(3, 15), Usage(100, 10))
    rows = cost_rows(request, attempts, lambda model: replace(MODEL, price=Price(4, 15)))
    assert [row["kind"] for row in rows] == ["part", "rest", "part", "rest", "total"]
    assert "not kept" in rows[3]["what"]


def test_attempts_that_were_lost_are_named_so_that_the_sum_is_right() -> None:
    request, attempts = answered(Price(3, 15), Usage(100, 10), failed_cost=77)
    rows = cost_rows(request, attempts[1:], lambda model: MODEL)
    assert "Attempts that were not kept" in [row["what"] for row in rows]
    assert total(rows, ("line", "rest")) == request.cost


def test_a_price_note_only_where_there_is_something_to_say() -> None:
    assert price_note(MODEL, MODEL) == ""
    assert "no longer in the registry" in price_note(MODEL, None)
    assert "not kept" in price_note(None, MODEL)
    assert "now $4.00 in" in price_note(MODEL, replace(MODEL, price=Price(4_000_000, 15)))


# The time line


def test_bars_stand_where_their_times_say() -> None:
    request, attempts = answered(Price(3, 15), Usage(100, 10))
    request = replace(request, routing_us=1_000, latency_ms=1_000, first_token_ms=600)
    attempts = [
        replace(attempts[0], started_ms=0, latency_ms=400),
        replace(attempts[1], started_ms=400, latency_ms=600),
    ]
    rows = time_rows(request, attempts)
    assert [(row["x"], row["width"]) for row in rows[1:]] == [("0.000%", "40.000%"), ("40.000%", "20.000%")]
    assert (rows[2]["x2"], rows[2]["width2"]) == ("60.000%", "40.000%")
    assert ticks(request, attempts)[-1] == "1.00 s"


def test_no_bar_leaves_the_drawing() -> None:
    request, attempts = answered(Price(3, 15), Usage(100, 10))
    request = replace(request, routing_us=900_000_000, latency_ms=1)
    for row in time_rows(request, [replace(one, started_ms=5_000, latency_ms=9) for one in attempts]):
        assert float(row["x"].rstrip("%")) >= 0
        assert float(row["x"].rstrip("%")) + float(row["width"].rstrip("%")) <= 100.001


# Once more


@pytest.fixture
async def open_tab(started: Services) -> AsyncIterator[Callable[[str, Any], LiveTab]]:
    async with running_tabs() as open_tab:
        yield open_tab


async def looked_at(open_tab: Any, person: Person, request_id: str) -> LiveTab:
    """A tab with the request's page open."""
    tab: LiveTab = await open_tab("tab", person.tab.at("/request/", id=request_id))
    await tab.done(RequestState, "load")
    return tab


async def opt_in(services: Services, person: Person) -> None:
    """The org lets its prompts be kept for a week."""
    async with services.database.session() as session:
        await session.execute(update(Org).where(col(Org.id) == person.who.org_id).values(keep_prompts_days=7))
        await session.commit()


async def recorded(person: Person, request_id: str) -> Any:
    """The page of a request that has only just been answered."""
    async with asyncio.timeout(5):
        while True:
            state = await opened(person, request_id)
            if state.loaded:
                return state
            await asyncio.sleep(0.05)


async def test_without_a_kept_prompt_the_page_says_why_and_sends_nothing(
    started: Services, sign_up: Any, open_tab: Any
) -> None:
    person = await sign_up("ada@example.com")
    tab = await looked_at(open_tab, person, await asked(started, person))
    await tab.done(RequestState, "run_again")
    state = await tab.state(RequestState)
    assert "opts in" in state.again_note
    assert (state.curl_before, state.curl_after, state.repeated) == ("", "", {})


async def test_a_kept_request_can_be_copied_and_run_again(started: Services, sign_up: Any, open_tab: Any) -> None:
    person = await sign_up("ada@example.com")
    await opt_in(started, person)
    request_id = await asked(started, person)
    await started.prompts.flush()
    tab = await looked_at(open_tab, person, request_id)
    state = await tab.state(RequestState)
    assert state.again_note == ""
    assert state.curl_before.endswith("Authorization: Bearer ")
    assert PROMPT in state.curl_after
    await tab.done(RequestState, "run_again")
    state = await tab.state(RequestState)
    new = state.repeated["href"].removeprefix("/request/?id=")
    assert new != request_id
    assert not state.running
    assert (await recorded(person, new)).facts["task"] == "Coding"


async def test_a_prompt_that_was_forgotten_meanwhile_is_not_sent(
    started: Services, sign_up: Any, open_tab: Any
) -> None:
    person = await sign_up("ada@example.com")
    await opt_in(started, person)
    request_id = await asked(started, person)
    await started.prompts.flush()
    tab = await looked_at(open_tab, person, request_id)
    async with started.database.session() as session:
        await forget_prompts(session, org_id=person.who.org_id)
        await session.commit()
    await tab.done(RequestState, "run_again")
    state = await tab.state(RequestState)
    assert (state.repeated, state.running) == ({}, False)
    assert "not kept any more" in state.problem


@pytest.mark.parametrize("within_s", [60.0, 0.5])
async def test_what_running_again_gives_is_not_told_on_another_request_s_page(
    started: Services, sign_up: Any, open_tab: Any, within_s: float
) -> None:
    """Neither the answer nor that there was none in time."""
    person = await sign_up("ada@example.com")
    await opt_in(started, person)
    first = await asked(started, person)
    second = await asked(started, person)
    assert (await recorded(person, second)).loaded
    await started.prompts.flush()
    tab = await looked_at(open_tab, person, first)
    started.gateway.providers["sandbox"].speed = 0.5  # type: ignore[attr-defined]
    started.gateway.limits = replace(started.gateway.limits, total_s=within_s)
    running = await tab.fire(RequestState, "run_again")
    await tab.until(RequestState, lambda state: state.running)
    tab.tab.at("/request/", id=second)
    await tab.done(RequestState, "load")
    await running
    state = await tab.state(RequestState)
    assert (state.facts["id"], state.repeated, state.problem, state.running) == (second, {}, "", False)
