"""Reading Anthropic's messages format: whole answers, streams, usage. What is not of this format is a fault."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from omni_app.json_bytes import json_bytes
from omni_app.providers.base import Completion, Delta, FaultKind, ProviderFault, ProviderRequest, Usage
from omni_app.providers.faults import as_documented, as_text
from omni_app.providers.gathering import Gathering
from omni_app.providers.openai_answers import event_object
from omni_app.providers.usage import counted, sane_tokens, with_told

FINISH_REASONS: Mapping[Any, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def read_message(value: Mapping[str, Any], request: ProviderRequest, warnings: tuple[str, ...] = ()) -> Completion:
    """The answer of a 200. Raises `ProviderFault` when it holds none."""
    with as_documented:
        return _read_message(value, request, warnings)


def _read_message(value: Mapping[str, Any], request: ProviderRequest, warnings: tuple[str, ...]) -> Completion:
    blocks = value.get("content")
    if not isinstance(blocks, list):
        raise ProviderFault(FaultKind.MALFORMED, "the answer has no content")
    blocks = [block for block in blocks if isinstance(block, dict)]
    text = "".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")
    calls = tuple(
        {
            "id": str(block["id"]),
            "type": "function",
            "function": {"name": str(block["name"]), "arguments": json_bytes(block.get("input") or {}).decode()},
        }
        for block in blocks
        if block.get("type") == "tool_use"
    )
    finish = FINISH_REASONS.get(value.get("stop_reason"), "stop")
    usage = final_usage(value.get("usage"), is_empty=not text and not calls)
    if usage is None:
        usage = with_told(counted(request, text, calls), told_usage(value.get("usage")))
    if not text and not calls and finish not in ("length", "content_filter"):
        raise ProviderFault(FaultKind.EMPTY, "the answer holds neither text nor a tool call", usage=usage)
    return Completion(text=text, usage=usage, finish_reason=finish, tool_calls=calls, warnings=warnings)


def told_usage(value: Any) -> Usage | None:
    """Anthropic's dialect: input, cache reads and cache writes stand beside each other; we count them together.

    None when it tells of no input, or what nobody can believe.
    """
    usage = value if isinstance(value, dict) else {}
    plain, written_out = sane_tokens(usage.get("input_tokens")), sane_tokens(usage.get("output_tokens")) or 0
    cached = sane_tokens(usage.get("cache_read_input_tokens")) or 0
    cache_write = sane_tokens(usage.get("cache_creation_input_tokens")) or 0
    if plain is None or plain + cached + cache_write == 0:
        return None
    details = usage.get("output_tokens_details")
    thought = sane_tokens(details.get("thinking_tokens")) if isinstance(details, dict) else None
    return Usage(
        input=plain + cached + cache_write,
        output=written_out,
        cached_input=cached,
        cache_write=cache_write,
        reasoning=min(thought or 0, written_out),
    )


def final_usage(value: Any, *, is_empty: bool) -> Usage | None:
    """The tokens of a whole answer; None when they are not told: something was said, and something costs tokens."""
    told = told_usage(value)
    return told if told is not None and (told.output or is_empty) else None


@dataclass(slots=True)
class EventReader:
    """Reads one stream, event by event.

    Input tokens come with `message_start`, output tokens with `message_delta` (the former's count of them is of what is
    written by then, and tells nothing of the whole); content blocks have numbers of their own, of which only tool calls
    are counted.
    """

    gathering: Gathering
    _usage: dict[str, Any] = field(default_factory=dict)
    _calls: dict[Any, int] = field(default_factory=dict)

    def read(self, data: bytes) -> list[Delta] | None:
        """What one event adds; None for `message_stop`. Raises `ProviderFault` for what is no event of this format."""
        event = event_object(data)
        if event.get("type") == "message_stop":
            return None
        with as_documented:
            return list(read_event(event, self.gathering, self._usage, self._calls))


def read_event(
    event: Mapping[str, Any], gathering: Gathering, usage: dict[str, Any], calls: dict[Any, int]
) -> Iterator[Delta]:
    """What one event adds: to the answer, to its usage, or how it ended."""
    kind = event.get("type")
    if kind == "message_start":
        usage |= (event.get("message") or {}).get("usage") or {}
        usage.pop("output_tokens", None)
        gathering.told = partial(told_usage, usage)
    elif kind == "message_delta":
        usage |= {name: count for name, count in (event.get("usage") or {}).items() if count is not None}
        reason = (event.get("delta") or {}).get("stop_reason")
        gathering.finish_reason = FINISH_REASONS.get(reason, "stop") if reason else ""
        gathering.usage = final_usage(usage, is_empty=gathering.is_empty)
    elif kind in ("content_block_start", "content_block_delta"):
        yield from read_block(event, gathering, calls)
    elif kind == "content_block_stop" and event.get("index") in calls:
        yield from gathering.close_calls()


def read_block(event: Mapping[str, Any], gathering: Gathering, calls: dict[Any, int]) -> Iterator[Delta]:
    """What a content block's event adds: text, a tool call that begins, or more of its input."""
    block = event.get("content_block") or event.get("delta") or {}
    kind, index = block.get("type"), event.get("index")
    if kind in ("text", "text_delta"):
        if text := block.get("text"):
            yield gathering.add_text(as_text(text))
    elif kind == "thinking_delta" and block.get("thinking"):
        gathering.think(block["thinking"])
    elif kind == "tool_use":
        calls[index] = len(gathering.calls)
        yield gathering.open_call(str(block.get("id") or ""), str(block["name"]))
    elif kind == "input_json_delta" and block.get("partial_json"):
        yield gathering.add_arguments(calls.get(index, -1), block["partial_json"])
