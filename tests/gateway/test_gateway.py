"""The story of a request, over providers that play a part."""

import asyncio
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from omni_app.errors import InvalidRequest, NoEligibleModel, PromptTooLong, ProviderError, RateLimited
from omni_app.gateway.rate_limits import Limits
from omni_app.providers.base import Completion, FaultKind, ProviderFault, Usage
from omni_app.registry import build_registry
from omni_app.routing.types import Message, Price, Task
from omni_app.storage.ledger import AttemptRecord, RequestRecord
from omni_app.storage.snapshots import SnapshotRecord
from omni_app.storage.spool import Admission
from tests.gateway.scripted import (
    CALLER,
    DOWN,
    FLEET,
    HELLO,
    OK,
    ScriptedProvider,
    deployment,
    facts,
    gateway,
    records,
)


async def test_the_chosen_model_answers_and_the_ledger_tells_the_whole_story(tmp_path: Path) -> None:
    answer = await gateway(tmp_path, ScriptedProvider("alpha"), ScriptedProvider("beta")).chat(CALLER, HELLO)
    assert (answer.output, answer.model, answer.provider) == ("fine", "alpha/small", "alpha")
    assert answer.cost == 1_000 * 1_000_000 + 100 * 4_000_000
    assert answer.savings == 1_000 * 10_000_000 + 100 * 40_000_000 - answer.cost
    assert answer.premium_model == "alpha/large"
    snapshot, admission, attempt, finish = facts(tmp_path)
    assert isinstance(snapshot, SnapshotRecord)
    assert isinstance(admission, Admission) and isinstance(attempt, AttemptRecord) and isinstance(finish, RequestRecord)
    assert (finish.cost, finish.premium_cost, finish.success) == (answer.cost, answer.cost + answer.savings, True)
    assert finish.routing is not None and finish.routing.final_model == "alpha/small"
    assert finish.routing.considered_models[0]["model"] == "alpha/small"
    assert finish.routing.snapshot_id == snapshot.id
    assert finish.routing_us > 0 and finish.first_token_ms is None


async def test_when_the_first_provider_fails_the_next_one_answers(tmp_path: Path) -> None:
    alpha, beta = ScriptedProvider("alpha", [DOWN]), ScriptedProvider("beta")
    answer = await gateway(tmp_path, alpha, beta).chat(CALLER, HELLO)
    assert answer.model == "beta/medium"
    assert [attempt.outcome for attempt in answer.attempts] == ["server_error", "ok"]
    assert answer.rescued
    assert records(tmp_path)[0].rescued


@pytest.mark.parametrize(("first", "second"), [(100, 100_000), (100_000, 100)])
async def test_the_warnings_are_about_the_model_that_answered(tmp_path: Path, first: int, second: int) -> None:
    alpha, beta = ScriptedProvider("alpha", [DOWN]), ScriptedProvider("beta")
    served = gateway(tmp_path, alpha, beta)
    written = {"alpha/small": first, "beta/medium": second}
    models = [replace(one, max_output_tokens=written.get(one.id, one.max_output_tokens)) for one in FLEET]
    served.use_registry(build_registry(models))
    answer = await served.chat(CALLER, replace(HELLO, max_tokens=128, pinned=tuple(written)))
    assert answer.model == "beta/medium"
    assert [attempt.model for attempt in answer.attempts] == list(written)
    told = "max_tokens is 100 instead of 128, the most that beta/medium can write"
    assert answer.warnings == ((told,) if second == 100 else ())


async def test_every_line_of_a_request_has_its_one_moment(tmp_path: Path) -> None:
    """On Postgres it is part of each unique key: another one would make two rows of a line that is read twice."""
    served = gateway(tmp_path, ScriptedProvider("alpha", [DOWN]), ScriptedProvider("beta"))
    ticks = itertools.count()
    served.now = lambda: datetime(2026, 3, 31, 23, 59, tzinfo=UTC) + timedelta(minutes=next(ticks))
    await served.chat(CALLER, HELLO)
    lines = [one for one in facts(tmp_path) if not isinstance(one, SnapshotRecord)]
    assert [type(one) for one in lines] == [Admission, AttemptRecord, AttemptRecord, RequestRecord]
    assert isinstance(lines[0], Admission)
    assert {one.created_at for one in (*lines, lines[0].unfinished())} == {lines[0].created_at}


