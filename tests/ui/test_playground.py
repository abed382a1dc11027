"""The playground over the real services: streams beside each other, stops, previews, and what a client may not do."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from omni_app.origin import session_cookie
from omni_app.services import Services
from omni_app.storage import accounts, ledger
from omni_app.storage.ledger import RequestRecord
from omni_app.storage.org_settings import set_model_enabled
from omni_app.ui.pages import playground
from omni_app.ui.pages.playground_draft import PREVIEW_LIMIT
from omni_app.ui.pages.playground_state import EVERY, MAX_MODELS, PlaygroundState
from omni_app.ui.runs import SHOW_EVERY_S
from omni_app.ui.session import AppState, backstage, cookie_value
from tests.ui.conftest import Person
from tests.ui.live import LiveTab, running_tabs
from tests.ui.test_requests_page import counted_statements

FORM = {"prompt": "Write a Python function that sorts a list."}
CODER, SWIFT, PREMIUM, REASONER = "sandbox/coder", "sandbox/swift", "sandbox/premium", "sandbox/reasoner"


@pytest.fixture
async def started(services: Services) -> AsyncIterator[Services]:
    """The services with what drains the spool, so that rows arrive."""
    await services.start()
    yield services
    await services.stop()


@pytest.fixture
async def open_tab(started: Services) -> AsyncIterator[Callable[..., Any]]:
    """Opens the playground in a tab: `open_tab(person, name, **query)`."""
    async with running_tabs() as open_one:

        async def open_it(person: Person, name: str = "tab", **query: str) -> LiveTab:
            tab: LiveTab = await open_one(name, person.tab.at("/playground/", **query))
            await tab.done(PlaygroundState, "load")
            return tab

        yield open_it


@pytest.fixture
def slowly(started: Services) -> None:
    """The sandbox takes two fifths of the time that its models state: a second or more."""
    started.gateway.providers["sandbox"].speed = 0.4  # type: ignore[attr-defined]


async def rows(services: Services, person: Person, *, count: int) -> list[RequestRecord]:
    """The org's requests in the ledger, once there are so many; newest first."""
    async with asyncio.timeout(5):
        while True:
            async with services.database.session() as session:
                found = await ledger.recent_requests(session, org_id=person.who.org_id, mode="test")
            if len(found) >= count:
                return list(found)
            await asyncio.sleep(0.02)


def column(state: Any, key: str = "auto") -> Any:
    return next(one for one in state.columns if one["key"] == key)


def writing(*keys: str) -> Callable[[Any], bool]:
    """Whether the answers of these columns have begun."""
    return lambda state: all(state.words.get(key) for key in keys)


async def test_the_answer_streams_and_says_what_it_was(started: Services, sign_up: Any, open_tab: Any) -> None:
    person = await sign_up("ada@example.com")
    tab = await open_tab(person)
    await tab.done(PlaygroundState, "send", form=FORM)
    state = await tab.state(PlaygroundState)
    [row] = await rows(started, person, count=1)
    shown = column(state)
    assert (state.busy, shown["state"], shown["busy"]) == (False, "answered", "no")
    assert "simulated answer of" in state.words["auto"]
    assert shown["facts"]["model"] == row.model
    assert shown["facts"]["cost_exact"] == state.costs["run_exact"] == state.costs["all_exact"]
    assert Decimal(state.costs["all_exact"].lstrip("$")) * 10**12 == row.cost > 0
    assert shown["href"] == f"/request/?id={row.request_id}"
    assert [step["ok"] for step in shown["steps"]] == ["yes"]
    assert (row.endpoint, row.success, row.key_kind) == ("playground", True, "test")


async def test_words_come_in_few_messages_however_many_they_are(slowly: None, sign_up: Any, open_tab: Any) -> None:
    tab = await open_tab(await sign_up("ada@example.com"))
    began_s, before = time.monotonic(), len(tab.deltas())
    await tab.done(PlaygroundState, "send", form=FORM)
    lasted_s = time.monotonic() - began_s
    state = await tab.state(PlaygroundState)
    sent = len(tab.deltas()) - before
    words = len(state.words["auto"].split())
    assert 5 <= sent <= lasted_s / SHOW_EVERY_S + 4
    assert column(state)["facts"]["first"].endswith("s")
    assert words > 40


