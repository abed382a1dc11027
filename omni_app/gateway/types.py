"""What goes into the gateway and what comes out, whatever door it came through."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any
from uuid import UUID

from omni_app.limits.base import Verdict
from omni_app.providers.base import Completion, FaultKind, Usage
from omni_app.records import record
from omni_app.routing.types import Decision, Deployment, KeyKind, LatencyPref, Message, Policy, Priority, Task
from omni_app.storage.budgets import BudgetTerms
from omni_app.storage.keys import ApiKey
from omni_app.storage.provider_keys import OwnKey

EMBEDDINGS = "embeddings"
"""The endpoint whose requests want vectors and no words."""
EMBEDDING_TASK = "embedding"
"""What the ledger calls their task: none of the seven that are routed."""


@record(frozen=True, slots=True)
class Caller:
    """Who is asking: the org and the key that was presented (the playground has a hidden key of its own), on its terms.

    `policy` None = the server's; `premium_model` "" = the server's; `rate_limit` and `token_limit` are the key's own,
    requests and tokens per window.
    """

    org_id: UUID
    key_id: UUID
    kind: KeyKind
    allowed_models: frozenset[str] | None = None
    disabled_models: frozenset[str] = frozenset()
    policy: Policy | None = None
    premium_model: str = ""
    rate_limit: int | None = None
    token_limit: int | None = None
    keep_prompts_days: int = 0
    budgets: tuple[BudgetTerms, ...] = ()
    own_keys: tuple[OwnKey, ...] = ()
    """Providers' keys of the org's own, sealed."""

    @classmethod
    def with_key(cls, key: ApiKey) -> "Caller":
        """The caller that this key makes."""
        return cls(
            org_id=key.org_id,
            key_id=key.id,
            kind=key.kind,
            allowed_models=key.allowed_models,
            disabled_models=key.org.disabled_models,
            policy=key.policy,
            premium_model=key.org.premium_model,
            rate_limit=key.rate_limit,
            token_limit=key.token_limit,
            keep_prompts_days=key.org.keep_prompts_days,
            budgets=key.budgets,
            own_keys=key.org.own_keys,
        )


@record(frozen=True, slots=True)
class ChatRequest:
    """One validated request, in OpenAI's message shape.

    `params` are the provider parameters of the allow-list (`temperature`, `tools`, `response_format`, …).
    `max_cost` is in pico-dollars. `pinned` orders a chain of the caller's own. `task` is set where the route says what
    the request is, else it is detected. `sandbox_fail` is a fault for the sandbox to play at the primary, or at every
    attempt with the prefix `all:`; test keys only.
    """

    messages: Sequence[Message]
    endpoint: str
    priority: Priority = Priority.BALANCED
    latency_pref: LatencyPref = LatencyPref.NORMAL
    max_cost: int | None = None
    max_tokens: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    session_id: str = ""
    step_id: str = ""
    pinned: tuple[str, ...] = ()
    task: Task | None = None
    timeout_s: float | None = None
    stream: bool = False
    sandbox_fail: str = ""
    keep_prompt: bool = False
    """The caller asks that the prompt be kept in its provider's cache; a session's is kept anyway."""
    warnings: tuple[str, ...] = ()
    """What of the caller's request was left out on the way in, in words."""

    @property
    def embeds(self) -> bool:
        """Whether embeddings are wanted: `params` has `input` (texts or lists of tokens), `messages` is empty."""
        return self.endpoint == EMBEDDINGS

    @property
    def choices(self) -> int:
        """How many answers are wanted (`n`)."""
        return int(self.params.get("n", 1))


@record(frozen=True, slots=True)
class Attempt:
    """One call at one provider. `outcome`: `ok`, or the fault's kind; `cost` and `overrun` in pico-dollars."""

    model: str
    provider: str
    outcome: str
    latency_ms: int
    detail: str = ""
    usage: Usage | None = None
    cost: int = 0
    overrun: int = 0
    """What the provider counts beyond what the request may cost: nobody is charged for it."""
    byok: bool = False
    """Whether the org's own provider key was used."""
    started_ms: int = 0
    """From the request's arrival to the start of this attempt."""

    @property
    def failed(self) -> bool:
        return self.outcome != "ok"


@record(frozen=True, slots=True)
class Opened:
    """A stream has begun: this deployment is answering, and no other one can take over any more."""

    deployment: Deployment
    fallbacks: int = 0
    """How many models failed before it."""
    tokens_left: Verdict | None = None
    """As in `Answer`."""


@record(frozen=True, slots=True)
class Whole:
    """A whole answer, and the deployment that gave it."""

    completion: Completion
    answered_by: Deployment


@record(frozen=True, slots=True)
class Answer:
    """A served request. Money in pico-dollars; `savings` is the baseline's cost for the same tokens minus `cost`."""

    request_id: str
    output: str
    model: str
    provider: str
    cost: int
    savings: int | None
    """None when there is no baseline to compare with."""
    premium_model: str
    latency_ms: int
    usage: Usage
    attempts: tuple[Attempt, ...]
    decision: Decision
    finish_reason: str
    tool_calls: tuple[Mapping[str, Any], ...]
    images: tuple[Mapping[str, str], ...]
    logprobs: Mapping[str, Any] | None
    warnings: tuple[str, ...]
    simulated: bool
    refused: bool = False
    """Whether `output` is a refusal."""
    others: tuple[Completion, ...] = ()
    """The further choices where several were asked for; `usage` counts all of them."""
    vectors: tuple[bytes, ...] = ()
    """Embeddings, one per input: 32-bit floats, little-endian."""
    billed: int | None = None
    """The cost with its markup; None where there is no markup."""
    tokens_left: Verdict | None = None
    """What the request's tokens left of their rate limit when they were held; None without one."""

    @property
    def task(self) -> str:
        return self.decision.task.value

    @property
    def rescued(self) -> bool:
        """Whether a fallback answered, because the primary had failed."""
        return len(self.attempts) > 1


SANDBOX_FAULTS: Mapping[str, FaultKind] = {
    "error": FaultKind.SERVER_ERROR,
    "timeout": FaultKind.FIRST_BYTE_TIMEOUT,
    "rate_limit": FaultKind.RATE_LIMITED,
}
"""What `metadata.sandbox_fail` may ask for, with or without the prefix `all:`."""
