"""`POST /v1/router/debug`: the decision that `/v1/chat` would make now, with all its figures; calls no provider."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.auth import Doorkeeper
from omni_app.api.chat import deadline_s, session_body
from omni_app.api.chat_schema import AGENT_STEP_FIELDS, CHAT_FIELDS, parse_chat
from omni_app.api.json_body import read_json_object
from omni_app.api.models import TOKENS_PER_PRICE, rating_body
from omni_app.api.responses import json_response, money
from omni_app.routing.change import Change
from omni_app.routing.explain import Explanation
from omni_app.routing.score import minimum_quality
from omni_app.routing.shortlist import rating_for
from omni_app.routing.size import expected_tokens
from omni_app.routing.types import Candidate, Case, Decision, Deployment, Policy, Priority
from omni_app.services import Services


def routes(services: Services) -> list[Route]:
    """The debug endpoint. A body with `session_id` or `step_id` is read as `/v1/agent-step` would."""
    door = Doorkeeper(services)

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
        session = await services.gateway.recall(caller, chat_request)
        return json_response(decision_body(services.gateway.decide(caller, chat_request, session=session)))

    return [Route("/v1/router/debug", debug, methods=["POST"])]


CHOSEN_BY = {Priority.CHEAP: "lowest_cost", Priority.BEST: "highest_rating"}
"""Priorities that choose by a rule; the others choose by the score."""


def chosen_by(explanation: Explanation) -> str:
    """What put the selected model first."""
    request = explanation.case.request
    if request.pinned:
        return "name"
    return "session" if explanation.ranking.stayed is not None else CHOSEN_BY.get(request.priority, "score")


def decision_body(decision: Decision) -> dict[str, Any]:
    """A decision with all that is needed to make it again by hand (docs/API.md does)."""
    explanation = decision.explanation
    case, deployments = explanation.case, {one.id: one for one in explanation.table.deployments}
    return {
        "task_type": decision.task.value,
        "task_scores": {task.value: round(score, 6) for task, score in decision.task_scores.items()},
        "considered_models": [
            candidate_body(candidate, deployments[candidate.model], case) for candidate in decision.candidates
        ],
        "selected_model": decision.selected,
        "fallback_chain": list(decision.fallback_chain),
        "reason": decision.reason or decision.no_eligible_reason,
        "chosen_by": chosen_by(explanation),
        "margin": explanation.margin,
        "fragile": explanation.fragile,
        "what_would_change_it": list(decision.what_would_change_it),
        "changes": [change_body(change) for change in explanation.changes],
        "session": session_body(decision.staying),
        "weights": {
            "cost": decision.weights.cost,
            "latency": decision.weights.latency,
            "task": decision.weights.task,
            "quality": decision.weights.quality,
        },
        "references": references_body(case.policy) | {"minimum_quality": minimum_quality(case)},
        "policy_version": decision.policy_version,
        "registry_version": decision.registry_version,
        "snapshot_id": decision.snapshot_id,
        "warnings": list(decision.warnings),
    }


def references_body(policy: Policy) -> dict[str, Any]:
    """What the terms are measured against: floor and ceiling of the two logarithmic scales, and the rules' figures."""
    return {
        "cost": [money(policy.cost_floor_pico), money(policy.cost_ceiling_pico)],
        "latency_ms": [policy.latency_floor_ms, policy.latency_ceiling_ms],
        "best_within": policy.best_within,
        "fragile_margin": policy.fragile_margin,
    }


def change_body(change: Change) -> dict[str, Any]:
    """One change that would choose another model; `value` as `Change` says, an amount in dollars."""
    value: Any = money(round(change.value)) if change.kind == "max_cost_below" else change.value
    return {
        "kind": change.kind,
        "model": change.model,
        "value": None if change.kind == "priority" else value,
        "text": change.text,
    }


def candidate_body(candidate: Candidate, deployment: Deployment, case: Case) -> dict[str, Any]:
    """One considered model; its score is the weighted sum of its terms."""
    terms, price = candidate.terms, deployment.price
    tokens = expected_tokens(deployment, case)
    return {
        "model": candidate.model,
        "score": candidate.score,
        "terms": {"cost": terms.cost, "latency": terms.latency, "task": terms.task, "quality": terms.quality},
        "ratings": {"task": rating_body(rating_for(deployment, case)), "overall": rating_body(deployment.overall)},
        "price": {
            "input": money(price.input * TOKENS_PER_PRICE),
            "output": money(price.output * TOKENS_PER_PRICE),
            "cached_input": None if price.cached_input is None else money(price.cached_input * TOKENS_PER_PRICE),
            "cache_write": None if price.cache_write is None else money(price.cache_write * TOKENS_PER_PRICE),
            "image": money(price.image),
        },
        "expected": {
            "input": tokens.input,
            "cached_input": tokens.cached_input,
            "cache_write": tokens.cache_write,
            "output": tokens.output,
            "images": tokens.images,
        },
        "expected_cost": money(candidate.expected_cost),
        "worst_cost": money(candidate.worst_cost),
        "latency_ms": candidate.latency_ms,
        "eligible": candidate.eligible,
        "excluded_by": candidate.excluded_by or None,
        "held_back": candidate.held_back or None,
    }
