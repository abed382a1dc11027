"""What a caller may ask for in a window of time: requests, counted at the door, and tokens, held before a model is
asked and settled when it has answered.

Org and key are one decision: what the limit of one refuses counts in neither.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from omni_app.errors import InvalidRequest, RateLimited
from omni_app.gateway.types import Attempt, Caller
from omni_app.limits.base import Limiter, Quota, Verdict
from omni_app.records import record
from omni_app.routing.types import Decision, Task


@dataclass(frozen=True, slots=True)
class Limits:
    """The gateway's own limits, from the settings: per org and window, and for one request."""

    rate_max: int
    rate_window_s: float
    total_s: float
    token_max: int = 0
    """0 = none."""


@record(frozen=True, slots=True)
class RateLimits:
    """Counts what callers ask for."""

    limiter: Limiter
    limits: Limits

    async def count_request(self, caller: Caller) -> Verdict:
        """Counts one call against the org and, where it has a limit of its own, the key. Raises `RateLimited`."""
        quotas = self._quotas(caller, self.limits.rate_max, caller.rate_limit)
        verdict = self.limiter.count(*quotas) or await self.limiter.take(*quotas)
        if not verdict.allowed:
            raise self._over(verdict, "requests")
        return verdict

    async def hold_tokens(self, caller: Caller, decision: Decision) -> Verdict | None:
        """Holds the tokens that the request may use; None where no limit is set or nothing is eligible.

        Raises `RateLimited`, or `InvalidRequest` when it asks for more than a whole window allows.
        """
        quotas = self._quotas(caller, self.limits.token_max, caller.token_limit, of=":tokens")
        if not quotas or not decision.steps:
            return None
        limit = min(quota.limit for quota in quotas)
        needed = tokens_needed(decision, at_most=limit)
        if needed > limit:
            raise InvalidRequest(
                f"this request may use {needed:,} tokens ({decision.explanation.case.request.input_tokens:,} to read, "
                f"the rest to write), and the limit is {limit:,} in {self.limits.rate_window_s:g} seconds: "
                "send less, or lower max_tokens",
                headers={"x-ratelimit-limit-tokens": str(limit)},
            )
        verdict = self.limiter.count(*quotas, amount=needed) or await self.limiter.take(*quotas, amount=needed)
        if not verdict.allowed:
            raise self._over(verdict, "tokens", needed=needed)
        return verdict

    def settle(self, held: Verdict, attempts: Iterable[Attempt]) -> None:
        """The request is over: what its attempts used counts, and the rest of what was held is free again."""
        usages = (attempt.usage for attempt in attempts if attempt.usage is not None)
        self.limiter.settle(held, sum(max(0, usage.input) + max(0, usage.output) for usage in usages))

    def _quotas(self, caller: Caller, limit: int, own: int | None, *, of: str = "") -> list[Quota]:
        window_s, found = self.limits.rate_window_s, []
        if limit:
            found.append(quota("org", caller.org_id, of, limit, window_s))
        if own:
            found.append(quota("key", caller.key_id, of, own, window_s))
        return found

    def _over(self, verdict: Verdict, what: str, *, needed: int = 0) -> RateLimited:
        """The 429, with the time to wait."""
        wait_s = max(1, -int(-verdict.reset_s // 1))
        asked = f": this request may use {needed:,}, {verdict.remaining:,} are left" if needed else ""
        return RateLimited(
            f"over the limit of {verdict.limit} {what} in {self.limits.rate_window_s:g} seconds{asked}; "
            f"try again in {wait_s} s",
            headers={"Retry-After": str(wait_s)} | rate_limit_headers(verdict, of="-tokens" if needed else ""),
        )


@lru_cache(maxsize=10_000)
def quota(whose: str, one: UUID, of: str, limit: int, window_s: float) -> Quota:
    """Who is counted, what of theirs, and how much; worked out once, for it is asked several times a request."""
    return Quota(f"{whose}:{one}{of}", limit, window_s)


def tokens_needed(decision: Decision, *, at_most: int) -> int:
    """The tokens that a request may use: its prompt by our estimate, and the longest answers that it may get.

    When the caller set no `max_tokens`, answers are taken to be no longer than what is left of `at_most`.
    """
    case = decision.explanation.case
    request = case.request
    if request.embeds or case.task is Task.IMAGE:
        return request.input_tokens
    ceiling = case.policy.output_ceiling_tokens
    output = max(ceiling if step.max_tokens is None else step.max_tokens for step in decision.steps) * request.choices
    if request.max_tokens is None:
        output = min(output, max(0, at_most - request.input_tokens))
    return request.input_tokens + output


def rate_limit_headers(verdict: Verdict, *, of: str = "") -> dict[str, str]:
    """`x-ratelimit-limit`, `-remaining`, `-reset` (whole seconds, rounded up), each with `of` behind it; the mode."""
    figures = {
        f"x-ratelimit-limit{of}": str(verdict.limit),
        f"x-ratelimit-remaining{of}": str(verdict.remaining),
        f"x-ratelimit-reset{of}": str(-int(-verdict.reset_s // 1)),
    }
    return figures | ({} if of else {"x-ratelimit-mode": verdict.mode})


def token_headers(left: Verdict | None) -> dict[str, str]:
    """`x-ratelimit-limit-tokens` and so on, as OpenAI names them; nothing without such a limit."""
    return {} if left is None else rate_limit_headers(left, of="-tokens")
