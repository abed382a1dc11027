"""A kept request once more: the command and the request from the page ask for what the first one asked for."""

import json
import shlex
from dataclasses import replace
from typing import Any

import pytest

from omni_app.errors import NotFound
from omni_app.registry import packaged_registry
from omni_app.routing.types import LatencyPref, Priority, Task
from omni_app.storage.ledger import RequestRecord
from omni_app.ui.again import body_of, command, request_of, why_not
from tests.storage.facts import record

MESSAGES = [{"role": "user", "content": "It's “quoted” `code` $HOME <key> </script>\nsecond line"}]
FEATURES: dict[str, Any] = {
    "priority": "quality",
    "latency_pref": "fast",
    "max_cost": 12_345_000_000,
    "max_tokens": 77,
    "pinned": [],
    "embeds": False,
}
DEPLOYMENTS = packaged_registry().serving("test")


def kept(**features: Any) -> RequestRecord:
    """A request with these features."""
    known = record()
    assert known.routing is not None
    return replace(known, routing=replace(known.routing, features=FEATURES | features), session_id="", step_id="")


def test_the_same_is_asked_again() -> None:
    body = body_of(kept(), MESSAGES, {"temperature": 0.5})
    request = request_of(body, deployments=DEPLOYMENTS, kind="test")
    assert request.messages == MESSAGES
    assert (request.priority, request.latency_pref) == (Priority.QUALITY, LatencyPref.FAST)
    assert (request.max_cost, request.max_tokens, request.params) == (12_345_000_000, 77, {"temperature": 0.5})
    assert (request.endpoint, request.pinned) == ("playground", ())


def test_defaults_are_not_spelled_out() -> None:
    plain = kept(priority="balanced", latency_pref="normal", max_cost=None, max_tokens=None)
    assert body_of(plain, MESSAGES, {}) == {"model": "auto", "messages": MESSAGES}


def test_a_step_of_an_agent_stays_one() -> None:
    body = body_of(replace(kept(), session_id="run-42", step_id="open"), MESSAGES, {})
    request = request_of(body, deployments=DEPLOYMENTS, kind="test")
    assert (request.task, request.session_id, request.step_id) == (Task.AGENT_STEP, "run-42", "open")


@pytest.mark.parametrize("pinned", [["sandbox/coder"], ["sandbox/coder", "sandbox/swift"]])
def test_named_models_are_named_again(pinned: list[str]) -> None:
    request = request_of(body_of(kept(pinned=pinned), MESSAGES, {}), deployments=DEPLOYMENTS, kind="test")
    assert request.pinned == tuple(pinned)


def test_a_named_model_that_is_gone_is_said() -> None:
    with pytest.raises(NotFound):
        request_of(body_of(kept(pinned=["gone/model"]), MESSAGES, {}), deployments=DEPLOYMENTS, kind="test")


def test_a_shell_reads_the_command_as_it_was_meant_whatever_was_typed() -> None:
    body = body_of(kept(), MESSAGES, {})
    before, after = command(body, origin="http://127.0.0.1:8000")
    words = shlex.split(before + "omr_test_x" + after)
    assert words[:2] == ["curl", "http://127.0.0.1:8000/v1/chat/completions"]
    assert "Authorization: Bearer omr_test_x" in words
    assert json.loads(words[words.index("-d") + 1]) == body


def test_why_it_cannot_be_sent_again() -> None:
    assert why_not(kept(), kept=True) == ""
    assert "opts in" in why_not(kept(), kept=False)
    assert "embeddings" in why_not(kept(embeds=True), kept=True)
    assert "never decided" in why_not(replace(kept(), routing=None), kept=True)
