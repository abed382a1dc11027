"""The Settings page: what owners change reaches the gateway, what members and other teams try changes nothing."""

from typing import Any

import pytest

from omni_app.providers.catalog import base_url_of
from omni_app.services import Services
from omni_app.storage import accounts, org_settings, provider_keys, teams
from omni_app.ui.pages.settings_state import SettingsState
from omni_app.ui.session import AppState
from tests.ui.conftest import Person, Tab


async def joined(services: Services, owner: Person, guest: Person, role: str = "member") -> Person:
    """The guest, looking at the owner's team."""
    async with services.database.session() as session:
        token = await teams.invite(session, who=owner.who, role=role)
        await teams.accept(session, user_id=guest.who.user_id, token=token)
        cookie = await accounts.open_session(session, user_id=guest.who.user_id)
        who = await accounts.read_session(session, token=cookie)
        assert who is not None
        await teams.act_for(session, who=who, org_id=owner.who.org_id)
        await session.commit()
    return Person(owner.who, Tab(cookie=f"omr_session={cookie}").at("/settings/"))


async def settings_of(services: Services, person: Person) -> org_settings.OrgSettings:
    async with services.database.session() as session:
        return await org_settings.read_settings(session, org_id=person.who.org_id)


async def test_an_owner_changes_name_baseline_and_storage(services: Services, sign_up: Any) -> None:
    ada = await sign_up("ada@example.com")
    await ada.tab.at("/settings/").fire(SettingsState, "load")
    state = ada.tab.state(SettingsState)
    assert (state.owner, state.name, state.days, state.baseline) == (True, "ada", "0", "")
    await ada.tab.fire(SettingsState, "rename", form={"name": " Engines "})
    await ada.tab.fire(SettingsState, "choose_baseline", model="sandbox/premium")
    await ada.tab.fire(SettingsState, "choose_days", days="7")
    assert await settings_of(services, ada) == org_settings.OrgSettings("Engines", "sandbox/premium", 7)
    assert ada.tab.state(AppState).org_name == "Engines" and state.problem == ""


@pytest.mark.parametrize(
    ("handler", "arguments"),
    [
        ("rename", {"form": {"name": ""}}),
        ("rename", {"form": {"name": "a\u0007"}}),
        ("rename", {"form": {}}),
        ("choose_baseline", {"model": "nobody/knows"}),
        ("choose_comparison", {"place": "0", "model": "nobody/knows"}),
        ("choose_comparison", {"place": "1", "model": "local/smollm2-135m"}),
        ("choose_comparison", {"place": "2", "model": "sandbox/painter"}),
    ],
)
async def test_what_cannot_be_is_told_and_changes_nothing(
    services: Services, sign_up: Any, handler: str, arguments: dict[str, Any]
) -> None:
    ada = await sign_up("ada@example.com")
    before = await settings_of(services, ada)
    await ada.tab.fire(SettingsState, handler, **arguments)
    assert ada.tab.state(SettingsState).problem
    assert await settings_of(services, ada) == before


async def test_an_owner_chooses_up_to_three_models_to_compare_with(services: Services, sign_up: Any) -> None:
    ada = await sign_up("ada@example.com")
    await ada.tab.at("/settings/").fire(SettingsState, "load")
    state = ada.tab.state(SettingsState)
    assert state.others == ["", "", ""] and "sandbox/swift" in state.comparable
    assert not {"local/smollm2-135m", "sandbox/painter"} & set(state.comparable), "no price; writes no text"
    for place, model in enumerate(("sandbox/swift", "sandbox/coder", "openai/gpt-4.1")):
        await ada.tab.fire(SettingsState, "choose_comparison", place=str(place), model=model)
    assert (await settings_of(services, ada)).comparisons == ("sandbox/swift", "sandbox/coder", "openai/gpt-4.1")
    await ada.tab.fire(SettingsState, "choose_comparison", place="0", model="sandbox/coder")
    assert "only once" in state.problem
    await ada.tab.fire(SettingsState, "choose_comparison", place="0", model="")
    assert state.others == ["sandbox/coder", "openai/gpt-4.1", ""]
    assert (await settings_of(services, ada)).comparisons == ("sandbox/coder", "openai/gpt-4.1")


async def test_a_comparison_whose_model_is_gone_gives_way_to_the_next_choice(services: Services, sign_up: Any) -> None:
    ada = await sign_up("ada@example.com")
    async with services.database.session() as session:
        await org_settings.set_comparisons(session, org_id=ada.who.org_id, models=["gone/model", "sandbox/coder"])
        await session.commit()
    await ada.tab.fire(SettingsState, "choose_comparison", place="2", model="sandbox/swift")
    assert (await settings_of(services, ada)).comparisons == ("sandbox/coder", "sandbox/swift")


@pytest.mark.parametrize("days", ["1", "-7", "7 ", "all"])
async def test_a_number_of_days_that_is_not_offered_is_refused(services: Services, sign_up: Any, days: str) -> None:
    ada = await sign_up("ada@example.com")
    await ada.tab.fire(SettingsState, "choose_days", days=days)
    assert (await settings_of(services, ada)).keep_prompts_days == 0


