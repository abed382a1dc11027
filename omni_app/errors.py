"""Every error that reaches a caller, and the one place that gives it a code and a status.

    OmniError
    ├── InvalidRequest           400  invalid_request
    │   └── BodyTooLarge         413  invalid_request
    ├── InvalidApiKey            401  invalid_api_key
    ├── BudgetExceeded           402  budget_exceeded
    ├── PermissionDenied         403  permission_denied
    │   └── SecondFactorWanted   403  second_factor_wanted (`omni_app.storage.accounts`)
    ├── NotFound                 404  not_found
    ├── MethodNotAllowed         405  method_not_allowed
    ├── Conflict                 409  conflict
    ├── IdempotencyMismatch      422  idempotency_mismatch
    ├── NoEligibleModel          422  no_eligible_model
    │   └── PromptTooLong        422  no_eligible_model (400 context_length_exceeded at OpenAI's, 400 at Anthropic's)
    ├── RateLimited              429  rate_limited
    ├── ProviderError            502  provider_error (504: the chain timed out; 503: every breaker is open)
    │   └── StreamInterrupted    502  stream_interrupted (an event of a stream that had begun)
    └── Unavailable              503  unavailable

Raised where they happen, turned into HTTP once, in `omni_app.api.responses`. A message is written for
the caller: it names the field or says what to do, and never holds a secret or an internal.
"""

from collections.abc import Mapping
from typing import ClassVar


class OmniError(Exception):
    """Base of every error that a caller may see.

    `param` is the request field at fault, `headers` go into the HTTP answer (`Retry-After`).
    """

    code: ClassVar[str] = "internal_error"
    status: int = 500

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers: dict[str, str] = dict(headers or {})
        if status is not None:
            self.status = status


class InvalidRequest(OmniError):
    """The request itself is wrong: a field, a type, a size, a value."""

    code = "invalid_request"
    status = 400


class BodyTooLarge(InvalidRequest):
    """The body is over the configured limit; it was not read."""

    status = 413


class InvalidApiKey(OmniError):
    """No key, a malformed key, an unknown or revoked key."""

    code = "invalid_api_key"
    status = 401


class BudgetExceeded(OmniError):
    """The key's or the org's budget does not cover the request's worst case."""

    code = "budget_exceeded"
    status = 402


class PermissionDenied(OmniError):
    """Known caller, but not allowed to do this."""

    code = "permission_denied"
    status = 403


class NotFound(OmniError):
    """No such path, model or record, or it belongs to someone else."""

    code = "not_found"
    status = 404


class MethodNotAllowed(OmniError):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    status = 405


class Conflict(OmniError):
    """The same Idempotency-Key is in flight."""

    code = "conflict"
    status = 409


class IdempotencyMismatch(OmniError):
    """The same Idempotency-Key came with another body."""

    code = "idempotency_mismatch"
    status = 422


class NoEligibleModel(OmniError):
    """No model can do this within its limits; the message says which limit excluded which models."""

    code = "no_eligible_model"
    status = 422


class PromptTooLong(NoEligibleModel):
    """The prompt fits no model's context window, as far as we know or as the last one's provider says."""


class RateLimited(OmniError):
    """Over the rate limit; carries `Retry-After` and the `x-ratelimit-*` headers."""

    code = "rate_limited"
    status = 429


class ProviderError(OmniError):
    """The whole fallback chain failed; the message says what each attempt met."""

    code = "provider_error"
    status = 502


class StreamInterrupted(ProviderError):
    """A model broke off in the middle of its answer: too late for another one to take over."""

    code = "stream_interrupted"


class Unavailable(OmniError):
    """We cannot serve now: database, disk or overload. Carries `Retry-After`."""

    code = "unavailable"
    status = 503


def stopping() -> Unavailable:
    """The process ends, and takes along what is in flight."""
    return Unavailable("the server is stopping; try again", headers={"Retry-After": "5"})
