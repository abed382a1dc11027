"""People and their sessions."""

import asyncio
import time
from datetime import timedelta
from uuid import UUID

import pytest
from passlib.hash import argon2
from sqlalchemy import delete, func, select, update
from sqlalchemy.pool import QueuePool
from sqlmodel import col

from omni_app.errors import InvalidRequest
from omni_app.storage import accounts
from omni_app.storage.accounts import EmailTaken, Identity, WeakPassword
from omni_app.storage.database import Database
from omni_app.storage.passwords import hash_password
from omni_app.storage.tables import ApiKeyRow, Membership, Org, Session, User, utc_now
from tests.hashing import nothing_is_hashed

EMAIL = "ada@example.com"
PASSWORD = "seven lamps on a quiet harbour"
OTHER_PASSWORD = "another long enough sentence"


async def ada(database: Database) -> Identity:
    """Signs Ada up."""
    async with database.session() as session:
        person = await accounts.sign_up(session, email=EMAIL, password=PASSWORD, org_name="Engines")
        await session.commit()
        return person


async def shown_in(database: Database, email: str = EMAIL, password: str = PASSWORD) -> Identity | None:
    """Who has this password; None when it is wrong."""
    proof = await accounts.verify_password(database, email=email, password=password)
    async with database.session() as session:
        return await accounts.proven(session, proof) if proof else None


async def signed_in(database: Database, person: Identity) -> str:
    """A session's token."""
    async with database.session() as session:
        token = await accounts.open_session(session, user_id=person.user_id)
        await session.commit()
        return token


async def who(database: Database, token: str) -> Identity | None:
    async with database.session() as session:
        return await accounts.read_session(session, token=token)


async def age_sessions(database: Database, *, seen: timedelta, created: timedelta) -> None:
    """Moves every session back in time."""
    async with database.session() as session:
        await session.execute(update(Session).values(last_seen_at=utc_now() - seen, created_at=utc_now() - created))
        await session.commit()


async def test_who_signs_up_owns_an_org_and_can_log_in(database: Database) -> None:
    person = await ada(database)
    assert (person.email, person.org_name, person.role, person.session_id) == (EMAIL, "Engines", "owner", None)
    assert await shown_in(database) == person
    assert await shown_in(database, "  ADA@Example.com ") == person
    assert await shown_in(database, password=OTHER_PASSWORD) is None
    assert await shown_in(database, "eve@example.com") is None
    assert await shown_in(database, "not an address") is None


async def test_a_new_database_has_no_account_and_no_key(database: Database) -> None:
    async with database.session() as session:
        for table in (User, Org, Session, ApiKeyRow):
            assert await session.scalar(select(func.count()).select_from(table)) == 0, table
    for name in ("admin", "root", "admin@example.com", "test@example.com"):
        assert await accounts.verify_password(database, email=name, password=name) is None


async def test_a_password_of_years_ago_still_opens_the_door(database: Database) -> None:
    """Nobody is made to choose another one because of its age."""
    person = await ada(database)
    async with database.session() as session:
        await session.execute(update(User).values(created_at=utc_now() - timedelta(days=3_650)))
        await session.commit()
    assert await shown_in(database) == person


async def test_an_address_is_taken_once_in_any_spelling_and_the_failure_leaves_nothing(database: Database) -> None:
    await ada(database)
    async with database.session() as session:
        with pytest.raises(EmailTaken) as refused:
            await accounts.sign_up(session, email="Ada@EXAMPLE.com", password=OTHER_PASSWORD, org_name="Second")
        await session.commit()
        assert await session.scalar(select(func.count()).select_from(Org)) == 1
    assert refused.value.status == 400 and refused.value.param == "email"


async def test_two_sign_ups_at_once_with_one_address_make_one_account(database: Database) -> None:
    done = await asyncio.gather(ada(database), ada(database), return_exceptions=True)
    assert sorted(type(one).__name__ for one in done) == ["EmailTaken", "Identity"]


@pytest.mark.parametrize(
    "email",
    ["", "ada", "@example.com", "ada@example", "a b@example.com", "a@b.c\n", "a\0@b.com", "a@b.com\r\nBcc: eve@b.com"],
)
async def test_what_cannot_be_an_address_is_refused(sqlite_database: Database, email: str) -> None:
    async with sqlite_database.session() as session:
        with pytest.raises(InvalidRequest) as refused:
            await accounts.sign_up(session, email=email, password=PASSWORD, org_name="Engines")
    assert refused.value.param == "email"