async def test_a_member_sees_the_settings_and_changes_none(services: Services, sign_up: Any) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    member = await joined(services, ada, bob)
    await member.tab.fire(SettingsState, "load")
    state = member.tab.state(SettingsState)
    assert (state.owner, state.name) == (False, "ada")
    assert [row["email"] for row in state.people] == ["ada@example.com", "bob@example.com"]
    before = await settings_of(services, ada)
    for handler, arguments in (
        ("rename", {"form": {"name": "Mine"}}),
        ("choose_baseline", {"model": "sandbox/premium"}),
        ("choose_comparison", {"place": "0", "model": "sandbox/swift"}),
        ("choose_days", {"days": "90"}),
        ("give_role", {"user_id": str(bob.who.user_id), "role": "owner"}),
    ):
        await member.tab.fire(SettingsState, handler, **arguments)
        assert "owner" in state.problem
    assert await settings_of(services, ada) == before
    async with services.database.session() as session:
        roles = {one.email: one.role for one in await teams.members(session, org_id=ada.who.org_id)}
    assert roles == {"ada@example.com": "owner", "bob@example.com": "member"}


async def test_somebody_is_taken_out_only_after_the_question(services: Services, sign_up: Any) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    await joined(services, ada, bob)
    await ada.tab.at("/settings/").fire(SettingsState, "load")
    await ada.tab.fire(SettingsState, "take_out")
    assert len(ada.tab.state(SettingsState).people) == 2
    await ada.tab.fire(SettingsState, "ask", user_id=str(bob.who.user_id))
    assert ada.tab.state(SettingsState).leaving_name == "bob@example.com"
    await ada.tab.fire(SettingsState, "take_out")
    assert [row["email"] for row in ada.tab.state(SettingsState).people] == ["ada@example.com"]


async def test_the_last_owner_is_told_why_they_cannot_leave(services: Services, sign_up: Any) -> None:
    ada = await sign_up("ada@example.com")
    await ada.tab.at("/settings/").fire(SettingsState, "load")
    await ada.tab.fire(SettingsState, "ask", user_id=str(ada.who.user_id))
    await ada.tab.fire(SettingsState, "take_out")
    assert "owner" in ada.tab.state(SettingsState).problem
    assert len(ada.tab.state(SettingsState).people) == 1


async def test_switching_teams_empties_the_tab_and_shows_the_other(services: Services, sign_up: Any) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    member = await joined(services, ada, bob)
    await member.tab.fire(SettingsState, "load")
    assert [row["name"] for row in member.tab.state(SettingsState).orgs] == ["bob"]
    await member.tab.fire(SettingsState, "switch_team", org_id=str(bob.who.org_id))
    assert member.tab.state(SettingsState).people == []
    await member.tab.fire(SettingsState, "load")
    assert (member.tab.state(SettingsState).name, member.tab.state(SettingsState).owner) == ("bob", True)
    await member.tab.fire(SettingsState, "switch_team", org_id="00000000-0000-4000-8000-000000000009")
    assert member.tab.state(SettingsState).problem


async def test_no_password_field_is_bound_to_the_state() -> None:
    assert not {name for name in SettingsState.vars if "password" in name or "token" in name}


async def test_a_provider_key_is_shown_by_its_end_alone_and_an_owner_deletes_it(
    services: Services, sign_up: Any
) -> None:
    ada, secret = await sign_up("ada@example.com"), "sk-a-key-of-their-own-9876"
    guest = await joined(services, ada, await sign_up("grace@example.com"))
    base_url = base_url_of(services.providers["openai"])
    async with services.database.session() as session:
        for provider, address in (("openai", base_url), ("groq", "https://elsewhere.example")):
            await provider_keys.set_provider_key(
                session, org_id=ada.who.org_id, provider=provider, base_url=address, secret=secret,
                entered_by="ada@example.com", sealer=services.key_sealer,
            )  # fmt: skip
        await session.commit()
    for person in (ada, guest):
        await person.tab.at("/settings/").fire(SettingsState, "load")
        state = person.tab.state(SettingsState)
        shown = [(row["provider"], row["last4"], row["state"].partition(":")[0]) for row in state.provider_keys]
        assert shown == [("groq", "…9876", "entered for https"), ("openai", "…9876", "in use")]
        assert {"openai", "anthropic", "gemini"} <= set(state.keyed_providers)
        assert not {"local", "sandbox"} & set(state.keyed_providers)
        assert secret not in repr(state.dict())
    await guest.tab.fire(SettingsState, "forget_provider_key", provider="openai")
    assert guest.tab.state(SettingsState).problem
    await ada.tab.fire(SettingsState, "forget_provider_key", provider="openai")
    assert [row["provider"] for row in ada.tab.state(SettingsState).provider_keys] == ["groq"]
    await ada.tab.fire(SettingsState, "forget_provider_key", provider="openai")
    assert "no key of your own" in ada.tab.state(SettingsState).problem