async def test_columns_answer_at_the_same_time(slowly: None, started: Services, sign_up: Any, open_tab: Any) -> None:
    person = await sign_up("ada@example.com")
    tab = await open_tab(person, models=f"{CODER},{SWIFT}")
    running = await tab.fire(PlaygroundState, "send", form=FORM)
    keys = ("auto", CODER, SWIFT)
    state = await tab.until(PlaygroundState, lambda state: all(column(state, key)["busy"] == "yes" for key in keys))
    await tab.until(PlaygroundState, lambda state: column(state, SWIFT)["state"] == "answered")
    assert column(await tab.state(PlaygroundState), CODER)["busy"] == "yes", "the quick one waited for the slow one"
    await running
    state = await tab.state(PlaygroundState)
    found = await rows(started, person, count=3)
    assert {row.model for row in found} >= {CODER, SWIFT}
    assert Decimal(state.costs["run_exact"].lstrip("$")) * 10**12 == sum(row.cost for row in found)
    assert "fastest" in column(state, SWIFT)["marks"]


async def test_two_presses_at_once_ask_once(slowly: None, started: Services, sign_up: Any, open_tab: Any) -> None:
    person = await sign_up("ada@example.com")
    tab = await open_tab(person)
    first = await tab.fire(PlaygroundState, "send", form=FORM)
    second = await tab.fire(PlaygroundState, "send", form=FORM)
    await asyncio.gather(first, second)
    await asyncio.sleep(0.2)
    assert len(await rows(started, person, count=1)) == 1
    assert (await tab.state(PlaygroundState)).costs["asked"] == "1"


async def test_stopping_cancels_the_call_and_the_ledger_says_so(
    slowly: None, started: Services, sign_up: Any, open_tab: Any
) -> None:
    person = await sign_up("ada@example.com")
    tab = await open_tab(person)
    running = await tab.fire(PlaygroundState, "send", form=FORM)
    await tab.until(PlaygroundState, writing("auto"))
    pressed_s = time.monotonic()
    await tab.done(PlaygroundState, "stop", column=EVERY)
    await running
    assert time.monotonic() - pressed_s < 1
    state = await tab.state(PlaygroundState)
    [row] = await rows(started, person, count=1)
    assert (row.success, row.error_code) == (False, "cancelled")
    assert row.tokens_output > 0
    assert (state.busy, column(state)["state"]) == (False, "stopped")
    assert Decimal(state.costs["all_exact"].lstrip("$")) * 10**12 == row.cost > 0


async def test_one_column_can_be_stopped_alone(slowly: None, started: Services, sign_up: Any, open_tab: Any) -> None:
    person = await sign_up("ada@example.com")
    tab = await open_tab(person, models=SWIFT)
    running = await tab.fire(PlaygroundState, "send", form=FORM)
    await tab.until(PlaygroundState, lambda state: column(state)["busy"] == "yes")
    await tab.done(PlaygroundState, "stop", column="auto")
    await running
    state = await tab.state(PlaygroundState)
    assert (column(state)["state"], column(state, SWIFT)["state"]) == ("stopped", "answered")
    assert {row.error_code for row in await rows(started, person, count=2)} == {"cancelled", ""}


async def test_logging_out_stops_what_runs(slowly: None, started: Services, sign_up: Any, open_tab: Any) -> None:
    person = await sign_up("ada@example.com")
    tab = await open_tab(person, models=PREMIUM)
    running = await tab.fire(PlaygroundState, "send", form=FORM)
    await tab.until(PlaygroundState, lambda state: column(state, PREMIUM)["busy"] == "yes")
    async with started.database.session() as session:
        token = cookie_value(person.tab.cookie, session_cookie(started.settings))
        await accounts.close_session(session, token=token)
        await session.commit()
    async with asyncio.timeout(3):
        await running
    assert "cancelled" in {row.error_code for row in await rows(started, person, count=2)}


async def test_a_closed_tab_stops_what_it_asked(slowly: None, started: Services, sign_up: Any, open_tab: Any) -> None:
    person = await sign_up("ada@example.com")
    closed = asyncio.Event()
    backstage.open(started, tab_is_open=lambda token: not closed.is_set())
    tab = await open_tab(person, models=PREMIUM)
    (await tab.state(PlaygroundState))._away_s = 0.2
    running = await tab.fire(PlaygroundState, "send", form=FORM)
    await tab.until(PlaygroundState, writing("auto"))
    sent = len(tab.deltas())
    closed.set()
    async with asyncio.timeout(2):
        await running
    assert "cancelled" in {row.error_code for row in await rows(started, person, count=2)}
    assert len(tab.deltas()) - sent <= 2, "words went to a tab that is closed"


