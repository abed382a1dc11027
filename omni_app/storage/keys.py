"""API keys: made once, kept as an HMAC, found again in memory.

A key is `omr_live_` or `omr_test_`, 32 random base62 characters (190 bits) and a CRC32 in six more, so that a typo is
refused without a look-up and a secret scanner can find a leaked one: `omr_(live|test)_[0-9A-Za-z]{38}`.
"""

import asyncio
import hmac
import re
import secrets
import time
import zlib
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from itertools import islice
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.errors import InvalidApiKey
from omni_app.routing.types import KeyKind, Policy
from omni_app.storage.budgets import BudgetTerms, budgets_of, that_hold
from omni_app.storage.database import DATABASE_ERRORS, Database
from omni_app.storage.meta import REVOCATIONS, bump, read_meta
from omni_app.storage.pause import pause
from omni_app.storage.policies import active_policies
from omni_app.storage.provider_keys import OwnKey, own_key
from omni_app.storage.scopes import Scope, stored_scopes
from omni_app.storage.tables import ApiKeyRow, Org, ProviderKeyRow, utc_now

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM_LENGTH = 32
CHECKSUM_LENGTH = 6
KEY_PATTERN = re.compile(r"omr_(live|test)_[0-9A-Za-z]{38}")
PLAYGROUND = "Playground"

POLL_S = 0.5
CACHE_S = 300.0
"""With the database away, a key that was known to be good within this time still opens the door."""
REFRESH_S = 60.0
"""With the database there, a key is read again, in the background, after this time."""
REFRESH_AT_ONCE = 500
CACHE_SIZE = 10_000
LAST_USED_STEP_S = 60.0


@dataclass(frozen=True, slots=True)
class OrgTerms:
    """What an org has set for the requests of all its keys (columns: `omni_app.storage.tables.Org`)."""

    premium_model: str = ""
    keep_prompts_days: int = 0
    disabled_models: frozenset[str] = frozenset()
    own_keys: tuple[OwnKey, ...] = ()
    """Sealed still."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the rest of the product sees it: everything but the secret.

    `org` and `policy` are filled in where a request is about to be made with it (`find_keys`, `playground_key`).
    """

    id: UUID
    org_id: UUID
    name: str
    kind: KeyKind
    prefix: str
    last4: str
    hidden: bool
    allowed_models: frozenset[str] | None
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    disabled_at: datetime | None = None
    rate_limit: int | None = None
    token_limit: int | None = None
    scopes: frozenset[Scope] | None = None
    """What it may be used for; None = everything."""
    replaced_by: UUID | None = None
    org: OrgTerms = OrgTerms()
    policy: Policy | None = None
    """The key's own routing policy, else its org's; None = the server's."""
    budgets: tuple[BudgetTerms, ...] = ()
    """What its requests count against."""

    def is_good(self, now: datetime) -> bool:
        """Neither revoked, nor switched off, nor expired."""
        stopped = self.revoked_at is not None or self.disabled_at is not None
        return not stopped and (self.expires_at is None or self.expires_at > now)


class KeyHasher:
    """HMAC-SHA256 of keys with the pepper: a stolen table opens nothing without it.

    `other` is the pepper before or after this one, accepted while the one is exchanged for the other.
    """

    def __init__(self, pepper: str, other: str = "") -> None:
        self._pepper = pepper.encode()
        self._other = other.encode()
        self._quick = secrets.token_bytes(32)
        self._digests: dict[bytes, str] = {}

    def digest(self, key: str) -> str:
        """64 hex digits. Those of late are found by a keyed BLAKE2 of this process: a tenth of the HMAC's time."""
        mark = blake2b(key.encode(), key=self._quick, digest_size=32).digest()
        found = self._digests.get(mark)
        if found is None:
            if len(self._digests) >= CACHE_SIZE:
                self._digests.clear()
            found = self._digests[mark] = _hmac(self._pepper, key)
        return found

    def other_digest(self, key: str) -> str:
        """The same under the other pepper; "" without one."""
        return _hmac(self._other, key) if self._other else ""


def _hmac(pepper: bytes, key: str) -> str:
    return hmac.digest(pepper, key.encode(), "sha256").hex()


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode())
    digits = ""
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def generate_key(kind: KeyKind) -> str:
    """A new secret key."""
    body = f"omr_{kind}_" + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return body + _checksum(body)


