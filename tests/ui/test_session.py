"""The door between an event and data: cookies, owners, errors."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.origin import session_cookie
from omni_app.services import Services
from omni_app.storage import accounts, keys
from omni_app.storage.database import Database
from omni_app.ui.pages.keys import KeysState
from omni_app.ui.pages.overview import OverviewState
from omni_app.ui.session import AppState, authed, cookie_value
from tests.ui.conftest import Tab


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("omr_session=abc", "abc"),
        ("a=1; omr_session=abc; b=2", "abc"),
        ("omr_session_old=zzz", ""),
        ("", ""),
        ("omr_session=abc;" * 2000, ""),
    ],
)
def test_the_session_cookie_is_read_by_its_exact_name(header: str, value: str) -> None:
    assert cookie_value(header, "omr_session") == value


@given(st.text(max_size=200))
def test_no_cookie_header_breaks_the_reading(header: str) -> None:
    assert isinstance(cookie_value(header, "omr_session"), str)


async def test_a_tab_shows_who_is_signed_in(sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    await person.tab.fire(OverviewState, "load")
    assert person.tab.state(AppState).email == "ada@example.com"


async def test_log_out_elsewhere_ends_and_empties_an_open_tab(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    await person.tab.fire(OverviewState, "load")
    async with services.database.session() as session:
        await accounts.close_all_sessions(session, user_id=person.who.user_id)
        await session.commit()
    answer = await person.tab.fire(OverviewState, "load")
    assert "/login/?error=ended" in str(answer)
    assert person.tab.state(AppState).email == ""
    assert not person.tab.state(OverviewState).loaded


async def test_a_tab_that_changes_hands_shows_nothing_of_its_first_owner(services: Services, sign_up: Any) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    async with services.database.session() as session:
        await keys.create_key(session, org_id=ada.who.org_id, name="secret plan", kind="test", hasher=services.hasher)
        await session.commit()
    await ada.tab.fire(KeysState, "load")
    assert "secret plan" in str(ada.tab.state(KeysState).rows)
    ada.tab.cookie = bob.tab.cookie
    await ada.tab.at("/overview/").fire(OverviewState, "load")
    assert ada.tab.state(AppState).email == "bob@example.com"
    assert ada.tab.state(KeysState).rows == []


async def test_the_token_is_in_no_variable_that_reaches_the_browser(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    await person.tab.fire(OverviewState, "load")
    token = cookie_value(person.tab.cookie, session_cookie(services.settings))
    assert token
    assert token not in str(person.tab.state(OverviewState).dict())
    assert token not in str(person.tab.state(KeysState).dict())


async def test_a_database_that_is_away_is_said_on_the_page(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    there, services.database = services.database, Database("postgresql://127.0.0.1:9/nobody")
    await person.tab.fire(KeysState, "load")
    services.database = there
    assert "database does not answer" in person.tab.state(AppState).problem


async def test_an_unexpected_error_is_said_without_its_text(sign_up: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(self: Any, who: accounts.Identity, /) -> None:
        raise ZeroDivisionError("the prompt was: my secret")

    person = await sign_up("ada@example.com")
    await authed(broken)(person.tab.state(OverviewState))
    assert "on our side" in person.tab.state(AppState).problem
    assert "ZeroDivisionError" in caplog.text
    assert "secret" not in caplog.text + person.tab.state(AppState).problem


async def test_another_tree_is_not_touched(sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    await person.tab.fire(OverviewState, "load")
    assert Tab().at("/").state(AppState).email == ""
