"""The one door for API keys: read the headers, check the key, count it against the rate limit."""

from dataclasses import dataclass

from starlette.requests import Request

from omni_app.api.scopes import refuse_outside
from omni_app.errors import InvalidApiKey, InvalidRequest, OmniError, PermissionDenied, ProviderError, RateLimited
from omni_app.gateway.rate_limits import rate_limit_headers
from omni_app.gateway.types import Caller
from omni_app.limits.base import Quota
from omni_app.observe.security_log import SecurityEvent
from omni_app.origin import client_address
from omni_app.providers.base import HOP_HEADER
from omni_app.services import Services
from omni_app.settings import Settings
from omni_app.storage.keys import ApiKey, checksum_ok

OWN_PROVIDER = "this server is configured as its own provider: check the provider's base URL"
BEARER = "Bearer "
NO_KEY = "no API key: send `Authorization: Bearer omr_…` or `X-API-Key: omr_…`"


UNKNOWN_KEYS_A_MINUTE = 100
"""Keys that one address may present and nobody knows, before the database is asked no more. Stated: a program with an
old key that tries again every second stays below; to guess a key is hopeless at any rate (190 bits)."""
STRANGERS = (UNKNOWN_KEYS_A_MINUTE, 60.0)


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """Authenticates and limits every `/v1` call."""

    services: Services

    async def admit(self, request: Request) -> Caller:
        """Who is calling. Raises what `identify` raises, or `RateLimited`; sets the rate-limit headers.

        A call that this server made to itself ends here, after one hop.
        """
        if HOP_HEADER in request.headers:
            raise ProviderError(OWN_PROVIDER, status=508)
        try:
            key = await self.identify(request)
        except (InvalidApiKey, PermissionDenied, RateLimited) as refusal:
            self._note(request, refusal)
            raise
        request.scope["omni_key"] = key
        caller = Caller.with_key(key)
        verdict = await self.services.gateway.admit(caller)
        headers = rate_limit_headers(verdict).items()
        request.scope["omni_headers"] += [(name.encode(), value.encode()) for name, value in headers]
        if "omni_refusal" in request.scope:  # of a layer before the routes
            raise request.scope["omni_refusal"]
        return caller

    def _note(self, request: Request, refusal: OmniError) -> None:
        """Writes a refusal to the security log; whose key it was, when it may not be used here."""
        denied = isinstance(refusal, PermissionDenied)
        key = self.services.keys.known(presented_key(request)) if denied else None
        self.services.security.tell(
            SecurityEvent(
                "permission_denied" if denied else "key_refused",
                "refused",
                reason=_reason(request, refusal),
                request_id=request.scope["omni_request_id"],
                address=address_of(request, self.services.settings),
                org_id=str(key.org_id) if key else "",
                key_id=str(key.id) if key else "",
            )
        )

    async def identify(self, request: Request) -> ApiKey:
        """Whose key was presented, if it may be used here.

        Raises `InvalidApiKey`, `InvalidRequest`, `PermissionDenied` outside of the key's scopes, or `RateLimited` to an
        address that keeps presenting keys which nobody knows; a key that this worker has seen to be good passes from
        anywhere.
        """
        presented = presented_key(request)
        key = self.services.keys.known(presented) or await self._looked_up(request, presented)
        refuse_outside(key, request.scope["path"])
        return key

    async def _looked_up(self, request: Request, presented: str) -> ApiKey:
        keys, strangers = self.services.keys, self.services.strangers
        if not checksum_ok(presented) or keys.is_asked_for(presented):
            return await keys.authenticate(presented)  # refuses it, or shares the look-up that was counted
        verdict = strangers.count(Quota(address_of(request, self.services.settings), *STRANGERS))
        if not verdict.allowed:
            wait_s = max(1, -int(-verdict.reset_s // 1))
            raise RateLimited(
                f"too many unknown API keys from this address; try again in {wait_s} s",
                headers={"Retry-After": str(wait_s)},
            )
        key = await keys.authenticate(presented)
        strangers.settle(verdict, 0)
        return key


def _reason(request: Request, refusal: OmniError) -> str:
    if isinstance(refusal, PermissionDenied):
        return "scope"
    if isinstance(refusal, RateLimited):
        return "too_many_unknown"
    presented = "authorization" in request.headers or "x-api-key" in request.headers
    return "not_valid" if presented else "missing"


def presented_key(request: Request) -> str:
    """The key in either header, in however many lines. Raises `InvalidApiKey` without one, `InvalidRequest` with two
    that differ.
    """
    headers = request.headers
    bearers, plain = headers.getlist("authorization"), headers.getlist("x-api-key")
    if len(bearers) == 1 and not plain and bearers[0].startswith(BEARER) and (key := bearers[0][len(BEARER) :].strip()):
        return key  # nearly every request
    presented = {key for key in (*map(_bearer, bearers), *(line.strip() for line in plain)) if key}
    if not presented:
        raise InvalidApiKey(NO_KEY, headers={"WWW-Authenticate": "Bearer"})
    if len(presented) > 1:
        raise InvalidRequest("this request holds two different keys: send one, in Authorization or in X-API-Key")
    return presented.pop()


def _bearer(line: str) -> str:
    scheme, _, value = line.partition(" ")
    if scheme and scheme.lower() != "bearer":
        raise InvalidApiKey("Authorization: must be `Bearer <key>`", headers={"WWW-Authenticate": "Bearer"})
    return value.strip()


def address_of(request: Request, settings: Settings) -> str:
    """Whom limits by address count this request for."""
    peer = request.client.host if request.client else ""
    return client_address(peer, request.headers.getlist("x-forwarded-for"), settings)
