"""API keys: their form, what is kept of them, and who is let in when the database changes or is away."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.errors import InvalidApiKey, Unavailable
from omni_app.routing.types import KeyKind
from omni_app.storage import key_changes, keys, meta
from omni_app.storage.accounts import org_named
from omni_app.storage.database import DATABASE_ERRORS, Database
from omni_app.storage.keys import ALPHABET, KEY_PATTERN, ApiKey, KeyCache, KeyHasher, checksum_ok, generate_key
from omni_app.storage.policies import save_policy
from omni_app.storage.tables import ApiKeyRow, Org, utc_now
from tests.servers.postgres import Postgres

HASHER = KeyHasher("pepper for tests")
kinds = st.sampled_from(["live", "test"])


async def new_key(database: Database, *, kind: KeyKind = "live", org: str = "Engines") -> tuple[ApiKey, str]:
    async with database.session() as session:
        made = await keys.create_key(session, org_id=await org_named(session, org), name="CI", kind=kind, hasher=HASHER)
        await session.commit()
        return made


async def revoke(database: Database, key: ApiKey) -> bool:
    async with database.session() as session:
        done = await keys.revoke_key(session, org_id=key.org_id, key_id=key.id)
        await session.commit()
        return done


async def change(database: Database, key_id: UUID, **values: object) -> None:
    async with database.session() as session:
        await session.execute(update(ApiKeyRow).where(col(ApiKeyRow.id) == key_id).values(**values))
        await session.commit()


def age(cache: KeyCache, seconds: float) -> None:
    """Makes everything that the cache knows older."""
    for digest, (key, read_at_s) in cache._known.items():
        cache._known[digest] = (key, read_at_s - seconds)
    cache._confirmed_at_s -= seconds


# The form


@given(kinds)
def test_a_new_key_has_the_form_that_secret_scanners_look_for_and_its_checksum_is_right(kind: KeyKind) -> None:
    key = generate_key(kind)
    assert KEY_PATTERN.fullmatch(key) and key.startswith(f"omr_{kind}_") and len(key) == 47
    assert checksum_ok(key)


@given(kinds, st.integers(min_value=9, max_value=46), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_always_noticed(kind: KeyKind, place: int, other: str) -> None:
    key = generate_key(kind)
    typed = key[:place] + other + key[place + 1 :]
    assert checksum_ok(typed) == (typed == key)


@given(kinds, st.integers(min_value=9, max_value=45))
def test_two_swapped_characters_are_always_noticed(kind: KeyKind, place: int) -> None:
    key = generate_key(kind)
    typed = key[:place] + key[place + 1] + key[place] + key[place + 2 :]
    assert checksum_ok(typed) == (typed == key)


@given(st.text() | st.from_regex(KEY_PATTERN, fullmatch=True))
def test_what_we_did_not_make_is_no_key(text: str) -> None:
    assert not checksum_ok(text)


@pytest.mark.parametrize("wrong", [" {}", "{}\n", "{}x", "Bearer {}", "{}\0"])
def test_a_key_with_something_around_it_is_no_key(wrong: str) -> None:
    assert not checksum_ok(wrong.format(generate_key("live")))


def test_keys_do_not_repeat_and_a_live_key_does_not_pass_as_a_test_key() -> None:
    assert len({generate_key("live") for _ in range(1_000)}) == 1_000
    assert not checksum_ok(generate_key("live").replace("omr_live_", "omr_test_"))


def test_a_digest_depends_on_the_key_and_on_the_pepper() -> None:
    key = generate_key("live")
    digests = {hasher.digest(one) for hasher in (HASHER, KeyHasher("other")) for one in (key, generate_key("live"))}
    assert len(digests) == 4 and all(len(one) == 64 for one in digests)
    assert HASHER.digest(key) == HASHER.digest(key)


# The rows


async def test_of_a_key_only_what_may_be_shown_is_kept(database: Database) -> None:
    key, secret = await new_key(database)
    async with database.session() as session:
        row = (await session.scalars(select(ApiKeyRow))).one()
    assert secret not in repr(row.model_dump())
    assert (key.prefix, key.last4) == (secret[:9], secret[-4:])
    assert row.digest == HASHER.digest(secret)
    assert (key.kind, key.hidden, key.revoked_at, key.last_used_at, key.allowed_models) == ("live", False, *[None] * 3)


async def test_an_org_lists_its_own_visible_unrevoked_keys_newest_first(database: Database) -> None:
    first, _ = await new_key(database)
    gone, _ = await new_key(database)
    second, _ = await new_key(database, kind="test")
    await new_key(database, org="Others")
    assert await revoke(database, gone)
    async with database.session() as session:
        hidden = await keys.playground_key(session, org_id=first.org_id, kind="live", hasher=HASHER)
        await session.commit()
        assert [key.id for key in await keys.list_keys(session, org_id=first.org_id)] == [second.id, first.id]
        everything = await keys.list_keys(session, org_id=first.org_id, include_hidden=True)
        assert [key.id for key in everything] == [hidden.id, second.id, first.id]
        assert sorted(org for org, _ in await keys.all_keys(session)) == ["Engines"] * 3 + ["Others"]


async def test_a_key_is_revoked_once_and_by_its_own_org_or_the_operator(database: Database) -> None:
    key, _ = await new_key(database)
    stranger, _ = await new_key(database, org="Others")
    assert not await revoke(database, replace(key, org_id=stranger.org_id))
    assert not await revoke(database, replace(key, id=uuid4()))
    assert await revoke(database, key)
    assert not await revoke(database, key)
    async with database.session() as session:
        assert await keys.revoke_key(session, org_id=None, key_id=stranger.id)


async def test_the_playgrounds_key_is_one_row_per_kind_and_cannot_be_revoked(database: Database) -> None:
    key, _ = await new_key(database)
    async with database.session() as session:
        made = [
            await keys.playground_key(session, org_id=key.org_id, kind=kind, hasher=HASHER)
            for kind in ("live", "test", "live", "test")
        ]
        await session.commit()
    assert made[:2] == made[2:] and made[0].id != made[1].id and all(one.hidden for one in made)
    assert not await revoke(database, made[0])


# Who is let in


async def test_a_key_opens_the_door_for_its_org(database: Database) -> None:
    key, secret = await new_key(database)
    cache = KeyCache(database, HASHER)
    assert await cache.authenticate(secret) == key
    assert await cache.authenticate(secret) == key


@pytest.mark.parametrize("presented", ["", "omr_live_", "sk-something", "omr_live_" + "0" * 38])
async def test_a_malformed_key_is_refused_without_asking_the_database(presented: str) -> None:
    cache = KeyCache(Database(f"postgresql://omni@127.0.0.1:1/{'away'}"), HASHER)
    with pytest.raises(InvalidApiKey) as refused:
        await cache.authenticate(presented)
    assert refused.value.headers["WWW-Authenticate"] == "Bearer"


async def test_an_unknown_key_and_a_key_under_another_pepper_are_refused(database: Database) -> None:
    _, secret = await new_key(database)
    with pytest.raises(InvalidApiKey):
        await KeyCache(database, HASHER).authenticate(generate_key("live"))
    with pytest.raises(InvalidApiKey):
        await KeyCache(database, KeyHasher("another pepper")).authenticate(secret)


# Exchanging the pepper

NEXT = "the pepper after the one for tests"
MOVING = KeyHasher(NEXT, "pepper for tests")


async def test_while_the_pepper_is_exchanged_a_key_comes_under_the_new_one_as_it_is_used(database: Database) -> None:
    key, secret = await new_key(database)
    _, unused = await new_key(database)
    cache = KeyCache(database, MOVING)
    assert await cache.authenticate(secret) == key
    assert await cache.authenticate(secret) == key, "from memory"
    after = KeyCache(database, KeyHasher(NEXT))
    assert await after.authenticate(secret) == key
    with pytest.raises(InvalidApiKey):
        await after.authenticate(unused)
    assert (await cache.authenticate(unused)).kind == "live"


async def test_workers_with_the_peppers_the_other_way_round_let_in_the_same_keys(postgres_database: Database) -> None:
    """As while replicas are restarted one by one: each worker has both, and not the same one first."""
    made = [await new_key(postgres_database) for _ in range(4)]
    hashers = [MOVING, KeyHasher("pepper for tests", NEXT)]
    for _ in range(3):
        workers = [KeyCache(postgres_database, hasher) for hasher in hashers * 2]
        calls = [(key, worker.authenticate(secret)) for key, secret in made for worker in workers]
        found = await asyncio.gather(*(call for _, call in calls))
        assert [one.id for one in found] == [key.id for key, _ in calls]


async def test_a_revoked_key_is_refused_under_either_pepper(database: Database) -> None:
    key, secret = await new_key(database)
    await revoke(database, key)
    for hasher in (HASHER, MOVING, KeyHasher(NEXT)):
        with pytest.raises(InvalidApiKey):
            await KeyCache(database, hasher).authenticate(secret)


async def test_a_replaced_secret_comes_under_the_new_pepper_too(database: Database) -> None:
    key, old = await new_key(database)
    async with database.session() as session:
        new = await key_changes.rotate_key(
            session, org_id=key.org_id, key_id=key.id, hasher=HASHER, grace=timedelta(hours=1), now=utc_now()
        )
        await session.commit()
    assert new is not None
    for hasher in (MOVING, KeyHasher(NEXT)):
        cache = KeyCache(database, hasher)
        assert {(await cache.authenticate(one)).id for one in (old, new)} == {key.id}


async def refused_after_s(cache: KeyCache, secret: str) -> float:
    """How long the key still opens the door; 10 seconds at most."""
    started_s = time.monotonic()
    while (waited_s := time.monotonic() - started_s) < 10:
        try:
            await cache.authenticate(secret)
        except InvalidApiKey:
            break
        await asyncio.sleep(0.02)
    return waited_s


async def test_a_revoked_key_is_refused_by_every_worker_after_its_next_poll(database: Database) -> None:
    key, secret = await new_key(database)
    workers = [KeyCache(database, HASHER) for _ in range(2)]
    for worker in workers:
        await worker.poll()
        await worker.authenticate(secret)
    await revoke(database, key)
    for worker in workers:
        await worker.poll()
        with pytest.raises(InvalidApiKey):
            await worker.authenticate(secret)


async def test_two_keys_revoked_at_the_same_time_are_both_refused(postgres_database: Database) -> None:
    (first, _), (second, secret) = await new_key(postgres_database), await new_key(postgres_database)
    worker = KeyCache(postgres_database, HASHER)
    await worker.poll()
    async with postgres_database.session() as one, postgres_database.session() as other:
        await keys.revoke_key(one, org_id=first.org_id, key_id=first.id)
        revoking = asyncio.create_task(keys.revoke_key(other, org_id=second.org_id, key_id=second.id))
        await asyncio.sleep(0.1)  # it waits for the first one's commit
        await one.commit()
        await worker.poll()
        await worker.authenticate(secret)  # not revoked yet, and remembered
        await revoking
        await other.commit()
    await worker.poll()
    with pytest.raises(InvalidApiKey):
        await worker.authenticate(secret)


async def test_the_running_cache_refuses_a_revoked_key_within_two_seconds(sqlite_database: Database) -> None:
    key, secret = await new_key(sqlite_database)
    cache = KeyCache(sqlite_database, HASHER)
    running = asyncio.create_task(cache.run(asyncio.Event()))
    await cache.authenticate(secret)
    await revoke(sqlite_database, key)
    assert await refused_after_s(cache, secret) < 2
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


class HeldDatabase(Database):
    """A database whose next answer, once `hold` is set, is on its way until `let_go` is set."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.hold = False
        self.was_read = asyncio.Event()
        self.let_go = asyncio.Event()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        async with super().session() as session:
            yield session
        if self.hold:
            self.hold = False
            self.was_read.set()
            await self.let_go.wait()


