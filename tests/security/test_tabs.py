"""A tab's token names the tab in the socket's address. It is no key: what the tab holds is for whoever is signed in."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import reflex as rx

from omni_app.origin import session_cookie
from omni_app.services import Services
from omni_app.storage import accounts, keys
from omni_app.storage.database import Database
from omni_app.ui.pages.keys_state import KeysState
from omni_app.ui.session import TabOwner, cookie_value
from omni_app.ui.site import add_pages
from tests.ui.conftest import Person, Tab
from tests.ui.live import LiveTab, running_tabs


@pytest.fixture
async def open_tab() -> AsyncIterator[Any]:
    async with running_tabs() as open_tab:
        yield open_tab


@pytest.fixture
async def ada(services: Services, sign_up: Any) -> Person:
    person: Person = await sign_up("ada@example.com")
    async with services.database.session() as session:
        await keys.create_key(
            session, org_id=person.who.org_id, name="secret plan", kind="test", hasher=services.hasher
        )
        await session.commit()
    return person


async def left_open(open_tab: Any, ada: Person) -> LiveTab:
    """A tab that shows a key's name."""
    tab: LiveTab = await open_tab("the tab's token", ada.tab.at("/keys/"))
    await tab.done(KeysState, "load")
    assert "secret plan" in str(tab.deltas())
    return tab


async def hydrated(tab: LiveTab, cookie: str) -> str:
    """What whoever names the tab is sent, with this cookie."""
    sent_before = len(tab.deltas())
    tab.tab = Tab(cookie=cookie).at("/login/")
    await tab.done(rx.State, "hydrate")
    sent = tab.deltas()[sent_before:]
    assert sent, "it is sent the whole state"
    return str(sent)


async def test_its_owner_gets_the_tab_back(open_tab: Any, ada: Person) -> None:
    tab = await left_open(open_tab, ada)
    assert "secret plan" in await hydrated(tab, ada.tab.cookie)


@pytest.mark.parametrize("cookie", ["", "omr_session=forged"])
async def test_without_a_session_it_is_empty(open_tab: Any, ada: Person, cookie: str) -> None:
    tab = await left_open(open_tab, ada)
    sent = await hydrated(tab, cookie)
    assert "secret plan" not in sent and "ada@example.com" not in sent
    assert (await tab.state(KeysState)).rows == []


async def test_to_somebody_else_it_is_empty(open_tab: Any, ada: Person, sign_up: Any) -> None:
    tab = await left_open(open_tab, ada)
    bob = await sign_up("bob@example.com")
    assert "secret plan" not in await hydrated(tab, bob.tab.cookie)


async def test_after_the_log_out_it_is_empty(open_tab: Any, ada: Person, services: Services) -> None:
    tab = await left_open(open_tab, ada)
    async with services.database.session() as session:
        await accounts.close_session(session, token=cookie_value(ada.tab.cookie, session_cookie(services.settings)))
        await session.commit()
    assert "secret plan" not in await hydrated(tab, ada.tab.cookie)


async def test_while_nobody_can_tell_whose_it_is_it_is_empty(open_tab: Any, ada: Person, services: Services) -> None:
    tab = await left_open(open_tab, ada)
    there, services.database = services.database, Database("postgresql://127.0.0.1:9/nobody")
    sent = await hydrated(tab, ada.tab.cookie)
    services.database = there
    assert "secret plan" not in sent


def test_the_app_is_told_of_the_guard() -> None:
    guards: list[Any] = []

    class Recorder:
        def add_page(self, *_: Any, **__: Any) -> None:
            pass

        def add_middleware(self, guard: Any) -> None:
            guards.append(guard)

    app: Any = Recorder()
    add_pages(app)
    assert [type(one) for one in guards] == [TabOwner]
