"""Every event handler that a socket client can call has a verdict, and keeps to it."""

from typing import Any

import pytest
from reflex_base.registry import RegistrationContext

import omni_app.ui.site  # noqa: F401 brings in every page and its handlers
from omni_app.ui.pages.landing import LandingState
from omni_app.ui.session import verdict
from tests.ui.conftest import Tab

PUBLIC = {"auth_state.load", "join_state.load", "landing_state.load", "landing_state.preview"}
"""Handlers that anybody may call. A new one is a decision: add it here."""

ARGUMENTS: dict[str, Any] = {
    "key_id": "00000000-0000-0000-0000-000000000000",
    "prompt": "hello",
    "priority": "cheap",
    "latency_pref": "fast",
    "model_id": "sandbox/coder",
    "form": {"prompt": "hello"},
    "system": "Be brief.",
    "amount": "1",
    "broken": "yes",
    "column": "auto",
    "preset": "cheapest",
    "which": "quality",
    "number": "1",
    "model": "openai/gpt-x",
    "place": "0",
    "days": "30",
    "role": "member",
    "user_id": "00000000-0000-0000-0000-000000000000",
    "org_id": "00000000-0000-0000-0000-000000000000",
    "invitation_id": "00000000-0000-0000-0000-000000000000",
}
"""A good value for every argument that a handler takes."""

# Whoever looks at the app's handlers in the registry sees Reflex's own beside them: hydration, client storage (we have
# none) and error reports, which reach no data of ours, and `setvar`, which finds no setter (auto setters are off).


def handlers() -> dict[str, tuple[Any, Any]]:
    """`page_state.handler` -> (state class, handler), for all of ours."""
    found = {}
    for registered in RegistrationContext.ensure_context().event_handlers.values():
        for state in registered.states:
            if state.__module__.startswith("omni_app.") and registered.handler.fn.__name__ != "setvar":
                name = f"{state.get_name().rpartition('___')[2]}.{registered.handler.fn.__name__}"
                found[name] = (state, registered.handler)
    return found


HANDLERS = handlers()


def test_there_are_handlers_to_look_at() -> None:
    assert len(HANDLERS) > 15


@pytest.mark.parametrize("name", sorted(HANDLERS))
def test_the_handler_has_a_verdict(name: str) -> None:
    expected = "public" if name in PUBLIC else "authed"
    assert verdict(HANDLERS[name][1].fn) == expected


@pytest.mark.parametrize("name", sorted(HANDLERS))
def test_the_handler_does_not_block_the_event_loop(name: str) -> None:
    assert HANDLERS[name][1]._is_coroutine_function


@pytest.mark.parametrize("name", sorted(HANDLERS.keys() - PUBLIC))
@pytest.mark.parametrize("cookie", ["", "omr_session=forged", "omr_session=", "omr_session=" + "x" * 9000])
async def test_without_a_session_the_handler_leads_to_the_log_in_and_shows_nothing(
    services: object, name: str, cookie: str
) -> None:
    state, handler = HANDLERS[name]
    tab = Tab(cookie=cookie).at("/overview/")
    arguments = {one: ARGUMENTS[one] for one in list(handler._parameters)[1:]}
    answer = await tab.fire(state, handler.fn.__name__, **arguments)
    assert "/login/?error=ended" in str(answer)
    assert tab.state(state).dict() == Tab().at("/overview/").state(state).dict()


@pytest.mark.parametrize("name", sorted(one for one in HANDLERS if list(HANDLERS[one][1]._parameters)[1:]))
@pytest.mark.parametrize("value", [None, 7, [], {}, "x" * 100_000, {"$ne": ""}, "' OR 1=1 --", True])
async def test_arguments_of_another_kind_change_nothing(services: object, sign_up: Any, name: str, value: Any) -> None:
    person = await sign_up("eve@example.com")
    state, handler = HANDLERS[name]
    if handler.is_background:
        return  # its form is checked field by field; see test_playground.py
    before = person.tab.state(state).dict()
    await person.tab.fire(state, handler.fn.__name__, **dict.fromkeys(list(handler._parameters)[1:], value))
    text = isinstance(value, str) and len(value) < 1000
    assert text or person.tab.state(state).dict() == before


async def test_a_client_cannot_hand_in_an_identity(services: object) -> None:
    tab = Tab().at("/")
    assert await tab.fire(LandingState, "preview", prompt="hello", who={"org_id": "1"}) is None
    assert tab.state(LandingState).rows == []


def test_no_state_has_a_setter_that_a_client_could_call() -> None:
    states = RegistrationContext.ensure_context().base_states.values()
    ours = [state for state in states if state.__module__.startswith("omni_app.")]
    assert ours
    setters = {"set_priority", "set_latency"}  # ours, with checks
    assert not {name for state in ours for name in state.event_handlers if name.startswith("set_")} - setters