async def test_a_key_that_is_revoked_while_its_row_is_on_the_way_is_not_remembered(
    sqlite_database: Database, sqlite_url: str
) -> None:
    key, secret = await new_key(sqlite_database)
    held = HeldDatabase(sqlite_url)
    cache = KeyCache(held, HASHER)
    await cache.poll()
    held.hold = True
    reading = asyncio.create_task(cache.authenticate(secret))
    await held.was_read.wait()
    await revoke(sqlite_database, key)
    await cache.poll()
    held.let_go.set()
    await reading  # this one request began before the revocation
    with pytest.raises(InvalidApiKey):
        await cache.authenticate(secret)
    await held.close()


async def test_a_known_key_waits_for_no_database_that_hangs(sqlite_database: Database, sqlite_url: str) -> None:
    _, secret = await new_key(sqlite_database)
    hanging = HeldDatabase(sqlite_url)
    cache = KeyCache(hanging, HASHER)
    await cache.poll()
    await cache.authenticate(secret)
    age(cache, keys.REFRESH_S + 1)
    hanging.hold = True
    polling = asyncio.create_task(cache.poll())
    await hanging.was_read.wait()
    hanging.hold = True  # for everybody else too
    async with asyncio.timeout(0.1):
        await cache.authenticate(secret)
    hanging.let_go.set()
    await polling
    await hanging.close()


