"""A team that asks for a second factor: who may ask, who lacks one, and that nobody locks themself out."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import event

from omni_app.errors import Conflict, PermissionDenied
from omni_app.storage import accounts, org_settings, second_factors, teams
from omni_app.storage.accounts import Identity, SecondFactorWanted
from omni_app.storage.database import Database
from omni_app.storage.tables import SecondFactor, utc_now
from tests.storage.test_teams import invited, person, working


async def with_factor(database: Database, who: Identity, *, confirmed: bool = True) -> None:
    async with working(database) as session:
        moment = utc_now() if confirmed else None
        session.add(SecondFactor(user_id=who.user_id, sealed=b"sealed", confirmed_at=moment))


async def ask(database: Database, who: Identity, *, wanted: bool = True) -> None:
    async with working(database) as session:
        await teams.ask_for_factor(session, who=who, wanted=wanted)


async def give_up(database: Database, who: Identity) -> None:
    """As the route does, without the code."""
    async with working(database) as session:
        await second_factors.refuse_where_asked(session, user_id=who.user_id)
        await second_factors.turn_off(session, user_id=who.user_id)


async def lacks(database: Database, who: Identity) -> bool:
    async with database.session() as session:
        found = await accounts.identity_of(session, who.user_id, acting_for=who.org_id)
    assert found is not None and found.org_id == who.org_id
    return found.lacks_factor


async def test_whoever_has_no_factor_that_was_confirmed_lacks_it_in_that_team_alone(database: Database) -> None:
    ada, bob = await person(database, "ada"), await person(database, "bob")
    member = await invited(database, ada, bob)
    await with_factor(database, ada)
    assert not await lacks(database, member)
    await ask(database, ada)
    assert [await lacks(database, who) for who in (ada, member, bob)] == [False, True, False]
    async with working(database) as session:
        assert (await org_settings.read_settings(session, org_id=ada.org_id)).asks_second_factor
        assert not (await org_settings.read_settings(session, org_id=bob.org_id)).asks_second_factor
        people = await teams.members(session, org_id=ada.org_id)
    assert {one.email: one.factor_on for one in people} == {"ada@example.com": True, "bob@example.com": False}
    await with_factor(database, member, confirmed=False)
    assert await lacks(database, member)
    async with working(database) as session:
        await second_factors.turn_off(session, user_id=bob.user_id)
    await with_factor(database, member)
    assert not await lacks(database, member)
    await ask(database, ada, wanted=False)
    await give_up(database, member)
    assert not await lacks(database, member)


async def test_a_session_opens_nothing_of_the_team_unless_it_is_about_its_person(database: Database) -> None:
    ada, bob = await person(database, "ada"), await person(database, "bob")
    await with_factor(database, ada)
    await ask(database, ada)
    member = await invited(database, ada, bob)
    async with working(database) as session:
        token = await accounts.open_session(session, user_id=bob.user_id)
        own = await accounts.read_session(session, token=token)
        assert own is not None and own.org_id == bob.org_id
        await teams.act_for(session, who=own, org_id=ada.org_id)
    async with working(database) as session:
        with pytest.raises(SecondFactorWanted, match="ada's") as refusal:
            await accounts.read_session(session, token=token)
        assert (refusal.value.status, refusal.value.code) == (403, "second_factor_wanted")
        assert (refusal.value.who.user_id, refusal.value.who.org_id) == (member.user_id, ada.org_id)
        assert await accounts.read_session(session, token=token, for_self=True) == refusal.value.who


async def test_it_is_told_by_the_statement_that_tells_who_is_signed_in(database: Database) -> None:
    ada = await person(database, "ada")
    await with_factor(database, ada)
    await ask(database, ada)
    said: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        said.append(statement)

    async with working(database) as session:
        token = await accounts.open_session(session, user_id=ada.user_id)
    async with database.session() as session:
        engine = (await session.connection()).sync_connection
        event.listen(engine, "before_cursor_execute", hear)
        assert await accounts.read_session(session, token=token)
    assert [one.split()[0] for one in said] == ["SELECT", "SELECT"], "the session; its person with team and factor"


async def test_only_an_owner_with_one_of_their_own_may_ask(database: Database) -> None:
    ada, bob = await person(database, "ada"), await person(database, "bob")
    member = await invited(database, ada, bob)
    await with_factor(database, member)
    for who, refusal in ((member, PermissionDenied), (ada, Conflict)):
        with pytest.raises(refusal):
            await ask(database, who)
    await with_factor(database, ada, confirmed=False)
    with pytest.raises(Conflict):
        await ask(database, ada)
    assert not await lacks(database, ada) and not await lacks(database, member)


async def test_two_owners_who_ask_and_do_not_ask_at_once_leave_one_of_the_two(database: Database) -> None:
    ada, bob = await person(database, "ada"), await person(database, "bob")
    other = await invited(database, ada, bob, role="owner")
    for who in (ada, other):
        await with_factor(database, who)
    await asyncio.gather(*(ask(database, who, wanted=wanted) for who in (ada, other) for wanted in (True, False)))
    assert not await lacks(database, ada) and not await lacks(database, other)


async def test_whoever_asks_and_gives_theirs_up_at_once_does_one_of_the_two(database: Database) -> None:
    """Ten times, since which is first is chance."""
    for number in range(10):
        ada = await person(database, f"ada{number}")
        await with_factor(database, ada)
        came = await asyncio.gather(ask(database, ada), give_up(database, ada), return_exceptions=True)
        assert sorted(type(one).__name__ for one in came) in (["Conflict", "NoneType"], ["NoneType", "TeamAsks"])
        assert not await lacks(database, ada)


async def test_one_that_is_given_up_before_the_asking_is_through_is_waited_for(postgres_database: Database) -> None:
    """And the other way round: the order is set here, not by chance."""
    ada, bob = await person(postgres_database, "ada"), await person(postgres_database, "bob")
    for who in (ada, bob):
        await with_factor(postgres_database, who)
    async with working(postgres_database) as first:
        await second_factors.refuse_where_asked(first, user_id=ada.user_id)
        asking = asyncio.create_task(ask(postgres_database, ada))
        await asyncio.sleep(0.3)
        assert not asking.done()
        await second_factors.turn_off(first, user_id=ada.user_id)
    with pytest.raises(Conflict):
        await asking
    async with working(postgres_database) as first:
        await teams.ask_for_factor(first, who=bob, wanted=True)
        giving = asyncio.create_task(give_up(postgres_database, bob))
        await asyncio.sleep(0.3)
        assert not giving.done()
    with pytest.raises(second_factors.TeamAsks):
        await giving
    assert not await lacks(postgres_database, ada) and not await lacks(postgres_database, bob)
