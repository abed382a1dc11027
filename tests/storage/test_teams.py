"""Teams: invitations that work once, roles, the last owner; and the end of a team, after which nothing is left."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col

from omni_app.errors import Conflict, InvalidApiKey, NotFound, PermissionDenied
from omni_app.storage import accounts, keys, teams
from omni_app.storage.accounts import Identity
from omni_app.storage.database import Database
from omni_app.storage.retention import DELETED_ORGS_KEPT, Retention
from omni_app.storage.tables import Invitation, Org, utc_now
from tests.storage.filling import fill_every_table

PASSWORD = "seven lamps on a quiet harbour"
HASHER = keys.KeyHasher("pepper")


@asynccontextmanager
async def working(database: Database) -> AsyncIterator[AsyncSession]:
    async with database.session() as session:
        yield session
        await session.commit()


async def person(database: Database, name: str) -> Identity:
    async with working(database) as session:
        return await accounts.sign_up(session, email=f"{name}@example.com", password=PASSWORD, org_name=f"{name}'s")


async def invited(database: Database, owner: Identity, guest: Identity, role: str = "member") -> Identity:
    """The guest, as they act for the owner's team."""
    async with working(database) as session:
        token = await teams.invite(session, who=owner, role=role)
        await teams.accept(session, user_id=guest.user_id, token=token)
        found = await accounts.identity_of(session, guest.user_id, acting_for=owner.org_id)
    assert found is not None
    return found


async def test_a_link_lets_one_person_in_once(database: Database) -> None:
    ada, bob, eve = [await person(database, name) for name in ("ada", "bob", "eve")]
    async with working(database) as session:
        token = await teams.invite(session, who=ada, role="member")
    async with working(database) as session:
        assert await teams.accept(session, user_id=bob.user_id, token=token) == ada.org_id
    async with working(database) as session:
        with pytest.raises(NotFound):
            await teams.accept(session, user_id=eve.user_id, token=token)
        assert [(one.email, one.role) for one in await teams.members(session, org_id=ada.org_id)] == [
            ("ada@example.com", "owner"),
            ("bob@example.com", "member"),
        ]


@pytest.mark.parametrize("change", [{"expires_at": utc_now() - timedelta(days=1)}, {"used_at": utc_now()}])
async def test_a_link_that_is_over_lets_nobody_in(database: Database, change: dict[str, object]) -> None:
    ada, bob = await person(database, "ada"), await person(database, "bob")
    async with working(database) as session:
        token = await teams.invite(session, who=ada, role="member")
        await session.execute(update(Invitation).values(**change))
    async with working(database) as session:
        with pytest.raises(NotFound):
            await teams.accept(session, user_id=bob.user_id, token=token)
        assert await teams.open_invitations(session, org_id=ada.org_id) == []


async def demote(session: AsyncSession, ada: Identity, bob: Identity) -> None:
    await teams.set_role(session, who=ada, user_id=bob.user_id, role="member")


async def take_out(session: AsyncSession, ada: Identity, bob: Identity) -> None:
    await teams.remove(session, who=ada, user_id=bob.user_id)


async def leave(session: AsyncSession, ada: Identity, bob: Identity) -> None:
    await teams.remove(session, who=bob, user_id=bob.user_id)


async def hide_and_be_taken_out(session: AsyncSession, ada: Identity, bob: Identity) -> None:
    await accounts.change_email(session, user_id=bob.user_id, email="robert@example.com")
    await take_out(session, ada, bob)


@pytest.mark.parametrize("end", [demote, take_out, leave, hide_and_be_taken_out])
async def test_the_links_of_who_is_an_owner_no_longer_let_nobody_in(
    database: Database, end: Callable[[AsyncSession, Identity, Identity], Awaitable[None]]
) -> None:
    ada, guest, eve = [await person(database, name) for name in ("ada", "bob", "eve")]
    bob = await invited(database, ada, guest, role="owner")
    async with working(database) as session:
        tokens = [await teams.invite(session, who=bob, role="owner") for _ in range(2)]
        kept = await teams.invite(session, who=ada, role="member")
        await end(session, ada, bob)
    for one, token in zip((bob, eve), tokens, strict=True):
        async with working(database) as session:
            with pytest.raises(NotFound):
                await teams.accept(session, user_id=one.user_id, token=token)
    async with working(database) as session:
        assert [one.invited_by for one in await teams.open_invitations(session, org_id=ada.org_id)] == [ada.email]
        assert await teams.accept(session, user_id=eve.user_id, token=kept) == ada.org_id