def checksum_ok(key: str) -> bool:
    """Whether this can be a key of ours at all."""
    return KEY_PATTERN.fullmatch(key) is not None and _checksum(key[:-CHECKSUM_LENGTH]) == key[-CHECKSUM_LENGTH:]


async def create_key(
    session: AsyncSession,
    *,
    org_id: UUID,
    name: str,
    kind: KeyKind,
    hasher: KeyHasher,
    hidden: bool = False,
    scopes: frozenset[Scope] | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its secret, which is not to be had again. The caller commits."""
    secret = generate_key(kind)
    row = ApiKeyRow(
        org_id=org_id,
        name=name,
        kind=kind,
        digest=hasher.digest(secret),
        prefix=secret[:9],
        last4=secret[-4:],
        hidden=hidden,
        scopes=None if scopes is None else sorted(scopes),
    )
    session.add(row)
    await session.flush()
    return _key(row), secret


async def list_keys(
    session: AsyncSession, *, org_id: UUID, include_hidden: bool = False, include_revoked: bool = False
) -> list[ApiKey]:
    """The org's keys, newest first; those that are revoked only with `include_revoked`."""
    query = select(ApiKeyRow).where(col(ApiKeyRow.org_id) == org_id, col(ApiKeyRow.replaced_by).is_(None))
    if not include_revoked:
        query = query.where(col(ApiKeyRow.revoked_at).is_(None))
    if not include_hidden:
        query = query.where(col(ApiKeyRow.hidden).is_(False))
    rows = await session.scalars(query.order_by(col(ApiKeyRow.created_at).desc(), col(ApiKeyRow.id)))
    return [_key(row) for row in rows]


async def all_keys(session: AsyncSession) -> list[tuple[str, ApiKey]]:
    """Every visible key with its org's name, for the operator."""
    query = select(Org.name, ApiKeyRow).join(Org, col(Org.id) == col(ApiKeyRow.org_id))  # type: ignore[call-overload]
    query = query.where(col(ApiKeyRow.hidden).is_(False), col(ApiKeyRow.replaced_by).is_(None))
    rows = await session.execute(query.order_by(col(ApiKeyRow.created_at)))
    return [(name, _key(row)) for name, row in rows.all()]


async def revoke_key(session: AsyncSession, *, org_id: UUID | None, key_id: UUID) -> bool:
    """Revokes one visible key of the org (of any org for the operator, `org_id=None`). False when there is none.

    A secret of it that was replaced and still worked ends with it.
    """
    query = update(ApiKeyRow).where(
        or_(col(ApiKeyRow.id) == key_id, col(ApiKeyRow.replaced_by) == key_id),
        col(ApiKeyRow.revoked_at).is_(None),
        col(ApiKeyRow.hidden).is_(False),
    )
    if org_id is not None:
        query = query.where(col(ApiKeyRow.org_id) == org_id)
    done = cast(CursorResult[Any], await session.execute(query.values(revoked_at=utc_now())))
    if not done.rowcount:
        return False
    await bump(session, REVOCATIONS)
    return True


async def playground_key(session: AsyncSession, *, org_id: UUID, kind: KeyKind, hasher: KeyHasher) -> ApiKey:
    """The hidden key row that the playground's requests are recorded under; made on first use. The caller commits."""
    query = select(ApiKeyRow).where(
        col(ApiKeyRow.org_id) == org_id, col(ApiKeyRow.hidden).is_(True), col(ApiKeyRow.kind) == kind
    )
    row = (await session.scalars(query.limit(1))).first()
    if row is None:
        key, _ = await create_key(session, org_id=org_id, name=PLAYGROUND, kind=kind, hasher=hasher, hidden=True)
        row = await session.get_one(ApiKeyRow, key.id)
    return (await _on_their_terms(session, [row]))[row.digest]


async def find_keys(session: AsyncSession, *, digests: Collection[str]) -> dict[str, ApiKey]:
    """HMAC -> key, with its org's terms and its policy. Hidden rows are never found: nobody holds their secret."""
    query = select(ApiKeyRow).where(col(ApiKeyRow.digest).in_(digests), col(ApiKeyRow.hidden).is_(False))
    return await _on_their_terms(session, list(await session.scalars(query)))


async def _on_their_terms(session: AsyncSession, rows: Sequence[ApiKeyRow]) -> dict[str, ApiKey]:
    """HMAC -> key; the keys of a deleted org are left out."""
    org_ids = {row.org_id for row in rows}
    terms = await _terms_of(session, org_ids) if rows else {}
    policies = await active_policies(session, org_ids=org_ids) if rows else {}
    budgets = await budgets_of(session, org_ids=org_ids) if rows else {}
    return {
        row.digest: replace(
            key,
            org=terms[row.org_id],
            policy=policies.get((row.org_id, key.id)) or policies.get((row.org_id, None)),
            budgets=that_hold(budgets.get(row.org_id, ()), key_id=key.id, kind=key.kind),
        )
        for row, key in zip(rows, map(_key, rows), strict=True)
        if row.org_id in terms
    }


async def _terms_of(session: AsyncSession, org_ids: Collection[UUID]) -> dict[UUID, OrgTerms]:
    """Org -> its terms, of those that are not deleted. One query: a key that is not in memory waits for it."""
    query = select(Org, ProviderKeyRow).outerjoin(ProviderKeyRow, col(ProviderKeyRow.org_id) == col(Org.id))
    query = query.where(col(Org.id).in_(org_ids), col(Org.deleted_at).is_(None)).order_by(col(ProviderKeyRow.provider))
    orgs: dict[UUID, tuple[Org, list[OwnKey]]] = {}
    found = cast(Iterable[tuple[Org, ProviderKeyRow | None]], await session.execute(query))
    for org, row in found:
        own = orgs.setdefault(org.id, (org, []))[1]
        if row is not None:
            own.append(own_key(row))
    return {org_id: _terms(org, own) for org_id, (org, own) in orgs.items()}


def _terms(org: Org, own_keys: Sequence[OwnKey]) -> OrgTerms:
    return OrgTerms(
        premium_model=org.premium_model,
        keep_prompts_days=org.keep_prompts_days,
        disabled_models=frozenset(org.disabled_models or ()),
        own_keys=tuple(own_keys),
    )


async def move_secret(session: AsyncSession, *, digest: str, to: str) -> None:
    """Keeps a secret under the digest of another pepper from now on. The caller commits."""
    await session.execute(update(ApiKeyRow).where(col(ApiKeyRow.digest) == digest).values(digest=to))


async def note_use(session: AsyncSession, *, used: dict[UUID, datetime]) -> None:
    """Writes down when keys were last used. The caller commits."""
    for key_id, moment in sorted(used.items()):  # in one order everywhere: two workers cannot lock each other out
        await session.execute(update(ApiKeyRow).where(col(ApiKeyRow.id) == key_id).values(last_used_at=moment))


def _key(row: ApiKeyRow) -> ApiKey:
    """A rotation changes the secret and not the key: a replaced secret's row stands for the key that it opened."""
    return ApiKey(
        id=row.replaced_by or row.id,
        org_id=row.org_id,
        name=row.name,
        kind="live" if row.kind == "live" else "test",
        prefix=row.prefix,
        last4=row.last4,
        hidden=row.hidden,
        allowed_models=None if row.allowed_models is None else frozenset(row.allowed_models),
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        disabled_at=row.disabled_at,
        rate_limit=row.rate_limit,
        token_limit=row.token_limit,
        scopes=stored_scopes(row.scopes),
        replaced_by=row.replaced_by,
    )


Asked = tuple[str, str | None]
"""A digest that the database is asked about, and the version of revocations when it was."""


class KeyCache:
    """Keys in memory, by HMAC. A change anywhere empties every worker's cache within `POLL_S` seconds.

    So a key that is known needs no look-up: each poll that finds no change says that all of them are still good.
    A database that hangs delays the poll, and no request.
    """

    def __init__(self, database: Database, hasher: KeyHasher) -> None:
        self._database = database
        self._hasher = hasher
        self._known: OrderedDict[str, tuple[ApiKey, float]] = OrderedDict()
        self._version: str | None = None
        self._used: dict[UUID, datetime] = {}
        self._reads: dict[Asked, asyncio.Task[ApiKey | None]] = {}
        self._polling = asyncio.Lock()
        self._noted_at_s = 0.0
        self._confirmed_at_s = -CACHE_S

    async def authenticate(self, presented: str) -> ApiKey:
        """The key. Raises `InvalidApiKey`, or `Unavailable` when only the database could tell and it is away."""
        found = self.known(presented)
        if found is not None:
            return found
        if checksum_ok(presented):
            found = await self._read_once(self._hasher.digest(presented), self._hasher.other_digest(presented))
        if found is None or not self._good(found):
            raise InvalidApiKey("this API key is not valid", headers={"WWW-Authenticate": "Bearer"})
        return found

    def is_asked_for(self, presented: str) -> bool:
        """Whether the database is being asked about this very key now."""
        return (self._hasher.digest(presented), self._version) in self._reads

    def known(self, presented: str) -> ApiKey | None:
        """The key when it is good and nothing has to be asked; None says nothing."""
        key = self._fresh(self._hasher.digest(presented))
        return key if key is not None and self._good(key) else None

    def _good(self, key: ApiKey) -> bool:
        """Whether it opens the door now; then it is noted as used."""
        now = utc_now()
        if key.is_good(now):
            self._used[key.id] = now
            return True
        return False

    def _fresh(self, digest: str) -> ApiKey | None:
        key, read_at_s = self._known.get(digest, (None, 0.0))
        return key if time.monotonic() - max(read_at_s, self._confirmed_at_s) < CACHE_S else None

    async def _read_once(self, digest: str, other: str) -> ApiKey | None:
        """As `_read`; those who present the same key at the same time share the look-up, until something is revoked."""
        asked = digest, self._version
        task = self._reads.get(asked)
        if task is None:
            task = self._reads[asked] = asyncio.create_task(self._read(digest, other))
            task.add_done_callback(lambda done: self._read_ended(asked, done))
        return await asyncio.shield(task)

    def _read_ended(self, asked: Asked, task: "asyncio.Task[ApiKey | None]") -> None:
        self._reads.pop(asked, None)
        if not task.cancelled():
            task.exception()  # seen, though whoever asked may have gone

    async def _read(self, digest: str, other: str) -> ApiKey | None:
        version = self._version
        async with self._database.reading() as session:
            found = await find_keys(session, digests=[one for one in (digest, other) if one])
            key = found.get(digest) or found.get(other)
            if key is not None and digest not in found:
                await move_secret(session, digest=other, to=digest)
                await session.commit()
        self._known.pop(digest, None)
        if key is not None and version == self._version:  # else it may have been revoked after it was read
            self._known[digest] = (key, time.monotonic())
            while len(self._known) > CACHE_SIZE:
                self._known.popitem(last=False)
        return key

    async def run(self, stopping: asyncio.Event) -> None:
        """Follows revocations and writes down last uses, until it is to stop."""
        while not stopping.is_set():
            with suppress(*DATABASE_ERRORS):  # The cache stands in, as `authenticate` says; `/ready` tells.
                await self.poll()
            await pause(stopping, POLL_S)

    async def poll(self) -> None:
        """One look at the revocation version, after one that is under way; raises what the database raises."""
        async with self._polling, self._database.session() as session:
            asked_at_s = time.monotonic()
            version = await read_meta(session, REVOCATIONS)
            if version != self._version:
                await self._follow(session, version)
            else:
                before_s = asked_at_s - REFRESH_S
                old = (digest for digest, (_, read_at_s) in self._known.items() if read_at_s < before_s)
                await self._read_again(session, list(islice(old, REFRESH_AT_ONCE)))
            self._confirmed_at_s = asked_at_s
            if self._used and time.monotonic() - self._noted_at_s > LAST_USED_STEP_S:
                used, self._used = self._used, {}
                self._noted_at_s = time.monotonic()
                await note_use(session, used=used)
                await session.commit()

    async def _follow(self, session: AsyncSession, version: str) -> None:
        """Something was changed: every key is read again. Who reads one meanwhile does not remember it (`_read`)."""
        before, self._version = self._version, version
        try:
            await self._read_again(session, list(self._known))
        except BaseException:
            self._version = before
            raise

    async def _read_again(self, session: AsyncSession, digests: Sequence[str]) -> None:
        """What these keys are now; one that is gone is forgotten. When the database goes away in between, those that
        were not read yet stay as they were, and the next look begins anew.
        """
        for start in range(0, len(digests), REFRESH_AT_ONCE):
            batch = digests[start : start + REFRESH_AT_ONCE]
            found = await find_keys(session, digests=batch)
            for digest in batch:
                self._known.pop(digest, None)
                if digest in found:
                    self._known[digest] = (found[digest], time.monotonic())
