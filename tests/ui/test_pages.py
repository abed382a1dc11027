"""The pages' states over the real ledger, keys and router; and that every page can be built."""

import inspect
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from omni_app.api.estimate import TASK_CHOICES
from omni_app.api.responses import json_response
from omni_app.api.usage import usage_body
from omni_app.money import usd_text
from omni_app.services import Services
from omni_app.storage import keys, ledger, org_settings, reports
from omni_app.storage.ledger import RequestRecord
from omni_app.storage.tables import utc_now
from omni_app.ui.components.estimator import TASKS
from omni_app.ui.pages import (
    auth,
    join,
    landing,
    models,
    overview,
    playground,
    policy,
    request,
    requests,
    settings,
    start,
    usage,
)
from omni_app.ui.pages import keys as keys_page
from omni_app.ui.pages.keys_state import KeysState
from omni_app.ui.pages.landing import LandingState
from omni_app.ui.pages.overview import OverviewState
from omni_app.ui.pages.playground import PlaygroundState
from omni_app.ui.pages.start import StartState
from omni_app.ui.pages.usage import UsageState
from omni_app.ui.session import AppState
from omni_app.ui.site import GUARDED, missing_page
from tests.ui.conftest import Tab

PAGES: list[Callable[[], Any]] = [
    landing.landing, auth.signup, auth.login, start.page, overview.page, usage.page, models.page,
    requests.page, request.page, policy.page, playground.page, keys_page.page, settings.page, join.page,
    missing_page,
]  # fmt: skip
BEHIND_THE_LOG_IN = PAGES[3:13]
SECRET_PLACES = ("hasher", "pepper", "api_key=", "omr_live_", "secret_key")
EMPTY_SLOT = 'api_key=\\\\""'
"""The SDK's snippet, as rendered: the text ends where the key's empty slot begins."""


def record(org_id: UUID, number: int, **changes: Any) -> RequestRecord:
    """A request of that org, `number` seconds ago. Its id tells the moment, as the gateway's do."""
    created_at = utc_now() - timedelta(seconds=number)
    values: dict[str, Any] = {
        "request_id": f"req_{int(created_at.timestamp() * 1000):012x}{uuid4().hex[:20]}",
        "org_id": org_id,
        "key_id": uuid4(),
        "key_kind": "live",
        "endpoint": "chat",
        "task": "chat",
        "created_at": created_at,
        "model": "openai/gpt-x",
        "provider": "openai",
        "cost": 123_456_789 + number,
        "premium_cost": 9_876_543_210 + number,
        "premium_model": "anthropic/big",
        "tokens_input": 11,
        "tokens_output": 22,
        "latency_ms": 100 + number,
        "attempts": 1,
        "success": True,
    }
    return RequestRecord(**values | changes)


async def write(services: Services, *records: RequestRecord) -> None:
    async with services.database.session() as session:
        await ledger.insert_records(session, records)
        await session.commit()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{inspect.getmodule(page).__name__}.{page.__name__}")  # type: ignore[union-attr]
def test_the_page_can_be_built_and_holds_no_data(page: Callable[[], Any]) -> None:
    text = str(page().render()).replace(EMPTY_SLOT, "")
    assert "h1" in text or "empty" in text
    assert not [place for place in SECRET_PLACES if place in text]


FORMS: dict[Callable[[], Any], dict[str, tuple[str, str]]] = {
    auth.signup: {
        "email": ("email", "username"),
        "password": ("password", "new-password"),
        "org_name": ("text", "organization"),
    },
    auth.login: {"email": ("email", "username"), "password": ("password", "current-password")},
    auth.code: {"code": ("text", "one-time-code")},
    auth.forgot: {"email": ("email", "username")},
    auth.confirm: {"password": ("password", "current-password")},
    auth.reset: {"new_password": ("password", "new-password")},
    auth.lost_factor: {"password": ("password", "current-password")},
}
"""What each form of a log-in asks for: name -> type, and what a password manager is told. No hint, no question."""


@pytest.mark.parametrize("page", FORMS, ids=lambda page: page.__name__)
def test_a_password_is_hidden_as_it_is_typed_and_a_password_manager_knows_it(page: Callable[[], Any]) -> None:
    fields = {}
    for one in inputs(page().render()):
        if one["type"] != "hidden":
            assert not {name for name in one if name.lower().startswith("on") and name.lower() != "onchange"}, one
            fields[one["name"]] = (one["type"], one["autoComplete"])
    assert fields == FORMS[page]


def inputs(rendered: Any) -> Iterator[dict[str, str]]:
    """The properties of every field in what a page is rendered from."""
    if isinstance(rendered, dict):
        if rendered.get("name") == '"input"':
            pairs = (one.partition(":") for one in rendered["props"])
            yield {name.strip('"'): value.strip('"') for name, _, value in pairs}
        for value in rendered.values():
            yield from inputs(value)
    elif isinstance(rendered, list | tuple):
        for value in rendered:
            yield from inputs(value)


