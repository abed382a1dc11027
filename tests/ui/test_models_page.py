"""The model breakdown over the real ledger and registry: figures, drawing, and switching models on and off."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col

from omni_app.gateway.types import Caller, ChatRequest
from omni_app.providers.base import FaultKind, ProviderFault
from omni_app.registry.history import priced_since
from omni_app.registry.store import edit_model, seed_models
from omni_app.routing.types import SizeClass
from omni_app.services import Services
from omni_app.storage import keys
from omni_app.storage.org_settings import disabled_models
from omni_app.storage.tables import Membership
from omni_app.ui.components.scatter import Point, axis_of, drawn
from omni_app.ui.model_rows import SORTS, Standing, Wanted, known_row, last_that_serves, short_source
from omni_app.ui.pages.models import ModelsState
from omni_app.ui.pages.overview import OverviewState
from omni_app.ui.session import AppState
from omni_app.ui.text import milliseconds
from tests.ui.conftest import Person
from tests.ui.test_pages import record, write
from tests.ui.test_requests_page import counted_statements

CALM = Standing(unavailable={}, cooling={}, latency={}, disabled=(), priced_since={}, today=date(2026, 11, 23))


async def opened(person: Person, **query: str) -> Any:
    """The page as this address shows it."""
    await person.tab.at("/models/", **query).fire(ModelsState, "load")
    return person.tab.state(ModelsState)


def row_of(state: Any, model: str) -> dict[str, str]:
    return next(row for row in state.known if row["model"] == model)


async def demoted(services: Services, person: Person) -> None:
    """An owner becomes a member."""
    async with services.database.session() as session:
        await session.execute(
            update(Membership).where(col(Membership.user_id) == person.who.user_id).values(role="member")
        )
        await session.commit()


async def switched_off(services: Services, person: Person) -> frozenset[str]:
    async with services.database.session() as session:
        return await disabled_models(session, org_id=person.who.org_id)


async def decided(services: Services, person: Person) -> str | None:
    """Where a request of the org's test key would go now."""
    async with services.database.session() as session:
        key = await keys.playground_key(session, org_id=person.who.org_id, kind="test", hasher=services.hasher)
        await session.commit()
    request = ChatRequest(messages=[{"role": "user", "content": "Write a Python function."}], endpoint="chat")
    return services.gateway.decide(Caller.with_key(key), request).selected


async def test_every_model_is_listed_with_its_state_its_rating_and_where_it_is_from(
    services: Services, sign_up: Any
) -> None:
    state = await opened(await sign_up("ada@example.com"), mode="live")
    registry = services.gateway.registry
    models = {one.id: one for one in (*registry.serving("live"), *registry.embedding("live"))}
    assert [row["model"] for row in state.known] == sorted(models)
    assert {row["state"] for row in state.known} == {"not available"}
    priors = [row for row in state.known if models[row["model"]].overall.prior]
    assert priors and {row["rating"] for row in priors} == {"unrated"}
    assert {row["rating_source"] for row in priors} == {"prior, from its price"}


async def test_a_price_that_changed_is_marked_and_a_model_that_ends_names_another(
    services: Services, sign_up: Any
) -> None:
    person = await sign_up("ada@example.com")
    name = "openai/gpt-4o-mini"
    price = {"input": 150_000, "output": 660_000, "cached_input": 75_000, "cache_write": None, "image": 0}
    async with services.database.session() as session:
        await seed_models(session, services.gateway.registry)
        await edit_model(session, model_id=name, changes={"price": price}, source="test")
        await session.commit()
    await write(services, record(person.who.org_id, 60, model=name, tokens_output=10**9))
    row = row_of(await opened(person, mode="live"), name)
    assert row["change"].startswith("+10 % out on ") and row["change_tone"] == ""
    assert row["ends"] == "ends 14 Jan 2027" and row["instead"] in {
        one.id for one in services.gateway.registry.deployments
    }
    await person.tab.at("/overview/", mode="live").fire(OverviewState, "load")
    (note,) = person.tab.state(OverviewState).prices
    assert note.startswith(f"{name} has a new price since ") and "$60.00 more for the tokens" in note


async def test_an_owner_switches_a_model_off_and_the_next_decision_goes_elsewhere(
    services: Services, sign_up: Any
) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    before = await decided(services, ada)
    assert before is not None
    await opened(ada, mode="test")
    await ada.tab.fire(ModelsState, "switch_off", model_id=before)
    assert row_of(ada.tab.state(ModelsState), before)["state"] == "switched off"
    assert await decided(services, ada) not in (None, before)
    assert await decided(services, bob) == before
    await ada.tab.fire(ModelsState, "switch_on", model_id=before)
    assert row_of(ada.tab.state(ModelsState), before)["state"] == "ready"
    assert await decided(services, ada) == before