async def test_what_was_changed_of_a_known_key_is_noticed_after_a_while(database: Database) -> None:
    key, secret = await new_key(database)
    cache = KeyCache(database, HASHER)
    await cache.poll()
    await cache.authenticate(secret)
    await change(database, key.id, allowed_models=["openai/gpt-4o"])
    age(cache, keys.REFRESH_S + 1)
    await cache.poll()
    assert (await cache.authenticate(secret)).allowed_models == frozenset({"openai/gpt-4o"})


async def test_an_expired_key_is_refused_though_it_is_remembered(database: Database) -> None:
    key, secret = await new_key(database)
    cache = KeyCache(database, HASHER)
    await change(database, key.id, expires_at=utc_now() + timedelta(seconds=1))
    await cache.authenticate(secret)
    await asyncio.sleep(1)
    with pytest.raises(InvalidApiKey):
        await cache.authenticate(secret)


async def test_the_models_a_key_may_use_come_with_it(database: Database) -> None:
    key, secret = await new_key(database)
    await change(database, key.id, allowed_models=["openai/gpt-4o", "local/smollm2"])
    found = await KeyCache(database, HASHER).authenticate(secret)
    assert found.allowed_models == frozenset({"openai/gpt-4o", "local/smollm2"})


async def test_a_hidden_key_never_opens_the_door(database: Database) -> None:
    key, _ = await new_key(database)
    async with database.session() as session:
        _, secret = await keys.create_key(
            session, org_id=key.org_id, name="Playground", kind="live", hasher=HASHER, hidden=True
        )
        await session.commit()
    with pytest.raises(InvalidApiKey):
        await KeyCache(database, HASHER).authenticate(secret)