async def test_a_weak_password_is_refused_at_sign_up_and_at_reset(sqlite_database: Database) -> None:
    await ada(sqlite_database)
    async with sqlite_database.session() as session:
        with pytest.raises(WeakPassword):
            await accounts.sign_up(session, email="bob@example.com", password="short", org_name="B")
        with pytest.raises(WeakPassword):
            await accounts.reset_password(session, email=EMAIL, password=EMAIL)


async def test_a_hash_of_weaker_parameters_is_replaced_at_the_next_log_in(database: Database) -> None:
    person = await ada(database)
    weak = argon2.using(type="ID", memory_cost=8_192, time_cost=1, parallelism=1).hash(PASSWORD)
    async with database.session() as session:
        await session.execute(update(User).values(password_hash=weak))
        await session.commit()
    assert await shown_in(database, password=OTHER_PASSWORD) is None
    assert await password_hash(database) == weak
    assert [*await asyncio.gather(shown_in(database), shown_in(database))] == [person, person], "at once"
    assert "m=47104,t=1,p=1" in await password_hash(database)
    assert await shown_in(database) == person


async def password_hash(database: Database) -> str:
    async with database.session() as session:
        return (await session.scalars(select(col(User.password_hash)))).one()


async def test_an_unknown_address_takes_as_long_as_a_wrong_password(sqlite_database: Database) -> None:
    await ada(sqlite_database)

    async def fastest_s(email: str) -> float:
        times_s = []
        for _ in range(5):
            started_s = time.perf_counter()
            assert await accounts.verify_password(sqlite_database, email=email, password=OTHER_PASSWORD) is None
            times_s.append(time.perf_counter() - started_s)
        return min(times_s)

    known_s, unknown_s = await fastest_s(EMAIL), await fastest_s("eve@example.com")
    assert 0.4 < known_s / unknown_s < 2.5


async def test_who_waits_to_be_hashed_holds_no_connection_and_keeps_nobody_from_reading(
    postgres_database: Database,
) -> None:
    await ada(postgres_database)
    pool = postgres_database.engine.pool
    assert isinstance(pool, QueuePool)
    async with nothing_is_hashed():
        trying = [asyncio.create_task(shown_in(postgres_database)) for _ in range(30)]
        await asyncio.sleep(0.5)
        async with asyncio.timeout(2), postgres_database.reading() as session:
            assert await session.scalar(select(func.count()).select_from(User)) == 1
        assert not pool.checkedout() and not any(one.done() for one in trying)
    assert None not in await asyncio.gather(*trying)


async def test_a_password_that_is_changed_while_it_is_hashed_is_the_wrong_one(database: Database) -> None:
    person = await ada(database)
    other = await hash_password(OTHER_PASSWORD)
    async with nothing_is_hashed():
        trying = asyncio.create_task(shown_in(database))
        await asyncio.sleep(0.2)
        async with database.session() as session:
            await accounts.set_password(session, user_id=person.user_id, password_hash=other)
            await session.commit()
    assert await trying is None
    assert await shown_in(database, password=OTHER_PASSWORD) == person


async def test_a_log_in_at_the_moment_of_a_new_password_does_not_outlive_it(database: Database) -> None:
    person = await ada(database)
    proof = await accounts.verify_password(database, email=EMAIL, password=PASSWORD)
    assert proof is not None

    async def change() -> None:
        async with database.session() as session:
            await accounts.set_password(session, user_id=person.user_id, password_hash="another")
            await session.commit()

    async with database.session() as session:
        assert await accounts.proven(session, proof) == person
        changing = asyncio.create_task(change())
        await asyncio.wait({changing}, timeout=0.3)
        token = await accounts.open_session(session, user_id=person.user_id)
        await session.commit()
    await changing
    assert await who(database, token) is None


async def test_two_log_ins_at_once_of_somebody_without_a_team_make_one(database: Database) -> None:
    person = await ada(database)
    async with database.session() as session:
        await session.execute(delete(Membership).where(col(Membership.user_id) == person.user_id))
        await session.commit()
    proof = await accounts.verify_password(database, email=EMAIL, password=PASSWORD)
    assert proof is not None

    async def come_in() -> UUID:
        async with database.session() as session:
            found = await accounts.proven(session, proof)
            await session.commit()
        assert found is not None
        return found.org_id

    assert len({await one for one in asyncio.as_completed([come_in() for _ in range(3)])}) == 1


