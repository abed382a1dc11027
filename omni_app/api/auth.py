"""The one door for API keys: read the headers, check the key, count it against the rate limit."""

from dataclasses import dataclass

from starlette.requests import Request

from omni_app.errors import InvalidApiKey, InvalidRequest, ProviderError
from omni_app.gateway.gateway import Gateway
from omni_app.gateway.types import Caller
from omni_app.limits.base import Verdict
from omni_app.providers.base import HOP_HEADER
from omni_app.storage.keys import KeyCache

OWN_PROVIDER = "this server is configured as its own provider: check the provider's base URL"
NO_KEY = "no API key: send `Authorization: Bearer omr_…` or `X-API-Key: omr_…`"


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """Authenticates and limits every `/v1` call."""

    keys: KeyCache
    gateway: Gateway

    async def admit(self, request: Request) -> Caller:
        """Who is calling. Raises `InvalidApiKey`, `InvalidRequest` or `RateLimited`; sets the rate-limit headers.

        A call that this server made to itself ends here, after one hop.
        """
        if HOP_HEADER in request.headers:
            raise ProviderError(OWN_PROVIDER, status=508)
        key = await self.keys.authenticate(presented_key(request))
        caller = Caller.with_key(key)
        verdict = await self.gateway.admit(caller)
        request.scope["omni_headers"].extend(rate_limit_headers(verdict))
        if "omni_refusal" in request.scope:  # of a layer before the routes
            raise request.scope["omni_refusal"]
        return caller


def presented_key(request: Request) -> str:
    """The key in either header. Raises `InvalidApiKey` without one, `InvalidRequest` with two that differ."""
    presented = {key for key in (_bearer(request), request.headers.get("x-api-key", "").strip()) if key}
    if not presented:
        raise InvalidApiKey(NO_KEY, headers={"WWW-Authenticate": "Bearer"})
    if len(presented) > 1:
        raise InvalidRequest("Authorization and X-API-Key hold two different keys: send one")
    return presented.pop()


def _bearer(request: Request) -> str:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme and scheme.lower() != "bearer":
        raise InvalidApiKey("Authorization: must be `Bearer <key>`", headers={"WWW-Authenticate": "Bearer"})
    return value.strip()


def rate_limit_headers(verdict: Verdict) -> list[tuple[bytes, bytes]]:
    """`x-ratelimit-limit`, `-remaining`, `-reset` (whole seconds, rounded up) and the limiter's mode."""
    return [
        (b"x-ratelimit-limit", str(verdict.limit).encode()),
        (b"x-ratelimit-remaining", str(verdict.remaining).encode()),
        (b"x-ratelimit-reset", str(-int(-verdict.reset_s // 1)).encode()),
        (b"x-ratelimit-mode", verdict.mode.encode()),
    ]
