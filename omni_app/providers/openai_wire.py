"""OpenAI's chat-completions wire format: OpenAI, Groq, OpenRouter, Mistral, DeepSeek, xAI and compatible servers."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from omni_app.json_bytes import json_bytes
from omni_app.providers.base import HOP_HEADER, Completion, Deltas, FaultKind, ProviderFault, ProviderRequest, Usage
from omni_app.providers.embeddings import MAX_ANSWER_BYTES, embedding_body, read_embeddings
from omni_app.providers.faults import as_documented, fault_of
from omni_app.providers.gathering import Gatherings, deltas_of
from omni_app.providers.mistral import mistral_messages
from omni_app.providers.openai_answers import last_user_text, parsed, read_completion, read_event, read_images
from omni_app.providers.parameters import accepted
from omni_app.providers.transport import Reply, Transport
from omni_app.providers.usage import sane_tokens
from omni_app.routing.types import Message

LONGEST_USER = 64
"""Characters of `user`: OpenAI refuses more, and coding agents send some 140."""


@dataclass(slots=True)
class OpenAIWire:
    """One provider that speaks this format. `key_variable` is what to set when it has no key."""

    name: str
    base_url: str
    api_key: str
    key_variable: str
    transport: Transport
    simulated: bool = False
    limit_field: str = "max_tokens"
    """What this provider calls the longest answer; OpenAI itself wants `max_completion_tokens`."""
    takes_choices: bool = False
    """Whether one call may ask for several answers (`n`); the prompt is billed once then."""
    unknown: Collection[str] = ()
    """Optional parameters that this provider refuses for every model."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """OpenAI's name of a parameter -> this provider's own."""
    tells_usage: bool = False
    """Whether a stream's usage comes without being asked for; asking (`stream_options`) is refused then."""
    vector_encoding: str = ""
    """The form of embeddings to ask for; empty = the provider's own."""
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    _plain: Mapping[str, str] = field(init=False)
    _streamed: Mapping[str, str] = field(init=False)

    def unavailable_reason(self) -> str:
        """Empty when there is a key."""
        return "" if self.api_key else f"{self.key_variable} is not set"

    def use_key(self, key: str) -> None:
        """From the next call on."""
        self.api_key = key
        self.__post_init__()

    async def complete(self, request: ProviderRequest) -> Completion:
        """One call. Raises `ProviderFault`."""
        if request.deployment.makes_images:
            return await self._images(request)
        if request.deployment.vector_size:
            return await self._embeddings(request)
        body, warnings = self.body(request)
        reply = await self._post("/chat/completions", body, request)
        return read_completion(reply, request, warnings)

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Deltas | Completion, None]:
        """The answer piece by piece, then whole. Raises `ProviderFault`, also when the stream ends too early."""
        if request.deployment.makes_images:
            yield await self._images(request)
            return
        body, warnings = self.body(request)
        body |= {"stream": True} if self.tells_usage else {"stream": True, "stream_options": {"include_usage": True}}
        gatherings = Gatherings(request, warnings)
        request.heard.append(gatherings)
        try:
            async with (
                self._events("/chat/completions", body, request, gatherings) as lines,
                aclosing(deltas_of(lines, lambda data: read_event(data, gatherings), gatherings)) as pieces,
            ):
                async for deltas in pieces:
                    yield deltas
        except ProviderFault as fault:
            raise gatherings.broken(fault) from None
        yield gatherings.completion()

    def body(self, request: ProviderRequest) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The JSON to send, and what had to be left out."""
        deployment = request.deployment
        body: dict[str, Any] = {
            "model": deployment.upstream_model or deployment.model_name,
            "messages": self._messages(request.messages),
        }
        taken, warnings = accepted(request, unknown=self.unknown) if request.params else ({}, ())
        for name, value in taken.items():
            body[self.renamed.get(name, name)] = value
        if "user" in taken:
            body["user"] = short_user(taken["user"])
        if "max_tokens" in request.params:
            body[self.limit_field] = request.params["max_tokens"]
        if "n" in request.params:
            body["n"] = request.params["n"]
        return body, warnings

    def _messages(self, messages: Sequence[Message]) -> list[Message]:
        """`developer` is OpenAI's own word for `system`; Mistral has rules of its own."""
        if self.name == "openai":
            return [*messages]
        known = [{**one, "role": "system"} if one.get("role") == "developer" else one for one in messages]
        return mistral_messages(known) if self.name == "mistral" else known

    def __post_init__(self) -> None:
        self._plain, self._streamed = self._headers("application/json"), self._headers("text/event-stream")

    def _headers(self, accept: str) -> dict[str, str]:
        authorization = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        own = {"Content-Type": "application/json", "Accept": accept, HOP_HEADER: "1"}
        return {**own, **authorization, **self.extra_headers}

    @asynccontextmanager
    async def _events(
        self, path: str, body: Mapping[str, Any], request: ProviderRequest, gatherings: Gatherings
    ) -> AsyncIterator[AsyncIterator[list[bytes]]]:
        opened = self.transport.events(
            self.base_url + path,
            headers=self._streamed,
            body=json_bytes(body),
            timeouts=request.timeouts,
            check_size=gatherings.check_size,
        )
        async with opened as answer:
            if isinstance(answer, Reply):
                raise fault_of(answer)
            yield answer

    async def _post(
        self, path: str, body: Mapping[str, Any], request: ProviderRequest, *, max_bytes: int | None = None
    ) -> Reply:
        reply = await self.transport.post(
            self.base_url + path,
            headers=self._plain,
            body=json_bytes(body),
            timeouts=request.timeouts,
            max_bytes=max_bytes,
        )
        if reply.status != 200:
            raise fault_of(reply)
        return reply

    async def _embeddings(self, request: ProviderRequest) -> Completion:
        body = embedding_body(request, encoding=self.vector_encoding)
        if "dimensions" in body:
            body[self.renamed.get("dimensions", "dimensions")] = body.pop("dimensions")
        reply = await self._post("/embeddings", body, request, max_bytes=MAX_ANSWER_BYTES)
        return read_embeddings(parsed(reply), request)

    async def _images(self, request: ProviderRequest) -> Completion:
        deployment = request.deployment
        prompt = last_user_text(request.messages)
        body = {"model": deployment.upstream_model or deployment.model_name, "prompt": prompt, "n": 1}
        reply = await self._post("/images/generations", body, request)
        value = parsed(reply)
        with as_documented:
            kept = read_images(value.get("data"))
        if not kept:
            raise ProviderFault(FaultKind.EMPTY, "the answer holds no image")
        usage = value.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        # Images are priced each: their output tokens stay out, or they would be paid twice.
        tokens_in = sane_tokens(usage.get("input_tokens")) or 0
        return Completion(text="", usage=Usage(tokens_in, 0, images=len(kept)), images=kept)

    async def aclose(self) -> None:
        """The transport is shared and closed by its owner."""


def short_user(user: str) -> str:
    """The caller's name for their user; one that is too long is told by its SHA-256, which is the same each time."""
    return user if len(user) <= LONGEST_USER else hashlib.sha256(user.encode()).hexdigest()
