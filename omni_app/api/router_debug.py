"""`POST /v1/router/debug`: the decision that `/v1/chat` would make now, with all its figures; calls no provider."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.auth import Doorkeeper
from omni_app.api.chat import deadline_s
from omni_app.api.chat_schema import AGENT_STEP_FIELDS, CHAT_FIELDS, parse_chat
from omni_app.api.json_body import read_json_object
from omni_app.api.responses import json_response, money
from omni_app.routing.types import Candidate, Decision
from omni_app.services import Services


def routes(services: Services) -> list[Route]:
    """The debug endpoint. A body with `session_id` or `step_id` is read as `/v1/agent-step` would."""
    door = Doorkeeper(services.keys, services.gateway)

    async def debug(request: Request) -> Response:
        caller = await door.admit(request)
        body = await read_json_object(request, max_bytes=services.settings.max_body_bytes)
        agent_step = "step_id" in body or "session_id" in body
        chat_request = parse_chat(
            body,
            fields=AGENT_STEP_FIELDS if agent_step else CHAT_FIELDS,
            endpoint="router/debug",
            key_kind=caller.kind,
            timeout_s=deadline_s(request),
        )
        return json_response(decision_body(services.gateway.decide(caller, chat_request)))

    return [Route("/v1/router/debug", debug, methods=["POST"])]


def decision_body(decision: Decision) -> dict[str, Any]:
    """A decision with every candidate's score, terms and figures."""
    return {
        "task_type": decision.task.value,
        "task_scores": {task.value: round(score, 6) for task, score in decision.task_scores.items()},
        "considered_models": [candidate_body(candidate) for candidate in decision.candidates],
        "selected_model": decision.selected,
        "fallback_chain": list(decision.fallback_chain),
        "reason": decision.reason or decision.no_eligible_reason,
        "what_would_change_it": list(decision.what_would_change_it),
        "weights": {
            "cost": decision.weights.cost,
            "latency": decision.weights.latency,
            "task": decision.weights.task,
            "quality": decision.weights.quality,
        },
        "policy_version": decision.policy_version,
        "registry_version": decision.registry_version,
        "snapshot_id": decision.snapshot_id,
        "warnings": list(decision.warnings),
    }


def candidate_body(candidate: Candidate) -> dict[str, Any]:
    """One considered model; its score is the weighted sum of its terms."""
    terms = candidate.terms
    return {
        "model": candidate.model,
        "score": candidate.score,
        "terms": {"cost": terms.cost, "latency": terms.latency, "task": terms.task, "quality": terms.quality},
        "expected_cost": money(candidate.expected_cost),
        "worst_cost": money(candidate.worst_cost),
        "latency_ms": candidate.latency_ms,
        "eligible": candidate.eligible,
        "excluded_by": candidate.excluded_by or None,
    }
