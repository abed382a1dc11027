"""Asking the gateway from a page: under the org's hidden key, counted and recorded like any request."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.gateway.types import Answer, Caller, ChatRequest
from omni_app.routing.types import KeyKind
from omni_app.storage import keys
from omni_app.storage.accounts import Identity
from omni_app.storage.provider_keys import own_keys
from omni_app.ui.session import backstage

NO_KEY = UUID(int=0)


async def caller_of(who: Identity, kind: KeyKind) -> Caller:
    """The org's hidden key of this kind; made on first use."""
    services = backstage.services
    async with services.database.reading() as session:
        key = await keys.playground_key(session, org_id=who.org_id, kind=kind, hasher=services.hasher)
        await session.commit()
    return Caller.with_key(key)


async def whoever_asks(session: AsyncSession, who: Identity) -> Caller:
    """Any live key of the org, as far as what it can reach goes: nothing can be asked for in its name."""
    own = await own_keys(session, org_id=who.org_id)
    return Caller(org_id=who.org_id, key_id=NO_KEY, kind="live", own_keys=own)


def chat_request(prompt: str) -> ChatRequest:
    """A prompt from a page, without any options."""
    return ChatRequest(messages=[{"role": "user", "content": prompt}], endpoint="playground")


async def ask(caller: Caller, request: ChatRequest) -> Answer:
    """Counts the request against the org's limit, then serves it. Raises an `OmniError`."""
    gateway = backstage.services.gateway
    await gateway.admit(caller)
    return await gateway.chat(caller, request)