async def test_a_broken_primary_shows_the_fallback_and_what_a_fixed_model_does(
    started: Services, sign_up: Any, open_tab: Any
) -> None:
    person = await sign_up("ada@example.com")
    tab = await open_tab(person, models=CODER)
    await tab.done(PlaygroundState, "send", form=FORM | {"broken": "on"})
    state = await tab.state(PlaygroundState)
    auto, fixed = column(state), column(state, CODER)
    assert [step["ok"] for step in auto["steps"]] == ["no", "yes"]
    assert (auto["state"], auto["facts"]["rescued"]) == ("rescued", "yes")
    assert (fixed["state"], [step["ok"] for step in fixed["steps"]]) == ("failed", ["no"])
    assert "no fallback" in fixed["problem"]
    assert fixed["href"].startswith("/request/?id=req_")
    assert {row.rescued for row in await rows(started, person, count=2)} == {True, False}


async def test_the_cost_so_far_is_the_ledger_s_sum(started: Services, sign_up: Any, open_tab: Any) -> None:
    person = await sign_up("ada@example.com")
    tab = await open_tab(person, models=CODER)
    for form in (FORM, FORM | {"broken": "on"}, FORM | {"prompt": "Hello there"}):
        await tab.done(PlaygroundState, "send", form=form)
    found = await rows(started, person, count=6)
    state = await tab.state(PlaygroundState)
    assert Decimal(state.costs["all_exact"].lstrip("$")) * 10**12 == sum(row.cost for row in found) > 0
    assert state.costs["asked"] == "6"
    await tab.done(PlaygroundState, "load")
    assert (await tab.state(PlaygroundState)).costs == state.costs


async def test_tabs_do_not_wait_for_each_other(slowly: None, sign_up: Any, open_tab: Any) -> None:
    person = await sign_up("ada@example.com")
    one, two = await open_tab(person, "one", models=PREMIUM), await open_tab(person, "two")
    running = await one.fire(PlaygroundState, "send", form=FORM)
    await one.until(PlaygroundState, lambda state: column(state)["busy"] == "yes")
    began_s = time.monotonic()
    for tab in (one, two):
        await tab.done(PlaygroundState, "type_prompt", prompt="Translate to German: good morning")
        assert (await tab.state(PlaygroundState)).task.startswith("Translation")
    assert time.monotonic() - began_s < 1
    assert not (await two.state(PlaygroundState)).busy
    await one.done(PlaygroundState, "stop", column=EVERY)
    await running


async def test_a_reload_finds_the_answers_again_while_they_come(slowly: None, sign_up: Any, open_tab: Any) -> None:
    tab = await open_tab(await sign_up("ada@example.com"))
    running = await tab.fire(PlaygroundState, "send", form=FORM)
    await tab.until(PlaygroundState, writing("auto"))
    await tab.done(PlaygroundState, "load")
    state = await tab.state(PlaygroundState)
    assert state.busy and state.words["auto"]
    await tab.done(PlaygroundState, "stop", column=EVERY)
    await running


@pytest.mark.parametrize("model", ["openai/gpt-5", "sandbox/nothing", "<b>x</b>", "auto", ""])
async def test_a_model_that_the_org_may_not_use_here_is_refused(sign_up: Any, open_tab: Any, model: str) -> None:
    tab = await open_tab(await sign_up("ada@example.com"), models=model)
    assert (await tab.state(PlaygroundState)).models == []
    await tab.done(PlaygroundState, "add_model", form={"model": model})
    state = await tab.state(PlaygroundState)
    assert state.models == []
    assert [one["key"] for one in state.columns] == ["auto"]
    assert not model or "not available here" in state.models_problem


