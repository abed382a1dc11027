"""`/v1/router/debug` holds all that a choice was made of: the program of docs/API.md makes it again from the answer."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from omni_app.api.openapi import document
from omni_app.routing.types import Policy, Priority
from tests.api.conftest import HELLO, Running, run, settings_for

PAGE = Path(__file__).resolve().parents[2] / "docs" / "API.md"
PROVIDERS = ("openai", "anthropic", "openrouter", "groq", "gemini", "mistral", "deepseek", "xai")
ASKED = {
    "small talk": HELLO,
    "code": {"messages": [{"role": "user", "content": "Write a Python function that merges two sorted lists."}]},
    "proof": {"messages": [{"role": "user", "content": "Prove that there are infinitely many primes, step by step."}]},
    "picture": {"messages": [{"role": "user", "content": "Draw a logo of a fox"}]},
}
OPTIONS: list[dict[str, Any]] = [
    *({"priority": priority.value} for priority in Priority),
    {"priority": "quality", "latency_pref": "fast"},
    {"latency_pref": "fast", "max_tokens": 7},
    {"max_cost": 0.05, "max_tokens": 100_000},
]


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Running]:
    """Every provider configured: the debug route calls none of them."""
    keys = {f"{name}_api_key": "sk-unused" for name in PROVIDERS}
    async for running in run(settings_for(tmp_path, rate_limit_max=10_000, **keys)):
        running.key = await running.new_key("live")
        yield running


def documented() -> Callable[[Any], str]:
    """`recompute` of docs/API.md."""
    (program,) = [part.split("```")[0] for part in PAGE.read_text().split("```python\n") if "def recompute" in part]
    names: dict[str, Any] = {}
    exec(program.split("\nasked = ")[0], names)  # noqa: S102 our own page
    found: Callable[[Any], str] = names["recompute"]
    return found


@pytest.mark.parametrize("asked", ASKED)
async def test_the_choice_is_made_again_from_the_answer_alone(live: Running, asked: str) -> None:
    recompute = documented()
    for options in OPTIONS:
        answer = (await live.post("/v1/router/debug", ASKED[asked] | options)).json()
        assert recompute(answer) == answer["selected_model"], options


async def test_so_it_is_under_another_policy_that_holds_models_back(live: Running) -> None:
    live.services.gateway.policy = Policy(
        version="strict", cheap_quality_floor=0.9, cost_floor_pico=10**8, latency_ceiling_ms=10_000.0, best_within=0.1
    )
    for priority in Priority:
        answer = (await live.post("/v1/router/debug", ASKED["code"] | {"priority": priority.value})).json()
        held_back = [one["model"] for one in answer["considered_models"] if one["held_back"]]
        assert bool(held_back) is (priority is Priority.CHEAP)
        assert documented()(answer) == answer["selected_model"]


@pytest.mark.parametrize("spoilt", ["weights", "price", "expected", "latency_ms"])
async def test_a_figure_that_is_not_the_one_used_is_noticed(live: Running, spoilt: str) -> None:
    answer = (await live.post("/v1/router/debug", HELLO)).json()
    if spoilt == "weights":
        answer["weights"]["cost"] += 0.01
    elif spoilt == "latency_ms":
        answer["considered_models"][0]["latency_ms"] *= 1.01
    else:
        answer["considered_models"][0][spoilt]["input"] *= 1.01
    with pytest.raises(AssertionError):
        documented()(answer)


async def test_the_changes_have_the_figures_behind_the_words(live: Running) -> None:
    answer = (await live.post("/v1/router/debug", ASKED["code"])).json()
    assert [change["text"] for change in answer["changes"]] == answer["what_would_change_it"]
    limit = next(change["value"] for change in answer["changes"] if change["kind"] == "max_cost_below")
    for max_cost, stays in ((limit, True), (limit * 0.99, False)):
        again = (await live.post("/v1/router/debug", ASKED["code"] | {"max_cost": max_cost})).json()
        assert (again["selected_model"] == answer["selected_model"]) is stays
    priorities = [change for change in answer["changes"] if change["kind"] == "priority"]
    assert priorities and all(change["value"] is None for change in priorities)


async def test_every_candidate_has_exactly_the_documented_fields(live: Running) -> None:
    properties = document()["components"]["schemas"]["Decision"]["properties"]
    answer = (await live.post("/v1/router/debug", ASKED["proof"])).json()
    for one in answer["considered_models"]:
        assert one.keys() == properties["considered_models"]["items"]["properties"].keys()
    assert answer["changes"][0].keys() == properties["changes"]["items"]["properties"].keys()
