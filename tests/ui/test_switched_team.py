"""Several tabs of one browser: what one of them is filled for does not act on the team that another has switched to."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import reflex as rx

from omni_app.services import Services
from omni_app.storage import budgets, keys, org_settings, policies
from omni_app.storage.accounts import Identity
from omni_app.storage.tables import utc_now
from omni_app.ui.pages.keys_state import KeysState
from omni_app.ui.pages.overview import OverviewState
from omni_app.ui.pages.playground_state import PlaygroundState
from omni_app.ui.pages.policy_state import PolicyState
from omni_app.ui.pages.requests import RequestsState
from omni_app.ui.pages.settings_state import SettingsState
from omni_app.ui.pages.start import StartState
from omni_app.ui.session import AppState
from tests.ui.conftest import Person, Tab
from tests.ui.live import LiveTab, running_tabs
from tests.ui.test_settings_page import joined

TO_OVERVIEW = '"/overview/"'


@pytest.fixture
async def open_tab() -> AsyncIterator[Any]:
    async with running_tabs() as open_tab:
        yield open_tab


@pytest.fixture
async def bob(services: Services, sign_up: Any) -> Person:
    """An owner of Ada's team, which his browser shows, and of his own."""
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    async with services.database.session() as session:
        await keys.create_key(session, org_id=ada.who.org_id, name="secret plan", kind="test", hasher=services.hasher)
        await session.commit()
    return Person(bob.who, (await joined(services, ada, bob, role="owner")).tab)


def another_tab(person: Person, path: str) -> Tab:
    return Tab(cookie=person.tab.cookie).at(path)


async def switch_elsewhere(bob: Person) -> None:
    """In another tab of the same browser, to Bob's own team."""
    await another_tab(bob, "/settings/").fire(SettingsState, "switch_team", org_id=str(bob.who.org_id))


async def own_budgets(services: Services, who: Identity) -> int:
    async with services.database.session() as session:
        return len(await budgets.standings(session, org_id=who.org_id, now=utc_now()))


async def test_a_budget_meant_for_the_one_team_is_not_set_for_the_other(services: Services, bob: Person) -> None:
    tab = bob.tab.at("/keys/")
    await tab.fire(KeysState, "load")
    await switch_elsewhere(bob)
    form = {"whose": "org", "amount": "5", "period": "day"}
    assert TO_OVERVIEW in str(await tab.fire(KeysState, "save_budget", form=form))
    assert await own_budgets(services, bob.who) == 0
    assert tab.state(KeysState).rows == [] and tab.state(AppState).org_name == "bob"
    await tab.fire(KeysState, "load")
    await tab.fire(KeysState, "save_budget", form=form)
    assert await own_budgets(services, bob.who) == 1, "of what is shown now it is set"


async def test_the_one_team_s_draft_of_a_policy_does_not_hold_for_the_other(services: Services, bob: Person) -> None:
    tab = bob.tab.at("/policy/")
    await tab.fire(PolicyState, "load")
    await tab.fire(PolicyState, "use_preset", preset="cheapest")
    await switch_elsewhere(bob)
    assert TO_OVERVIEW in str(await tab.fire(PolicyState, "save", form={"note": ""}))
    await tab.fire(PolicyState, "load")
    assert tab.state(PolicyState).preset != "cheapest"
    async with services.database.session() as session:
        assert await policies.list_policies(session, org_id=bob.who.org_id) == []


async def test_who_connects_again_is_not_sent_the_team_that_was_left(bob: Person, open_tab: Any) -> None:
    tab: LiveTab = await open_tab("token", bob.tab.at("/keys/"))
    await tab.done(KeysState, "load")
    await switch_elsewhere(bob)
    sent = len(tab.deltas())
    await tab.done(rx.State, "hydrate")
    assert len(tab.deltas()) > sent and "secret plan" not in str(tab.deltas()[sent:])


@pytest.mark.parametrize(
    ("path", "cls", "handler", "arguments"),
    [("/playground/", PlaygroundState, "send", {"form": {"prompt": "Hi!"}}), ("/start/", StartState, "send_test", {})],
)
async def test_what_runs_in_the_background_does_not_begin_for_the_other_team(
    services: Services, bob: Person, open_tab: Any, path: str, cls: Any, handler: str, arguments: Any
) -> None:
    """Each needs the team's hidden key, so the team that has none was asked for nothing."""
    tab: LiveTab = await open_tab("token", bob.tab.at(path))
    await tab.done(KeysState, "load")
    await switch_elsewhere(bob)
    await tab.done(cls, handler, **arguments)
    assert (await tab.state(KeysState)).rows == []
    async with services.database.session() as session:
        assert await keys.list_keys(session, org_id=bob.who.org_id, include_hidden=True) == []


@pytest.mark.parametrize(
    ("path", "cls", "handler"), [("/start/", StartState, "watch"), ("/requests/", RequestsState, "follow")]
)
async def test_what_runs_in_the_background_ends_with_the_switch(
    bob: Person, open_tab: Any, monkeypatch: pytest.MonkeyPatch, path: str, cls: Any, handler: str
) -> None:
    for module in ("start", "requests"):
        monkeypatch.setattr(f"omni_app.ui.pages.{module}.LOOK_EVERY_S", 0.05)
    tab: LiveTab = await open_tab("token", bob.tab.at(path))
    await tab.done(KeysState, "load")
    running = await tab.fire(cls, handler)
    await switch_elsewhere(bob)
    await running  # else it would look for a quarter of an hour


async def test_leaving_from_the_list_of_members_empties_the_tab_too(bob: Person) -> None:
    tab = bob.tab.at("/settings/")
    await tab.fire(SettingsState, "load")
    await tab.fire(SettingsState, "ask", user_id=str(bob.who.user_id))
    assert TO_OVERVIEW in str(await tab.fire(SettingsState, "take_out"))
    assert tab.state(SettingsState).people == []
    await tab.at("/overview/").fire(OverviewState, "load")
    assert (tab.state(AppState).org_name, tab.state(AppState).problem) == ("bob", "")


async def test_a_tab_that_was_filled_before_shows_the_team_s_new_name(services: Services, bob: Person) -> None:
    await switch_elsewhere(bob)
    tab = bob.tab.at("/keys/")
    await tab.fire(KeysState, "load")
    async with services.database.session() as session:
        await org_settings.rename_org(session, org_id=bob.who.org_id, name="Engines")
        await session.commit()
    await tab.fire(KeysState, "keep")
    assert tab.state(AppState).org_name == "Engines"
