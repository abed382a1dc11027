"""Reading OpenAI's chat-completions format: whole answers, streams, usage. What is not of this format is a fault."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from omni_app.json_bytes import json_value
from omni_app.providers.base import Completion, Delta, FaultKind, ProviderFault, ProviderRequest, Usage
from omni_app.providers.faults import as_documented, error_in, kind_of
from omni_app.providers.gathering import Gathering, Gatherings
from omni_app.providers.transport import Reply, cleaned
from omni_app.providers.usage import counted, sane_tokens

FINISH_REASONS: Mapping[Any, str] = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
BROKEN_OFF = frozenset({"error", "insufficient_system_resource"})
"""How OpenRouter and Mistral, and DeepSeek, end an answer that they could not finish: it is cut, not whole."""
UNTOLD = Usage(0, 0)
"""Of one choice among several: tokens are told of all of them together."""


def last_user_text(messages: Any) -> str:
    """The newest user message's text."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            return " ".join(part["text"] for part in content if part.get("type") == "text")
    return ""


def read_images(value: Any) -> tuple[dict[str, str], ...]:
    """The images of an answer, each with its data or its address; what has neither is left out."""
    images = ({name: one[name] for name in ("b64_json", "url") if one.get(name)} for one in value or ())
    return tuple(one for one in images if one)


def parsed(reply: Reply, *, calls: bytes = b"") -> dict[str, Any]:
    """The JSON object of a successful answer. Raises `ProviderFault` when it is none, or is an error in disguise.

    `calls`: what stands in an answer whose tool calls are JSON themselves; their numbers are kept as they are.
    """
    if not reply.body.strip():
        raise ProviderFault(FaultKind.EMPTY, "the answer is empty")
    try:
        value = _value(reply.body, calls)
    except ValueError:
        raise ProviderFault(FaultKind.MALFORMED, "the answer is not JSON") from None
    if not isinstance(value, dict):
        raise ProviderFault(FaultKind.MALFORMED, "the answer is not a JSON object")
    if error := error_in(value):
        raise disguised_error(error)
    return value


def disguised_error(error: Mapping[str, Any]) -> ProviderFault:
    """The fault of an error object that came with status 200."""
    code = error.get("code")
    status = code if isinstance(code, int) else 502
    return ProviderFault(kind_of(status, error), cleaned(str(error.get("message", "an error with status 200"))))


def read_event(data: bytes, gatherings: Gatherings) -> list[Delta] | None:
    """What one event adds; None for `[DONE]`. Raises `ProviderFault` for what is no event of this format."""
    if text := gatherings.alike.text_of(data):
        return [gatherings.each[0].add_text(text)]
    if data == b"[DONE]":
        return None
    with as_documented:
        chunk = event_object(data)
        said = read_chunk(chunk, gatherings)
        gatherings.alike.remember(data, chunk)
        return said


def _value(text: bytes, calls: bytes) -> Any:
    return json_value(text) if calls and calls in text else orjson.loads(text)


def event_object(data: bytes, *, calls: bytes = b"") -> dict[str, Any]:
    """The JSON object of one event. Raises `ProviderFault` for anything else, and for an error event.

    `calls` as `parsed` has it.
    """
    try:
        value = _value(data, calls)
    except ValueError:
        raise ProviderFault(FaultKind.MALFORMED, "an event of the stream is not JSON") from None
    if not isinstance(value, dict):
        raise ProviderFault(FaultKind.MALFORMED, "an event of the stream is not a JSON object")
    if value.get("error"):
        raise disguised_error(error_in(value))
    return value


def read_chunk(chunk: Mapping[str, Any], gatherings: Gatherings) -> list[Delta]:
    """What one chunk adds to the answers. A list, as in `read_choice`: a chunk holds a word, and comes for each."""
    usage = chunk.get("usage")
    groq = chunk.get("x_groq")
    if isinstance(groq, dict):
        if groq.get("error"):
            raise ProviderFault(FaultKind.INTERRUPTED, cleaned(str(groq["error"])))
        usage = usage or groq.get("usage")
    if isinstance(usage, dict):
        gatherings.usage = read_usage(usage, gatherings.request, gatherings.text, gatherings.calls)
    said: list[Delta] = []
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            said += read_choice(choice, gatherings.numbered(choice.get("index") or 0))
    if usage and gatherings.request.metered:  # xAI tells it with each chunk
        gatherings.weigh()
    return said


def read_choice(choice: Mapping[str, Any], gathering: Gathering) -> list[Delta]:
    """What a chunk adds to one answer."""
    said: list[Delta] = []
    delta = choice.get("delta")
    delta = delta if isinstance(delta, dict) else {}
    text = delta.get("content")
    if isinstance(text, str) and text:
        said.append(gathering.add_text(text, told_logprobs(choice.get("logprobs"))))
    elif isinstance(refusal := delta.get("refusal"), str) and refusal:
        said.append(gathering.refuse(refusal, told_logprobs(choice.get("logprobs"))))
    thought = delta.get("reasoning_content") or delta.get("reasoning")  # DeepSeek's and OpenRouter's
    if isinstance(thought, str) and thought:
        gathering.think(thought)
    for call in delta.get("tool_calls") or ():
        said += read_call_delta(call, gathering)
    if choice.get("finish_reason"):
        gathering.finish_reason = finish_reason(choice)
        said += gathering.close_calls()
    return said


def told_logprobs(value: Any) -> dict[str, list[Any]] | None:
    """The lists of a chunk's `logprobs` (`content`, `refusal`), as far as it has any."""
    if not isinstance(value, dict):
        return None
    return {name: part for name, part in value.items() if isinstance(part, list)} or None


