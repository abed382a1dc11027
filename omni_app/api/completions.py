"""`POST /v1/chat/completions` and `POST /v1/images/generations`: OpenAI's wire format in front of the same gateway."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.auth import Doorkeeper
from omni_app.api.chat import answer_headers, attempt_body, billed_body, deadline_s, session_body
from omni_app.api.checks import check_choice, check_string, check_whole, wrong
from omni_app.api.json_body import read_json_object
from omni_app.api.openai_schema import check_omni, own_options, parse_completions, parse_model
from omni_app.api.responses import error_body, json_response, money, request_id
from omni_app.api.sse import data_event
from omni_app.api.streams import streamed
from omni_app.errors import OmniError, PromptTooLong, ProviderError
from omni_app.gateway.types import Answer, ChatRequest
from omni_app.providers.base import Completion, Delta, Deltas, Usage
from omni_app.routing.types import Deployment, Task
from omni_app.services import Services

DONE = b"data: [DONE]\n\n"
MARK = "\0text\0"
Endpoint = Callable[[Request], Awaitable[Response]]
ERROR_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}
"""Status -> OpenAI's `error.type`; other 4xx are the request's fault, the rest the server's."""


def routes(services: Services) -> list[Route]:
    """The OpenAI-compatible endpoints."""
    door = Doorkeeper(services)
    max_bytes = services.settings.max_body_bytes

    async def completions(request: Request) -> Response:
        caller = await door.admit(request)
        body = await read_json_object(request, max_bytes=max_bytes)
        asked = parse_completions(
            body, deployments=services.gateway.visible(caller), key_kind=caller.kind, timeout_s=deadline_s(request)
        )
        if asked.request.stream:
            writer = ChunkWriter(request, asked.include_usage, asked.request.choices)
            return await streamed(services, caller, asked.request, request, writer)
        answer = await services.gateway.chat(caller, asked.request, request_id=request_id(request))
        return json_response(completion_body(answer), headers=answer_headers(answer))

    async def images(request: Request) -> Response:
        caller = await door.admit(request)
        body = await read_json_object(request, max_bytes=max_bytes)
        wanted = parse_model(body.get("model"), services.gateway.visible(caller))
        asked = ChatRequest(
            messages=[{"role": "user", "content": image_prompt(body)}],
            endpoint="images/generations",
            timeout_s=deadline_s(request),
            **own_options(check_omni(body.get("omni") or {}, "omni"), wanted) | {"task": Task.IMAGE},
        )
        answer = await services.gateway.chat(caller, asked, request_id=request_id(request))
        made = {
            "created": int(time.time()),
            "data": [dict(image) for image in answer.images],
            "omni": omni_body(answer),
        }
        return json_response(made, headers=answer_headers(answer))

    return [
        Route("/v1/chat/completions", in_openai_style(completions), methods=["POST"]),
        Route("/v1/images/generations", in_openai_style(images), methods=["POST"]),
    ]


def in_openai_style(endpoint: Endpoint) -> Endpoint:
    """The endpoint, with its errors as OpenAI's SDKs read them."""

    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except OmniError as error:
            body = openai_error(error, request)
            return json_response(body, status=_status(error), headers=error.headers | _retry_advice(error))

    return guarded


def _status(error: OmniError) -> int:
    return 400 if isinstance(error, PromptTooLong) else error.status


def _retry_advice(error: OmniError) -> dict[str, str]:
    """Our own chain is exhausted: an SDK that tried again would only multiply the attempts."""
    return {"x-should-retry": "false"} if isinstance(error, ProviderError) else {}


def openai_error(error: OmniError, request: Request) -> dict[str, Any]:
    """The error shape with OpenAI's `type` and `param` beside our `code`."""
    status = _status(error)
    kind = ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    body = error_body(error, request)
    code = "context_length_exceeded" if isinstance(error, PromptTooLong) else error.code
    body["error"] = {"message": error.message, "type": kind, "param": error.param, "code": code}
    return body


def image_prompt(body: Mapping[str, Any]) -> str:
    """The prompt of an image request. Raises `InvalidRequest`."""
    prompt = check_string(body.get("prompt"), "prompt")
    if not prompt.strip():
        raise wrong("prompt", "must not be empty")
    if body.get("n") is not None and check_whole(body["n"], "n", 1, 10) != 1:
        raise wrong("n", "only 1 is supported: send the request again for another image")
    if body.get("response_format") is not None:
        check_choice(body["response_format"], "response_format", ("b64_json", "url"))
    return prompt


def omni_body(answer: Answer) -> dict[str, Any]:
    """What the router did, beside OpenAI's own fields; `session` from the second step of an agent session on."""
    session = session_body(answer.decision.staying)
    told: dict[str, Any] = {} if session is None else {"session": session}
    told |= {
        "task": answer.task,
        "provider": answer.provider,
        "cost": money(answer.cost),
        "savings": None if answer.savings is None else money(answer.savings),
        "premium_model": answer.premium_model or None,
        "latency_ms": answer.latency_ms,
        "attempts": [attempt_body(attempt) for attempt in answer.attempts],
        "simulated": answer.simulated,
        "estimated": answer.usage.estimated,
        "warnings": answer.warnings,
        "decision_id": answer.request_id,
    }
    if answer.billed is not None:
        told |= billed_body(answer)
    return told


