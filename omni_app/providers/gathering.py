"""Putting a streamed answer together again: what was said so far, and whether it came to its end."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import orjson

from omni_app.providers.alike import Alike
from omni_app.providers.base import Completion, Delta, Deltas, FaultKind, ProviderFault, ProviderRequest, Usage
from omni_app.providers.meter import Meter
from omni_app.providers.transport import too_large
from omni_app.providers.usage import counted, with_told
from omni_app.routing.tokens import token_hundredths

STOPPED = "the model wrote on beyond max_tokens, and was stopped"


def meter_for(request: ProviderRequest) -> Meter | None:
    """The meter of one answer; None where none was promised."""
    return Meter(request.params["max_tokens"]) if request.metered and "max_tokens" in request.params else None


def untold() -> Usage | None:
    """Nothing was told yet."""
    return None


@dataclass(slots=True)
class Gathering:
    """The answer of one stream while it grows. `usage` is the provider's, once it has told."""

    request: ProviderRequest
    warnings: tuple[str, ...] = ()
    parts: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str = ""
    usage: Usage | None = None
    told: Callable[[], Usage | None] = untold
    """What the provider says of its tokens while it still writes, for when the stream breaks; read when it is asked."""
    choice: int = 0
    """The answer's number where one stream carries several."""
    meter: Meter | None = None
    thought_hundredths: int = 0
    """Estimated tokens of what it thought aloud, in hundredths: billed, and no part of the answer."""
    refused: bool = False

    def __post_init__(self) -> None:
        self.meter = meter_for(self.request)

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the answer has come yet."""
        return not self.parts and not self.calls

    @property
    def is_silent(self) -> bool:
        """Whether nothing at all was written yet, as far as is known: no thought either, aloud or told of."""
        told = None if self.thought_hundredths else self.told()
        return self.is_empty and not self.thought_hundredths and (told is None or not told.output)

    @property
    def is_over(self) -> bool:
        """Whether it goes on beyond what was promised: nothing more of it is to be read."""
        return self.meter is not None and self.meter.is_over

    @property
    def size(self) -> int:
        """Characters that are held."""
        calls = [(call["id"], *call["function"].values()) for call in self.calls]
        return sum(map(len, self.parts)) + sum(len(said) for call in calls for said in call)

    def weigh(self) -> None:
        """Shows the meter what was told so far: of thoughts that are not shown nothing else is seen."""
        if self.meter is not None and (told := self.told()) is not None:
            self.meter.tell(told.output)

    def check_size(self, most: int) -> None:
        """Raises `ProviderFault` when more is held than that."""
        if self.size > most:
            raise too_large(most)

    def add_text(self, text: str, logprobs: Mapping[str, Any] | None = None) -> Delta:
        """More text, with its logprobs where the provider tells them; these are handed on and not held."""
        self.parts.append(text)
        if self.meter is not None:
            self.meter.add(text)
        return Delta(text=text, choice=self.choice, logprobs=logprobs)

    def refuse(self, text: str, logprobs: Mapping[str, Any] | None = None) -> Delta:
        """More of a refusal, which is text too."""
        self.refused = True
        return replace(self.add_text(text, logprobs), refused=True)

    def think(self, text: str) -> None:
        """More of what it thinks before it answers."""
        self.thought_hundredths += token_hundredths(text)
        if self.meter is not None:
            self.meter.add(text)

    def open_call(self, call_id: str, name: str, arguments: str = "") -> Delta:
        """A tool call begins. Calls are numbered from 0 in the order they begin."""
        index = len(self.calls)
        if self.meter is not None:
            self.meter.add(name + arguments)
        function = {"name": name, "arguments": arguments}
        call = {"id": call_id or f"call_{index}", "type": "function", "function": function}
        self.calls.append(call)
        return Delta(tool_call={"index": index, **call, "function": dict(function)}, choice=self.choice)

    def add_arguments(self, index: int, arguments: str) -> Delta:
        """More of a tool call's arguments. Raises `ProviderFault` for a call that never began."""
        if not 0 <= index < len(self.calls):
            raise ProviderFault(FaultKind.MALFORMED, "arguments came for a tool call that never began")
        self.calls[index]["function"]["arguments"] += arguments
        if self.meter is not None:
            self.meter.add(arguments)
        return Delta(tool_call={"index": index, "function": {"arguments": arguments}}, choice=self.choice)

    def close_calls(self) -> Iterator[Delta]:
        """`{}` for each call that came without arguments: clients parse what they were told piece by piece."""
        for index, call in enumerate(self.calls):
            if not call["function"]["arguments"]:
                call["function"]["arguments"] = "{}"
                yield Delta(tool_call={"index": index, "function": {"arguments": "{}"}}, choice=self.choice)

    def counted_usage(self) -> Usage:
        """Our own count of what came so far, beside what was told."""
        return counted_answers(self.request, [self], told=self.told())

    def came(self) -> Usage | None:
        """What was written so far, for it will be billed; None when nothing was."""
        return None if self.is_silent else self.usage or self.counted_usage()

    def broken(self, fault: ProviderFault) -> ProviderFault:
        """The fault in the middle of a stream, with what came before it."""
        return broken(fault, came=self.came(), is_empty=self.is_empty)

    def completion(self) -> Completion:
        """The whole answer; one that was stopped is as long as it may be.

        Raises `ProviderFault` when the stream ended without saying that it had finished.
        """
        if self.is_over:
            self.finish_reason = "length"
        if not self.finish_reason:
            raise ProviderFault(FaultKind.INTERRUPTED, "the stream ended before the answer did", usage=self.came())
        if not all(map(_is_whole, self.calls)):
            raise ProviderFault(
                FaultKind.MALFORMED, "a tool call's arguments are not whole", usage=self.usage or self.counted_usage()
            )
        if self.is_empty and self.finish_reason not in ("length", "content_filter"):
            raise ProviderFault(FaultKind.EMPTY, "the answer holds neither text nor a tool call", usage=self.usage)
        return Completion(
            text=self.text,
            usage=self.usage or self.counted_usage(),
            finish_reason=self.finish_reason,
            tool_calls=tuple(self.calls),
            warnings=(*self.warnings, STOPPED) if self.is_over else self.warnings,
            stopped=self.is_over,
            refused=self.refused,
        )


