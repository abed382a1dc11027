"""A team that asks for a second factor, on the pages: turned on, what its people are led to, and what tabs lose."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import reflex as rx

from omni_app.services import Services
from omni_app.storage import keys, second_factors, teams
from omni_app.storage.tables import SecondFactor, utc_now
from omni_app.ui.pages.account_state import AccountState
from omni_app.ui.pages.join import JoinState
from omni_app.ui.pages.keys_state import KeysState
from omni_app.ui.pages.landing import LandingState
from omni_app.ui.pages.overview import OverviewState
from omni_app.ui.pages.requests import RequestsState
from omni_app.ui.pages.settings_state import SettingsState
from omni_app.ui.pages.start import StartState
from omni_app.ui.session import AppState
from tests.ui.conftest import Person, Tab
from tests.ui.live import LiveTab, running_tabs
from tests.ui.test_settings_page import joined


@pytest.fixture
async def open_tab() -> AsyncIterator[Any]:
    async with running_tabs() as open_tab:
        yield open_tab


@pytest.fixture
async def ada(services: Services, sign_up: Any) -> Person:
    """An owner with a second factor and a key."""
    person: Person = await sign_up("ada@example.com")
    await with_factor(services, person)
    async with services.database.session() as session:
        await keys.create_key(
            session, org_id=person.who.org_id, name="secret plan", kind="test", hasher=services.hasher
        )
        await session.commit()
    return person


@pytest.fixture
async def bob(services: Services, ada: Person, sign_up: Any) -> Person:
    """A member of Ada's team without one; `who` is Bob as he signed up, the tab shows her team."""
    guest = await sign_up("bob@example.com")
    return Person(guest.who, (await joined(services, ada, guest)).tab)


async def with_factor(services: Services, person: Person) -> None:
    async with services.database.session() as session:
        session.add(SecondFactor(user_id=person.who.user_id, sealed=b"sealed", confirmed_at=utc_now()))
        await session.commit()


async def ask(ada: Person, wanted: str = "yes") -> Any:
    """Ada chooses it in Settings; gives what her page shows."""
    await ada.tab.at("/settings/").fire(SettingsState, "load")
    await ada.tab.fire(SettingsState, "ask_for_factor", wanted=wanted)
    return ada.tab.state(SettingsState)


def is_empty(tab: Tab) -> bool:
    return bool(tab.state(AppState).dict() == Tab().at("/").state(AppState).dict())


