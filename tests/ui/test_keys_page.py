"""The keys page: what it shows of a key, what can be set, and who may."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, update
from sqlmodel import col

from omni_app.money import PICO_PER_USD
from omni_app.observe.security_log import SecurityEvent
from omni_app.services import Services
from omni_app.storage import budgets, key_changes, keys
from omni_app.storage.keys import ApiKey
from omni_app.storage.scopes import Scope
from omni_app.storage.tables import Membership, utc_now
from omni_app.ui.pages.keys_state import KeysState
from omni_app.ui.session import AppState

DAY = timedelta(days=1)


async def new_key(services: Services, person: Any, name: str = "App") -> ApiKey:
    async with services.database.session() as session:
        key, _ = await keys.create_key(
            session, org_id=person.who.org_id, name=name, kind="test", hasher=services.hasher
        )
        await session.commit()
    return key


async def stored(services: Services, key: ApiKey) -> ApiKey:
    async with services.database.session() as session:
        return next(one for one in await keys.list_keys(session, org_id=key.org_id) if one.id == key.id)


async def opened(services: Services, person: Any) -> tuple[ApiKey, KeysState]:
    key = await new_key(services, person)
    await person.tab.at("/keys/", key=str(key.id)).fire(KeysState, "load")
    return key, person.tab.state(KeysState)


async def test_the_list_shows_each_key_s_state_and_budget(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    key, off = await new_key(services, person, "Spender"), await new_key(services, person, "Off")
    async with services.database.session() as session:
        now, org_id = utc_now(), person.who.org_id
        await budgets.set_budget(session, org_id=org_id, key_id=key.id, period="week", limit=PICO_PER_USD, now=now)
        await key_changes.set_disabled(session, org_id=org_id, key_id=off.id, disabled_at=now)
        await key_changes.rotate_key(session, org_id=org_id, key_id=key.id, hasher=services.hasher, grace=DAY, now=now)
        await session.commit()
    await person.tab.at("/keys/").fire(KeysState, "load")
    state = person.tab.state(KeysState)
    rows = {row["name"]: row for row in state.rows}
    assert (rows["Spender"]["limit"], rows["Spender"]["span"], rows["Spender"]["left"]) == ("$1.00", "a week", "$1.00")
    assert rows["Spender"]["old_ends"] != "" and rows["Off"]["old_ends"] == ""
    assert (rows["Off"]["state"], rows["Off"]["limit"]) == ("disabled", "")
    assert state.org_budget["limit"] == ""


async def test_opening_the_page_asks_the_database_a_bounded_number_of_times(services: Services, sign_up: Any) -> None:
    """Two for who it is, one for the keys, two for their budgets, one for replaced secrets."""
    person = await sign_up("ada@example.com")
    for number in range(12):
        key = await new_key(services, person, f"Key {number}")
        async with services.database.session() as session:
            await budgets.set_budget(session, org_id=key.org_id, key_id=key.id, period="day", limit=5, now=utc_now())
            await session.commit()
    asked: list[str] = []
    event.listen(services.database.engine.sync_engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
    await person.tab.at("/keys/").fire(KeysState, "load")
    assert len(person.tab.state(KeysState).rows) == 12
    assert len([one for one in asked if one.lstrip().startswith("SELECT")]) == 6


async def test_name_expiry_rate_limit_and_models_are_saved(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    key, state = await opened(services, person)
    model = state.models[0]["id"]
    await person.tab.fire(KeysState, "tick", model=model)
    form = {"name": "Billing", "expires": "30", "date": "", "rate_limit": "12", "token_limit": "90000"}
    await person.tab.fire(KeysState, "save", form=form)
    assert (state.wrong, state.said) == ("", "Saved. It holds within a second.")
    found = await stored(services, key)
    assert (found.name, found.rate_limit, found.token_limit) == ("Billing", 12, 90_000)
    assert found.allowed_models == frozenset({model})
    assert (state.key["rate"], state.key["tokens"]) == ("12", "90000")
    assert found.expires_at is not None and timedelta(days=29) < found.expires_at - utc_now() <= 30 * DAY
    await person.tab.fire(KeysState, "allow_all")
    await person.tab.fire(KeysState, "save", form=form | {"expires": "keep", "rate_limit": "", "token_limit": ""})
    again = await stored(services, key)
    assert (again.rate_limit, again.token_limit, again.allowed_models) == (None, None, None)
    assert again.expires_at == found.expires_at


async def test_scopes_are_set_shown_and_taken_back(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    key, state = await opened(services, person)
    assert (state.key["scopes"], state.key["scope-chat"]) == ("all", "")
    form = {"name": "App", "expires": "keep", "rate_limit": "", "token_limit": ""}
    await person.tab.fire(KeysState, "save", form=form | {"scope-usage": "on", "scope-chat": "on"})
    assert (await stored(services, key)).scopes == frozenset({Scope.CHAT, Scope.USAGE})
    assert (state.key["scopes"], state.key["scope-chat"], state.key["scope-debug"]) == ("chat, usage", "yes", "")
    await person.tab.fire(KeysState, "save", form=form)
    assert (await stored(services, key)).scopes is None and state.key["scopes"] == "all"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"rate_limit": "many"}, "rate_limit"),
        ({"rate_limit": "0"}, "rate_limit"),
        ({"token_limit": "1e9"}, "token_limit"),
        ({"token_limit": "9999999999"}, "token_limit"),
        ({"expires": "date", "date": "2020-01-01"}, "expires"),
        ({"expires": "date", "date": "soon"}, "expires"),
    ],
)
async def test_a_bad_value_is_told_at_its_field_and_nothing_changes(
    services: Services, sign_up: Any, change: dict[str, str], field: str
) -> None:
    person = await sign_up("ada@example.com")
    key, state = await opened(services, person)
    await person.tab.fire(
        KeysState, "save", form={"name": "New", "expires": "keep", "date": "", "rate_limit": "5"} | change
    )
    assert state.wrong_field == field and state.wrong != ""
    assert await stored(services, key) == replace(key, hidden=False)


async def test_an_owner_sets_and_removes_budgets(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    _, state = await opened(services, person)
    await person.tab.fire(KeysState, "save_budget", form={"whose": "key", "amount": "0.50", "period": "day"})
    assert (state.key["limit"], state.key["span"]) == ("$0.50", "a day")
    await person.tab.fire(KeysState, "save_budget", form={"whose": "org", "amount": "$20", "period": "month"})
    assert (state.org_budget["limit"], state.org_budget["span"]) == ("$20.00", "a month")
    for amount in ("-1", "0", "abc", "NaN", "1e99", "0.0000000000001"):
        await person.tab.fire(KeysState, "save_budget", form={"whose": "key", "amount": amount, "period": "day"})
        assert state.wrong_field == "key-budget"
        assert state.key["limit"] == "$0.50"
    await person.tab.fire(KeysState, "save_budget", form={"whose": "key", "amount": "", "period": "day"})
    assert state.key["limit"] == ""


@pytest.mark.parametrize(
    ("handler", "arguments"),
    [("save_budget", {"form": {"whose": "key", "amount": "5", "period": "day"}}), ("switch", {}), ("refresh", {})],
)
async def test_ticked_models_outlive_what_is_done_in_the_cards_beside(
    services: Services, sign_up: Any, handler: str, arguments: dict[str, Any]
) -> None:
    person = await sign_up("ada@example.com")
    key, state = await opened(services, person)
    await person.tab.fire(KeysState, "tick", model="sandbox/swift")
    await person.tab.fire(KeysState, handler, **arguments)
    await person.tab.fire(KeysState, "save", form={"name": "App", "expires": "keep"})
    assert (await stored(services, key)).allowed_models == frozenset({"sandbox/swift"})
    other = await new_key(services, person, "Other")
    await person.tab.at("/keys/", key=str(other.id)).fire(KeysState, "refresh")
    assert {row["on"] for row in state.models} == {"no"}, "they are this key's alone"


async def test_opening_a_key_again_shows_what_is_kept(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    _, state = await opened(services, person)
    await person.tab.fire(KeysState, "tick", model="sandbox/swift")
    await person.tab.fire(KeysState, "load")
    assert {row["on"] for row in state.models} == {"no"}


async def test_a_member_sees_budgets_and_sets_none(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    async with services.database.session() as session:
        await session.execute(
            update(Membership).where(col(Membership.user_id) == person.who.user_id).values(role="member")
        )
        await session.commit()
    _, state = await opened(services, person)
    assert not state.owner
    for whose in ("key", "org"):
        await person.tab.fire(KeysState, "save_budget", form={"whose": whose, "amount": "5", "period": "day"})
    assert "owner" in person.tab.state(AppState).problem
    assert (state.key["limit"], state.org_budget["limit"]) == ("", "")


async def test_a_key_is_switched_off_and_on(services: Services, sign_up: Any) -> None:
    person = await sign_up("ada@example.com")
    key, state = await opened(services, person)
    for is_off in (True, False):
        await person.tab.fire(KeysState, "switch")
        assert ((await stored(services, key)).disabled_at is not None) == is_off
        assert state.key["state"] == ("disabled" if is_off else "active")


async def test_another_team_s_key_looks_like_one_that_does_not_exist(services: Services, sign_up: Any) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    theirs = await new_key(services, bob)
    state = ada.tab.state(KeysState)
    await ada.tab.at("/keys/", key=str(theirs.id)).fire(KeysState, "load")
    assert (state.key, state.models) == ({}, [])
    state.key = {"id": str(theirs.id), "disabled": ""}
    await ada.tab.fire(KeysState, "switch")
    await ada.tab.fire(KeysState, "save", form={"name": "Mine", "expires": "never", "date": "", "rate_limit": ""})
    await ada.tab.fire(KeysState, "save_budget", form={"whose": "key", "amount": "5", "period": "day"})
    assert await stored(services, theirs) == theirs
    assert ada.tab.state(AppState).problem == "That key is not there any more"


async def test_what_is_done_and_refused_on_a_page_is_in_the_security_log(services: Services, sign_up: Any) -> None:
    told: list[SecurityEvent] = []
    services.security.tell = told.append  # type: ignore[method-assign, assignment]
    person = await sign_up("ada@example.com")
    key, _ = await opened(services, person)
    await person.tab.fire(KeysState, "switch")
    await person.tab.fire(KeysState, "ask", key_id=str(key.id))
    await person.tab.fire(KeysState, "revoke")
    async with services.database.session() as session:
        await session.execute(update(Membership).values(role="member"))
        await session.commit()
    await person.tab.fire(KeysState, "save_budget", form={"whose": "org", "amount": "5", "period": "day"})
    assert [(one.event, one.key_id) for one in told[:2]] == [
        ("key_disabled", str(key.id)),
        ("key_revoked", str(key.id)),
    ]
    assert (told[2].event, told[2].about) == ("permission_denied", "KeysState.save_budget")
    assert {one.user_id for one in told} == {str(person.who.user_id)}