def test_whoever_is_logged_in_can_log_out_wherever_they_are() -> None:
    for page in BEHIND_THE_LOG_IN:
        text = str(page().render())
        assert "/auth/logout" in text and "Log out" in text, page.__module__
    assert len(BEHIND_THE_LOG_IN) == len(GUARDED)


async def test_overview_and_usage_show_the_api_s_figures_to_the_last_digit(services: Services, sign_up: Any) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    await write(services, *(record(ada.who.org_id, n) for n in range(7)), record(bob.who.org_id, 1))
    await write(services, record(ada.who.org_id, 3, success=False, error_code="provider_error", model="", cost=5))
    await ada.tab.fire(OverviewState, "load")
    await ada.tab.at("/usage/").fire(UsageState, "load")
    async with services.database.session() as session:
        report = await reports.usage(
            session, org_id=ada.who.org_id, start=utc_now() - timedelta(days=6), end=utc_now(), mode="live"
        )
    body = usage_body(report, services.gateway.registry, (), mode="live")
    shown, counted = ada.tab.state(OverviewState).figures, ada.tab.state(UsageState).figures
    assert shown["spend_exact"] == counted["cost_exact"] == "$" + usd_text(report.total_cost)
    assert shown["saved_exact"] == counted["saved_exact"] == "$" + usd_text(report.estimated_savings)
    assert shown["requests"] == counted["requests"] == str(body["total_requests"]) == "8"
    assert shown["errors_note"] == "1 of 8"
    assert "anthropic/big" in shown["saved_note"]


def exact(amount: str) -> str:
    """An amount of the API's JSON as a page's `data` value."""
    return f"-${amount[1:]}" if amount.startswith("-") else f"${amount}"


async def test_overview_compares_with_the_team_s_models_as_the_api_does(services: Services, sign_up: Any) -> None:
    ada = await sign_up("ada@example.com")
    others = ("openai/gpt-4.1", "openai/gpt-4o-mini", "sandbox/swift")
    routed = {"routing_us": 410, "failed_cost": 1_000_000}
    await write(services, *(record(ada.who.org_id, n, **routed) for n in range(3)))
    async with services.database.session() as session:
        await org_settings.set_comparisons(session, org_id=ada.who.org_id, models=others)
        await session.commit()
        span: Any = {"start": utc_now() - timedelta(days=6), "end": utc_now(), "mode": "live"}
        report = await reports.usage(session, org_id=ada.who.org_id, **span)
    told = json_response(usage_body(report, services.gateway.registry, others, mode="live")).body
    body = json.loads(bytes(told), parse_float=str, parse_int=str)
    await ada.tab.fire(OverviewState, "load")
    await ada.tab.at("/usage/").fire(UsageState, "load")
    state = ada.tab.state(OverviewState)
    recorded, *further = state.compared
    assert (recorded["model"], recorded["prices"]) == ("anthropic/big", "of each request's moment")
    assert recorded["low_exact"] == exact(body["savings_band"]["low"])
    assert [(row["model"], row["cost_exact"], row["saved_exact"], row["high_exact"]) for row in further] == [
        (one["model"], exact(one["cost"]), exact(one["savings"]), exact(one["savings_band"]["high"]))
        for one in body["comparisons"]
    ]
    assert [row["model"] for row in further] == ["openai/gpt-4.1", "openai/gpt-4o-mini"], "not the simulated one"
    assert all(row["prices"].startswith("today's (litellm-") for row in further)
    cheap = further[1]
    assert cheap["saved"].startswith("-$") and cheap["saved_exact"].startswith("-$"), "a loss is shown as one"
    assert state.figures["saved_band"].endswith("with answers 33% shorter to 50% longer")
    assert state.figures["spend_note"] == "$0.000003 of it for failed attempts"
    counted = ada.tab.state(UsageState).figures
    assert counted["failed"] == state.figures["spend_note"]
    assert counted["routing"] == state.figures["routing_note"] == "routing took 0.41 ms on average"


async def test_with_no_requests_there_is_nothing_to_compare(services: Services, sign_up: Any) -> None:
    ada = await sign_up("ada@example.com")
    await ada.tab.fire(OverviewState, "load")
    state = ada.tab.state(OverviewState)
    assert (state.compared, state.figures["saved_band"], state.figures["spend_note"]) == ([], "", "")
    assert state.figures["routing_note"] == ""


