"""Second factors: RFC 6238's own codes, each code once, recovery codes once, and a secret that is sealed."""

import asyncio
import math
from base64 import b32decode, b32encode
from uuid import UUID, uuid4

import pyotp
import pytest
from sqlalchemy import select, update
from sqlmodel import col

from omni_app.errors import Conflict
from omni_app.storage import second_factors
from omni_app.storage.database import Database
from omni_app.storage.sealing import CannotOpen, Sealer
from omni_app.storage.second_factors import WrongCode, matching_step
from omni_app.storage.tables import RecoveryCode, SecondFactor, utc_now
from tests.codes import code_of

SEALER = Sealer("k" * 32, purpose=second_factors.PURPOSE)
RFC_SECRET = b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("at_s", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037")],
)
def test_the_codes_are_those_of_rfc_6238(at_s: int, code: str) -> None:
    """Its appendix B, SHA-1, the last six of eight digits."""
    step = matching_step(RFC_SECRET, code, at_s=at_s)
    assert step == at_s // 30
    assert matching_step(RFC_SECRET, code, at_s=at_s + 30) == matching_step(RFC_SECRET, code, at_s=at_s - 30) == step
    assert matching_step(RFC_SECRET, code, at_s=at_s + 90) is None
    assert matching_step(RFC_SECRET, code[:-1], at_s=at_s) is None and matching_step(RFC_SECRET, "é", at_s=at_s) is None


async def turned_on(database: Database, user_id: UUID) -> tuple[str, list[str]]:
    """The secret and the recovery codes. The code of now is used up by it; the next one counts already."""
    async with database.session() as session:
        secret = await second_factors.begin(session, user_id=user_id, sealer=SEALER)
        code = code_of(secret)
        codes = await second_factors.confirm(session, user_id=user_id, code=code, sealer=SEALER)
        await session.commit()
    return secret, codes


async def passes(database: Database, user_id: UUID, code: str) -> bool:
    async with database.session() as session:
        try:
            await second_factors.check(session, user_id=user_id, code=code, sealer=SEALER)
        except WrongCode:
            return False
        await session.commit()
        return True


async def test_it_asks_for_a_code_only_when_it_was_confirmed(sqlite_database: Database) -> None:
    user_id = uuid4()
    async with sqlite_database.session() as session:
        secret = await second_factors.begin(session, user_id=user_id, sealer=SEALER)
        assert not await second_factors.is_on(session, user_id=user_id)
        with pytest.raises(WrongCode):
            await second_factors.confirm(session, user_id=user_id, code="000000", sealer=SEALER)
        with pytest.raises(WrongCode):
            await second_factors.check(session, user_id=user_id, code=pyotp.TOTP(secret).now(), sealer=SEALER)
        await second_factors.confirm(session, user_id=user_id, code=pyotp.TOTP(secret).now(), sealer=SEALER)
        assert await second_factors.is_on(session, user_id=user_id)
        with pytest.raises(Conflict):
            await second_factors.begin(session, user_id=user_id, sealer=SEALER)


async def test_what_was_begun_too_long_ago_cannot_be_confirmed(sqlite_database: Database) -> None:
    user_id = uuid4()
    async with sqlite_database.session() as session:
        secret = await second_factors.begin(session, user_id=user_id, sealer=SEALER)
        old = utc_now() - second_factors.PENDING_LASTS
        await session.execute(update(SecondFactor).values(created_at=old))
        with pytest.raises(Conflict):
            await second_factors.confirm(session, user_id=user_id, code=pyotp.TOTP(secret).now(), sealer=SEALER)


async def test_a_code_counts_once_also_when_it_comes_twice_at_the_same_time(database: Database) -> None:
    user_id = uuid4()
    secret, _ = await turned_on(database, user_id)
    code = code_of(secret, later=1)
    tries = await asyncio.gather(*(passes(database, user_id, f" {code[:3]} {code[3:]} ") for _ in range(5)))
    assert sorted(tries) == [False] * 4 + [True]
    assert not await passes(database, user_id, code_of(secret)), "nor one from before it"
    assert not await passes(database, uuid4(), code), "nor for somebody else"


async def test_a_recovery_code_counts_once(database: Database) -> None:
    user_id = uuid4()
    _, codes = await turned_on(database, user_id)
    assert len(set(codes)) == 10 and all(len(one) == 19 for one in codes)
    tries = await asyncio.gather(*(passes(database, user_id, codes[0].upper()) for _ in range(3)))
    assert sorted(tries) == [False, False, True]
    assert not await passes(database, uuid4(), codes[1]), "of somebody else"
    async with database.session() as session:
        assert await second_factors.recovery_codes_left(session, user_id=user_id) == 9
        assert await second_factors.turn_off(session, user_id=user_id)
        assert not await second_factors.turn_off(session, user_id=user_id)
        await session.commit()
    assert not await passes(database, user_id, codes[2])


async def test_secrets_and_recovery_codes_are_long_and_never_the_same(database: Database) -> None:
    made = [await turned_on(database, uuid4()) for _ in range(5)]
    secrets, codes = {secret for secret, _ in made}, {code for _, codes in made for code in codes}
    assert len(secrets) == 5 and len(codes) == 50
    assert {len(b32decode(one)) * 8 for one in secrets} == {160}
    alphabet = set(second_factors.RECOVERY_ALPHABET)
    assert all(len(one.replace("-", "")) == 16 and set(one) <= alphabet | {"-"} for one in codes)
    assert 16 * math.log2(len(alphabet)) > 79


async def test_the_key_that_seals_is_exchanged_and_without_any_the_recovery_codes_are_left(database: Database) -> None:
    user_id, new = uuid4(), "n" * 32
    secret, codes = await turned_on(database, user_id)
    alone = Sealer(new, purpose=second_factors.PURPOSE)
    both = Sealer(new, purpose=second_factors.PURPOSE, other_key="k" * 32)
    async with database.session() as session:
        with pytest.raises(WrongCode):
            await second_factors.check(session, user_id=user_id, code=code_of(secret, later=1), sealer=alone)
        await second_factors.check(session, user_id=user_id, code=codes[0], sealer=alone)
        with pytest.raises(CannotOpen):
            await second_factors.reseal(session, alone)
        assert await second_factors.reseal(session, both) == 1
        await second_factors.check(session, user_id=user_id, code=code_of(secret, later=1), sealer=alone)


async def test_neither_the_secret_nor_a_recovery_code_can_be_read_in_the_database(sqlite_database: Database) -> None:
    user_id = uuid4()
    secret, codes = await turned_on(sqlite_database, user_id)
    async with sqlite_database.session() as session:
        (row,) = await session.scalars(select(SecondFactor).where(col(SecondFactor.user_id) == user_id))
        hashes = list(await session.scalars(select(col(RecoveryCode.code_hash))))
    assert secret.encode() not in row.sealed
    assert not set(hashes) & {form for one in codes for form in (one, one.replace("-", ""))}
