"""Everybody who may knock: an org with an owner and a member, another org, and keys in every state."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pyotp
from sqlalchemy import select, update
from sqlmodel import SQLModel, col

from omni_app.api.app import create_api
from omni_app.origin import session_cookie
from omni_app.services import Services, build_services
from omni_app.storage import accounts, keys, passwords, second_factors, teams
from omni_app.storage.accounts import Identity
from omni_app.storage.keys import generate_key
from omni_app.storage.org_settings import set_model_enabled
from omni_app.storage.password_rules import normalised
from omni_app.storage.policies import save_policy
from omni_app.storage.provider_keys import set_provider_key
from omni_app.storage.tables import ApiKeyRow, SecondFactor, utc_now
from tests.api.conftest import ORIGIN, settings_for
from tests.migrated import migrate

PASSWORD = "teal-otter-maps-42-winter"
FROM_OUR_PAGE = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
SEEN = ("last_used_at", "last_seen_at")
"""Columns that tell when, not what."""


OWN_KEY = "a-provider-key-of-their-own"
"""Entered for an address that this server does not use: it makes no model available."""


@dataclass(frozen=True, slots=True)
class Signed:
    """Somebody who is signed in, and the token of their cookie."""

    who: Identity
    token: str


@dataclass(frozen=True, slots=True)
class Cast:
    """`keys`: name -> secret; `ids`: name -> what another org must not learn of."""

    services: Services
    client: httpx.AsyncClient
    owner: Signed
    member: Signed
    stranger: Signed
    ended: str
    keys: dict[str, str]
    ids: dict[str, str]

    async def send(
        self, method: str, path: str, *, headers: Any = (), token: str = "", body: Any = None, form: Any = None
    ) -> httpx.Response:
        """One request. Headers as pairs, so that one may come twice; `token` of the session cookie."""
        pairs = list(headers.items() if isinstance(headers, dict) else headers)
        if token:
            pairs.append(("Cookie", f"{session_cookie(self.services.settings)}={token}"))
        self.client.cookies.clear()
        return await self.client.request(method, path, headers=pairs, json=body, data=form)

    async def rows(self) -> dict[str, list[str]]:
        """What the database holds of people, by table."""
        await self.services.drainer.flush()
        found = {}
        async with self.services.database.session() as session:
            for table in SQLModel.metadata.sorted_tables:
                columns = [column for column in table.columns if column.name not in SEEN]
                found[table.name] = sorted(repr(tuple(row)) for row in await session.execute(select(*columns)))
        return found


FACTOR = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
"""The secret of everybody's second factor, where there is one."""


def code_of_now() -> str:
    """What everybody's app shows."""
    return pyotp.TOTP(FACTOR).now()


async def with_second_factors(cast: Cast, *people: Identity, confirmed: bool) -> None:
    """Gives these one, pending or on; without any: the owner and the member."""
    async with cast.services.database.session() as session:
        for one in people or (cast.owner.who, cast.member.who):
            sealed = cast.services.factor_sealer.seal(FACTOR.encode(), about=f"second factor of {one.user_id}")
            moment = utc_now() if confirmed else None
            session.add(SecondFactor(user_id=one.user_id, sealed=sealed, confirmed_at=moment))
        await session.commit()


async def owner_without_the_factor(cast: Cast) -> Signed:
    """The member, as an owner of a team that asks for a second factor; they have none. All else is allowed to them."""
    await with_second_factors(cast, confirmed=True)
    member = cast.member.who
    async with cast.services.database.session() as session:
        await second_factors.turn_off(session, user_id=member.user_id)
        await teams.set_role(session, who=cast.owner.who, user_id=member.user_id, role="owner")
        await teams.ask_for_factor(session, who=cast.owner.who, wanted=True)
        who = await accounts.read_session(session, token=cast.member.token, for_self=True)
        await session.commit()
    assert who is not None and who.lacks_factor and who.is_owner
    return Signed(who, cast.member.token)


@cache
def password_hash() -> str:
    """The hash of everybody's password, made once."""
    hashed: str = passwords._context().hash(normalised(PASSWORD))
    return hashed


