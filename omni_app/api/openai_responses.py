"""`POST /v1/responses`: OpenAI's Responses API in front of the same gateway, without anything that is stored."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.auth import Doorkeeper
from omni_app.api.chat import answer_headers, deadline_s
from omni_app.api.completions import in_openai_style, omni_body, openai_error
from omni_app.api.json_body import read_json_object
from omni_app.api.openai_responses_schema import Responses, parse_responses
from omni_app.api.responses import json_response, request_id
from omni_app.api.sse import event
from omni_app.api.streams import streamed
from omni_app.errors import OmniError
from omni_app.gateway.types import Answer
from omni_app.json_bytes import json_bytes
from omni_app.providers.base import Delta, Deltas, Usage
from omni_app.routing.types import Deployment
from omni_app.services import Services

INCOMPLETE: Mapping[str, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer ended early -> OpenAI's `incomplete_details.reason`."""
UNSET: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}
"""What the answer says of fields that the caller left out."""


def routes(services: Services) -> list[Route]:
    """The endpoint."""
    door = Doorkeeper(services)

    async def responses(request: Request) -> Response:
        caller = await door.admit(request)
        body = await read_json_object(request, max_bytes=services.settings.max_body_bytes)
        asked = parse_responses(
            body, deployments=services.gateway.visible(caller), key_kind=caller.kind, timeout_s=deadline_s(request)
        )
        if asked.request.stream:
            return await streamed(services, caller, asked.request, request, ResponseWriter(request, asked))
        answer = await services.gateway.chat(caller, asked.request, request_id=request_id(request))
        return json_response(response_body(answer, asked), headers=answer_headers(answer))

    return [Route("/v1/responses", in_openai_style(responses), methods=["POST"])]


def usage_body(usage: Usage) -> dict[str, Any]:
    """Tokens in the dialect of this API: cached ones inside the input's, reasoning inside the output's."""
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached_input, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }


def response_body(answer: Answer, asked: Responses) -> dict[str, Any]:
    """A whole `response`."""
    status = "incomplete" if answer.finish_reason in INCOMPLETE else "completed"
    content = [_part(answer.output, refused=answer.refused)]
    items = [_message(f"msg_{answer.request_id}", content, status)] if answer.output else []
    for number, call in enumerate(answer.tool_calls):
        items.append(_call(f"fc_{answer.request_id}_{number}", call, call["function"]["arguments"], status))
    created = int(time.time())
    return _ended(_envelope(answer.request_id, answer.model, asked, created), answer, [*items, *_images(answer)])


def _envelope(response_id: str, model: str, asked: Responses, created: int) -> dict[str, Any]:
    """A response that has begun."""
    return {
        "id": f"resp_{response_id}",
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "previous_response_id": None,
        "store": False,
        "truncation": "disabled",
        "usage": None,
        **UNSET,
        **{name: orjson.Fragment(json_bytes(value)) for name, value in asked.repeated.items()},
    }


def _ended(begun: Mapping[str, Any], answer: Answer, items: list[dict[str, Any]]) -> dict[str, Any]:
    reason = INCOMPLETE.get(answer.finish_reason)
    return {
        **begun,
        "status": "incomplete" if reason else "completed",
        "completed_at": None if reason else int(time.time()),
        "incomplete_details": {"reason": reason} if reason else None,
        "model": answer.model,
        "output": items,
        "usage": usage_body(answer.usage),
        "omni": omni_body(answer),
    }


def _message(item_id: str, content: list[dict[str, Any]], status: str) -> dict[str, Any]:
    """A message of the model's."""
    return {"type": "message", "id": item_id, "status": status, "role": "assistant", "content": content}


def _part(text: str, *, refused: bool) -> dict[str, Any]:
    if refused:
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call(item_id: str, call: Mapping[str, Any], arguments: str, status: str) -> dict[str, Any]:
    """A call of one of the caller's functions."""
    return {
        "type": "function_call",
        "id": item_id,
        "status": status,
        "call_id": call.get("id", ""),
        "name": call.get("function", {}).get("name", ""),
        "arguments": arguments,
    }


def _images(answer: Answer) -> list[dict[str, Any]]:
    """Pictures; one that the provider tells by its address has it in `url`, which is a field of ours."""
    return [
        {
            "type": "image_generation_call",
            "id": f"ig_{answer.request_id}_{number}",
            "status": "completed",
            "result": image.get("b64_json"),
            **({"url": image["url"]} if "url" in image else {}),
        }
        for number, image in enumerate(answer.images)
    ]