async def test_the_chart_s_table_adds_up_to_the_spend(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    await write(services, *(record(person.who.org_id, n) for n in range(5)))
    await person.tab.at("/overview/", range="24h").fire(OverviewState, "load")
    state = person.tab.state(OverviewState)
    assert len(state.bars) == len(state.ticks) == 24
    total = sum(Decimal(bar["cost_exact"].lstrip("$")) for bar in state.bars)
    assert f"${total}" == state.figures["spend_exact"]
    assert state.bars[-1]["requests"] == "5" or state.bars[-2]["requests"] != "0"


async def test_pages_open_on_live_when_it_has_rows_else_on_test(services: Services, sign_up: Any) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    await write(services, record(ada.who.org_id, 1), record(bob.who.org_id, 1, key_kind="test", simulated=True))
    for person, mode in ((ada, "live"), (bob, "test")):
        await person.tab.fire(OverviewState, "load")
        assert person.tab.state(AppState).mode == mode
    assert ada.tab.state(OverviewState).simulated == ""
    assert "simulated models" in bob.tab.state(OverviewState).simulated


@pytest.mark.parametrize("query", [{"mode": "'; --", "range": "9999y"}, {"mode": "", "range": ""}])
async def test_a_strange_address_shows_the_defaults(sign_up: Any, query: dict[str, str]) -> None:
    person = await sign_up("ada@example.com")
    await person.tab.at("/overview/", **query).fire(OverviewState, "load")
    assert (person.tab.state(AppState).mode, person.tab.state(AppState).range) == ("test", "7d")


async def test_a_key_is_revoked_only_by_its_own_team(services: Services, sign_up: Any) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    async with services.database.session() as session:
        key, _ = await keys.create_key(session, org_id=bob.who.org_id, name="b", kind="test", hasher=services.hasher)
        await session.commit()
    await ada.tab.fire(KeysState, "load")
    await ada.tab.fire(KeysState, "ask", key_id=str(key.id))
    assert ada.tab.state(KeysState).asking == ""
    ada.tab.state(KeysState).asking = str(key.id)
    await ada.tab.fire(KeysState, "revoke")
    assert "not there" in ada.tab.state(AppState).problem
    await bob.tab.fire(KeysState, "load")
    await bob.tab.fire(KeysState, "ask", key_id=str(key.id))
    await bob.tab.fire(KeysState, "revoke")
    assert bob.tab.state(KeysState).rows == []


async def test_names_that_look_like_markup_stay_text(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    name = "<img src=x onerror=alert(1)>"
    async with services.database.session() as session:
        await keys.create_key(session, org_id=person.who.org_id, name=name, kind="test", hasher=services.hasher)
        await session.commit()
    await person.tab.fire(KeysState, "load")
    assert person.tab.state(KeysState).rows[0]["name"] == name
    assert "dangerouslySetInnerHTML" not in str(keys_page.page().render())


async def test_a_newcomer_is_asked_to_have_a_key_made_and_the_page_waits(sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    follow_up = await person.tab.at("/start/").fire(StartState, "load")
    state = person.tab.state(StartState)
    assert (state.needs_key, state.waiting, state.first) == (True, True, {})
    assert "watch" in str(follow_up)


async def test_the_first_request_ends_the_waiting(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    await write(services, record(person.who.org_id, 1, key_kind="test"))
    assert await person.tab.at("/start/").fire(StartState, "load") is None
    assert person.tab.state(StartState).first["model"] == "openai/gpt-x"


async def test_the_playground_previews_without_calling_a_provider(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    tab = person.tab.at("/playground/")
    await tab.fire(PlaygroundState, "load")
    await tab.fire(PlaygroundState, "type_prompt", prompt="Write a Python function that sorts a list.")
    state = tab.state(PlaygroundState)
    assert state.task.startswith("Coding")
    assert [row["model"] for row in state.rows if row["chosen"] == "yes"]
    async with services.database.session() as session:
        assert await ledger.recent_requests(session, org_id=person.who.org_id, mode="test") == []


async def test_live_mode_of_the_playground_needs_a_configured_provider(sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    await person.tab.at("/playground/", mode="live").fire(PlaygroundState, "load")
    assert person.tab.state(PlaygroundState).play_mode == "test"


async def test_the_anonymous_preview_is_limited_per_address(services: Services) -> None:
    tab = Tab().at("/")
    for _ in range(landing.PREVIEW_LIMIT):
        await tab.fire(LandingState, "preview", prompt="What is the capital of France?")
    assert tab.state(LandingState).hint == ""
    assert tab.state(LandingState).rows
    await tab.fire(LandingState, "preview", prompt="one more")
    assert "in a minute" in tab.state(LandingState).hint


def test_the_estimator_offers_what_the_server_takes_in_words() -> None:
    assert [name for name, _ in TASKS] == list(TASK_CHOICES)
    assert all(words != name for name, words in TASKS)