async def test_a_model_that_the_org_switched_off_is_not_offered_and_not_asked(
    started: Services, sign_up: Any, open_tab: Any
) -> None:
    person = await sign_up("ada@example.com")
    tab = await open_tab(person, models=CODER)
    async with started.database.session() as session:
        await set_model_enabled(session, org_id=person.who.org_id, model_id=CODER, enabled=False)
        await session.commit()
    await tab.done(PlaygroundState, "send", form=FORM)
    state = await tab.state(PlaygroundState)
    assert "no longer available" in state.models_problem
    assert (state.busy, CODER in state.offered) == (False, False)
    await tab.done(PlaygroundState, "remove_model", column=CODER)
    await tab.done(PlaygroundState, "send", form=FORM)
    [row] = await rows(started, person, count=1)
    assert row.success and row.model != CODER


async def test_there_are_never_more_than_three_models_beside_auto(sign_up: Any, open_tab: Any) -> None:
    four = [CODER, SWIFT, PREMIUM, REASONER]
    tab = await open_tab(await sign_up("ada@example.com"), models=",".join(four[:2]))
    for model in (four[2], four[2], four[3]):
        await tab.done(PlaygroundState, "add_model", form={"model": model})
    state = await tab.state(PlaygroundState)
    assert state.models == four[:MAX_MODELS]
    assert "At most 3" in state.models_problem
    await tab.done(PlaygroundState, "remove_model", column=four[0])
    assert (await tab.state(PlaygroundState)).models == four[1:MAX_MODELS]
    crowded = await open_tab(await sign_up("bob@example.com"), "other", models=",".join(four))
    assert len((await crowded.state(PlaygroundState)).columns) == 1 + MAX_MODELS


async def test_models_stay_as_they_are_while_answers_come(slowly: None, sign_up: Any, open_tab: Any) -> None:
    tab = await open_tab(await sign_up("ada@example.com"), models=SWIFT)
    running = await tab.fire(PlaygroundState, "send", form=FORM)
    await tab.until(PlaygroundState, lambda state: state.busy)
    await tab.done(PlaygroundState, "add_model", form={"model": CODER})
    await tab.done(PlaygroundState, "remove_model", column=SWIFT)
    assert (await tab.state(PlaygroundState)).models == [SWIFT]
    await tab.done(PlaygroundState, "stop", column=EVERY)
    await running


async def test_typing_shows_the_choice_and_leaves_no_row(started: Services, sign_up: Any, open_tab: Any) -> None:
    person = await sign_up("ada@example.com")
    tab = await open_tab(person)
    await tab.done(PlaygroundState, "type_prompt", prompt=FORM["prompt"])
    state = await tab.state(PlaygroundState)
    assert state.task.startswith("Coding")
    [chosen] = [row for row in state.rows if row["chosen"] == "yes"]
    await tab.done(PlaygroundState, "set_priority", priority="cheap")
    await tab.done(PlaygroundState, "type_max_tokens", amount="5")
    cheap = await tab.state(PlaygroundState)
    assert [row["cost"] for row in cheap.rows if row["chosen"] == "yes"] != [chosen["cost"]]
    await tab.done(PlaygroundState, "type_prompt", prompt="  ")
    assert (await tab.state(PlaygroundState)).rows == []
    assert await rows(started, person, count=0) == []


async def test_previews_are_limited_per_person(sign_up: Any, open_tab: Any) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    tabs = [await open_tab(ada, "one"), await open_tab(ada, "two")]
    for number in range(PREVIEW_LIMIT):
        await tabs[number % 2].done(PlaygroundState, "type_prompt", prompt=f"hello {number}")
    assert (await tabs[1].state(PlaygroundState)).hint == ""
    await tabs[0].done(PlaygroundState, "type_prompt", prompt="one more")
    assert "in a minute" in (await tabs[0].state(PlaygroundState)).hint
    other = await open_tab(bob, "other")
    await other.done(PlaygroundState, "type_prompt", prompt="hello")
    assert (await other.state(PlaygroundState)).hint == ""


@pytest.mark.parametrize(
    ("field", "typed", "words"),
    [
        ("prompt", "   ", "Write a prompt"),
        ("prompt", "x" * 20_001, "longer than 20,000"),
        ("system", "x" * 8_001, "longer than 8,000"),
        ("max_cost", "a lot", "US dollars"),
        ("max_cost", "0", "greater than 0"),
        ("max_cost", "-1", "between 0"),
        ("max_cost", "nan", "between 0"),
        ("max_tokens", "1.5", "whole number"),
        ("max_tokens", "0", "between 1"),
        ("priority", "free", "must be one of"),
        ("latency_pref", "", "must be one of"),
    ],
)
async def test_bad_input_is_told_at_its_field_and_nothing_is_sent(
    started: Services, sign_up: Any, open_tab: Any, field: str, typed: str, words: str
) -> None:
    person = await sign_up("ada@example.com")
    tab = await open_tab(person)
    await tab.done(PlaygroundState, "send", form=FORM | {field: typed})
    state = await tab.state(PlaygroundState)
    assert words.lower() in state.problems[field].lower()
    assert (state.busy, state.told, column(state)["state"]) == (False, "", "")
    assert await rows(started, person, count=0) == []