@dataclass(slots=True)
class ResponseWriter:
    """The events of a response: numbered, its items opened and closed one after the other.

    A broken stream ends with `error` and `response.failed`.
    """

    request: Request
    asked: Responses
    _numbered: int = 0
    _envelope: dict[str, Any] = field(default_factory=dict)
    _items: list[dict[str, Any]] = field(default_factory=list)
    """As they were when they were opened, and whole when they are closed."""
    _open: str = ""
    """What the open item is: `output_text`, `refusal`, `tool_0`, … or nothing."""
    _said: list[str] = field(default_factory=list)
    """The open item's text or arguments so far."""

    def opened(self, deployment: Deployment) -> bytes:
        """`response.created` and `response.in_progress`."""
        self._envelope = _envelope(request_id(self.request), deployment.id, self.asked, int(time.time()))
        created = self._event("response.created", response=self._envelope)
        return created + self._event("response.in_progress", response=self._envelope)

    def deltas(self, deltas: Deltas) -> bytes:
        """Each in its item."""
        return b"".join(map(self._of, deltas))

    def ended(self, answer: Answer) -> bytes:
        """The last items, then `response.completed` or `response.incomplete`: the whole response."""
        told = self._leave("incomplete" if answer.finish_reason in INCOMPLETE else "completed")
        for image in _images(answer):
            told += self._added(image) + self._done(image)
        body = _ended(self._envelope, answer, self._items)
        return told + self._event(f"response.{body['status']}", response=body)

    def broken(self, error: OmniError) -> bytes:
        """`error`, and `response.failed` where a response had begun."""
        told = openai_error(error, self.request)["error"]
        said = self._event("error", **(told | {"type": "error"}), error=told)  # documented flat, sent nested: both
        if not self._envelope:
            return said
        failed = {"status": "failed", "error": {"code": "server_error", "message": error.message}}
        return said + self._event("response.failed", response={**self._envelope, **failed, "output": self._items})

    def _of(self, delta: Delta) -> bytes:
        if delta.tool_call is not None:
            return self._of_call(delta.tool_call)
        kind = "refusal" if delta.refused else "output_text"
        entered = self._enter_text(kind)
        self._said.append(delta.text)
        return entered + self._text_event(kind, "delta", delta=delta.text)

    def _of_call(self, call: Mapping[str, Any]) -> bytes:
        if "id" not in call and self._open != f"tool_{call['index']}":
            return b""  # Its item is closed: only the arguments of a call without any are told so late.
        entered = self._enter_call(call)
        more = call.get("function", {}).get("arguments") or ""
        if not more:
            return entered
        self._said.append(more)
        return entered + self._event("response.function_call_arguments.delta", **self._place(), delta=more)

    def _enter_text(self, kind: str) -> bytes:
        if self._open == kind:
            return b""
        left = self._leave("completed")
        self._open = kind
        number = len(self._items)
        item_id = f"msg_{request_id(self.request)}" + (f"_{number}" if number else "")
        added = self._added(_message(item_id, [], "in_progress"))
        return left + added + self._part_event("added", _part("", refused=kind == "refusal"))

    def _enter_call(self, call: Mapping[str, Any]) -> bytes:
        name = f"tool_{call['index']}"
        if self._open == name:
            return b""
        left = self._leave("completed")
        self._open = name
        return left + self._added(_call(f"fc_{request_id(self.request)}_{call['index']}", call, "", "in_progress"))

    def _leave(self, status: str) -> bytes:
        """Closes the open item."""
        if not self._open:
            return b""
        whole, item, kind = "".join(self._said), self._items[-1], self._open
        self._said.clear()
        self._open = ""
        if kind in ("output_text", "refusal"):
            part = _part(whole, refused=kind == "refusal")
            said = {"refusal": whole} if kind == "refusal" else {"text": whole}
            told = self._text_event(kind, "done", **said) + self._part_event("done", part)
            return told + self._done(item | {"status": status, "content": [part]})
        place = self._place() | {"name": item["name"]}
        whole = whole or "{}"
        told = self._event("response.function_call_arguments.done", **place, arguments=whole)
        return told + self._done(item | {"status": status, "arguments": whole})

    def _added(self, item: dict[str, Any]) -> bytes:
        self._items.append(item)
        return self._event("response.output_item.added", output_index=len(self._items) - 1, item=item)

    def _done(self, item: dict[str, Any]) -> bytes:
        self._items[-1] = item
        return self._event("response.output_item.done", output_index=len(self._items) - 1, item=item)

    def _place(self) -> dict[str, Any]:
        """Where the open item's pieces belong."""
        return {"item_id": self._items[-1]["id"], "output_index": len(self._items) - 1}

    def _text_event(self, kind: str, what: str, **fields: Any) -> bytes:
        logprobs: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
        return self._event(f"response.{kind}.{what}", **self._place(), content_index=0, **fields, **logprobs)

    def _part_event(self, what: str, part: Mapping[str, Any]) -> bytes:
        return self._event(f"response.content_part.{what}", **self._place(), content_index=0, part=part)

    def _event(self, kind: str, **fields: Any) -> bytes:
        number = self._numbered
        self._numbered += 1
        return event(kind, orjson.dumps({"type": kind, "sequence_number": number, **fields}))
