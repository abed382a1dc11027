"""Live keys over providers' real wire formats: OpenAI's and Anthropic's, spoken by servers on this machine."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from omni_app.api.app import create_api
from omni_app.money import PICO_PER_USD
from omni_app.providers.openai_wire import OpenAIWire
from omni_app.storage import ledger
from tests.api.conftest import Running, run, settings_for
from tests.product import free_port
from tests.servers.asgi import serving
from tests.servers.bad_manners import BAD_MANNERS
from tests.servers.upstream import KEY, REFUSALS, Upstream

CHAT = {"messages": [{"role": "user", "content": "Hi! Tell me something nice."}]}
CODE = {"messages": [{"role": "user", "content": "Write a Python function that reverses a linked list."}]}
PROOF = {"messages": [{"role": "user", "content": "Prove that there are infinitely many primes, step by step."}]}
STEP = {"messages": [{"role": "user", "content": "Use the tools to find the newest file, then read it."}]}
SLOW = frozenset({"hang", "drip", "drip_head", "stall", "huge"})
"""Manners that only a deadline ends: they have their own tests with the providers."""


@dataclass
class Live:
    """A product with two real providers configured, and a live key."""

    running: Running
    openai: Upstream
    anthropic: Upstream
    key: str

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        return await self.running.post(path, body, key=self.key)


@asynccontextmanager
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with Upstream() as openai, Upstream() as anthropic:
        settings = settings_for(
            tmp_path,
            openai_api_key=KEY,
            openai_base_url=openai.openai_url,
            anthropic_api_key=KEY,
            anthropic_base_url=anthropic.anthropic_url,
            rate_limit_max=10_000,
        )
        async for running in run(settings):
            yield Live(running, openai, anthropic, await running.new_key("live"))


@pytest.fixture
async def product(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path) as product:
        yield product


async def test_requests_reach_both_providers_by_what_they_need(product: Live) -> None:
    asked = [
        (CHAT, {}),
        (CODE, {}),
        (CODE, {"priority": "best"}),
        (PROOF, {"priority": "best"}),
        (CHAT, {"priority": "best"}),
    ]
    answers = [(await product.post("/v1/chat", {**body, **options})).json() for body, options in asked]
    providers = Counter(answer["provider"] for answer in answers)
    assert set(providers) == {"openai", "anthropic"}, providers
    assert len(product.openai.calls) == providers["openai"]
    assert len(product.anthropic.calls) == providers["anthropic"]
    assert all(answer["output"] and answer["cost"] > 0 and not answer["simulated"] for answer in answers)


async def test_cost_is_the_billed_tokens_at_the_listed_price(product: Live) -> None:
    body = (await product.post("/v1/chat", CODE)).json()
    price = (await product.running.get(f"/v1/models/{body['model_used']}", key=product.key)).json()
    expected = body["tokens"]["input"] * price["cost_input"] + body["tokens"]["output"] * price["cost_output"]
    assert body["cost"] == pytest.approx(expected / 1_000_000, rel=1e-12)


async def test_with_one_provider_stopped_a_hundred_of_a_hundred_are_answered(product: Live) -> None:
    first = (await product.post("/v1/chat", CODE)).json()["provider"]
    stopped = product.openai if first == "openai" else product.anthropic
    await stopped.__aexit__(None, None, None)
    try:
        bodies = [CODE, CHAT, PROOF] * 34
        answers = await asyncio.gather(*(product.post("/v1/chat", body) for body in bodies[:100]))
    finally:
        await stopped.__aenter__()
    assert Counter(answer.status_code for answer in answers) == {200: 100}
    assert not any(answer.json()["provider"] == first for answer in answers)


@pytest.mark.parametrize(
    "fault", sorted((BAD_MANNERS.keys() - SLOW) | {"500", "503", "529", "429", "401", "404", "redirect"})
)
async def test_whatever_the_first_provider_does_the_other_one_answers(tmp_path: Path, fault: str) -> None:
    async with live(tmp_path) as product:
        for upstream in (product.openai, product.anthropic):
            upstream.fault = ""
        first = (await product.post("/v1/chat", CODE)).json()["provider"]
        broken = product.openai if first == "openai" else product.anthropic
        broken.fault = fault
        answer = await product.post("/v1/chat", {**CODE})
        body = answer.json()
        assert answer.status_code == 200, body
        if body["attempts"][0]["outcome"] == "ok":
            assert body["provider"] == first, "an answer that could be read was taken"
        else:
            assert body["provider"] != first
        assert KEY not in answer.text


async def test_a_server_that_is_its_own_provider_notices_after_one_hop(tmp_path: Path) -> None:
    port = free_port()
    itself = f"http://127.0.0.1:{port}/v1"
    async for running in run(settings_for(tmp_path, openai_api_key=KEY, openai_base_url=itself)):
        live_key = await running.new_key("live")
        wire = running.services.providers["openai"]
        assert isinstance(wire, OpenAIWire)
        running.services.providers["openai"] = replace(wire, api_key=live_key)
        async with serving(create_api(running.services), port=port):
            answer = await running.post("/v1/chat", CODE, key=live_key)
        assert answer.status_code == 502 and "its own provider" in answer.json()["error"]["message"]
        assert len(answer.json()["error"]["message"].split("loop")) == 2, "one attempt, one hop"


async def test_the_callers_own_mistake_is_400_and_not_tried_elsewhere(product: Live) -> None:
    for upstream in (product.openai, product.anthropic):
        upstream.fault = "400"
    answer = await product.post("/v1/chat", CODE)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "invalid_request"
    assert len(product.openai.calls) + len(product.anthropic.calls) == 1


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/chat", 422, "no_eligible_model"),
        ("/v1/chat/completions", 400, "context_length_exceeded"),
        ("/v1/messages", 400, "no_eligible_model"),
    ],
)
async def test_a_prompt_that_every_provider_finds_too_long_is_told_in_the_route_s_words(
    product: Live, path: str, status: int, code: str
) -> None:
    for upstream in (product.openai, product.anthropic):
        upstream.fault = "context_length"
    answer = await product.post(path, CODE if path == "/v1/chat" else CODE | {"model": "auto", "max_tokens": 50})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert "the prompt is too long" in error["message"], "agents look for these words, and shorten it"


async def test_no_error_ever_shows_a_provider_key(product: Live) -> None:
    for fault in REFUSALS:
        product.openai.fault = product.anthropic.fault = fault
        assert KEY not in (await product.post("/v1/chat", CODE)).text


async def test_the_ledger_has_every_attempt_and_live_figures_stay_apart(product: Live) -> None:
    product.openai.fault = product.anthropic.fault = "500"
    await product.post("/v1/chat", CODE)
    product.openai.fault = product.anthropic.fault = ""
    product.running.services.gateway.health.__init__()  # type: ignore[misc]
    served = (await product.post("/v1/agent-step", STEP)).json()
    await product.running.services.drainer.flush()
    usage = (await product.running.get("/v1/usage", key=product.key)).json()
    assert (usage["mode"], usage["total_requests"], usage["successful_requests"]) == ("live", 2, 1)
    assert usage["total_cost"] == served["cost"]
    assert (await product.running.get("/v1/usage")).json()["total_requests"] == 0
    async with product.running.services.database.session() as session:
        newest, oldest = await ledger.recent_requests(session, org_id=product.running.org_id, mode="live")
        failed = await ledger.request_detail(session, org_id=product.running.org_id, request_id=oldest.request_id)
    assert newest.cost == round(served["cost"] * PICO_PER_USD)
    assert failed is not None and len(failed.attempts) == oldest.attempts >= 2
    assert {attempt.outcome for attempt in failed.attempts} == {"server_error"}
