"""The playground on live: a provider's own wire on a real socket, and what a stop does to it."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from omni_app.routing.types import KeyKind
from omni_app.services import Services, build_services
from omni_app.storage import ledger
from omni_app.storage.ledger import RequestRecord
from omni_app.ui.pages.playground_state import EVERY, PlaygroundState
from omni_app.ui.session import backstage
from tests.api.conftest import settings_for
from tests.migrated import migrate
from tests.providers.asking import eventually
from tests.servers.upstream import KEY, TEXT, Upstream
from tests.ui.conftest import Person
from tests.ui.live import LiveTab, running_tabs

FORM = {"prompt": "Hi! Tell me something nice."}


@pytest.fixture
async def provider() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


@pytest.fixture
async def services(tmp_path: Path, provider: Upstream) -> AsyncIterator[Services]:
    """Services with one live provider."""
    settings = settings_for(tmp_path, openai_api_key=KEY, openai_base_url=provider.openai_url)
    migrate(settings.database, seeded=True)
    services = build_services(settings)
    backstage.open(services)
    await services.start()
    yield services
    await services.stop()


@pytest.fixture
async def person(sign_up: Any) -> Person:
    someone: Person = await sign_up("ada@example.com")
    return someone


@pytest.fixture
async def tab(person: Person) -> AsyncIterator[LiveTab]:
    """The playground, open on live."""
    async with running_tabs() as open_tab:
        tab: LiveTab = await open_tab("tab", person.tab.at("/playground/", mode="live"))
        await tab.done(PlaygroundState, "load")
        yield tab


async def only_row(services: Services, person: Person, *, mode: KeyKind = "live") -> RequestRecord:
    """The org's one request of this mode, once it is in the ledger."""
    async with asyncio.timeout(5):
        while True:
            async with services.database.session() as session:
                found = await ledger.recent_requests(session, org_id=person.who.org_id, mode=mode)
            if found:
                [row] = found
                return row
            await asyncio.sleep(0.02)


async def test_a_live_answer_streams_from_the_provider(
    services: Services, person: Person, tab: LiveTab, provider: Upstream
) -> None:
    state = await tab.state(PlaygroundState)
    assert state.play_mode == "live"
    assert state.offered and all(model.startswith("openai/") for model in state.offered)
    await tab.done(PlaygroundState, "send", form=FORM | {"broken": "on"})  # no such switch on live: it is ignored
    state = await tab.state(PlaygroundState)
    row = await only_row(services, person)
    assert (state.words["auto"], state.columns[0]["state"]) == (TEXT, "answered")
    assert provider.last_body["stream"] is True
    assert (row.key_kind, row.success, row.simulated) == ("live", True, False)
    assert Decimal(state.costs["all_exact"].lstrip("$")) * 10**12 == row.cost > 0


async def test_stopping_closes_the_connection_to_the_provider(
    services: Services, person: Person, tab: LiveTab, provider: Upstream
) -> None:
    provider.fault = "mid_hang"
    running = await tab.fire(PlaygroundState, "send", form=FORM)
    await tab.until(PlaygroundState, lambda state: state.words.get("auto"))
    assert provider.open_connections == 1
    await tab.done(PlaygroundState, "stop", column=EVERY)
    await running
    await eventually(lambda: not provider.open_connections)
    row = await only_row(services, person)
    assert (row.error_code, len(provider.calls)) == ("cancelled", 1)
    assert (await tab.state(PlaygroundState)).columns[0]["state"] == "stopped"


async def test_a_stream_that_breaks_keeps_its_words_and_says_so(
    services: Services, person: Person, tab: LiveTab, provider: Upstream
) -> None:
    provider.fault = "mid_close"
    await tab.done(PlaygroundState, "send", form=FORM)
    state = await tab.state(PlaygroundState)
    assert (state.columns[0]["state"], TEXT.startswith(state.words["auto"]), bool(state.words["auto"])) == (
        "failed", True, True,
    )  # fmt: skip
    assert "broke off" in state.columns[0]["problem"]
    row = await only_row(services, person)
    assert Decimal(state.costs["all_exact"].lstrip("$")) * 10**12 == row.cost


async def test_the_other_mode_shows_neither_these_answers_nor_their_cost(
    services: Services, person: Person, tab: LiveTab, provider: Upstream
) -> None:
    provider.fault = "mid_hang"
    running = await tab.fire(PlaygroundState, "send", form=FORM)
    await tab.until(PlaygroundState, lambda state: state.words.get("auto"))
    tab.tab = person.tab.at("/playground/", mode="test")
    await tab.done(PlaygroundState, "load")
    await running
    state = await tab.state(PlaygroundState)
    assert (state.play_mode, state.busy, state.words, state.costs["all_exact"]) == ("test", False, {}, "$0")
    assert state.columns[0]["state"] == ""
    row = await only_row(services, person)
    assert row.error_code == "cancelled"
    tab.tab = person.tab.at("/playground/", mode="live")
    await tab.done(PlaygroundState, "load")
    state = await tab.state(PlaygroundState)
    assert Decimal(state.costs["all_exact"].lstrip("$")) * 10**12 == row.cost > 0