async def test_an_owner_asks_and_sees_who_has_one_and_a_member_does_not(
    ada: Person, bob: Person, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(services.security, "tell", told.append)
    state = await ask(ada)
    assert state.asks_factor and not state.problem and "sees nothing of the team" in state.done
    assert [row["factor"] for row in state.people] == ["second factor", "no second factor"]
    await ask(ada, "no")
    assert not state.asks_factor
    assert [(one.event, one.outcome) for one in told] == [
        ("second_factor_asked", "ok"), ("second_factor_not_asked", "ok"),
    ]  # fmt: skip
    await bob.tab.at("/settings/").fire(SettingsState, "load")
    assert {row["factor"] for row in bob.tab.state(SettingsState).people} == {""}
    await bob.tab.fire(SettingsState, "ask_for_factor", wanted="yes")
    assert "only an owner" in bob.tab.state(AppState).problem.lower()


async def test_an_owner_without_one_is_told_to_set_up_their_own_first(sign_up: Any) -> None:
    eve = await sign_up("eve@example.com")
    state = await ask(eve)
    assert not state.asks_factor and "of your own first" in state.problem
    await eve.tab.at("/settings/").fire(SettingsState, "load")
    assert not state.asks_factor


async def test_whoever_lacks_it_is_led_to_settings_and_goes_on_once_it_is_set_up(
    ada: Person, bob: Person, services: Services
) -> None:
    await ask(ada)
    answer = await bob.tab.at("/overview/").fire(OverviewState, "load")
    assert '"/settings/"' in str(answer) and is_empty(bob.tab)
    state = bob.tab.at("/settings/").state(SettingsState)
    await bob.tab.fire(SettingsState, "load")
    await bob.tab.fire(AccountState, "load")
    assert (state.loaded, state.lacks_factor, state.org_name) == (True, True, "ada")
    assert (state.people, state.name, state.models, state.keyed_providers) == ([], "", [], [])
    assert [row["name"] for row in state.orgs] == ["bob"] and not bob.tab.state(AccountState).factor_on
    await with_factor(services, bob)
    await bob.tab.fire(SettingsState, "load")
    assert not state.lacks_factor and [row["email"] for row in state.people] == ["ada@example.com", "bob@example.com"]
    assert '"/settings/' not in str(await bob.tab.at("/keys/").fire(KeysState, "load"))
    assert [row["name"] for row in bob.tab.state(KeysState).rows] == ["secret plan"]


@pytest.mark.parametrize(
    ("path", "query", "led_to"),
    [
        ("/settings/", {}, "/settings/?again=1"),
        ("/settings/", {"again": "1"}, "/settings/"),
        ("/keys/", {"key": "x"}, "/settings/"),
    ],
)
async def test_the_address_that_a_tab_is_led_to_is_another_one(
    ada: Person, bob: Person, path: str, query: dict[str, str], led_to: str
) -> None:
    """A page that is led to where it is reads nothing anew."""
    await ask(ada)
    assert f'"{led_to}"' in str(await bob.tab.at(path, **query).fire(SettingsState, "take_out"))


async def test_an_open_tab_is_empty_after_its_next_event_whichever(ada: Person, bob: Person) -> None:
    for cls, handler in ((KeysState, "keep"), (AccountState, "load"), (SettingsState, "load"), (JoinState, "load")):
        await ask(ada, "no")
        await bob.tab.at("/keys/").fire(KeysState, "load")
        assert "secret plan" in str(bob.tab.state(KeysState).rows)
        await ask(ada)
        await bob.tab.fire(cls, handler)
        assert bob.tab.state(KeysState).rows == [], handler


async def test_who_connects_again_is_not_sent_what_the_tab_held(ada: Person, bob: Person, open_tab: Any) -> None:
    tab: LiveTab = await open_tab("token", bob.tab.at("/keys/"))
    await tab.done(KeysState, "load")
    await ask(ada)
    sent = len(tab.deltas())
    await tab.done(rx.State, "hydrate")
    assert len(tab.deltas()) > sent and "secret plan" not in str(tab.deltas()[sent:])


@pytest.mark.parametrize(("path", "cls", "handler"), [
    ("/start/", StartState, "watch"), ("/requests/", RequestsState, "follow"),
])  # fmt: skip
async def test_what_runs_in_the_background_ends_and_empties_the_tab(
    ada: Person, bob: Person, open_tab: Any, monkeypatch: pytest.MonkeyPatch, path: str, cls: Any, handler: str
) -> None:
    for module in ("start", "requests"):
        monkeypatch.setattr(f"omni_app.ui.pages.{module}.LOOK_EVERY_S", 0.05)
    tab: LiveTab = await open_tab("token", bob.tab.at(path))
    await tab.done(KeysState, "load")
    running = await tab.fire(cls, handler)
    assert (await tab.state(KeysState)).rows != []
    await ask(ada)
    await running
    assert (await tab.state(KeysState)).rows == []


async def test_whoever_lacks_it_may_leave_but_take_nobody_else_out(
    ada: Person, bob: Person, services: Services
) -> None:
    await ask(ada)
    async with services.database.session() as session:
        await teams.set_role(session, who=ada.who, user_id=bob.who.user_id, role="owner")
        await session.commit()
    tab = bob.tab.at("/settings/")
    tab.state(SettingsState).leaving = str(ada.who.user_id)
    await tab.fire(SettingsState, "take_out")
    async with services.database.session() as session:
        assert len(await teams.members(session, org_id=ada.who.org_id)) == 2
    assert "/overview/" in str(await tab.fire(SettingsState, "leave"))
    async with services.database.session() as session:
        assert [one.email for one in await teams.members(session, org_id=ada.who.org_id)] == ["ada@example.com"]
    await tab.at("/overview/").fire(OverviewState, "load")
    assert tab.state(AppState).org_name == "bob" and tab.state(AppState).problem == ""


async def test_the_last_owner_who_lacks_it_cannot_leave_and_is_told_why(ada: Person, services: Services) -> None:
    await ask(ada)
    async with services.database.session() as session:
        await second_factors.turn_off(session, user_id=ada.who.user_id)
        await session.commit()
    await ada.tab.at("/settings/").fire(SettingsState, "leave")
    assert "owner" in ada.tab.state(AppState).problem


async def test_switching_to_another_team_of_theirs_lets_them_go_on(ada: Person, bob: Person) -> None:
    await ask(ada)
    answer = await bob.tab.at("/settings/").fire(SettingsState, "switch_team", org_id=str(bob.who.org_id))
    assert "/overview/" in str(answer)
    assert '"/settings/' not in str(await bob.tab.at("/overview/").fire(OverviewState, "load"))
    assert bob.tab.state(AppState).org_name == "bob"


async def test_the_public_pages_know_that_they_are_signed_in(ada: Person, bob: Person) -> None:
    await ask(ada)
    await bob.tab.at("/").fire(LandingState, "load")
    assert bob.tab.state(LandingState).signed_in
    assert '"/settings/"' in str(await bob.tab.at("/join/").fire(JoinState, "load"))
