"""`POST /v1/chat` and `POST /v1/agent-step`, plain and streamed."""

import time
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.auth import Doorkeeper
from omni_app.api.chat_schema import AGENT_STEP_FIELDS, CHAT_FIELDS, parse_chat
from omni_app.api.json_body import read_json_object
from omni_app.api.responses import error_body, json_response, money, request_id
from omni_app.api.sse import event
from omni_app.api.streams import streamed
from omni_app.errors import InvalidRequest, OmniError
from omni_app.gateway.rate_limits import token_headers
from omni_app.gateway.types import Answer, Attempt, Caller, ChatRequest
from omni_app.money import usd_text
from omni_app.providers.base import Delta, Deltas
from omni_app.routing.staying import Staying
from omni_app.routing.types import Deployment, Task
from omni_app.services import Services

MAX_TIMEOUT_MS = 3_600_000


def routes(services: Services) -> list[Route]:
    """The two chat endpoints; they differ in their fields and in the task."""
    door = Doorkeeper(services)
    max_bytes = services.settings.max_body_bytes

    async def read(request: Request, *, endpoint: str) -> tuple[Caller, ChatRequest]:
        caller = await door.admit(request)
        body = await read_json_object(request, max_bytes=max_bytes)
        fields = AGENT_STEP_FIELDS if endpoint == "agent-step" else CHAT_FIELDS
        return caller, parse_chat(
            body, fields=fields, endpoint=endpoint, key_kind=caller.kind, timeout_s=deadline_s(request)
        )

    async def answer(request: Request, *, endpoint: str) -> Response:
        caller, chat_request = await read(request, endpoint=endpoint)
        if chat_request.stream:
            return await streamed(services, caller, chat_request, request, EventWriter(request, chat_request))
        found = await services.gateway.chat(caller, chat_request, request_id=request_id(request))
        return json_response(answer_body(found) | step_body(chat_request, found), headers=answer_headers(found))

    async def chat(request: Request) -> Response:
        return await answer(request, endpoint="chat")

    async def agent_step(request: Request) -> Response:
        return await answer(request, endpoint="agent-step")

    return [Route("/v1/chat", chat, methods=["POST"]), Route("/v1/agent-step", agent_step, methods=["POST"])]


def step_body(request: ChatRequest, answer: Answer) -> dict[str, Any]:
    """What an agent step's answer has besides a chat's: its ids, echoed, and what its session had to do with it."""
    if request.task is not Task.AGENT_STEP:
        return {}
    ids = {"session_id": request.session_id or None, "step_id": request.step_id or None}
    return ids | {"session": session_body(answer.decision.staying)}


def session_body(staying: Staying | None) -> dict[str, Any] | None:
    """What the agent session had to do with the choice; None outside of one, and for its first step."""
    if staying is None:
        return None
    return {
        "home": staying.home,
        "stays": staying.stays,
        "cached_tokens": staying.cached_tokens,
        "saves": None if staying.saves is None else money(staying.saves),
        "reason": staying.words or None,
    }


@dataclass(slots=True)
class EventWriter:
    """Events `delta {text | tool_call}` as they come, `done` with the whole answer, or `error`."""

    request: Request
    asked: ChatRequest

    def opened(self, deployment: Deployment) -> bytes:
        """Nothing: `done` says who answered."""
        return b""

    def deltas(self, deltas: Deltas) -> bytes:
        """One event each."""
        return b"".join([event("delta", orjson.dumps(delta_body(delta))) for delta in deltas])

    def ended(self, answer: Answer) -> bytes:
        """What a plain answer would be."""
        return event("done", orjson.dumps(answer_body(answer) | step_body(self.asked, answer)))

    def broken(self, error: OmniError) -> bytes:
        """The error shape."""
        return event("error", orjson.dumps(error_body(error, self.request)))


def delta_body(delta: Delta) -> dict[str, Any]:
    """One piece: text or a tool call's delta."""
    return {"tool_call": delta.tool_call} if delta.tool_call is not None else {"text": delta.text}


def deadline_s(request: Request) -> float | None:
    """What is left of the client's own deadline, from `x-omni-timeout-ms`, which began when the request came: standing
    in line, looking up its key and reading its body count.
    """
    text = request.headers.get("x-omni-timeout-ms")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 0 < int(text) <= MAX_TIMEOUT_MS):
        raise InvalidRequest(f"x-omni-timeout-ms: must be a whole number between 1 and {MAX_TIMEOUT_MS}")
    now_s = time.monotonic()
    passed_s: float = now_s - request.scope.get("omni_came_s", now_s)
    return max(0.001, int(text) / 1000 - passed_s)


def answer_body(answer: Answer) -> dict[str, Any]:
    """The answer of product.md, with what decided it."""
    body: dict[str, Any] = {
        "output": answer.output,
        "model_used": answer.model,
        "provider": answer.provider,
        "cost": money(answer.cost),
        "latency_ms": answer.latency_ms,
        "savings_estimate": None if answer.savings is None else money(answer.savings),
        "premium_model": answer.premium_model or None,
        "task_type": answer.task,
        "tokens": {"input": answer.usage.input, "output": answer.usage.output},
        "attempts": [attempt_body(attempt) for attempt in answer.attempts],
        "finish_reason": answer.finish_reason,
        "simulated": answer.simulated,
        "warnings": list(answer.warnings),
        "request_id": answer.request_id,
        "decision_id": answer.request_id,
    }
    body |= billed_body(answer)
    if answer.tool_calls:
        body["tool_calls"] = [dict(call) for call in answer.tool_calls]
    if answer.images:
        body["images"] = [dict(image) for image in answer.images]
    return body


def billed_body(answer: Answer) -> dict[str, Any]:
    """The cost with its markup; nothing where there is no markup."""
    return {} if answer.billed is None else {"billed": money(answer.billed)}


def attempt_body(attempt: Attempt) -> dict[str, Any]:
    """One attempt as callers see it."""
    told: dict[str, Any] = {"model": attempt.model, "outcome": attempt.outcome, "latency_ms": attempt.latency_ms}
    if attempt.byok:
        told["byok"] = True
    return told


def answer_headers(answer: Answer) -> dict[str, str]:
    """What a proxy or a log wants without reading the body. The overhead is what we added to the models' own time."""
    told = {
        "x-omni-model": answer.model,
        "x-omni-cost-usd": usd_text(answer.cost),
        "x-omni-overhead-ms": str(max(0, answer.latency_ms - sum([one.latency_ms for one in answer.attempts]))),
        "x-omni-fallbacks": str(len(answer.attempts) - 1),
    }
    if answer.tokens_left is not None or answer.billed is not None:
        told |= token_headers(answer.tokens_left) | billed_headers(answer)
    return told


def billed_headers(answer: Answer) -> dict[str, str]:
    """As `billed_body`."""
    return {} if answer.billed is None else {"x-omni-billed-usd": usd_text(answer.billed)}
