"""What an org or a key has set for itself: models, policy, baseline, limit; and what is kept to replay a decision."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from omni_app.errors import NoEligibleModel, RateLimited
from omni_app.gateway.gateway import Gateway
from omni_app.gateway.situation import snapshot_of, snapshot_record
from omni_app.gateway.types import ChatRequest
from omni_app.providers.base import Completion, Delta, Deltas, ProviderRequest
from omni_app.routing.types import Policy, SizeClass, Snapshot, Task, Weights
from omni_app.storage.snapshots import SnapshotRecord
from tests.gateway.scripted import CALLER, DOWN, FLEET, HELLO, OK, ScriptedProvider, facts, gateway, records

QUALITY_ONLY = Policy(version="org-1", balanced=Weights(0.0, 0.0, 1.0, 0.0))


def two_providers(spool_dir: Path) -> Gateway:
    return gateway(spool_dir, ScriptedProvider("alpha"), ScriptedProvider("beta"))


async def test_a_switched_off_model_is_neither_chosen_nor_a_fallback_nor_listed(tmp_path: Path) -> None:
    caller = replace(CALLER, disabled_models=frozenset({"alpha/small"}))
    served = gateway(tmp_path, ScriptedProvider("alpha"), ScriptedProvider("beta", [DOWN]))
    assert (await served.chat(caller, HELLO)).model == "alpha/large"
    assert "alpha/small" not in {one.id for one in served.visible(caller)}
    assert (await served.chat(CALLER, HELLO)).model == "alpha/small"


async def test_naming_a_switched_off_model_says_that_it_is_switched_off(tmp_path: Path) -> None:
    caller = replace(CALLER, disabled_models=frozenset({"alpha/small"}))
    with pytest.raises(NoEligibleModel, match="switched off for this org"):
        await two_providers(tmp_path).chat(caller, replace(HELLO, pinned=("alpha/small",)))


async def test_an_org_is_served_under_its_own_policy_and_the_record_names_it(tmp_path: Path) -> None:
    served = two_providers(tmp_path)
    assert (await served.chat(replace(CALLER, policy=QUALITY_ONLY), HELLO)).model == "alpha/large"
    assert (await served.chat(CALLER, HELLO)).model == "alpha/small"
    assert [record.routing.policy_version for record in records(tmp_path) if record.routing] == ["org-1", "default-1"]


async def test_savings_are_measured_against_the_orgs_own_baseline(tmp_path: Path) -> None:
    served = two_providers(tmp_path)
    answer = await served.chat(replace(CALLER, premium_model="beta/medium"), HELLO)
    assert answer.premium_model == "beta/medium"
    assert answer.savings == (1_000 * 2_000_000 + 100 * 8_000_000) - answer.cost
    unknown = await served.chat(replace(CALLER, premium_model="gone/model"), HELLO)
    assert unknown.premium_model == "alpha/large", "a baseline that is gone gives way to the best there is"


async def test_a_keys_own_limit_holds_beside_its_orgs(tmp_path: Path) -> None:
    served = two_providers(tmp_path)
    limited, other = replace(CALLER, rate_limit=2), replace(CALLER, key_id=CALLER.org_id)
    assert (await served.admit(limited)).remaining == 1
    await served.admit(limited)
    with pytest.raises(RateLimited, match="over the limit of 2 requests"):
        await served.admit(limited)
    assert (await served.admit(other)).limit == served.limits.rate_max


class Typist(ScriptedProvider):
    """Says one word after the other, slowly."""

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Deltas | Completion, None]:
        for word in ("fi", "ne"):
            await asyncio.sleep(0.03)
            yield (Delta(text=word),)
        yield OK


async def test_a_streams_first_token_and_every_attempts_start_are_recorded(tmp_path: Path) -> None:
    served = gateway(tmp_path, ScriptedProvider("alpha", [DOWN], delay_s=0.02), Typist("beta"))
    async for _ in served.stream(CALLER, HELLO):
        pass
    (record,) = records(tmp_path)
    starts = [fact.started_ms for fact in facts(tmp_path) if hasattr(fact, "started_ms")]
    assert starts[0] < 20 <= starts[1]
    assert record.first_token_ms is not None and 50 <= record.first_token_ms <= record.latency_ms - 20


async def test_the_state_of_a_decision_is_kept_once_and_comes_back_whole(tmp_path: Path) -> None:
    served = gateway(tmp_path, ScriptedProvider("alpha"), ScriptedProvider("beta", reason="BETA_API_KEY is not set"))
    for _ in range(3):
        await served.chat(CALLER, HELLO)
    kept = [fact for fact in facts(tmp_path) if isinstance(fact, SnapshotRecord)]
    assert [one.unavailable for one in kept] == [{"beta": "BETA_API_KEY is not set"}]
    decided_in = served.decide(CALLER, HELLO).explanation.case.snapshot
    assert snapshot_of(kept[0], FLEET) == decided_in


async def test_the_length_of_our_own_answers_stands_above_the_prior_until_the_caller_gives_one(tmp_path: Path) -> None:
    served = two_providers(tmp_path)
    assumed = served.policy.expected_output[Task.CHAT]

    def cost_of(request: ChatRequest) -> int:
        return served.decide(CALLER, request).top(1)[0].expected_cost

    prior = cost_of(HELLO)
    served.expected_output = lambda: {Task.CHAT: assumed + 100}
    served.use_registry(served.registry)
    assert cost_of(HELLO) == prior + 100 * 4_000_000, "alpha/small writes at $4 per million tokens"
    assert cost_of(replace(HELLO, max_tokens=assumed)) == prior


@pytest.mark.parametrize(
    "unavailable",
    [
        {},
        {"alpha/small": "cooling down"},
        {"alpha/small": "no key", "alpha/large": "no key"},
        {"alpha/small": "cooling down", "alpha/large": "no key", "beta/medium": "no key"},
    ],
)
def test_reasons_are_kept_short_and_lose_nothing(unavailable: dict[str, str]) -> None:
    today = datetime(2026, 3, 1, tzinfo=UTC)
    state = Snapshot(
        id="s",
        latency_ms={"alpha/small": {SizeClass.LARGE_FULL: 120.0}},
        unavailable=unavailable,
        expected_output={Task.CODING: 350},
        today=today.date(),
    )
    assert snapshot_of(snapshot_record(state, FLEET, created_at=today), FLEET) == state
