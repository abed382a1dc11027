"""One's own account on the settings page: signed-in browsers, listed and ended, and the state of the second factor."""

from typing import Any
from uuid import uuid4

from omni_app.services import Services
from omni_app.storage import accounts, second_factors, sessions
from omni_app.storage.tables import SecondFactor, utc_now
from omni_app.ui.pages.account_state import AccountState
from omni_app.ui.session import AppState


async def test_ones_browsers_are_listed_and_ended_one_by_one(services: Services, sign_up: Any) -> None:
    person, other = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    async with services.database.session() as session:
        await accounts.open_session(session, user_id=person.who.user_id, browser="Firefox on Linux", address="10.0.0.1")
        theirs = (await sessions.open_sessions(session, user_id=other.who.user_id))[0]
        await session.commit()
    await person.tab.at("/settings/").fire(AccountState, "load")
    state = person.tab.state(AccountState)
    assert sorted((row["browser"], row["here"]) for row in state.places) == [
        ("Firefox on Linux", ""), ("Unknown", "this one"),
    ]  # fmt: skip
    (there,) = [row["id"] for row in state.places if not row["here"]]
    for wrong in (str(theirs.id), str(uuid4())):
        await person.tab.fire(AccountState, "end_session", session_id=wrong)
        assert "logged out already" in person.tab.state(AppState).problem and len(state.places) == 2
    await person.tab.fire(AccountState, "end_session", session_id=there)
    assert [row["here"] for row in state.places] == ["this one"] and state.ended == "That browser is logged out."
    async with services.database.session() as session:
        assert len(await sessions.open_sessions(session, user_id=other.who.user_id)) == 1


async def test_the_page_says_whether_a_second_factor_is_on_and_holds_nothing_of_it(
    services: Services, sign_up: Any
) -> None:
    person = await sign_up("ada@example.com")
    sealed = services.factor_sealer.seal(b"CANARYCANARYCANARY", about=f"second factor of {person.who.user_id}")
    async with services.database.session() as session:
        session.add(SecondFactor(user_id=person.who.user_id, sealed=sealed, confirmed_at=utc_now()))
        codes = await second_factors._new_recovery_codes(session, person.who.user_id)
        await session.commit()
    await person.tab.at("/settings/").fire(AccountState, "load")
    state = person.tab.state(AccountState)
    assert (state.factor_on, state.recovery_left) == (True, 10)
    shown = str(person.tab.state(AppState).dict())
    assert "CANARY" not in shown and not [one for one in codes if one in shown]