async def test_with_the_database_away_known_keys_pass_for_a_while_and_unknown_ones_are_told_to_wait(
    postgres_database: Database, postgres: Postgres, postgres_name: str
) -> None:
    known_key, known = await new_key(postgres_database)
    unknown_key, unknown = await new_key(postgres_database)
    cache = KeyCache(postgres_database, HASHER)
    await cache.poll()
    await cache.authenticate(known)
    postgres.take_away(postgres_name)
    age(cache, keys.REFRESH_S + 1)
    assert await cache.authenticate(known) == known_key
    with pytest.raises(Unavailable) as refused:
        await cache.authenticate(unknown)
    assert refused.value.headers["Retry-After"]
    with pytest.raises(DATABASE_ERRORS):
        await cache.poll()
    age(cache, keys.CACHE_S)
    with pytest.raises(Unavailable):
        await cache.authenticate(known)
    postgres.give_back(postgres_name)
    assert await cache.authenticate(known) == known_key
    assert await cache.authenticate(unknown) == unknown_key


async def test_a_revocation_right_before_an_outage_shuts_out_nobody_else(
    postgres_database: Database, postgres: Postgres, postgres_name: str
) -> None:
    """What is known is read again at once, not when somebody next comes with it."""
    kept_key, kept = await new_key(postgres_database)
    gone_key, gone = await new_key(postgres_database)
    cache = KeyCache(postgres_database, HASHER)
    await cache.poll()
    for secret in (kept, gone):
        await cache.authenticate(secret)
    await revoke(postgres_database, gone_key)
    await cache.poll()
    postgres.take_away(postgres_name)
    assert await cache.authenticate(kept) == kept_key
    assert cache.known(gone) is None
    postgres.give_back(postgres_name)


