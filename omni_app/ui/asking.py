"""Asking the gateway from a page: under the org's hidden key, counted and recorded like any request."""

from omni_app.gateway.types import Answer, Caller, ChatRequest
from omni_app.routing.types import KeyKind, LatencyPref, Priority
from omni_app.storage import keys
from omni_app.storage.accounts import Identity
from omni_app.ui.session import backstage


async def caller_of(who: Identity, kind: KeyKind) -> Caller:
    """The org's hidden key of this kind; made on first use."""
    services = backstage.services
    async with services.database.reading() as session:
        key = await keys.playground_key(session, org_id=who.org_id, kind=kind, hasher=services.hasher)
        await session.commit()
    return Caller.with_key(key)


def chat_request(
    prompt: str, *, priority: str = "balanced", latency_pref: str = "normal", broken: bool = False
) -> ChatRequest:
    """A prompt from a page; `broken` makes the sandbox fail at the primary, so that fallback can be seen."""
    return ChatRequest(
        messages=[{"role": "user", "content": prompt}],
        endpoint="playground",
        priority=Priority(priority),
        latency_pref=LatencyPref(latency_pref),
        sandbox_fail="error" if broken else "",
    )


async def ask(caller: Caller, request: ChatRequest) -> Answer:
    """Counts the request against the org's limit, then serves it. Raises an `OmniError`."""
    gateway = backstage.services.gateway
    await gateway.admit(caller)
    return await gateway.chat(caller, request)