@dataclass(slots=True)
class Gatherings:
    """The answers of one stream that carries one or several choices. `usage` counts all of them, once it is told."""

    request: ProviderRequest
    warnings: tuple[str, ...] = ()
    usage: Usage | None = None
    alike: Alike = field(default_factory=Alike)
    each: list[Gathering] = field(init=False)

    def __post_init__(self) -> None:
        count = self.request.params.get("n", 1)
        self.each = [Gathering(self.request, self.warnings, choice=number) for number in range(count)]

    @property
    def is_empty(self) -> bool:
        """Whether nothing of any answer has come yet."""
        return all(one.is_empty for one in self.each)

    @property
    def is_over(self) -> bool:
        """Whether one of them goes on beyond what was promised."""
        return any(one.is_over for one in self.each)

    @property
    def text(self) -> str:
        return "".join(one.text for one in self.each)

    def check_size(self, most: int) -> None:
        """Raises `ProviderFault` when more is held than that, of all answers together."""
        if sum(one.size for one in self.each) > most:
            raise too_large(most)

    def weigh(self) -> None:
        """Shows a meter what was told while an answer still goes on; told of all together, each has its part."""
        meter, usage = self.each[0].meter, self.usage
        if meter is not None and usage and not usage.estimated and not all(one.finish_reason for one in self.each):
            meter.tell(ceil(usage.output / len(self.each)))

    @property
    def calls(self) -> tuple[dict[str, Any], ...]:
        return tuple(call for one in self.each for call in one.calls)

    def numbered(self, number: Any) -> Gathering:
        """The answer with this number. Raises `ProviderFault` when it was not asked for."""
        if not isinstance(number, int) or not 0 <= number < len(self.each):
            raise ProviderFault(FaultKind.MALFORMED, "the stream holds an answer that was not asked for")
        return self.each[number]

    def counted_usage(self) -> Usage:
        """Our own count of what came so far, beside what was told."""
        return counted_answers(self.request, self.each, told=self.usage)

    def came(self) -> Usage | None:
        """As of one answer."""
        if self.usage is not None and all(one.finish_reason for one in self.each):
            return self.usage  # the last word: until then some providers tell how far it is
        silent = all(one.is_silent for one in self.each) and (self.usage is None or not self.usage.output)
        return None if silent else self.counted_usage()

    def broken(self, fault: ProviderFault) -> ProviderFault:
        """As of one answer."""
        return broken(fault, came=self.came(), is_empty=self.is_empty)

    def completion(self) -> Completion:
        """The whole answer with all of its choices. Raises `ProviderFault` when one of them did not finish.

        When one was stopped, all were.
        """
        stopped = self.is_over
        for one in self.each:
            one.usage = self.usage  # told of all together: where it is, nothing is to be counted
            if stopped:
                one.finish_reason = one.finish_reason or "length"
        try:
            first, *others = (one.completion() for one in self.each)
        except ProviderFault as fault:
            fault.usage = self.usage or self.came()
            raise
        warnings = (*self.warnings, STOPPED) if stopped else self.warnings
        usage = self.usage or self.counted_usage()
        return replace(first, usage=usage, others=tuple(others), warnings=warnings, stopped=stopped)