async def test_an_outage_in_the_middle_of_following_a_revocation_is_made_up_for(
    postgres_database: Database, postgres: Postgres, postgres_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone_key, gone = await new_key(postgres_database)
    cache = KeyCache(postgres_database, HASHER)
    await cache.poll()
    await cache.authenticate(gone)
    await revoke(postgres_database, gone_key)
    look = keys.find_keys

    async def look_while_it_goes_away(*args: Any, **kwargs: Any) -> Any:
        postgres.take_away(postgres_name)
        return await look(*args, **kwargs)

    monkeypatch.setattr(keys, "find_keys", look_while_it_goes_away)
    with pytest.raises(DATABASE_ERRORS):
        await cache.poll()
    monkeypatch.undo()
    postgres.give_back(postgres_name)
    await cache.poll()
    assert cache.known(gone) is None


async def test_a_poll_writes_down_when_keys_were_used_but_not_at_every_poll(database: Database) -> None:
    _, secret = await new_key(database)
    cache = KeyCache(database, HASHER)
    cache._noted_at_s = time.monotonic() - keys.LAST_USED_STEP_S - 1

    async def noted() -> object:
        async with database.session() as session:
            return (await session.scalars(select(col(ApiKeyRow.last_used_at)))).one()

    await cache.poll()
    assert await noted() is None
    before = utc_now()
    await cache.authenticate(secret)
    await cache.poll()
    first = await noted()
    assert before <= first <= utc_now()  # type: ignore[operator]
    await cache.authenticate(secret)
    await cache.poll()
    assert await noted() == first


async def test_workers_that_write_down_the_same_keys_do_not_lock_each_other_out(postgres_database: Database) -> None:
    made = [(await new_key(postgres_database))[0].id for _ in range(40)]

    async def note(ids: list[UUID]) -> None:
        for _ in range(5):
            async with postgres_database.session() as session:
                await keys.note_use(session, used=dict.fromkeys(ids, utc_now()))
                await session.commit()

    await asyncio.gather(note(made), note(made[::-1]))


# The terms that come with a key


async def change_org(database: Database, org_id: UUID, **values: object) -> None:
    async with database.session() as session:
        await session.execute(update(Org).where(col(Org.id) == org_id).values(**values))
        await meta.bump(session, meta.REVOCATIONS)
        await session.commit()


async def test_a_key_comes_with_what_its_org_has_set_and_follows_it_at_the_next_poll(database: Database) -> None:
    key, secret = await new_key(database)
    cache = KeyCache(database, HASHER)
    await cache.poll()
    assert (await cache.authenticate(secret)).org == keys.OrgTerms()
    await change_org(database, key.org_id, premium_model="a/b", keep_prompts_days=7, disabled_models=["c/d"])
    await cache.poll()
    assert (await cache.authenticate(secret)).org == keys.OrgTerms("a/b", 7, frozenset({"c/d"}))


async def test_a_key_that_is_switched_off_is_refused_and_comes_back(database: Database) -> None:
    key, secret = await new_key(database)
    cache = KeyCache(database, HASHER)
    await change(database, key.id, disabled_at=utc_now())
    with pytest.raises(InvalidApiKey):
        await cache.authenticate(secret)
    await change(database, key.id, disabled_at=None)
    await change_org(database, key.org_id, name="told every worker")
    await cache.poll()
    assert (await cache.authenticate(secret)).id == key.id


async def test_the_keys_of_a_deleted_org_open_nothing(database: Database) -> None:
    key, secret = await new_key(database)
    cache = KeyCache(database, HASHER)
    await cache.poll()
    await cache.authenticate(secret)
    await change_org(database, key.org_id, deleted_at=utc_now())
    await cache.poll()
    with pytest.raises(InvalidApiKey):
        await cache.authenticate(secret)


async def test_a_key_comes_with_its_own_policy_else_with_its_orgs(database: Database) -> None:
    key, secret = await new_key(database)
    _, other_secret = await new_key(database)
    cache = KeyCache(database, HASHER)
    await cache.poll()
    assert (await cache.authenticate(secret)).policy is None
    async with database.session() as session:
        for scope, note in ((None, "for all"), (key.id, "for one key")):
            await save_policy(session, org_id=key.org_id, key_id=scope, data={}, note=note, author="a@example.com")
        await session.commit()
    await cache.poll()
    own, inherited = (await cache.authenticate(secret)).policy, (await cache.authenticate(other_secret)).policy
    assert own is not None and inherited is not None
    assert own.version != inherited.version
