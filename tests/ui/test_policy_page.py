"""The routing policy page over real, recorded decisions: tried without a model, saved, obeyed, taken back."""

from typing import Any
from uuid import UUID

import pytest

from omni_app.gateway.types import Caller, ChatRequest
from omni_app.services import Services
from omni_app.storage import keys
from omni_app.storage.policies import active_policies, list_policies
from omni_app.ui.asking import caller_of
from omni_app.ui.pages.keys import KeysState
from omni_app.ui.pages.policy_state import TEAM, PolicyState
from omni_app.ui.session import AppState
from tests.ui.conftest import Person
from tests.ui.test_settings_page import joined

PROMPTS = ("What is the capital of France?", "Write a Python function that adds.", "Prove that 2 is prime.")


async def send(services: Services, caller: Caller) -> set[str]:
    """One request of each prompt; who answered."""
    answers = [
        await services.gateway.chat(
            caller, ChatRequest(messages=[{"role": "user", "content": prompt}], endpoint="chat")
        )
        for prompt in PROMPTS
    ]
    await services.drainer.flush()
    return {answer.model for answer in answers}


async def opened(services: Services, person: Person, **query: str) -> Any:
    await services._sync_registry(seeded=False)  # as the running server does at its start
    await person.tab.at("/policy/", mode="test", **query).fire(PolicyState, "load")
    return person.tab.state(PolicyState)


async def test_under_the_policy_of_their_time_all_decisions_come_out_as_recorded(
    services: Services, sign_up: Any
) -> None:
    ada = await sign_up("ada@example.com")
    await services._sync_registry(seeded=False)
    await send(services, await caller_of(ada.who, "test"))
    state = await opened(services, ada)
    assert state.tried and state.missing == []
    assert "exactly" in str(state.figures) and state.figures["flips"] == "0"
    assert state.flips == [] and state.changes == []


async def test_a_preset_is_tried_saved_obeyed_and_taken_back(services: Services, sign_up: Any) -> None:
    ada = await sign_up("ada@example.com")
    await services._sync_registry(seeded=False)
    before = await send(services, await caller_of(ada.who, "test"))
    state = await opened(services, ada)
    await ada.tab.fire(PolicyState, "use_preset", preset="best_quality")
    assert state.changes and state.flips
    assert [row["version"] for row in state.versions] == [], "nothing holds before it is saved"
    await ada.tab.fire(PolicyState, "save", form={"note": "<i>best</i>"})
    assert "version 1" in state.said and state.has_own
    after = await send(services, await caller_of(ada.who, "test"))
    assert after != before
    await ada.tab.fire(PolicyState, "give_up")
    assert await send(services, await caller_of(ada.who, "test")) == before
    await ada.tab.fire(PolicyState, "return_to", number="1")
    assert await send(services, await caller_of(ada.who, "test")) == after


async def test_a_key_of_its_own_leads_here_from_its_page(services: Services, sign_up: Any) -> None:
    ada = await sign_up("ada@example.com")
    async with services.database.session() as session:
        key, _ = await keys.create_key(session, org_id=ada.who.org_id, name="Bot", kind="test", hasher=services.hasher)
        await session.commit()
    await ada.tab.at("/keys/").fire(KeysState, "load")
    href = ada.tab.state(KeysState).rows[0]["policy_href"]
    assert href == f"/policy/?scope={key.id}"
    state = await opened(services, ada, scope=str(key.id))
    assert (state.scope, state.scope_name) == (str(key.id), "the key Bot")
    await ada.tab.fire(PolicyState, "use_preset", preset="cheapest")
    await ada.tab.fire(PolicyState, "save", form={"note": ""})
    async with services.database.session() as session:
        found = await active_policies(session, org_ids=[ada.who.org_id])
    assert {key_id for _, key_id in found} == {key.id}


async def test_a_member_tries_everything_and_saves_nothing(services: Services, sign_up: Any) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    member = await joined(services, ada, bob)
    state = await opened(services, member)
    assert not state.may_save
    await member.tab.fire(PolicyState, "use_preset", preset="cheapest")
    assert state.changes
    for handler, arguments in (("save", {"form": {"note": "x"}}), ("give_up", {}), ("return_to", {"number": "1"})):
        await member.tab.fire(PolicyState, handler, **arguments)
        assert "owner" in member.tab.state(AppState).problem
    async with services.database.session() as session:
        assert await list_policies(session, org_id=ada.who.org_id) == []


@pytest.mark.parametrize("scope", ["00000000-0000-4000-8000-000000000009", "'; --", ""])
async def test_a_scope_that_is_nobody_s_key_is_the_whole_team(services: Services, sign_up: Any, scope: str) -> None:
    ada = await sign_up("ada@example.com")
    assert (await opened(services, ada, scope=scope)).scope == TEAM


@pytest.mark.parametrize("form", [{}, {"which": "balanced"}, {"which": "x", "cost": "1"}, {"cost": [1]}])
async def test_a_form_that_is_not_whole_changes_nothing(services: Services, sign_up: Any, form: Any) -> None:
    ada = await sign_up("ada@example.com")
    state = await opened(services, ada)
    before = dict(state.sliders)
    await ada.tab.fire(PolicyState, "attempt", form=form)
    assert (state.sliders, state.changes) == (before, [])
    assert isinstance(ada.who.org_id, UUID)


async def test_a_form_from_before_the_draft_was_made_anew_changes_nothing(services: Services, sign_up: Any) -> None:
    ada = await sign_up("ada@example.com")
    state = await opened(services, ada)
    seen = {"which": state.which, "made": str(state.made)} | state.sliders | state.settings
    await ada.tab.fire(PolicyState, "use_preset", preset="best_quality")
    chosen, changes = dict(state.sliders), list(state.changes)
    await ada.tab.fire(PolicyState, "attempt", form=seen | {"cost": "99"})
    assert (state.sliders, state.changes, state.preset) == (chosen, changes, "best_quality")
    shown = seen | state.sliders | state.settings | {"made": str(state.made)}
    await ada.tab.fire(PolicyState, "attempt", form=shown | {"cost": "99"})
    assert state.sliders["cost"] == "99" and state.preset == ""
