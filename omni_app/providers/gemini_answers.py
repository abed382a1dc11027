"""Reading Gemini's `GenerateContentResponse`: whole answers, streams, usage. What is not of this format is a fault."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

from omni_app.json_bytes import json_bytes
from omni_app.providers.base import Completion, Delta, FaultKind, ProviderFault, ProviderRequest, Usage
from omni_app.providers.faults import as_documented, as_text
from omni_app.providers.gathering import Gathering
from omni_app.providers.openai_answers import event_object
from omni_app.providers.usage import sane_tokens

CALLS = b"functionCall"
"""Stands in an answer with a call of a tool, whose arguments are JSON."""
FINISH_REASONS: Mapping[Any, str] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
}
"""Any other one is a plain end: without an answer that is a fault."""


def read_answer(value: Mapping[str, Any], request: ProviderRequest, warnings: tuple[str, ...] = ()) -> Completion:
    """The answer of a 200. Raises `ProviderFault` when it holds none."""
    gathering = Gathering(request, warnings)
    with as_documented:
        if not value.get("candidates") and not blocked(value):
            raise ProviderFault(FaultKind.MALFORMED, "the answer has no candidates")
        for _ in read_event(value, gathering):
            pass
        gathering.finish_reason = gathering.finish_reason or finished("STOP", gathering)
        gathering.usage = final_usage(value.get("usageMetadata"), is_empty=gathering.is_empty)
    gathering.meter = None  # what has come whole cannot be stopped any more
    return gathering.completion()


@dataclass(slots=True)
class EventReader:
    """Reads one stream, event by event. Each is a `GenerateContentResponse` with what came since the last one."""

    gathering: Gathering

    def read(self, data: bytes) -> list[Delta]:
        """What one event adds. Raises `ProviderFault` for what is no event of this format."""
        event = event_object(data, calls=CALLS)
        with as_documented:
            return list(read_event(event, self.gathering))


def read_event(event: Mapping[str, Any], gathering: Gathering) -> Iterator[Delta]:
    """What one event adds: to the answer, to its usage, or how it ended."""
    candidates: Any = event.get("candidates") or ([{"finishReason": "SAFETY"}] if blocked(event) else [])
    for candidate in candidates[:1]:
        for part in (candidate.get("content") or {}).get("parts") or ():
            yield from read_part(part, gathering)
        if reason := candidate.get("finishReason"):
            gathering.finish_reason = finished(reason, gathering)
    if told := event.get("usageMetadata"):
        gathering.told = partial(told_usage, told)
    if gathering.finish_reason:  # until then it counts what is written so far
        gathering.usage = final_usage(told, is_empty=gathering.is_empty)
    elif gathering.meter is not None:
        gathering.weigh()


def blocked(event: Mapping[str, Any]) -> bool:
    """Whether the prompt was refused before anything was written."""
    return bool((event.get("promptFeedback") or {}).get("blockReason"))


def read_part(part: Mapping[str, Any], gathering: Gathering) -> Iterator[Delta]:
    """What one part adds: text, a thought, or a tool call, which comes whole."""
    text, call = part.get("text"), part.get("functionCall")
    if text and part.get("thought"):
        gathering.think(text)
    elif text:
        yield gathering.add_text(as_text(text))
    elif call:
        arguments = json_bytes(call.get("args") or {}).decode()
        yield gathering.open_call(str(call.get("id") or f"call_{uuid4().hex}"), str(call["name"]), arguments)


def finished(reason: str, gathering: Gathering) -> str:
    """OpenAI's word for how it ended."""
    finish = FINISH_REASONS.get(reason, "stop")
    return "tool_calls" if finish == "stop" and gathering.calls else finish


def told_usage(value: Any) -> Usage | None:
    """Gemini's dialect: what was read from a cache is inside the prompt's tokens, thoughts are beside the answer's.

    None when it tells of no prompt.
    """
    usage = value if isinstance(value, dict) else {}
    prompt, written = sane_tokens(usage.get("promptTokenCount")), sane_tokens(usage.get("candidatesTokenCount")) or 0
    thought = sane_tokens(usage.get("thoughtsTokenCount")) or 0
    if not prompt:
        return None
    prompt += sane_tokens(usage.get("toolUsePromptTokenCount")) or 0
    cached = sane_tokens(usage.get("cachedContentTokenCount")) or 0
    return Usage(input=prompt, output=written + thought, cached_input=min(cached, prompt), reasoning=thought)


def final_usage(value: Any, *, is_empty: bool) -> Usage | None:
    """The tokens of a whole answer; None when they are not told: something was said, and something costs tokens."""
    told = told_usage(value)
    return told if told is not None and (told.output > told.reasoning or is_empty) else None