def usage_body(usage: Usage) -> dict[str, Any]:
    """Tokens in OpenAI's dialect: cached ones inside the prompt's, reasoning inside the completion's."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": 0},
    }


def completion_body(answer: Answer) -> dict[str, Any]:
    """A `chat.completion`."""
    return {
        "id": f"chatcmpl-{answer.request_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": answer.model,
        "choices": [choice_body(index, choice) for index, choice in enumerate(choices_of(answer))],
        "usage": usage_body(answer.usage),
        "system_fingerprint": None,
        "omni": omni_body(answer),
    }


def choices_of(answer: Answer) -> tuple[Completion, ...]:
    """Every choice of the answer, the first one too."""
    first = Completion(
        text=answer.output,
        usage=answer.usage,
        finish_reason=answer.finish_reason,
        tool_calls=answer.tool_calls,
        images=answer.images,
        logprobs=answer.logprobs,
        refused=answer.refused,
    )
    return (first, *answer.others)


def choice_body(index: int, choice: Completion) -> dict[str, Any]:
    """One of the `choices`."""
    message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
    if choice.refused:
        message |= {"content": None, "refusal": choice.text}
    if choice.tool_calls:
        message |= {"content": choice.text or None, "tool_calls": [dict(call) for call in choice.tool_calls]}
    if choice.images:
        message["images"] = [dict(image) for image in choice.images]
    return {"index": index, "message": message, "logprobs": choice.logprobs, "finish_reason": choice.finish_reason}


@dataclass(slots=True)
class ChunkWriter:
    """`chat.completion.chunk` events: all with the same id, the role on the first one of each choice.

    A broken stream ends with an error event and no `[DONE]`.
    """

    request: Request
    include_usage: bool
    choices: int = 1
    created: int = field(default_factory=lambda: int(time.time()))
    model: str = ""
    _around: tuple[bytes, bytes] = (b"", b"")
    """A text chunk of the first choice: what stands before its text and what after it, the same in all of them."""

    def opened(self, deployment: Deployment) -> bytes:
        """The first chunk, of each choice."""
        self.model = deployment.id
        before, mark, after = self._chunk({"content": MARK}).partition(orjson.dumps(MARK))
        assert mark  # noqa: S101 the text stands in its chunk
        self._around = before, after
        first = {"role": "assistant", "content": "", "refusal": None}
        return b"".join(self._chunk(first, index=index) for index in range(self.choices))

    def deltas(self, deltas: Deltas) -> bytes:
        """One chunk each."""
        return b"".join(map(self._delta, deltas))

    def _delta(self, delta: Delta) -> bytes:
        if delta.tool_call is None and delta.logprobs is None and delta.choice == 0 and not delta.refused:
            before, after = self._around
            return before + orjson.dumps(delta.text) + after
        if delta.tool_call is not None:
            return self._chunk({"tool_calls": [dict(delta.tool_call)]}, index=delta.choice)
        name = "refusal" if delta.refused else "content"
        return self._chunk({name: delta.text}, index=delta.choice, logprobs=delta.logprobs)

    def ended(self, answer: Answer) -> bytes:
        """The last chunks: why each choice ended, what the router did, the usage where asked for, `[DONE]`."""
        choices = choices_of(answer)
        ends = b"".join(self._end(index, choice) for index, choice in enumerate(choices[:-1]))
        ends += self._end(len(choices) - 1, choices[-1], omni=omni_body(answer))
        usage = self._write({"choices": [], "usage": usage_body(answer.usage)}) if self.include_usage else b""
        return ends + usage + DONE

    def broken(self, error: OmniError) -> bytes:
        """OpenAI's error shape."""
        return data_event(orjson.dumps(openai_error(error, self.request)))

    def _end(self, index: int, choice: Completion, omni: Mapping[str, Any] | None = None) -> bytes:
        last: dict[str, Any] = {"images": [dict(image) for image in choice.images]} if choice.images else {}
        return self._chunk(last, index=index, finish_reason=choice.finish_reason, omni=omni)

    def _chunk(
        self,
        delta: Mapping[str, Any],
        *,
        index: int = 0,
        finish_reason: str | None = None,
        logprobs: Mapping[str, Any] | None = None,
        omni: Mapping[str, Any] | None = None,
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        usage = {"usage": None} if self.include_usage else {}
        return self._write({"choices": [choice], **usage, **({"omni": omni} if omni else {})})

    def _write(self, fields: Mapping[str, Any]) -> bytes:
        chunk = {
            "id": f"chatcmpl-{request_id(self.request)}",
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": None,
            **fields,
        }
        return data_event(orjson.dumps(chunk))
