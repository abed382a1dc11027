"""What the packaged registry means for real requests: expectations that a reader can check."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from omni_app.registry import packaged_registry
from omni_app.routing.decide import decide
from omni_app.routing.types import Decision, KeyKind, Policy, Priority, RouteRequest, SizeClass, Snapshot, Task

NOTHING_MEASURED: Mapping[str, float] = {}


def ask(
    task: Task = Task.CHAT,
    *,
    kind: KeyKind = "test",
    tokens: int = 30,
    latency_ms: Mapping[str, float] = NOTHING_MEASURED,
    **changes: Any,
) -> Decision:
    request = RouteRequest(
        task_scores={task: 1.0}, input_tokens=tokens, input_tokens_bound=tokens * 3, key_kind=kind, difficulty=0.2
    )
    registry = packaged_registry()
    return decide(
        replace(request, **changes),
        deployments=registry.serving(kind),
        policy=Policy(),
        snapshot=Snapshot(
            id="now", latency_ms={model: dict.fromkeys(SizeClass, ms) for model, ms in latency_ms.items()}
        ),
        registry_version=registry.version,
    )


@pytest.mark.parametrize("max_tokens", [None, 10, 50, 200, 512])
@pytest.mark.parametrize("tokens", [5, 30, 300, 1000])
def test_short_chat_with_a_test_key_goes_to_the_real_model_on_this_machine(tokens: int, max_tokens: int | None) -> None:
    assert ask(tokens=tokens, max_tokens=max_tokens).selected == "local/smollm2-135m"


def test_it_goes_there_even_after_answers_that_took_five_seconds() -> None:
    assert ask(latency_ms={"local/smollm2-135m": 5000.0}).selected == "local/smollm2-135m"


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (Task.CODING, "sandbox/coder"),
        (Task.REASONING, "sandbox/reasoner"),
        (Task.SUMMARIZATION, "sandbox/balanced"),
        (Task.TRANSLATION, "sandbox/balanced"),
        (Task.AGENT_STEP, "sandbox/balanced"),
        (Task.IMAGE, "sandbox/painter"),
    ],
)
def test_every_other_task_of_a_test_key_goes_to_the_sandbox_tier_made_for_it(task: Task, expected: str) -> None:
    assert ask(task, tokens=100).selected == expected


def test_a_chat_too_long_for_the_local_window_goes_to_the_sandbox() -> None:
    assert ask(tokens=3000).selected == "sandbox/balanced"


@pytest.mark.parametrize(
    ("priority", "expected"),
    [
        (Priority.CHEAP, "local/smollm2-135m"),
        (Priority.BEST, "sandbox/premium"),
        (Priority.QUALITY, "sandbox/premium"),
    ],
)
def test_a_test_keys_priority_moves_the_choice(priority: Priority, expected: str) -> None:
    assert ask(priority=priority).selected == expected


def test_tools_and_images_of_a_test_key_find_a_simulated_model() -> None:
    for need in ("needs_functions", "needs_vision", "needs_response_schema"):
        decision = ask(**{need: True})  # type: ignore[arg-type]  # a name of the three, all flags
        assert decision.selected is not None and decision.selected.startswith("sandbox/")
        assert len(decision.fallback_chain) >= 2


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("priority", list(Priority))
def test_a_live_key_always_finds_a_model_and_a_backup(task: Task, priority: Priority) -> None:
    decision = ask(task, kind="live", tokens=200, priority=priority)
    assert decision.selected is not None and len(decision.fallback_chain) >= 2


def test_the_best_coder_of_a_live_key_is_one_that_a_public_figure_rates() -> None:
    best = packaged_registry().get(ask(Task.CODING, kind="live", priority=Priority.BEST).selected or "")
    assert best is not None and not best.ratings[Task.CODING].prior