async def test_a_member_sees_the_models_and_switches_none(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    await demoted(services, person)
    assert not (await opened(person, mode="test")).may_switch
    await person.tab.fire(ModelsState, "switch_off", model_id="sandbox/coder")
    assert "only an owner" in person.tab.state(AppState).problem.lower()
    assert await switched_off(services, person) == frozenset()


async def test_the_last_model_that_serves_is_switched_off_only_when_that_is_confirmed(
    services: Services, sign_up: Any
) -> None:
    person = await sign_up("ada@example.com")
    state = await opened(person, mode="test")
    able = [row["model"] for row in state.known if row["state"] == "ready" and row["model"] != "sandbox/painter"]
    for model in able[1:]:
        await person.tab.fire(ModelsState, "switch_off", model_id=model)
    assert state.asking == ""
    await person.tab.fire(ModelsState, "switch_off", model_id=able[0])
    assert state.asking == able[0]
    assert able[0] not in await switched_off(services, person)
    await person.tab.fire(ModelsState, "keep")
    assert state.asking == ""
    await person.tab.fire(ModelsState, "switch_off", model_id=able[0])
    await person.tab.fire(ModelsState, "switch_off", model_id=able[0])
    assert able[0] in await switched_off(services, person)


async def test_what_is_no_model_is_not_switched(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    await opened(person, mode="test")
    await person.tab.fire(ModelsState, "switch_off", model_id="' OR 1=1 --")
    assert "no such model" in person.tab.state(AppState).problem
    assert await switched_off(services, person) == frozenset()


async def test_a_breaker_that_is_open_and_a_measured_latency_are_said(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    gateway = services.gateway
    fault = ProviderFault(FaultKind.AUTHENTICATION, "our key was refused")
    gateway.health.begin("sandbox/coder", now_s=gateway.clock()).failed(fault, now_s=gateway.clock())
    local = "local/smollm2-135m"
    for _ in range(30):
        gateway.latencies.count((local, SizeClass.SMALL_BRIEF), total_ms=321, first_token_ms=40, now_s=gateway.clock())
    state = await opened(person, mode="test", sort="latency")
    coder, measured = row_of(state, "sandbox/coder"), row_of(state, local)
    assert (coder["state"], coder["latency_note"]) == ("cooling down", "simulated")
    assert float(measured["latency"].removesuffix(" ms")) == pytest.approx(321, rel=0.02)
    told = measured["latency_note"].replace(measured["latency"], "321 ms")
    assert told.startswith("measured over 30 recent calls, p50 321 ms, p95 321 ms, first token ")
    assert float(told.rpartition("first token ")[2].removesuffix(" ms")) == pytest.approx(40, rel=0.03)


async def test_a_few_measurements_leave_the_prior_on_the_page(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    gateway = services.gateway
    model = gateway.registry.get("local/smollm2-135m")
    assert model is not None
    for _ in range(3):
        gateway.latencies.count((model.id, SizeClass.SMALL_BRIEF), total_ms=9, first_token_ms=9, now_s=gateway.clock())
    row = row_of(await opened(person, mode="test"), model.id)
    assert (row["latency"], row["latency_note"]) == (milliseconds(model.prior_latency_ms), "prior, not measured yet")


async def test_a_price_says_where_it_is_from_and_since_when_it_holds_here(services: Services) -> None:
    registry = services.gateway.registry
    model = registry.serving("live")[0]
    async with services.database.session() as session:
        await seed_models(session, registry)
        seeded = (await priced_since(session))[model.id]
        await edit_model(session, model_id=model.id, changes={"context_window": 7_777}, source="test")
        assert (await priced_since(session))[model.id] == seeded
        price = {"input": 1, "output": 2, "cached_input": None, "cache_write": None, "image": 0}
        await edit_model(session, model_id=model.id, changes={"price": price}, source="test")
        since = await priced_since(session)
    assert since[model.id] > seeded
    row = known_row(model, Standing({}, {}, {}, (), {model.id: datetime(2026, 3, 1, tzinfo=UTC)}, CALM.today))
    assert row["source"] == f"{short_source(model.price_source)}, since 1 Mar 2026"
    assert row["source_whole"] == model.price_source


@pytest.mark.parametrize(
    ("days", "said", "tone"),
    [(-1, "ended 22 Nov 2026", "bad"), (10, "ends 3 Dec 2026", "warn"), (400, "ends 28 Dec 2027", "")],
)
def test_the_end_of_a_model_is_said_in_time(services: Services, days: int, said: str, tone: str) -> None:
    model = replace(services.gateway.registry.serving("live")[0], deprecated_on=CALM.today + timedelta(days=days))
    row = known_row(model, CALM)
    assert (row["ends"], row["ends_tone"]) == (said, tone)


def test_a_model_that_only_draws_is_no_last_resort(services: Services) -> None:
    models = services.gateway.registry.serving("test")
    words = [one.id for one in models if one.id != "sandbox/painter"]
    standing = Standing({}, {}, {}, set(words[1:]), {}, CALM.today)
    assert last_that_serves(models, standing, words[0])
    assert not last_that_serves(models, CALM, words[0])


async def test_the_address_narrows_and_orders_the_list(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    state = await opened(person, mode="live", provider="groq", sort="window")
    assert {row["model"].partition("/")[0] for row in state.known} == {"groq"}
    windows = [int(row["window"].replace(",", "")) for row in state.known]
    assert windows == sorted(windows, reverse=True)
    state = await opened(person, mode="live", provider="nobody", show="' OR 1=1", sort="random")
    assert (state.provider, state.show, state.sort) == ("", "", "")
    assert (await opened(person, mode="live", show="ready")).known == []


@pytest.mark.parametrize("sort", SORTS)
def test_every_order_lists_every_model_once(services: Services, sort: str) -> None:
    models = services.gateway.registry.serving("live")
    listed = Wanted(sort=sort).listed(models, CALM)
    assert sorted(one.id for one in listed) == sorted(one.id for one in models)


# The figures


async def test_each_model_has_its_share_its_cost_its_speed_and_its_errors(services: Services, sign_up: Any) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    org = ada.who.org_id
    await write(services, *(record(org, n, latency_ms=100 * (n + 1), cost=2 * 10**9) for n in range(10)))
    await write(services, *(record(org, n, model="groq/y", provider="groq", success=n > 0) for n in range(4)))
    await write(services, record(org, 1, model="", success=False, cost=0), record(bob.who.org_id, 1))
    state = await opened(ada, mode="live")
    rows = {row["model"]: row for row in state.used}
    assert list(rows) == ["openai/gpt-x", "groq/y", "no model answered"]
    assert [row["requests"] for row in state.used] == ["10", "4", "1"]
    first = rows["openai/gpt-x"]
    assert (first["share"], first["cost_exact"], first["per_1k"]) == ("67%", "$0.02", "$2.00")
    assert (first["p50"], first["p95"], first["errors"]) == ("500 ms", "1.00 s", "0%")
    assert (rows["groq/y"]["errors"], rows["groq/y"]["errors_note"]) == ("25%", "1 of 4")
    assert "model=groq%2Fy" in rows["groq/y"]["href"]
    assert "outcome=failed" in rows["no model answered"]["href"]
    assert [row["model"] for row in state.points] == ["openai/gpt-x", "groq/y"]


async def test_the_page_asks_the_database_a_bounded_number_of_times(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    for n in range(30):
        await write(services, record(person.who.org_id, n, model=f"openai/m{n}"))
    with counted_statements(services) as statements:
        await opened(person, mode="live")
    # session, identity; sums, latencies; own provider keys, what is switched off, since when prices hold
    assert len(statements) == 8


# The drawing


def test_points_stand_where_their_figures_say(services: Services) -> None:
    points = [Point("a/cheap", 10**9, 100, 5), Point("b/dear", 10**12, 10_000, 9), Point("c/free", 0, 1_000, 1)]
    rows, across, up = drawn(points)
    place = {row["model"]: (float(row["x"].rstrip("%")), float(row["y"].rstrip("%"))) for row in rows}
    assert [row["model"] for row in rows] == ["b/dear", "a/cheap", "c/free"]
    assert place["c/free"][0] < place["a/cheap"][0] < place["b/dear"][0]
    assert place["b/dear"][1] < place["c/free"][1] < place["a/cheap"][1]
    assert across[0]["label"] == "$0"
    assert len(across) <= 8 and len(up) <= 7


@pytest.mark.parametrize("values", [[1], [7, 7], [0], [0, 5], [1, 10**15], [999, 1001]])
def test_an_axis_holds_its_values_between_round_ends(values: list[int]) -> None:
    axis = axis_of(values)
    places = [axis.place(value) for value in values]
    assert all(0 < place < 100 for place in places)
    assert places == sorted(places)
    assert 1 <= len(axis.ticks()) <= 8


def test_names_never_lie_over_each_other() -> None:
    crowd = [Point(f"p/model-{n}", 10**9 + n, 500 + n, n) for n in range(12)]
    rows, _, _ = drawn(crowd)
    assert sum(row["label"] != "" for row in rows) <= 3
    assert [row["number"] for row in rows] == [str(n) for n in range(1, 13)]