async def deltas_of(
    batches: AsyncIterator[list[bytes]],
    read: Callable[[bytes], Iterable[Delta] | None],
    gathered: "Gathering | Gatherings",
) -> AsyncGenerator[Deltas, None]:
    """The deltas of a stream of lines, those together that came together, up to the line that `read` gives None for.

    They end before it where what `read` has gathered goes on beyond what was promised. What came before a fault is
    given before the fault is raised.
    """
    metered = gathered.request.metered
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
                    if metered and gathered.is_over:
                        ended = True
                        break
        except ProviderFault as fault:
            met = fault
        if said:
            yield tuple(said)
        if met is not None:
            raise met
        if ended:
            return


def broken(fault: ProviderFault, *, came: Usage | None, is_empty: bool) -> ProviderFault:
    """The fault in the middle of a stream: itself while nothing was said, for another model can take over."""
    if not is_empty:
        return ProviderFault(FaultKind.INTERRUPTED, fault.detail, usage=came)
    fault.usage = fault.usage or came
    return fault


def counted_answers(request: ProviderRequest, answers: Sequence[Gathering], *, told: Usage | None) -> Usage:
    """Our own count of these answers to one prompt, with what was thought before them, aloud or as it was told.

    What the provider told meanwhile of its input is exact, of its output the least. Who was stopped has written all
    that it was to write, whatever the estimate says.
    """
    text, calls = "".join(one.text for one in answers), tuple(call for one in answers for call in one.calls)
    usage, thought = counted(request, text, calls), sum(one.thought_hundredths for one in answers) // 100
    least = sum(one.meter.limit for one in answers if one.meter is not None and one.is_over)
    if told is not None and not told.estimated:
        usage = with_told(usage, told)
        thought, least = max(thought, told.reasoning), max(least, told.output)
    return replace(usage, output=max(usage.output + thought, least), reasoning=thought)


def _is_whole(call: Mapping[str, Any]) -> bool:
    """Whether a call's arguments are JSON; cut in the middle they would be a silent truncation."""
    try:
        orjson.loads(call["function"]["arguments"])
    except orjson.JSONDecodeError:
        return False
    return True