async def test_only_the_prompt_of_a_session_is_kept_by_its_provider(tmp_path: Path) -> None:
    alpha = ScriptedProvider("alpha")
    served = gateway(tmp_path, alpha, ScriptedProvider("beta"))
    for session_id in ("", "run-1"):
        await served.chat(CALLER, replace(HELLO, session_id=session_id))
    assert [request.keep_prompt for request in alpha.asked] == [False, True]


async def test_with_the_primary_down_a_hundred_of_a_hundred_are_answered(tmp_path: Path) -> None:
    alpha, beta = ScriptedProvider("alpha", [DOWN]), ScriptedProvider("beta")
    served = gateway(tmp_path, alpha, beta)
    answers = [await served.chat(CALLER, HELLO) for _ in range(100)]
    assert {answer.model for answer in answers} == {"beta/medium"}
    assert len(alpha.asked) < 20, "the breaker keeps requests away from a provider that is down"


async def test_a_failed_chain_says_what_each_attempt_met(tmp_path: Path) -> None:
    served = gateway(tmp_path, ScriptedProvider("alpha", [DOWN]), ScriptedProvider("beta", [DOWN]))
    with pytest.raises(ProviderError, match="alpha/small: server_error") as failed:
        await served.chat(CALLER, HELLO)
    assert failed.value.status == 502
    assert "beta/medium: server_error (the server is on fire)" in failed.value.message
    (record,) = records(tmp_path)
    assert (record.success, record.error_code, record.cost, record.premium_cost) == (False, "provider_error", 0, 0)


async def test_what_failed_attempts_cost_is_part_of_the_cost_and_recorded_apart(tmp_path: Path) -> None:
    lost = ProviderFault(FaultKind.EMPTY, "no text", usage=Usage(input=1000, output=50))
    wasted = 1_000 * 1_000_000 + 50 * 4_000_000
    rescuing = gateway(tmp_path, ScriptedProvider("alpha", [lost]), ScriptedProvider("beta"))
    answer = await rescuing.chat(CALLER, HELLO)
    (rescued,) = records(tmp_path)
    assert (rescued.failed_cost, rescued.cost) == (wasted, answer.cost) and rescued.cost > wasted
    assert rescued.savings == rescued.premium_cost - rescued.cost == answer.savings, "the saving pays for the failure"


async def test_all_that_a_failed_request_cost_went_to_failed_attempts(tmp_path: Path) -> None:
    lost = ProviderFault(FaultKind.EMPTY, "no text", usage=Usage(input=1000, output=50))
    served = gateway(tmp_path, ScriptedProvider("alpha", [lost]), ScriptedProvider("beta", [DOWN]))
    with pytest.raises(ProviderError):
        await served.chat(CALLER, HELLO)
    (record,) = records(tmp_path)
    assert record.failed_cost == record.cost > 0


async def test_tokens_of_a_lost_answer_are_paid_and_told(tmp_path: Path) -> None:
    lost = ProviderFault(FaultKind.EMPTY, "no text", usage=Usage(input=1000, output=50))
    answer = await gateway(tmp_path, ScriptedProvider("alpha", [lost]), ScriptedProvider("beta")).chat(CALLER, HELLO)
    wasted = 1_000 * 1_000_000 + 50 * 4_000_000
    assert answer.attempts[0].cost == wasted
    assert answer.cost == wasted + 1_000 * 2_000_000 + 100 * 8_000_000
    assert answer.cost == sum(fact.cost for fact in facts(tmp_path) if isinstance(fact, AttemptRecord))