@asynccontextmanager
async def a_cast(folder: Path, **settings: Any) -> AsyncIterator[Cast]:
    """A product at rest (no background work) with everybody in it."""
    services = build_services(settings_for(folder, **settings))
    migrate(services.database.url, seeded=True)
    transport = httpx.ASGITransport(app=create_api(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        yield await _cast(services, client)
    await services.database.close()
    await services.transport.aclose()
    services.spool.close()


async def _cast(services: Services, client: httpx.AsyncClient) -> Cast:
    owner = await signed_up(services, "owner@example.com")
    guest = await signed_up(services, "member@example.com")
    stranger = await signed_up(services, "stranger@example.com")
    async with services.database.session() as session:
        invitation = await teams.invite(session, who=owner.who, role="member")
        await teams.accept(session, user_id=guest.who.user_id, token=invitation)
        await teams.act_for(session, who=guest.who, org_id=owner.who.org_id)
        member = await accounts.read_session(session, token=guest.token)
        ended = await accounts.open_session(session, user_id=owner.who.user_id)
        await accounts.close_session(session, token=ended)
        open_invitation = await teams.invite(session, who=owner.who, role="member")
        await set_model_enabled(session, org_id=owner.who.org_id, model_id="sandbox/premium", enabled=False)
        await save_policy(session, org_id=owner.who.org_id, key_id=None, data={}, note="", author=owner.who.email)
        await set_provider_key(
            session, org_id=owner.who.org_id, provider="mistral", base_url="https://elsewhere.example", secret=OWN_KEY,
            entered_by=owner.who.email, sealer=services.key_sealer,
        )  # fmt: skip
        (invited,) = await teams.open_invitations(session, org_id=owner.who.org_id)
        await session.commit()
    assert member is not None
    secrets, ids = await _keys(services, owner, stranger)
    ids |= {
        "user": str(owner.who.user_id),
        "member": str(guest.who.user_id),
        "org": str(owner.who.org_id),
        "invitation": str(invited.id),
        "session": str(owner.who.session_id),
        "invitation_token": open_invitation,
    }
    return Cast(services, client, owner, Signed(member, guest.token), stranger, ended, secrets, ids)


async def signed_up(services: Services, email: str) -> Signed:
    """A new account with an org of its own, signed in."""
    async with services.database.session() as session:
        who = await accounts.join(session, email=email, password_hash=password_hash(), org_name=email.partition("@")[0])
        token = await accounts.open_session(session, user_id=who.user_id)
        signed_in = await accounts.read_session(session, token=token)
        await session.commit()
    assert signed_in is not None
    return Signed(signed_in, token)


async def _keys(services: Services, owner: Signed, stranger: Signed) -> tuple[dict[str, str], dict[str, str]]:
    """One key for each state that a key can be in."""
    past = utc_now() - timedelta(seconds=1)
    changes: dict[str, dict[str, Any]] = {
        "test": {}, "live": {}, "other": {}, "revoked": {"revoked_at": past}, "expired": {"expires_at": past},
        "disabled": {"disabled_at": past}, "hidden": {"hidden": True},
    }  # fmt: skip
    secrets, ids = {}, {}
    async with services.database.session() as session:
        for name, values in changes.items():
            org_id = (stranger if name == "other" else owner).who.org_id
            kind: Any = "live" if name == "live" else "test"
            key, secrets[name] = await keys.create_key(
                session, org_id=org_id, name=name, kind=kind, hasher=services.hasher
            )
            if values:
                await session.execute(update(ApiKeyRow).where(col(ApiKeyRow.id) == key.id).values(**values))
            ids[f"{name} key"] = str(key.id)
        await session.commit()
    wrong = {"unknown": generate_key("live"), "malformed": secrets["test"][:-1] + "~", "empty": ""}
    return secrets | wrong, ids


def told(answer: httpx.Response) -> tuple[int, tuple[tuple[str, str], ...], str]:
    """An answer without what differs from call to call: ids, times, what is left of the rate limit."""
    passing = ("x-request-id", "x-ratelimit-remaining", "x-ratelimit-reset", "x-omni-overhead-ms", "content-length")
    headers = tuple(sorted(pair for pair in answer.headers.items() if pair[0] not in passing))
    body = re.sub(r"(req|chatcmpl|msg|dec)[_-][0-9A-Za-z_-]{8,}", r"\1", answer.text)
    return answer.status_code, headers, re.sub(r'"(\w*_ms|created)": ?[\d.]+', r'"\1":0', body)
