"""Second factors: one-time codes by time (RFC 6238), and recovery codes for the day the phone is gone.

The secret is sealed for its user. A code counts in its own half minute and the ones beside it; no code counts twice,
nor one from before it: the step of the last one is kept. Of recovery codes only hashes are kept; each works once. The
caller commits.
"""

import hashlib
import hmac
import logging
import secrets
import time
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pyotp
from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.errors import Conflict, InvalidRequest
from omni_app.storage.sealing import CannotOpen, Sealer
from omni_app.storage.tables import Membership, Org, RecoveryCode, SecondFactor, utc_now

log = logging.getLogger(__name__)

PURPOSE = "second factors"
ISSUER = "Omni-Model Router"
SECRET_CHARACTERS = 32
"""160 bits, as RFC 4226 recommends."""
STEP_S = 30
STEPS_BESIDE = 1
PENDING_LASTS = timedelta(minutes=15)
RECOVERY_CODES = 10
RECOVERY_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
RECOVERY_LENGTH = 16
"""79 bits: a plain hash of one cannot be guessed."""


class WrongCode(InvalidRequest):
    """Not a code of now, one that was used before, or none at all."""


class TeamAsks(Conflict):
    """A team of the user's asks for a second factor: theirs stays on."""


def _about(user_id: UUID) -> str:
    return f"second factor of {user_id}"


async def begin(session: AsyncSession, *, user_id: UUID, sealer: Sealer) -> str:
    """A new secret (base32), which is not to be had again; it does nothing until `confirm`. Raises `Conflict`."""
    if await is_on(session, user_id=user_id):
        raise Conflict("a second factor is on already: turn it off first")
    secret = pyotp.random_base32(SECRET_CHARACTERS)
    await session.execute(delete(SecondFactor).where(col(SecondFactor.user_id) == user_id))
    sealed = sealer.seal(secret.encode(), about=_about(user_id))
    session.add(SecondFactor(user_id=user_id, sealed=sealed))
    await session.flush()
    return secret


def address_for_apps(secret: str, *, email: str) -> str:
    """What an authenticator app reads (`otpauth://…`)."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=ISSUER)


async def confirm(session: AsyncSession, *, user_id: UUID, code: str, sealer: Sealer) -> list[str]:
    """Turns the pending factor on; gives the recovery codes, which are not to be had again.

    Raises `WrongCode`, or `Conflict` when none is pending any more.
    """
    row = await session.get(SecondFactor, user_id)
    if row is None or row.confirmed_at is not None or utc_now() - row.created_at > PENDING_LASTS:
        raise Conflict("this was begun too long ago: begin again")
    if not await _count(session, row, code, sealer):
        raise WrongCode("code: this is not the app's code of now", param="code")
    row.confirmed_at = utc_now()
    await session.flush()
    return await _new_recovery_codes(session, user_id)


async def is_on(session: AsyncSession, *, user_id: UUID) -> bool:
    """Whether a log-in of this user wants a code."""
    query = select(col(SecondFactor.user_id))
    query = query.where(col(SecondFactor.user_id) == user_id, col(SecondFactor.confirmed_at).is_not(None))
    return await session.scalar(query) is not None


async def check(session: AsyncSession, *, user_id: UUID, code: str, sealer: Sealer) -> None:
    """Raises `WrongCode` unless this is a code of the user's app, or a recovery code of theirs; it is used up then."""
    row = await session.get(SecondFactor, user_id)
    if row is not None and row.confirmed_at is not None:
        typed = "".join(code.split()).lower()
        if await _count(session, row, typed, sealer) or await _use_recovery_code(session, user_id, typed):
            return
    raise WrongCode("code: this code is wrong, or was used before", param="code")


async def hold(session: AsyncSession, *, user_id: UUID) -> bool:
    """Whether it is on; if so nobody turns it off before the caller commits."""
    row = update(SecondFactor).where(col(SecondFactor.user_id) == user_id, col(SecondFactor.confirmed_at).is_not(None))
    row = row.values(last_step=SecondFactor.last_step).execution_options(synchronize_session=False)
    return bool(cast(CursorResult[Any], await session.execute(row)).rowcount)