async def test_whoever_is_being_taken_out_does_not_slip_back_in_meanwhile(postgres_database: Database) -> None:
    ada, guest = await person(postgres_database, "ada"), await person(postgres_database, "bob")
    bob = await invited(postgres_database, ada, guest, role="owner")
    async with working(postgres_database) as session:
        token = await teams.invite(session, who=bob, role="owner")

    async def come_back() -> None:
        async with working(postgres_database) as session:
            await teams.accept(session, user_id=bob.user_id, token=token)

    async with postgres_database.session() as session:
        await teams.remove(session, who=ada, user_id=bob.user_id)
        coming = asyncio.create_task(come_back())
        await asyncio.wait({coming}, timeout=0.3)
        await session.commit()
    with pytest.raises(NotFound):
        await coming


async def test_an_owners_link_outlives_another_address(database: Database) -> None:
    ada, bob = await person(database, "ada"), await person(database, "bob")
    async with working(database) as session:
        token = await teams.invite(session, who=ada, role="member")
        await accounts.change_email(session, user_id=ada.user_id, email="countess@example.com")
    async with working(database) as session:
        (shown,) = await teams.open_invitations(session, org_id=ada.org_id)
        assert shown.invited_by == "countess@example.com"
        assert await teams.accept(session, user_id=bob.user_id, token=token) == ada.org_id


async def test_whoever_joined_shows_their_own_team_until_they_choose_the_other(database: Database) -> None:
    ada, bob = await person(database, "ada"), await person(database, "bob")
    joined = await invited(database, ada, bob)
    assert (joined.org_id, joined.role) == (ada.org_id, "member")
    async with working(database) as session:
        token = await accounts.open_session(session, user_id=bob.user_id)
        before = await accounts.read_session(session, token=token)
        assert before is not None and before.org_id == bob.org_id
        await teams.act_for(session, who=before, org_id=ada.org_id)
    async with working(database) as session:
        after = await accounts.read_session(session, token=token)
        assert after is not None and (after.org_id, after.role) == (ada.org_id, "member")
        with pytest.raises(NotFound):
            await teams.act_for(session, who=after, org_id=uuid4())


async def test_members_change_nothing(database: Database) -> None:
    ada, bob = await person(database, "ada"), await person(database, "bob")
    member = await invited(database, ada, bob)
    async with database.session() as session:
        for forbidden in (
            teams.invite(session, who=member, role="owner"),
            teams.set_role(session, who=member, user_id=member.user_id, role="owner"),
            teams.remove(session, who=member, user_id=ada.user_id),
            teams.delete_org(session, who=member),
            teams.take_back(session, who=member, invitation_id=uuid4()),
        ):
            with pytest.raises(PermissionDenied):
                await forbidden


async def test_another_teams_people_and_links_are_as_good_as_missing(database: Database) -> None:
    ada, bob = await person(database, "ada"), await person(database, "bob")
    async with working(database) as session:
        await teams.invite(session, who=bob, role="member")
        (theirs,) = await teams.open_invitations(session, org_id=bob.org_id)
        for missing in (
            teams.take_back(session, who=ada, invitation_id=theirs.id),
            teams.set_role(session, who=ada, user_id=bob.user_id, role="member"),
            teams.remove(session, who=ada, user_id=bob.user_id),
        ):
            with pytest.raises(NotFound):
                await missing


async def test_the_last_owner_stays_and_stays_one(database: Database) -> None:
    ada, bob = await person(database, "ada"), await person(database, "bob")
    await invited(database, ada, bob, role="owner")
    async with working(database) as session:
        await teams.set_role(session, who=ada, user_id=bob.user_id, role="member")
    async with database.session() as session:
        with pytest.raises(Conflict):
            await teams.remove(session, who=ada, user_id=ada.user_id)
        with pytest.raises(Conflict):
            await teams.set_role(session, who=ada, user_id=ada.user_id, role="member")


async def test_two_owners_who_leave_at_once_do_not_both_get_away(postgres_database: Database) -> None:
    ada, bob = await person(postgres_database, "ada"), await person(postgres_database, "bob")
    other = await invited(postgres_database, ada, bob, role="owner")

    async def leave(who: Identity) -> None:
        async with working(postgres_database) as session:
            await teams.remove(session, who=who, user_id=who.user_id)

    came = await asyncio.gather(leave(ada), leave(other), return_exceptions=True)
    assert sorted(type(one).__name__ for one in came) == ["Conflict", "NoneType"]


