"""The request log and a request's page: over the real ledger, decisions and gateway."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from sqlalchemy import event

from omni_app.api.request_export import filter_of
from omni_app.gateway.types import EMBEDDING_TASK
from omni_app.routing.types import Task
from omni_app.services import Services
from omni_app.storage import accounts, keys
from omni_app.storage.database import Database
from omni_app.ui import log_view
from omni_app.ui.pages.requests import LOOK_EVERY_S, MAX_SHOWN, PAGE_SIZE, RequestsState, held_text, merged
from omni_app.ui.session import AppState
from tests.ui.conftest import Person, Tab
from tests.ui.live import LiveTab, running_tabs
from tests.ui.test_pages import record, write


@contextmanager
def counted_statements(services: Services) -> Iterator[list[str]]:
    """The statements that the database is asked meanwhile."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    engine = services.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


def shown(tab: Tab) -> list[str]:
    return [row["id"] for row in tab.state(RequestsState).rows]


async def opened(person: Person, **query: str) -> Any:
    """The log as this address shows it."""
    await person.tab.at("/requests/", **query).fire(RequestsState, "load")
    return person.tab.state(RequestsState)


def turned(href: str) -> dict[str, str]:
    """The query of a link."""
    return dict(parse_qsl(urlsplit(href).query))


