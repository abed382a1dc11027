"""What the gateway asks of a provider, and what it gets back.

A provider turns one request in OpenAI's shape into one call of its own wire format, once: no hidden retry,
no redirect, a deadline of ours, a cap on the answer's size. Whatever goes wrong leaves as a `ProviderFault`,
whose `kind` alone decides what happens next (`omni_app.gateway.fallback`).
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Any, Protocol

from omni_app.records import record
from omni_app.routing.types import Deployment, Message

HOP_HEADER = "x-omni-hop"
"""Goes out with every provider call, so that a server which is its own provider notices."""


@record(frozen=True, slots=True)
class Timeouts:
    """Seconds, each a wall-clock deadline of its own."""

    connect_s: float = 1.0
    first_byte_s: float = 30.0
    between_chunks_s: float = 15.0
    total_s: float = 120.0


@record(frozen=True, slots=True)
class ProviderRequest:
    """One call: `params` are OpenAI's names from an allow-list (`max_tokens`, `temperature`, `tools`, …)."""

    deployment: Deployment
    messages: Sequence[Message]
    params: Mapping[str, Any] = field(default_factory=dict)
    timeouts: Timeouts = Timeouts()
    sandbox_fail: str = ""
    """Test keys only: which fault the sandbox plays (`error`, `timeout`, `rate_limit`)."""
    choice: int = 0
    """Which of several answers this call is for, from 0, where each answer is a call of its own."""
    keep_prompt: bool = False
    """The caller will send this prompt again, or said so: a provider that caches only when asked is asked."""
    metered: bool = False
    """Money was promised with `max_tokens`: a stream that goes on beyond it is stopped."""
    heard: list["Heard"] = field(default_factory=list)
    """The answers of its streams while they grow: what one has cost that is left before its end."""


@record(frozen=True, slots=True)
class Usage:
    """Tokens as billed. `input` counts every prompt token, cached ones included; `output` includes reasoning.

    `estimated` marks a count of ours, because the provider gave none or an absurd one.
    """

    input: int
    output: int
    cached_input: int = 0
    cache_write: int = 0
    reasoning: int = 0
    images: int = 0
    estimated: bool = False


class Heard(Protocol):
    """A streamed answer as far as it has come."""

    def came(self) -> Usage | None:
        """What was written so far, for it will be billed; None when nothing was."""
        ...


@record(frozen=True, slots=True)
class Completion:
    """A whole answer. `finish_reason`: `stop`, `length`, `tool_calls` or `content_filter`."""

    text: str
    usage: Usage
    finish_reason: str = "stop"
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    """In OpenAI's shape: `{"id", "type": "function", "function": {"name", "arguments"}}`."""
    images: tuple[Mapping[str, str], ...] = ()
    """`{"b64_json": …}` or `{"url": …}`."""
    warnings: tuple[str, ...] = ()
    """Parameters that had to be dropped, in words."""
    logprobs: Mapping[str, Any] | None = None
    """OpenAI's `logprobs` of the choice, where they were asked for and the provider gives them; those of a stream come
    with its pieces alone."""
    others: tuple["Completion", ...] = ()
    """The further choices where several were asked for (`n`); `usage` above counts all of them."""
    vectors: tuple[bytes, ...] = ()
    """Embeddings, one per input: 32-bit floats, little-endian."""
    stopped: bool = False
    """Whether we ended it, because it went on beyond `max_tokens`."""
    refused: bool = False
    """Whether the text says why nothing else is said: OpenAI's models tell a refusal from an answer."""


@record(frozen=True, slots=True)
class Delta:
    """A piece of a streamed answer: text, or a tool call's delta in OpenAI's shape.

    A tool call's first delta has `index`, `id`, `type` and `function.name`; later ones `index` and more
    `function.arguments`. `choice` is the answer's number where several were asked for. `logprobs` are OpenAI's, of
    this piece.
    """

    text: str = ""
    tool_call: Mapping[str, Any] | None = None
    choice: int = 0
    logprobs: Mapping[str, Any] | None = None
    refused: bool = False
    """Whether the text is of a refusal."""


Deltas = tuple[Delta, ...]
"""Pieces that came together, at least one: what is there at once goes its way at once."""


class FaultKind(StrEnum):
    """Everything that a provider can do wrong, by what it means for the next step."""

    REFUSED = "refused"
    CONNECT_TIMEOUT = "connect_timeout"
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    CONNECTION_LOST = "connection_lost"
    SERVER_ERROR = "server_error"
    RATE_LIMITED = "rate_limited"
    AUTHENTICATION = "authentication"
    MODEL_NOT_FOUND = "model_not_found"
    CONTEXT_LENGTH = "context_length"
    UNSUPPORTED_PARAMETER = "unsupported_parameter"
    BAD_REQUEST = "bad_request"
    CONTENT_POLICY = "content_policy"
    MALFORMED = "malformed"
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    REDIRECT = "redirect"
    INTERRUPTED = "interrupted"
    LOOP = "loop"
    OVERRUN = "overrun"
    """It answered, and wrote or counted more than it was told to."""


class ProviderFault(Exception):
    """A call that gave no usable answer.

    `detail` is short, cleaned of secrets and prompt text, and may be shown to the caller. `usage` is set when the
    provider produced tokens that will be billed although the answer is lost.
    """

    def __init__(
        self,
        kind: FaultKind,
        detail: str,
        *,
        http_status: int | None = None,
        retry_after_s: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.http_status = http_status
        self.retry_after_s = retry_after_s
        self.usage = usage


class Provider(Protocol):
    """One provider, for all of its deployments."""

    name: str
    simulated: bool

    def unavailable_reason(self) -> str:
        """Empty when it can be called; else what the operator must set, naming the variable."""
        ...

    async def complete(self, request: ProviderRequest) -> Completion:
        """The whole answer. Raises `ProviderFault`."""
        ...

    def stream(self, request: ProviderRequest) -> AsyncGenerator[Deltas | Completion, None]:
        """Deltas as they come, then the whole answer as a last `Completion`. Raises `ProviderFault`."""
        ...

    async def aclose(self) -> None:
        """Closes connections and child processes."""
        ...