async def test_a_deleted_team_is_closed_at_once_and_its_people_are_free_to_come_back(database: Database) -> None:
    ada = await person(database, "ada")
    async with working(database) as session:
        _, secret = await keys.create_key(session, org_id=ada.org_id, name="k", kind="live", hasher=HASHER)
        token = await accounts.open_session(session, user_id=ada.user_id)
    cache = keys.KeyCache(database, HASHER)
    await cache.poll()
    await cache.authenticate(secret)
    async with working(database) as session:
        await teams.delete_org(session, who=ada)
    await cache.poll()
    with pytest.raises(InvalidApiKey):
        await cache.authenticate(secret)
    async with working(database) as session:
        assert await accounts.read_session(session, token=token) is None
    assert await accounts.verify_password(database, email="ada@example.com", password=PASSWORD) is None
    again = await person(database, "ada")
    assert again.org_id != ada.org_id


async def without_a_team(database: Database, ada: Identity, name: str) -> Identity:
    """Somebody who handed their own team over and was taken out of Ada's."""
    guest = await person(database, name)
    member = await invited(database, ada, guest)
    await invited(database, guest, ada, role="owner")
    async with working(database) as session:
        await teams.remove(session, who=guest, user_id=guest.user_id)
        await teams.remove(session, who=ada, user_id=guest.user_id)
    return member


async def test_whoever_is_in_no_team_any_more_has_an_empty_one_of_their_own_after_the_next_log_in(
    database: Database,
) -> None:
    ada = await person(database, "ada")
    bob = await without_a_team(database, ada, "bob")
    async with working(database) as session:
        token = await accounts.open_session(session, user_id=bob.user_id)
        assert await accounts.read_session(session, token=token) is None, "a session of before shows nothing"
    seen = []
    for _ in range(2):
        proof = await accounts.verify_password(database, email=bob.email, password=PASSWORD)
        assert proof is not None
        async with working(database) as session:
            seen.append(await accounts.proven(session, proof))
    first = seen[0]
    assert seen == [first, first] and first is not None
    assert (first.user_id, first.org_name, first.role) == (bob.user_id, "bob's team", "owner")
    async with working(database) as session:
        assert await teams.orgs_of(session, user_id=bob.user_id) == [(first.org_id, "bob's team")]
        assert [one.email for one in await teams.members(session, org_id=ada.org_id)] == [ada.email]
    back = await invited(database, ada, bob)
    assert (back.org_id, back.role) == (ada.org_id, "member")


async def test_two_log_ins_at_once_make_one_team(postgres_database: Database) -> None:
    bob = await without_a_team(postgres_database, await person(postgres_database, "ada"), "bob")
    proof = await accounts.verify_password(postgres_database, email=bob.email, password=PASSWORD)
    assert proof is not None

    async def log_in() -> Identity | None:
        async with working(postgres_database) as session:
            return await accounts.proven(session, proof)

    one, other = await asyncio.gather(log_in(), log_in())
    assert one == other and one is not None


async def test_after_its_delay_nothing_of_a_deleted_team_is_left_in_any_table_and_others_lose_nothing(
    database: Database,
) -> None:
    ada, bob = await person(database, "ada"), await person(database, "bob")
    async with working(database) as session:
        for who in (ada, bob):
            later = utc_now() + timedelta(days=30)
            await fill_every_table(session, {"org_id": who.org_id, "user_id": who.user_id, "expires_at": later})
    before = await counts(database)
    async with working(database) as session:
        await teams.delete_org(session, who=ada)
    retention = Retention(database)
    await retention.clean(now=utc_now() + DELETED_ORGS_KEPT - timedelta(minutes=1))
    assert (await counts(database))["requests"] == before["requests"]
    await retention.clean(now=utc_now() + DELETED_ORGS_KEPT + timedelta(minutes=1))
    after = await counts(database)
    async with database.session() as session:
        assert list(await session.scalars(select(col(Org.id)))) == [bob.org_id]
    for table in SQLModel.metadata.sorted_tables:
        if "org_id" in table.columns:
            assert after[table.name] >= 1, f"{table.name} lost another team's rows"
            async with database.session() as session:
                left = await session.scalar(select(func.count()).where(table.c.org_id == ada.org_id))
            assert left == 0, f"{table.name} still has rows of the deleted team"


async def counts(database: Database) -> dict[str, int]:
    async with database.session() as session:
        return {
            table.name: int(await session.scalar(select(func.count()).select_from(table)) or 0)
            for table in SQLModel.metadata.sorted_tables
        }