@pytest.mark.parametrize("kind", [FaultKind.BAD_REQUEST, FaultKind.CONTENT_POLICY])
async def test_a_request_that_is_itself_wrong_is_not_tried_elsewhere(tmp_path: Path, kind: FaultKind) -> None:
    alpha, beta = ScriptedProvider("alpha", [ProviderFault(kind, "no")]), ScriptedProvider("beta")
    with pytest.raises(InvalidRequest, match="alpha refused the request: no"):
        await gateway(tmp_path, alpha, beta).chat(CALLER, HELLO)
    assert len(alpha.asked) == 1 and not beta.asked


async def test_a_prompt_too_long_for_the_model_goes_to_a_larger_window(tmp_path: Path) -> None:
    too_long = ProviderFault(FaultKind.CONTEXT_LENGTH, "too long")
    alpha = ScriptedProvider("alpha", [too_long, OK])
    beta = ScriptedProvider("beta")
    request = replace(HELLO, pinned=("alpha/small", "beta/medium", "alpha/large"))
    answer = await gateway(tmp_path, alpha, beta).chat(CALLER, request)
    assert answer.model == "alpha/large"
    assert not beta.asked, "beta's window is no larger"


async def test_a_larger_window_is_tried_though_it_is_not_among_the_three(tmp_path: Path) -> None:
    too_long = ProviderFault(FaultKind.CONTEXT_LENGTH, "too long")
    alpha, beta = ScriptedProvider("alpha", [too_long, OK]), ScriptedProvider("beta", [DOWN])
    served = gateway(tmp_path, alpha, beta)
    third = deployment("beta/tiny", usd_in=1, usd_out=3, quality=0.1)
    served.use_registry(build_registry((*FLEET, third)))
    answer = await served.chat(CALLER, replace(HELLO, messages=[{"role": "user", "content": "word " * 40_000}]))
    assert [one.outcome for one in answer.attempts] == ["context_length", "ok"]
    assert (answer.model, len(answer.decision.steps)) == ("alpha/large", 4)


async def test_a_prompt_that_no_window_holds_is_told_as_such(tmp_path: Path) -> None:
    too_long = ProviderFault(FaultKind.CONTEXT_LENGTH, "200001 tokens > 200000")
    served = gateway(tmp_path, ScriptedProvider("alpha", [too_long]), ScriptedProvider("beta"))
    with pytest.raises(PromptTooLong, match="the prompt is too long: alpha refused the request: 200001") as refused:
        await served.chat(CALLER, replace(HELLO, pinned=("alpha/small",)))
    assert (refused.value.status, refused.value.code) == (422, "no_eligible_model")
    (record,) = records(tmp_path)
    assert (record.error_code, record.attempts, record.cost) == ("no_eligible_model", 1, 0)


async def test_the_deadline_bounds_the_whole_chain(tmp_path: Path) -> None:
    slow = [ScriptedProvider(name, delay_s=10) for name in ("alpha", "beta")]
    started = asyncio.get_running_loop().time()
    with pytest.raises(ProviderError) as failed:
        await gateway(tmp_path, *slow).chat(CALLER, replace(HELLO, timeout_s=0.2))
    assert asyncio.get_running_loop().time() - started < 0.35
    assert failed.value.status == 504