def finish_reason(choice: Mapping[str, Any]) -> str:
    """Why the answer ended, in OpenAI's words. Raises `ProviderFault` when the provider gave up in the middle of it."""
    reason = choice.get("finish_reason")
    if reason in BROKEN_OFF:
        raise ProviderFault(FaultKind.INTERRUPTED, f"the provider gave up before the answer's end ({reason})")
    return FINISH_REASONS.get(reason, "stop")


def read_call_delta(call: Mapping[str, Any], gathering: Gathering) -> Iterator[Delta]:
    """A tool call that begins (it has a name), or more of its arguments."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise ProviderFault(FaultKind.MALFORMED, "a tool call's delta has no function")
    index = call.get("index", len(gathering.calls) - 1)
    arguments = function.get("arguments") or ""
    if function.get("name") and index == len(gathering.calls):
        yield gathering.open_call(str(call.get("id") or ""), function["name"], arguments)
    elif arguments:
        yield gathering.add_arguments(index, arguments)


def read_completion(reply: Reply, request: ProviderRequest, warnings: tuple[str, ...] = ()) -> Completion:
    """The answer of a 200. Raises `ProviderFault` when it holds none."""
    with as_documented:
        return _read_completion(parsed(reply), request, warnings)


def _read_completion(value: Mapping[str, Any], request: ProviderRequest, warnings: tuple[str, ...]) -> Completion:
    choices = value.get("choices")
    if not isinstance(choices, list):
        raise ProviderFault(FaultKind.MALFORMED, "the answer has no choices")
    said = [_read_choice(choice) for choice in choices or [None]]
    if len(said) == 1:
        text, calls = said[0].text, said[0].tool_calls
    else:
        text, calls = "".join([one.text for one in said]), tuple(call for one in said for call in one.tool_calls)
    usage = read_usage(value.get("usage"), request, text, calls)
    if any(_is_hollow(one) for one in said):
        raise ProviderFault(FaultKind.EMPTY, "the answer holds neither text nor a tool call", usage=usage)
    wanted = request.params.get("n", 1)
    if len(said) < wanted:
        raise ProviderFault(FaultKind.MALFORMED, f"{wanted} answers were asked for, {len(said)} came", usage=usage)
    others = tuple(
        [
            Completion(one.text, UNTOLD, one.finish_reason, one.tool_calls, logprobs=one.logprobs, refused=one.refused)
            for one in said[1:wanted]
        ]
    )
    first = said[0]
    return Completion(
        first.text,
        usage,
        first.finish_reason,
        first.tool_calls,
        logprobs=first.logprobs,
        warnings=warnings,
        others=others,
        refused=first.refused,
    )


class Said(NamedTuple):
    """One answer as it was read; its tokens are told of all of them together."""

    text: str
    finish_reason: str
    tool_calls: tuple[Mapping[str, Any], ...]
    logprobs: Mapping[str, Any] | None
    refused: bool


def _read_choice(choice: Any) -> Said:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise ProviderFault(FaultKind.EMPTY, "the answer has no message")
    text = message.get("content")
    refused = not text and bool(message.get("refusal"))
    text = message["refusal"] if refused else text or ""
    if isinstance(text, list):
        text = "".join(part.get("text", "") for part in text if isinstance(part, dict))
    logprobs = choice.get("logprobs")
    calls = message.get("tool_calls")
    return Said(
        text=text if isinstance(text, str) else "",
        finish_reason=finish_reason(choice),
        tool_calls=read_tool_calls(calls) if calls else (),
        logprobs=logprobs if isinstance(logprobs, dict) else None,
        refused=refused,
    )


def _is_hollow(answer: Said) -> bool:
    """Whether it says nothing, though it was neither cut nor held back."""
    return not answer.text and not answer.tool_calls and answer.finish_reason not in ("length", "content_filter")


def read_tool_calls(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Tool calls with an id, a name and arguments as text. Raises `ProviderFault` when one is malformed."""
    calls = []
    for index, call in enumerate(value or ()):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ProviderFault(FaultKind.MALFORMED, "a tool call has no name")
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else orjson.dumps(arguments or {}).decode()
        calls.append(
            {
                "id": str(call.get("id") or f"call_{index}"),
                "type": "function",
                "function": {"name": function["name"], "arguments": text},
            }
        )
    return tuple(calls)


def read_usage(value: Any, request: ProviderRequest, text: Any, calls: tuple[Mapping[str, Any], ...]) -> Usage:
    """OpenAI's dialect: cached tokens inside the prompt's, reasoning inside the completion's.

    Missing, negative or absurd counts are replaced by our own, and the usage is marked as estimated.
    """
    usage = value if isinstance(value, dict) else {}
    tokens_in, tokens_out = sane_tokens(usage.get("prompt_tokens")), sane_tokens(usage.get("completion_tokens"))
    if not tokens_in or tokens_out is None or (tokens_out == 0 and (text or calls)):
        return counted(request, str(text), calls)
    prompt, completion = _details(usage.get("prompt_tokens_details")), _details(usage.get("completion_tokens_details"))
    cached = sane_tokens(prompt.get("cached_tokens")) or sane_tokens(usage.get("prompt_cache_hit_tokens"))  # DeepSeek's
    cached = min(cached or 0, tokens_in)
    written = min(sane_tokens(prompt.get("cache_write_tokens")) or 0, tokens_in - cached)
    reasoning = sane_tokens(completion.get("reasoning_tokens")) or 0
    if reasoning and usage.get("total_tokens") == tokens_in + tokens_out + reasoning:
        tokens_out += reasoning  # xAI counts reasoning beside the completion's tokens, and bills it as output.
    reasoning = min(reasoning, tokens_out)
    return Usage(tokens_in, tokens_out, cached_input=cached, cache_write=written, reasoning=reasoning)


def _details(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