async def test_a_session_tells_who_is_signed_in_until_it_is_closed(database: Database) -> None:
    person = await ada(database)
    token, other = await signed_in(database, person), await signed_in(database, person)
    found = await who(database, token)
    assert found is not None and found.session_id is not None
    assert (found.user_id, found.org_id, found.email) == (person.user_id, person.org_id, EMAIL)
    async with database.session() as session:
        await accounts.close_session(session, token=token)
        await session.commit()
    assert await who(database, token) is None
    assert await who(database, other) is not None
    assert await who(database, "made-up") is None


async def test_only_a_hash_of_the_token_is_kept(sqlite_database: Database) -> None:
    token = await signed_in(sqlite_database, await ada(sqlite_database))
    async with sqlite_database.session() as session:
        stored = (await session.scalars(select(Session))).one()
    assert token not in repr(stored) and len(stored.token_hash) == 64
    assert await who(sqlite_database, stored.token_hash) is None


async def test_a_session_ends_when_it_is_idle_for_too_long(database: Database) -> None:
    token = await signed_in(database, await ada(database))
    nearly = accounts.IDLE - timedelta(minutes=1)
    await age_sessions(database, seen=nearly, created=nearly)
    assert await who(database, token) is not None
    await age_sessions(database, seen=accounts.IDLE + timedelta(minutes=1), created=accounts.IDLE * 2)
    assert await who(database, token) is None


async def test_using_a_session_keeps_it_from_being_idle(database: Database) -> None:
    token = await signed_in(database, await ada(database))
    await age_sessions(database, seen=timedelta(hours=11), created=timedelta(hours=11))
    await who(database, token)
    async with database.session() as session:
        seen_at = (await session.scalars(select(Session))).one().last_seen_at
    assert utc_now() - seen_at < timedelta(minutes=1)


async def test_a_session_ends_after_its_longest_life_however_busy(database: Database) -> None:
    token = await signed_in(database, await ada(database))
    await age_sessions(database, seen=timedelta(0), created=accounts.ABSOLUTE - timedelta(minutes=1))
    assert await who(database, token) is not None
    await age_sessions(database, seen=timedelta(0), created=accounts.ABSOLUTE + timedelta(minutes=1))
    assert await who(database, token) is None


async def test_a_log_in_sweeps_away_sessions_that_are_too_old(sqlite_database: Database) -> None:
    person = await ada(sqlite_database)
    await signed_in(sqlite_database, person)
    await age_sessions(sqlite_database, seen=timedelta(0), created=accounts.ABSOLUTE * 2)
    await signed_in(sqlite_database, person)
    async with sqlite_database.session() as session:
        assert await session.scalar(select(func.count()).select_from(Session)) == 1


async def test_a_reset_password_ends_every_session_and_replaces_the_old_one(database: Database) -> None:
    person = await ada(database)
    tokens = [await signed_in(database, person) for _ in range(2)]
    async with database.session() as session:
        assert await accounts.reset_password(session, email=EMAIL, password=OTHER_PASSWORD)
        assert not await accounts.reset_password(session, email="eve@example.com", password=OTHER_PASSWORD)
        await session.commit()
    assert await shown_in(database) is None
    assert await shown_in(database, password=OTHER_PASSWORD) == person
    assert [await who(database, token) for token in tokens] == [None, None]


async def test_nobody_is_signed_in_for_an_org_that_was_deleted(sqlite_database: Database) -> None:
    token = await signed_in(sqlite_database, await ada(sqlite_database))
    async with sqlite_database.session() as session:
        await session.execute(update(Org).values(deleted_at=utc_now()))
        await session.commit()
    assert await who(sqlite_database, token) is None


async def test_an_account_without_a_password_here_cannot_log_in_with_one(sqlite_database: Database) -> None:
    async with sqlite_database.session() as session:
        await accounts.join(session, email="eve@example.com", password_hash="", org_name="Elsewhere")
        await session.commit()
    assert await accounts.verify_password(sqlite_database, email="eve@example.com", password="") is None
    async with sqlite_database.session() as session:
        assert (await session.scalars(select(col(User.password_hash)))).one() == ""


async def test_an_org_of_a_name_is_made_once(database: Database) -> None:
    async with database.session() as session:
        first = await accounts.org_named(session, "Operators")
        await session.commit()
        assert await accounts.org_named(session, "Operators") == first
        assert await accounts.org_named(session, "Others") != first
