"""Every event handler that a socket client can call: without a session and with arguments of any kind it does nothing.

Who may call which one is in `tests/security`.
"""

from typing import Any

import pytest
from reflex_base.registry import RegistrationContext

from omni_app.ui.pages.landing import LandingState
from tests.security.knocks import ARGUMENTS
from tests.security.registry import VERDICTS, handlers
from tests.ui.conftest import Tab

HANDLERS = handlers()
PUBLIC = {name for name, verdict in VERDICTS["handlers"].items() if verdict == "anybody"}


def test_there_are_handlers_to_look_at() -> None:
    assert len(HANDLERS) > 15


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
