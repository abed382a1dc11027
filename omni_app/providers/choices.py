"""Several answers to one request (`n`): in one call where the provider takes it, else in calls of their own, at once.

Whichever way, it is one attempt: one outcome, one usage that counts all of it. When one of several calls fails the
attempt has failed, and what the others used is told with the fault.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace

from omni_app.providers.base import (
    Completion,
    Delta,
    Deltas,
    FaultKind,
    Provider,
    ProviderFault,
    ProviderRequest,
    Usage,
)
from omni_app.providers.openai_wire import OpenAIWire
from omni_app.providers.usage import counted

Piece = Deltas | Completion


async def complete_choices(provider: Provider, request: ProviderRequest) -> Completion:
    """The answer with every choice that was asked for. Raises `ProviderFault`."""
    if one_call(provider, request):
        return await provider.complete(request)
    calls = (provider.complete(part) for part in parts_of(request))
    # All are waited for, so that what they used is known when one has failed.
    results = await asyncio.gather(*calls, return_exceptions=True)
    answers = [one for one in results if isinstance(one, Completion)]
    for failed in results:
        if isinstance(failed, ProviderFault):
            raise with_usage(failed, (failed.usage, *(one.usage for one in answers)))
        if isinstance(failed, BaseException):
            raise failed
    return together(answers)


def stream_choices(provider: Provider, request: ProviderRequest) -> AsyncGenerator[Piece, None]:
    """The pieces of every choice as they come, each with its number, then the whole answer. Raises `ProviderFault`."""
    return provider.stream(request) if one_call(provider, request) else _stream_calls(provider, request)


async def _stream_calls(provider: Provider, request: ProviderRequest) -> AsyncGenerator[Piece, None]:
    """A call for each choice, at once."""
    parts = parts_of(request)
    heard: asyncio.Queue[tuple[int, Piece | None]] = asyncio.Queue()
    pumps = [asyncio.create_task(_pump(provider, part, heard)) for part in parts]
    answers: dict[int, Completion] = {}
    said: list[Delta] = []
    try:
        while len(answers) < len(parts):
            number, piece = await heard.get()
            if isinstance(piece, Completion):
                answers[number] = piece
            elif piece is not None:
                deltas = tuple(replace(delta, choice=number) for delta in piece)
                said += deltas
                yield deltas
            else:
                await pumps[number]
                if number not in answers:
                    raise ProviderFault(FaultKind.INTERRUPTED, "the stream ended before the answer did")
    except ProviderFault as fault:
        raise with_usage(fault, [produced(provider, request, said) or fault.usage]) from None
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
    yield together([answers[number] for number in range(len(parts))])


async def _pump(provider: Provider, part: ProviderRequest, heard: asyncio.Queue[tuple[int, Piece | None]]) -> None:
    """One choice's pieces into the queue, then None, also when it breaks: then waiting for this task raises."""
    try:
        async with aclosing(provider.stream(part)) as pieces:
            async for piece in pieces:
                heard.put_nowait((part.choice, piece))
    finally:
        heard.put_nowait((part.choice, None))


def produced(provider: Provider, request: ProviderRequest, deltas: Sequence[Delta]) -> Usage | None:
    """What came before a stream ended early; None when nothing came. A provider that keeps no account of it is counted
    by its pieces.

    Each call of several has read the prompt once.
    """
    if request.heard:
        known = [usage for one in request.heard if (usage := one.came()) is not None]
        return summed(known) if known else None
    if not deltas:
        return None
    usage = counted(request, "".join(map(_written, deltas)))
    prompts = 1 if one_call(provider, request) else request.params["n"]
    return replace(usage, input=usage.input * prompts)


def _written(delta: Delta) -> str:
    function = (delta.tool_call or {}).get("function", {})
    return delta.text + (function.get("name") or "") + (function.get("arguments") or "")


def one_call(provider: Provider, request: ProviderRequest) -> bool:
    """Whether one call gives every choice. A call for a picture gives one."""
    takes = isinstance(provider, OpenAIWire) and provider.takes_choices and not request.deployment.makes_images
    return takes or request.params.get("n", 1) == 1


def parts_of(request: ProviderRequest) -> list[ProviderRequest]:
    """A request for each choice. With a seed each has its own, or all would say the same."""
    count = request.params["n"]
    rest = {name: value for name, value in request.params.items() if name != "n"}
    seeds = [{"seed": rest["seed"] + number} if "seed" in rest else {} for number in range(count)]
    return [replace(request, params=rest | seed, choice=number) for number, seed in enumerate(seeds)]


def together(answers: Sequence[Completion]) -> Completion:
    """One answer with the others beside it; its usage is the sum, and each warning is there once."""
    first, *others = answers
    return replace(
        first,
        usage=summed(one.usage for one in answers),
        others=tuple(others),
        warnings=tuple(dict.fromkeys(warning for one in answers for warning in one.warnings)),
        stopped=any(one.stopped for one in answers),
    )


def with_usage(fault: ProviderFault, usages: Iterable[Usage | None]) -> ProviderFault:
    """The fault with what all calls used."""
    known = [usage for usage in usages if usage is not None]
    fault.usage = summed(known) if known else None
    return fault


def summed(usages: Iterable[Usage]) -> Usage:
    """Tokens added up; estimated when one of them is."""
    every = list(usages)
    return Usage(
        input=sum(one.input for one in every),
        output=sum(one.output for one in every),
        cached_input=sum(one.cached_input for one in every),
        cache_write=sum(one.cache_write for one in every),
        reasoning=sum(one.reasoning for one in every),
        images=sum(one.images for one in every),
        estimated=any(one.estimated for one in every),
    )