CALLED: list[Message] = [
    {"role": "user", "content": "What time is it?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "noon"},
]


@pytest.mark.parametrize("messages", [CALLED, [*CALLED[:2], *HELLO.messages], [HELLO.messages[0], *CALLED[2:]]])
async def test_a_conversation_that_tells_of_tools_goes_to_who_can_call_them_though_none_are_offered(
    tmp_path: Path, messages: list[Message]
) -> None:
    alpha, beta = ScriptedProvider("alpha"), ScriptedProvider("beta")
    served = gateway(tmp_path, alpha, beta)
    served.use_registry(build_registry([replace(FLEET[0], supports_functions=False), *FLEET[1:]]))
    assert served.decide(CALLER, HELLO).selected == FLEET[0].id
    decision = served.decide(CALLER, replace(HELLO, messages=messages))
    assert FLEET[0].id not in decision.fallback_chain
    assert f"{FLEET[0].id} cannot call tools" in [f"{one.model} {one.excluded_by}" for one in decision.candidates]
    assert decision.explanation.case.request.needs_functions


def test_who_makes_pictures_need_not_read_of_tools(tmp_path: Path) -> None:
    wish: Message = {"role": "user", "content": "Generate an image of a red bicycle"}
    served = gateway(tmp_path, ScriptedProvider("alpha"))
    picture = served.decide(CALLER, replace(HELLO, messages=[*CALLED, wish]))
    assert picture.task is Task.IMAGE and not picture.explanation.case.request.needs_functions
    chat = served.decide(CALLER, replace(HELLO, messages=[*CALLED, {"role": "user", "content": "Thanks!"}]))
    assert chat.explanation.case.request.needs_functions


async def test_without_a_provider_key_the_refusal_names_the_variable_and_is_recorded(tmp_path: Path) -> None:
    providers = [ScriptedProvider("alpha", reason="ALPHA_API_KEY is not set"), ScriptedProvider("beta", reason="off")]
    with pytest.raises(NoEligibleModel, match="ALPHA_API_KEY is not set"):
        await gateway(tmp_path, *providers).chat(CALLER, HELLO)
    assert not any(provider.asked for provider in providers)
    (record,) = records(tmp_path)
    assert (record.error_code, record.cost, record.attempts) == ("no_eligible_model", 0, 0)


async def test_when_every_breaker_is_open_the_answer_is_503_with_the_time_to_wait(tmp_path: Path) -> None:
    wrong_key = ProviderFault(FaultKind.AUTHENTICATION, "wrong key")
    served = gateway(tmp_path, ScriptedProvider("alpha", [wrong_key]), ScriptedProvider("beta", [wrong_key]))
    with pytest.raises(ProviderError):
        await served.chat(CALLER, HELLO)
    with pytest.raises(ProviderError, match="cooling down") as refused:
        await served.chat(CALLER, HELLO)
    assert refused.value.status == 503
    assert int(refused.value.headers["Retry-After"]) >= 1


async def test_max_cost_covers_all_attempts_together(tmp_path: Path) -> None:
    wasteful = ProviderFault(FaultKind.EMPTY, "no text", usage=Usage(input=1000, output=4000))
    alpha, beta = ScriptedProvider("alpha", [wasteful]), ScriptedProvider("beta")
    request = replace(HELLO, max_cost=20_000 * 1_000_000, max_tokens=1_000)
    with pytest.raises(ProviderError):
        await gateway(tmp_path, alpha, beta).chat(CALLER, request)
    assert not beta.asked, "what the first attempt cost leaves too little for the second"


async def test_without_a_baseline_there_is_no_saving_to_claim(tmp_path: Path) -> None:
    providers = [ScriptedProvider("alpha"), ScriptedProvider("beta")]
    served = gateway(tmp_path, *providers, premium_model="alpha/small")
    answer = await served.chat(CALLER, HELLO)
    assert answer.savings == 0, "the baseline itself answered"


async def test_savings_are_negative_when_it_cost_more(tmp_path: Path) -> None:
    served = gateway(tmp_path, ScriptedProvider("alpha"), ScriptedProvider("beta"), premium_model="alpha/small")
    answer = await served.chat(CALLER, replace(HELLO, pinned=("alpha/large",)))
    assert answer.savings is not None and answer.savings < 0
    assert records(tmp_path)[0].savings == answer.savings


async def test_a_cancelled_request_is_recorded(tmp_path: Path) -> None:
    served = gateway(tmp_path, ScriptedProvider("alpha", delay_s=10), ScriptedProvider("beta"))
    task = asyncio.create_task(served.chat(CALLER, HELLO))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (record,) = records(tmp_path)
    assert (record.success, record.error_code, record.attempts) == (False, "cancelled", 1)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_a_mistake_of_ours_is_a_row_and_holds_nothing_back(tmp_path: Path, *, stream: bool) -> None:
    def broken() -> Completion:
        raise TypeError("nobody thought of this")

    served = gateway(tmp_path, ScriptedProvider("alpha", [DOWN]), ScriptedProvider("beta", [broken]))
    request = replace(HELLO, stream=stream)
    with pytest.raises(TypeError, match="nobody thought"):
        await (anext(served.stream(CALLER, request)) if stream else served.chat(CALLER, request))
    (record,) = records(tmp_path)
    assert (record.success, record.error_code, record.attempts) == (False, "internal_error", 1)
    assert not served.spool._admitted, "no room is promised to it any more"


async def test_the_debug_decision_is_what_chat_does(tmp_path: Path) -> None:
    served = gateway(tmp_path, ScriptedProvider("alpha"), ScriptedProvider("beta"))
    decision = served.decide(CALLER, HELLO)
    answer = await served.chat(CALLER, HELLO)
    assert decision.selected == answer.model
    assert decision == answer.decision
    assert len(records(tmp_path)) == 1, "deciding alone leaves no row"


async def test_over_the_rate_limit_the_caller_is_told_when_to_come_back(tmp_path: Path) -> None:
    served = gateway(tmp_path, ScriptedProvider("alpha"))
    served.limits = Limits(rate_max=2, rate_window_s=60, total_s=1)
    await served.admit(CALLER)
    assert (await served.admit(CALLER)).remaining == 0
    with pytest.raises(RateLimited, match="2 requests in 60 seconds") as refused:
        await served.admit(CALLER)
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 60


async def test_a_played_fault_strikes_the_primary_only_and_no_breaker(tmp_path: Path) -> None:
    sandbox = ScriptedProvider("sandbox", [ProviderFault(FaultKind.SERVER_ERROR, "[simulated]")])
    served = gateway(tmp_path, ScriptedProvider("alpha"), ScriptedProvider("beta"), sandbox)
    for _ in range(5):
        answer = await served.chat(CALLER, replace(HELLO, sandbox_fail="error"))
        assert [attempt.model for attempt in answer.attempts] == ["alpha/small", "beta/medium"]
    assert {request.sandbox_fail for request in sandbox.asked} == {"error"}


async def test_usage_is_priced_by_what_the_provider_billed(tmp_path: Path) -> None:
    billed = Completion(text="x", usage=Usage(input=10, output=3, cached_input=4))
    answer = await gateway(tmp_path, ScriptedProvider("alpha", [billed]), ScriptedProvider("beta")).chat(CALLER, HELLO)
    assert answer.cost == 10 * 1_000_000 + 3 * 4_000_000
    assert records(tmp_path)[0].tokens_cached == 4


async def test_a_price_that_changes_on_the_way_is_for_the_next_request(tmp_path: Path) -> None:
    """The routing log names the registry that the request was decided under: its prices are the request's."""
    alpha, beta = ScriptedProvider("alpha"), ScriptedProvider("beta")
    served = gateway(tmp_path, alpha, beta)
    decided = served.registry.version

    def dearer() -> Completion:
        doubled = (replace(one, price=Price(2 * one.price.input, 2 * one.price.output)) for one in FLEET)
        served.use_registry(build_registry(doubled))
        raise DOWN

    alpha.script = [dearer, OK]
    now, later = [await served.chat(CALLER, replace(HELLO, pinned=("alpha/small", "beta/medium"))) for _ in range(2)]
    assert (now.model, now.cost) == ("beta/medium", 1_000 * 2_000_000 + 100 * 8_000_000)
    assert (later.model, later.cost) == ("alpha/small", 2 * (1_000 * 1_000_000 + 100 * 4_000_000))
    logs = [one.routing.registry_version for one in records(tmp_path) if one.routing]
    assert logs == [decided, served.registry.version]