async def test_the_log_turns_its_pages_both_ways_without_gaps_or_repeats(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    await write(services, *(record(person.who.org_id, n) for n in range(120)))
    state = await opened(person)
    pages = [shown(person.tab)]
    while state.older_href:
        state = await opened(person, **turned(state.older_href))
        pages.append(shown(person.tab))
    assert [len(one) for one in pages] == [PAGE_SIZE, PAGE_SIZE, 20]
    assert len({one for page in pages for one in page}) == 120
    state = await opened(person, **turned(state.newer_href))
    assert shown(person.tab) == pages[1]
    await opened(person, **turned(state.newer_href))
    assert shown(person.tab) == pages[0]


async def test_filters_come_from_the_address_and_stay_in_every_link(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    org = person.who.org_id
    await write(services, *(record(org, n, task="coding") for n in range(70)), *(record(org, n) for n in range(70)))
    state = await opened(person, mode="live", task="coding", outcome="answered")
    assert len(state.rows) == PAGE_SIZE
    assert {row["task"] for row in state.rows} == {"Coding"}
    assert (state.narrowed, state.typed) == (True, 1)
    for href in (state.older_href, *(row["href"] for row in state.modes)):
        assert "task=coding" in href and "outcome=answered" in href
    assert [row["label"] for row in state.outcomes if row["current"] == "true"] == ["Answered"]
    assert all("after=" not in row["href"] for row in (*state.modes, *state.outcomes))


@pytest.mark.parametrize(
    "query",
    [
        {"task": "<script>", "model": "x" * 5000, "outcome": "' OR 1=1 --", "key": "7", "from": "then", "to": "\x00"},
        {"after": "req_none", "before": "%00", "id": "%_%", "session": "\N{GRINNING FACE}", "mode": "prod"},
    ],
)
async def test_a_strange_address_is_read_as_far_as_it_makes_sense(sign_up: Any, query: dict[str, str]) -> None:
    person = await sign_up("ada@example.com")
    state = await opened(person, **query)
    assert state.loaded
    assert person.tab.state(AppState).problem == ""


async def test_a_revoked_key_s_requests_can_still_be_chosen(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    org = person.who.org_id
    async with services.database.session() as session:
        made = [
            (await keys.create_key(session, org_id=org, name=name, kind="live", hasher=services.hasher))[0]
            for name in ("In use", "Old")
        ]
        await keys.revoke_key(session, org_id=org, key_id=made[1].id)
        await session.commit()
    old = record(org, 1, key_id=made[1].id)
    await write(services, old, record(org, 2, key_id=made[0].id))
    state = await opened(person, mode="live", key=str(made[1].id))
    assert [row["label"] for row in state.keys] == [f"In use (…{made[0].last4})", f"Old (…{made[1].last4}) (revoked)"]
    assert shown(person.tab) == [old.request_id]


def test_every_task_can_be_chosen_once() -> None:
    tasks = [row["value"] for row in log_view.task_options()]
    assert sorted(tasks) == sorted([*(task.value for task in Task), EMBEDDING_TASK])


async def test_nothing_yet_and_nothing_that_matches_are_told_apart(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    assert not (await opened(person)).narrowed
    await write(services, record(person.who.org_id, 1))
    state = await opened(person, mode="live", outcome="failed")
    assert (state.rows, state.narrowed) == ([], True)


async def test_each_team_sees_its_own_log(services: Services, sign_up: Any) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    theirs = record(bob.who.org_id, 1)
    await write(services, theirs)
    for query in ({}, {"id": theirs.request_id}, {"after": theirs.request_id}, {"key": str(theirs.key_id)}):
        await opened(ada, mode="live", **query)
        assert shown(ada.tab) == []


async def test_the_page_asks_the_database_a_bounded_number_of_times(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    await write(services, *(record(person.who.org_id, n) for n in range(120)))
    state = await opened(person)
    with counted_statements(services) as statements:
        await opened(person, **turned(state.older_href), task="chat", model="openai/gpt-x")
    # session, identity; the row to turn at, the page, the org's keys
    assert len(statements) == 5


# Following


@pytest.fixture
async def open_tab(services: Services) -> AsyncIterator[Callable[[str, Any], LiveTab]]:
    async with running_tabs() as open_tab:
        yield open_tab


async def followed(open_tab: Any, person: Person, **query: str) -> LiveTab:
    """A tab with the log open, which follows it if the page does."""
    tab: LiveTab = await open_tab("tab", person.tab.at("/requests/", **query))
    await tab.done(RequestsState, "load")
    return tab


async def test_only_the_newest_page_is_followed(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    await write(services, *(record(person.who.org_id, n) for n in range(60)))
    state = await opened(person)
    assert state.tail == "live"
    for query in (turned(state.older_href), {"to": "2030-01-01"}):
        assert (await opened(person, **query)).tail == ""


async def test_new_rows_appear_on_top_by_themselves(services: Services, sign_up: Any, open_tab: Any) -> None:
    person = await sign_up("ada@example.com")
    org = person.who.org_id
    await write(services, record(org, 60))
    tab = await followed(open_tab, person, mode="live", task="chat")
    late, new, other = record(org, 90), record(org, 0), record(org, 0, task="coding")
    await write(services, late, new, other)
    state = await tab.until(RequestsState, lambda state: len(state.rows) > 1)
    assert [row["id"] for row in state.rows[:1] + state.rows[2:]] == [new.request_id, late.request_id]


async def test_a_paused_log_counts_what_comes_and_shows_it_on_resume(
    services: Services, sign_up: Any, open_tab: Any
) -> None:
    person = await sign_up("ada@example.com")
    await write(services, record(person.who.org_id, 60))
    tab = await followed(open_tab, person, mode="live")
    await tab.done(RequestsState, "pause")
    await write(services, record(person.who.org_id, 0), record(person.who.org_id, 1))
    state = await tab.until(RequestsState, lambda state: state.held)
    assert (state.held, len(state.rows), state.tail) == ("2 new", 1, "paused")
    await tab.done(RequestsState, "resume")
    state = await tab.state(RequestsState)
    assert (state.held, len(state.rows), state.tail) == ("", 3, "live")


async def test_logging_out_ends_the_following_and_empties_the_page(
    services: Services, sign_up: Any, open_tab: Any
) -> None:
    person = await sign_up("ada@example.com")
    await write(services, record(person.who.org_id, 60))
    tab = await followed(open_tab, person, mode="live")
    async with services.database.session() as session:
        await accounts.close_all_sessions(session, user_id=person.who.user_id)
        await session.commit()
    state = await tab.until(RequestsState, lambda state: not state.loaded)
    assert state.rows == []


async def test_who_leaves_the_page_is_no_longer_followed(services: Services, sign_up: Any, open_tab: Any) -> None:
    person = await sign_up("ada@example.com")
    await write(services, record(person.who.org_id, 60))
    tab = await followed(open_tab, person, mode="live")
    person.tab.at("/requests/", mode="live", outcome="failed", to="2020-01-01")
    await tab.done(RequestsState, "load")
    await write(services, record(person.who.org_id, 0))
    with counted_statements(services) as statements:
        await asyncio.sleep(2 * LOOK_EVERY_S + 0.3)
    assert len(statements) <= 3  # the look that was under way
    assert (await tab.state(RequestsState)).rows == []


async def test_a_database_that_is_away_for_a_moment_does_not_end_the_following(
    services: Services, sign_up: Any, open_tab: Any
) -> None:
    person = await sign_up("ada@example.com")
    await write(services, record(person.who.org_id, 60))
    tab = await followed(open_tab, person, mode="live")
    there, services.database = services.database, Database("postgresql://127.0.0.1:9/nobody")
    await asyncio.sleep(LOOK_EVERY_S + 0.3)
    await services.database.close()
    services.database = there
    await write(services, record(person.who.org_id, 0))
    state = await tab.until(RequestsState, lambda state: len(state.rows) > 1)
    assert (state.tail, state.problem) == ("live", "")


def line(number: int) -> dict[str, str]:
    return {"id": str(number), "order": f"{number:06d}"}


def test_rows_that_meet_the_shown_ones_are_put_above_them_each_once() -> None:
    both = merged([line(3), line(1)], [line(4), line(3), line(2)])
    assert [row["id"] for row in both] == ["4", "3", "2", "1"]


def test_when_more_came_than_a_page_no_gap_is_hidden() -> None:
    found = [line(number) for number in range(200, 200 - PAGE_SIZE, -1)]
    assert merged([line(3), line(1)], found) == found


def test_a_followed_page_stays_bounded() -> None:
    shown = [line(number) for number in range(MAX_SHOWN, 0, -1)]
    kept = merged(shown, [line(MAX_SHOWN + 1), line(MAX_SHOWN)])
    assert len(kept) == MAX_SHOWN
    assert kept[0]["id"] == str(MAX_SHOWN + 1)


def test_the_count_of_what_is_held_back_is_honest_where_it_ends() -> None:
    assert [held_text(count) for count in (0, 3, PAGE_SIZE)] == ["", "3 new", "50+ new"]


async def test_the_page_offers_what_it_shows_as_a_file(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    await write(services, record(person.who.org_id, 1))
    state = await opened(person, mode="live", task="chat", outcome="failed", **{"from": "2026-01-01T10:00"})
    path, _, query = state.csv.partition("?")
    assert path == "/auth/requests.csv"
    wanted = filter_of(dict(parse_qsl(query)), default="test")
    assert wanted == log_view.filter_of(dict(parse_qsl(query)), mode="live")
    assert (wanted.task, wanted.outcome, wanted.start) == ("chat", "failed", datetime(2026, 1, 1, 10, tzinfo=UTC))
