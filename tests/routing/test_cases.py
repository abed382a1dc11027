"""The table in cases.toml, one test per situation, through the classifier, the token count and the decision."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from omni_app.money import pico
from omni_app.routing.classify import classify
from omni_app.routing.tokens import estimate_tokens
from omni_app.routing.types import Decision, LatencyPref, Priority, RouteRequest, Snapshot
from tests.routing.models import MODELS, TODAY, decided

CASES = tomllib.loads(Path(__file__).with_name("cases.toml").read_text(encoding="utf-8"))["case"]
KNOWN = {
    *("situation", "says", "expects_task", "takes", "then", "refused_with", "warns", "priority", "latency_pref"),
    *("max_cost_usd", "max_tokens", "pinned", "allowed", "tools", "sees_image", "schema", "unavailable", "tokens"),
}


def routed(case: dict[str, Any]) -> Decision:
    messages = [{"role": "user", "content": case.get("says", "")}]
    seen = classify(messages, tools=case.get("tools", False), image_parts=case.get("sees_image", False))
    expected, bound = estimate_tokens(messages, ())
    request = RouteRequest(
        task_scores=seen.task_scores,
        input_tokens=case.get("tokens", expected),
        input_tokens_bound=4 * case["tokens"] if "tokens" in case else bound,
        key_kind="live",
        max_tokens=case.get("max_tokens"),
        priority=Priority(case.get("priority", "balanced")),
        latency_pref=LatencyPref(case.get("latency_pref", "normal")),
        max_cost=pico(case["max_cost_usd"]) if "max_cost_usd" in case else None,
        needs_functions=case.get("tools", False),
        needs_vision=case.get("sees_image", False),
        needs_response_schema=case.get("schema", False),
        allowed_models=frozenset(case["allowed"]) if "allowed" in case else None,
        pinned=tuple(case.get("pinned", ())),
        signals=seen.signals,
        difficulty=seen.difficulty,
        subtask=seen.subtask,
    )
    snapshot = Snapshot("case", unavailable=case.get("unavailable", {}), today=TODAY.today)
    return decided(request, *MODELS, snapshot=snapshot)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["situation"])
def test_the_router_does_what_the_table_says(case: dict[str, Any]) -> None:
    assert case.keys() <= KNOWN
    decision = routed(case)
    told = (decision.task, decision.fallback_chain, decision.reason or decision.no_eligible_reason)
    assert decision.selected == case.get("takes"), told
    if "expects_task" in case:
        assert decision.task == case["expects_task"]
    if "then" in case:
        assert decision.fallback_chain[1:] == tuple(case["then"])
    assert case.get("refused_with", "") in decision.no_eligible_reason
    assert case.get("warns", "") in "; ".join(decision.warnings)
