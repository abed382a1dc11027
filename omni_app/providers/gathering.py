"""Putting a streamed answer together again: what was said so far, and whether it came to its end."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from omni_app.providers.base import Completion, Delta, Deltas, FaultKind, ProviderFault, ProviderRequest, Usage
from omni_app.providers.usage import counted


@dataclass(slots=True)
class Gathering:
    """The answer of one stream while it grows. `usage` is the provider's, once it has told."""

    request: ProviderRequest
    warnings: tuple[str, ...] = ()
    parts: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str = ""
    usage: Usage | None = None
    choice: int = 0
    """The answer's number where one stream carries several."""
    logprobs: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the answer has come yet."""
        return not self.parts and not self.calls

    def add_text(self, text: str, logprobs: Mapping[str, Any] | None = None) -> Delta:
        """More text, with its logprobs where the provider tells them."""
        self.parts.append(text)
        for name, more in (logprobs or {}).items():
            self.logprobs[name] = [*self.logprobs.get(name, ()), *more]
        return Delta(text=text, choice=self.choice, logprobs=logprobs)

    def open_call(self, call_id: str, name: str, arguments: str = "") -> Delta:
        """A tool call begins. Calls are numbered from 0 in the order they begin."""
        index = len(self.calls)
        function = {"name": name, "arguments": arguments}
        call = {"id": call_id or f"call_{index}", "type": "function", "function": function}
        self.calls.append(call)
        return Delta(tool_call={"index": index, **call, "function": dict(function)}, choice=self.choice)

    def add_arguments(self, index: int, arguments: str) -> Delta:
        """More of a tool call's arguments. Raises `ProviderFault` for a call that never began."""
        if not 0 <= index < len(self.calls):
            raise ProviderFault(FaultKind.MALFORMED, "arguments came for a tool call that never began")
        self.calls[index]["function"]["arguments"] += arguments
        return Delta(tool_call={"index": index, "function": {"arguments": arguments}}, choice=self.choice)

    def counted_usage(self) -> Usage:
        """Our own count of what came so far."""
        return counted(self.request, self.text, tuple(self.calls))

    def interrupted(self, detail: str, *, kind: FaultKind = FaultKind.INTERRUPTED) -> ProviderFault:
        """The fault of a stream that broke; what came before it is counted, for it will be billed."""
        return ProviderFault(kind, detail, usage=None if self.is_empty else self.counted_usage())

    def completion(self) -> Completion:
        """The whole answer. Raises `ProviderFault` when the stream ended without saying that it had finished."""
        if not self.finish_reason:
            raise self.interrupted("the stream ended before the answer did")
        for call in self.calls:
            _check_arguments(call)
        if self.is_empty and self.finish_reason not in ("length", "content_filter"):
            raise ProviderFault(FaultKind.EMPTY, "the answer holds neither text nor a tool call", usage=self.usage)
        return Completion(
            text=self.text,
            usage=self.usage or self.counted_usage(),
            finish_reason=self.finish_reason,
            tool_calls=tuple(self.calls),
            warnings=self.warnings,
            logprobs=self.logprobs or None,
        )


@dataclass(slots=True)
class Gatherings:
    """The answers of one stream that carries one or several choices. `usage` counts all of them, once it is told."""

    request: ProviderRequest
    warnings: tuple[str, ...] = ()
    usage: Usage | None = None
    each: list[Gathering] = field(init=False)

    def __post_init__(self) -> None:
        count = self.request.params.get("n", 1)
        self.each = [Gathering(self.request, self.warnings, choice=number) for number in range(count)]

    @property
    def is_empty(self) -> bool:
        """Whether nothing of any answer has come yet."""
        return all(one.is_empty for one in self.each)

    @property
    def text(self) -> str:
        return "".join(one.text for one in self.each)

    @property
    def calls(self) -> tuple[dict[str, Any], ...]:
        return tuple(call for one in self.each for call in one.calls)

    def numbered(self, number: Any) -> Gathering:
        """The answer with this number. Raises `ProviderFault` when it was not asked for."""
        if not isinstance(number, int) or not 0 <= number < len(self.each):
            raise ProviderFault(FaultKind.MALFORMED, "the stream holds an answer that was not asked for")
        return self.each[number]

    def counted_usage(self) -> Usage:
        """Our own count of what came so far."""
        return counted(self.request, self.text, self.calls)

    def interrupted(self, detail: str) -> ProviderFault:
        """The fault of a stream that broke; what came before it is counted, for it will be billed."""
        usage = None if self.is_empty else self.counted_usage()
        return ProviderFault(FaultKind.INTERRUPTED, detail, usage=usage)

    def completion(self) -> Completion:
        """The whole answer with all of its choices. Raises `ProviderFault` when one of them did not finish."""
        try:
            first, *others = (one.completion() for one in self.each)
        except ProviderFault as fault:
            fault.usage = self.usage or (None if self.is_empty else self.counted_usage())
            raise
        return replace(first, usage=self.usage or self.counted_usage(), others=tuple(others))


async def deltas_of(
    batches: AsyncIterator[list[bytes]], read: Callable[[bytes], Iterable[Delta] | None]
) -> AsyncGenerator[Deltas, None]:
    """The deltas of a stream of lines, those together that came together, up to the line that `read` gives None for.

    What came before a fault is given before the fault is raised.
    """
    async for lines in batches:
        said: list[Delta] = []
        ended, met = False, None
        try:
            for line in lines:
                if line.startswith(b"data:"):
                    more = read(line[5:].strip())
                    if more is None:
                        ended = True
                        break
                    said += more
        except ProviderFault as fault:
            met = fault
        if said:
            yield tuple(said)
        if met is not None:
            raise met
        if ended:
            return


def _check_arguments(call: Mapping[str, Any]) -> None:
    """Arguments that are cut in the middle would be a silent truncation."""
    function = call["function"]
    if not function["arguments"]:
        function["arguments"] = "{}"
    try:
        orjson.loads(function["arguments"])
    except orjson.JSONDecodeError:
        raise ProviderFault(FaultKind.MALFORMED, "a tool call's arguments are not whole") from None
