"""`POST /v1/messages`: Anthropic's wire format in front of the same gateway, for its SDKs and for coding agents."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.auth import Doorkeeper
from omni_app.api.chat import answer_headers, deadline_s
from omni_app.api.completions import omni_body
from omni_app.api.json_body import read_json_object
from omni_app.api.messages_schema import parse_messages
from omni_app.api.responses import json_response, request_id
from omni_app.api.sse import event
from omni_app.api.streams import streamed
from omni_app.errors import OmniError, PromptTooLong, ProviderError
from omni_app.gateway.types import Answer
from omni_app.json_bytes import json_bytes
from omni_app.providers.anthropic_wire import arguments
from omni_app.providers.base import Delta, Deltas, Usage
from omni_app.routing.types import Deployment
from omni_app.services import Services

STOP_REASONS: Mapping[str, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
ERROR_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""Status -> Anthropic's `error.type`; other 4xx are the request's fault, the rest the server's."""


def routes(services: Services) -> list[Route]:
    """The Anthropic-compatible endpoint."""
    door = Doorkeeper(services)

    async def answered(request: Request) -> Response:
        caller = await door.admit(request)
        body = await read_json_object(request, max_bytes=services.settings.max_body_bytes)
        visible = services.gateway.visible(caller)
        asked = parse_messages(body, deployments=visible, key_kind=caller.kind, timeout_s=deadline_s(request))
        if asked.stream:
            return await streamed(services, caller, asked, request, EventWriter(request))
        answer = await services.gateway.chat(caller, asked, request_id=request_id(request))
        return json_response(message_body(answer), headers=answer_headers(answer))

    async def messages(request: Request) -> Response:
        try:
            return await answered(request)
        except OmniError as error:
            advice = {"x-should-retry": "false"} if isinstance(error, ProviderError) else {}
            status = 400 if isinstance(error, PromptTooLong) else error.status
            return json_response(anthropic_error(error, request), status=status, headers=error.headers | advice)

    return [Route("/v1/messages", messages, methods=["POST"])]


def anthropic_error(error: OmniError, request: Request) -> dict[str, Any]:
    """The error as Anthropic's SDKs read it, with our code beside it."""
    kind = ERROR_TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    told = {"type": kind, "message": error.message, "code": error.code}
    return {"type": "error", "error": told, "request_id": request_id(request)}


def usage_body(usage: Usage) -> dict[str, Any]:
    """Tokens in Anthropic's dialect: input, cache reads and cache writes beside each other."""
    return {
        "input_tokens": usage.input - usage.cached_input - usage.cache_write,
        "output_tokens": usage.output,
        "cache_read_input_tokens": usage.cached_input,
        "cache_creation_input_tokens": usage.cache_write,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
    }


def message_body(answer: Answer) -> dict[str, Any]:
    """A whole `message`."""
    wordless = not answer.output and (answer.tool_calls or answer.images)
    text = [] if wordless else [{"type": "text", "text": answer.output}]
    calls = [
        {
            "type": "tool_use",
            "id": call["id"],
            "name": call["function"]["name"],
            "input": orjson.Fragment(json_bytes(arguments(call["function"]["arguments"]))),
        }
        for call in answer.tool_calls
    ]
    return {
        **_envelope(answer.request_id, answer.model),
        "content": [*text, *calls],
        "stop_reason": _stop_reason(answer),
        "usage": usage_body(answer.usage),
        "omni": omni_body(answer),
        **_images(answer),
    }


def _stop_reason(answer: Answer) -> str:
    return "refusal" if answer.refused else STOP_REASONS.get(answer.finish_reason, "end_turn")


def _images(answer: Answer) -> dict[str, Any]:
    """Pictures, in a field of ours: this format has no block for one of the model's."""
    return {"images": [dict(image) for image in answer.images]} if answer.images else {}


def _envelope(message_id: str, model: str) -> dict[str, Any]:
    return {
        "id": f"msg_{message_id}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


@dataclass(slots=True)
class EventWriter:
    """Anthropic's events: blocks are opened and closed in order, text and each tool call in one of its own.

    A broken stream ends with an `error` event and no `message_stop`.
    """

    request: Request
    _block: int = -1
    _open: str = ""
    """What the open block is: `text`, `tool_0`, … or nothing."""

    def opened(self, deployment: Deployment) -> bytes:
        """`message_start`. The tokens are not known yet: they come with `message_delta`."""
        message = _envelope(request_id(self.request), deployment.id) | {"usage": usage_body(Usage(0, 0))}
        return _event({"type": "message_start", "message": message})

    def deltas(self, deltas: Deltas) -> bytes:
        """Each in its block."""
        return b"".join(map(self._of, deltas))

    def _of(self, delta: Delta) -> bytes:
        if delta.tool_call is None:
            piece = {"type": "text_delta", "text": delta.text}
            return self._enter("text", {"type": "text", "text": ""}) + self._delta(piece)
        call = delta.tool_call
        if "id" not in call and self._open != f"tool_{call['index']}":
            return b""  # Its block is closed: only the arguments of a call without any are told so late.
        function = call.get("function", {})
        start = {"type": "tool_use", "id": call.get("id", ""), "name": function.get("name", ""), "input": {}}
        entered = self._enter(f"tool_{call['index']}", start)
        more = function.get("arguments") or ""
        return entered + (self._delta({"type": "input_json_delta", "partial_json": more}) if more else b"")

    def ended(self, answer: Answer) -> bytes:
        """`message_delta` with why it ended, the tokens and any pictures, then `message_stop`."""
        reason = {"stop_reason": _stop_reason(answer), "stop_sequence": None}
        ours = {"omni": omni_body(answer), **_images(answer)}
        told = _event({"type": "message_delta", "delta": reason, "usage": usage_body(answer.usage), **ours})
        return self._leave() + told + _event({"type": "message_stop"})

    def broken(self, error: OmniError) -> bytes:
        """Anthropic's error shape."""
        return _event(anthropic_error(error, self.request))

    def _enter(self, name: str, block: Mapping[str, Any]) -> bytes:
        if self._open == name:
            return b""
        left = self._leave()
        self._block += 1
        self._open = name
        return left + _event({"type": "content_block_start", "index": self._block, "content_block": block})

    def _leave(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        return _event({"type": "content_block_stop", "index": self._block})

    def _delta(self, piece: Mapping[str, Any]) -> bytes:
        return _event({"type": "content_block_delta", "index": self._block, "delta": piece})


def _event(value: Mapping[str, Any]) -> bytes:
    return event(value["type"], orjson.dumps(value))