@pytest.mark.parametrize("form", [{}, {"prompt": None}, {"prompt": ["a"]}, {"prompt": {"$ne": ""}}, {"prompt": 7}])
async def test_a_strange_form_sends_nothing(sign_up: Any, open_tab: Any, form: dict[str, Any]) -> None:
    tab = await open_tab(await sign_up("ada@example.com"))
    await tab.done(PlaygroundState, "send", form=form)
    state = await tab.state(PlaygroundState)
    assert (state.busy, "prompt" in state.problems) == (False, True)


async def test_half_a_character_in_a_prompt_is_no_error(sign_up: Any, open_tab: Any) -> None:
    tab = await open_tab(await sign_up("ada@example.com"))
    await tab.done(PlaygroundState, "send", form={"prompt": "hello \ud83d"})
    assert column(await tab.state(PlaygroundState))["state"] == "answered"


async def test_limits_and_options_reach_the_gateway(started: Services, sign_up: Any, open_tab: Any) -> None:
    person = await sign_up("ada@example.com")
    tab = await open_tab(person)
    await tab.done(PlaygroundState, "send", form=FORM | {"max_tokens": "8", "system": "Be brief.", "priority": "best"})
    state = await tab.state(PlaygroundState)
    [row] = await rows(started, person, count=1)
    assert row.tokens_output == 8
    assert row.model == PREMIUM
    await tab.done(PlaygroundState, "send", form=FORM | {"max_cost": "0.0000001"})
    state = await tab.state(PlaygroundState)
    assert column(state)["state"] == "failed"
    assert "max_cost" in column(state)["problem"]


async def test_every_column_counts_against_the_rate_limit(started: Services, sign_up: Any, open_tab: Any) -> None:
    started.gateway.limits = replace(started.gateway.limits, rate_max=1)
    person = await sign_up("ada@example.com")
    tab = await open_tab(person, models=SWIFT)
    await tab.done(PlaygroundState, "send", form=FORM)
    state = await tab.state(PlaygroundState)
    assert sorted(one["state"] for one in state.columns) == ["answered", "failed"]
    [refused] = [one for one in state.columns if one["state"] == "failed"]
    assert "over the limit" in refused["problem"].lower()
    assert refused["href"] == ""


async def test_a_prompt_for_a_picture_shows_the_placeholder(sign_up: Any, open_tab: Any) -> None:
    tab = await open_tab(await sign_up("ada@example.com"))
    await tab.done(PlaygroundState, "send", form={"prompt": "Draw a picture of a red fox in the snow."})
    assert column(await tab.state(PlaygroundState))["image"].startswith("data:image/png;base64,")


async def test_another_person_in_the_same_tab_finds_it_empty(started: Services, sign_up: Any, open_tab: Any) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    tab = await open_tab(ada, models=CODER)
    await tab.done(PlaygroundState, "send", form=FORM)
    tab.tab = bob.tab.at("/playground/")
    await tab.done(PlaygroundState, "load")
    state = await tab.state(PlaygroundState)
    assert (await tab.state(AppState)).email == "bob@example.com"
    assert (state.words, state.models, state.costs["all_exact"]) == ({}, [], "$0")


async def test_opening_the_page_asks_the_database_six_times_at_most(
    started: Services, sign_up: Any, open_tab: Any
) -> None:
    tab = await open_tab(await sign_up("ada@example.com"))  # the hidden key is made at the first time
    with counted_statements(started) as statements:
        await tab.done(PlaygroundState, "load")
    assert 0 < len(statements) <= 6


def test_answers_are_shown_as_text() -> None:
    assert "dangerouslySetInnerHTML" not in str(playground.page().render())
    assert "Markdown" not in inspect.getsource(playground)