async def refuse_where_asked(session: AsyncSession, *, user_id: UUID) -> None:
    """Raises `TeamAsks` when a team of the user's asks for a second factor. Waits for one that begins to."""
    await hold(session, user_id=user_id)
    query = select(col(Org.name)).join(Membership, col(Membership.org_id) == col(Org.id))
    query = query.where(col(Membership.user_id) == user_id, col(Org.asks_second_factor), col(Org.deleted_at).is_(None))
    if (name := await session.scalar(query.limit(1))) is not None:
        raise TeamAsks(f"«{name}» asks for a second factor: leave that team, or have an owner not ask any more")


async def turn_off(session: AsyncSession, *, user_id: UUID) -> bool:
    """Forgets the secret and the recovery codes. False when there was nothing on."""
    on = await is_on(session, user_id=user_id)
    await session.execute(delete(SecondFactor).where(col(SecondFactor.user_id) == user_id))
    await session.execute(delete(RecoveryCode).where(col(RecoveryCode.user_id) == user_id))
    return on


async def mark_of(session: AsyncSession, *, user_id: UUID) -> str:
    """A name for the factor that is on, the same until it is off; "" when none is."""
    row = await session.get(SecondFactor, user_id)
    return row.confirmed_at.isoformat() if row is not None and row.confirmed_at is not None else ""


async def reseal(session: AsyncSession, sealer: Sealer) -> int:
    """Seals all secrets anew, with the key that is sealed with now; gives how many. The caller commits.

    Raises `CannotOpen` for one that neither of the server's keys opens.
    """
    rows = (await session.scalars(select(SecondFactor))).all()
    for row in rows:
        about = _about(row.user_id)
        row.sealed = sealer.seal(sealer.open(row.sealed, about=about), about=about)
    await session.flush()
    return len(rows)


async def recovery_codes_left(session: AsyncSession, *, user_id: UUID) -> int:
    """How many of them were not used."""
    query = select(col(RecoveryCode.code_hash)).where(col(RecoveryCode.user_id) == user_id)
    return len((await session.scalars(query)).all())


async def _count(session: AsyncSession, row: SecondFactor, code: str, sealer: Sealer) -> bool:
    """Whether this is a code of about now; then it, and all before it, count no more.

    The condition on the row makes two tries with one code, at once and anywhere, one that counts.
    """
    try:
        secret = sealer.open(row.sealed, about=_about(row.user_id)).decode()
    except CannotOpen:
        log.warning("a second factor cannot be opened with today's OMNI_SECRET_KEY")
        return False
    step = matching_step(secret, code, at_s=time.time())
    if step is None:
        return False
    once = update(SecondFactor).where(col(SecondFactor.user_id) == row.user_id, col(SecondFactor.last_step) < step)
    once = once.values(last_step=step).execution_options(synchronize_session=False)
    return bool(cast(CursorResult[Any], await session.execute(once)).rowcount)


def matching_step(secret: str, code: str, *, at_s: float) -> int | None:
    """The half minute that the code belongs to, of the ones about `at_s`; every one is compared, in constant time."""
    now, codes = int(at_s // STEP_S), pyotp.TOTP(secret)
    steps = range(max(0, now - STEPS_BESIDE), now + STEPS_BESIDE + 1)
    matched = [step for step in steps if hmac.compare_digest(codes.generate_otp(step).encode(), code.encode())]
    return matched[-1] if matched else None


async def _new_recovery_codes(session: AsyncSession, user_id: UUID) -> list[str]:
    await session.execute(delete(RecoveryCode).where(col(RecoveryCode.user_id) == user_id))
    codes = ["".join(secrets.choice(RECOVERY_ALPHABET) for _ in range(RECOVERY_LENGTH)) for _ in range(RECOVERY_CODES)]
    session.add_all(RecoveryCode(user_id=user_id, code_hash=_hash(one)) for one in codes)
    await session.flush()
    return ["-".join(one[start : start + 4] for start in range(0, RECOVERY_LENGTH, 4)) for one in codes]


async def _use_recovery_code(session: AsyncSession, user_id: UUID, typed: str) -> bool:
    used = delete(RecoveryCode).where(
        col(RecoveryCode.user_id) == user_id, col(RecoveryCode.code_hash) == _hash(typed.replace("-", ""))
    )
    return bool(cast(CursorResult[Any], await session.execute(used)).rowcount)


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
