"""`/v1/embeddings`: the unmodified openai SDK, models that never mix, fallback to the same model only, exact money."""

import asyncio
import math
from base64 import b64decode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

from omni_app.api.app import create_api
from omni_app.gateway.embedder import Embedder
from omni_app.gateway.types import EMBEDDINGS, Caller, ChatRequest
from omni_app.providers.embeddings import unpacked
from omni_app.registry import build_registry, packaged_registry
from omni_app.registry.store import load_registry, registry_version, seed_models
from omni_app.routing.types import Deployment, Price
from omni_app.storage import ledger
from tests.api.conftest import Running, run, settings_for
from tests.servers.asgi import serving
from tests.servers.upstream import KEY, Upstream

TEXTS = ["a red apple", "a red pear", "the stock market fell"]
SMALL = "openai/text-embedding-3-small"


def deployment(model_id: str) -> Deployment:
    found = packaged_registry().get(model_id)
    assert found is not None
    return found


ELSEWHERE = replace(
    deployment(SMALL),
    id="openrouter/openai/text-embedding-3-small",
    provider="openrouter",
    model_name="openai/text-embedding-3-small",
    price=Price(input=30_000, output=0),
)

CHEAP = replace(deployment(SMALL), id="openai/new", model_name="new", price=Price(input=1, output=0))


@asynccontextmanager
async def live(folder: Path, **changes: Any) -> AsyncIterator[tuple[Running, Upstream, Upstream, str]]:
    """A product with the same model at two providers, OpenAI and (dearer) OpenRouter, and a live key."""
    async with Upstream() as first, Upstream() as second:
        settings = settings_for(
            folder,
            openai_api_key=KEY,
            openai_base_url=first.openai_url,
            openrouter_api_key=KEY,
            openrouter_base_url=second.openai_url,
            **changes,
        )
        async for running in run(settings, seeded=False):
            await serve(running, [*packaged_registry().deployments, ELSEWHERE])
            yield running, first, second, await running.new_key("live")


async def serve(running: Running, deployments: Iterable[Deployment]) -> None:
    """From now on these are the models, in the table too; the first seeding at the start is over then."""
    async with asyncio.timeout(10), running.services.database.session() as session:
        while not await registry_version(session):
            await session.rollback()
            await asyncio.sleep(0.01)
        await seed_models(session, build_registry(deployments))
        await session.commit()
        running.services.gateway.use_registry(await load_registry(session))


async def row_of(running: Running, request_id: str) -> ledger.RequestDetail:
    await running.services.drainer.flush()
    async with running.services.database.session() as session:
        found = await ledger.request_detail(session, org_id=running.org_id, request_id=request_id)
    assert found is not None
    return found


def likeness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_the_openai_sdk_reads_our_vectors_in_both_forms(product: Running) -> None:
    async with (
        serving(create_api(product.services)) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=product.key) as client,
    ):
        default = await client.embeddings.create(model="auto", input=TEXTS)
        floats = await client.embeddings.create(model="auto", input=TEXTS, encoding_format="float")
        tokens = await client.embeddings.create(model="auto", input=[[1, 2, 3], [4]])
        with pytest.raises(openai.NotFoundError, match="makes no embeddings"):
            await client.embeddings.create(model="sandbox/premium", input="x")
    vectors = [one.embedding for one in default.data]
    assert vectors == [pytest.approx(one.embedding, abs=1e-7) for one in floats.data]
    assert [one.index for one in default.data] == [0, 1, 2] and len(vectors[0]) == 384
    assert default.model == "sandbox/embedder" and default.usage.prompt_tokens == default.usage.total_tokens > 0
    assert likeness(vectors[0], vectors[1]) > likeness(vectors[0], vectors[2])
    assert all(math.isclose(likeness(one, one), 1, abs_tol=1e-5) for one in vectors)
    assert len(tokens.data) == 2 and tokens.usage.prompt_tokens == 4


async def test_an_org_keeps_its_model_when_a_cheaper_one_appears(tmp_path: Path) -> None:
    async with live(tmp_path) as (running, _, _, key):
        first = (await running.post("/v1/embeddings", {"input": "x"}, key=key)).json()
        await serve(running, [*packaged_registry().deployments, ELSEWHERE, CHEAP])
        again = (await running.post("/v1/embeddings", {"input": "x"}, key=key)).json()
        stranger = await running.new_key("live", org="Other")
        other = (await running.post("/v1/embeddings", {"input": "x"}, key=stranger)).json()
        assert first["model"] == again["model"] == SMALL
        assert other["model"] == CHEAP.id


async def test_the_choice_survives_a_restart(tmp_path: Path) -> None:
    async with live(tmp_path) as (running, _, _, key):
        assert (await running.post("/v1/embeddings", {"input": "x"}, key=key)).json()["model"] == SMALL
    async with live(tmp_path) as (running, first, _, _):
        key = await running.new_key("live")
        await serve(running, [*packaged_registry().deployments, ELSEWHERE, CHEAP])
        assert (await running.post("/v1/embeddings", {"input": "x"}, key=key)).json()["model"] == SMALL
        assert first.last_body == {"model": "text-embedding-3-small", "input": ["x"], "encoding_format": "base64"}


async def test_every_worker_uses_the_model_that_the_first_one_chose(tmp_path: Path) -> None:
    async with live(tmp_path) as (running, _, _, key):
        services = running.services
        caller = Caller.with_key(await services.keys.authenticate(key))
        asked = ChatRequest(messages=[], endpoint=EMBEDDINGS, params={"input": ["x"]})
        first = await Embedder(services.gateway, services.database).embed(caller, asked)
        await serve(running, [*packaged_registry().deployments, ELSEWHERE, CHEAP])
        workers = [Embedder(services.gateway, services.database) for _ in range(8)]
        answers = await asyncio.gather(*(worker.embed(caller, asked) for worker in workers))
        assert {answer.model for answer in answers} == {first.model} == {SMALL}


async def test_fallback_goes_to_the_same_model_and_nowhere_else(tmp_path: Path) -> None:
    async with live(tmp_path) as (running, first, second, key):
        first.fault = "500"
        saved = (await running.post("/v1/embeddings", {"input": "x"}, key=key)).json()
        assert saved["model"] == ELSEWHERE.id and len(saved["omni"]["attempts"]) == 2
        assert second.last_body["model"] == "openai/text-embedding-3-small"
        second.fault = "500"
        lost = await running.post("/v1/embeddings", {"input": "x"}, key=key)
        assert lost.status_code == 502 and lost.headers["x-should-retry"] == "false"
        assert {call.body["model"].rpartition("/")[2] for call in first.calls + second.calls} == {
            "text-embedding-3-small"
        }


async def test_a_pin_by_id_stays_at_its_provider_and_a_bare_name_does_not(tmp_path: Path) -> None:
    async with live(tmp_path) as (running, first, second, key):
        first.fault = "500"
        pinned = await running.post("/v1/embeddings", {"input": "x", "model": SMALL}, key=key)
        assert pinned.status_code == 502 and not second.calls
        bare = await running.post("/v1/embeddings", {"input": "x", "model": "text-embedding-3-small"}, key=key)
        assert bare.json()["model"] == ELSEWHERE.id


async def test_vectors_of_another_size_are_never_passed_on(tmp_path: Path) -> None:
    async with live(tmp_path) as (running, first, second, key):
        first.vector_size = second.vector_size = 768
        answer = await running.post("/v1/embeddings", {"input": "x"}, key=key)
        assert answer.status_code == 502 and "do not have 1536 numbers" in answer.json()["error"]["message"]


async def test_the_ledger_has_the_call_its_tokens_and_its_exact_cost(tmp_path: Path) -> None:
    async with live(tmp_path) as (running, _, _, key):
        answer = await running.post("/v1/embeddings", {"input": TEXTS, "dimensions": 256}, key=key)
        body = answer.json()
        assert [one["embedding"][:2] for one in body["data"]] == [[0.0, 0.5], [1.0, 0.5], [2.0, 0.5]]
        assert len(body["data"][0]["embedding"]) == 256
        assert answer.headers["x-omni-cost-usd"] == "0.00000024" and body["omni"]["savings"] is None
        found = await row_of(running, answer.headers["x-request-id"])
        record = found.request
        assert (record.task, record.endpoint, record.model) == ("embedding", "embeddings", SMALL)
        assert (record.tokens_input, record.tokens_output, record.cost) == (12, 0, 12 * 20_000)
        assert record.premium_cost == record.cost and record.premium_model == "" and len(found.attempts) == 1
        usage = (await running.get("/v1/usage", key=key)).json()
        assert [one["task"] for one in usage["by_task"]] == ["embedding"] and usage["estimated_savings"] == 0


@pytest.mark.parametrize("fault", ["usage_missing", "usage_zero", "usage_negative", "usage_absurd"])
async def test_tokens_that_nobody_can_believe_are_counted_here(tmp_path: Path, fault: str) -> None:
    async with live(tmp_path) as (running, first, _, key):
        first.fault = fault
        body = (await running.post("/v1/embeddings", {"input": "some words to count"}, key=key)).json()
        assert body["omni"]["estimated"] is True and 2 <= body["usage"]["prompt_tokens"] <= 10


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a", 3]}, "input[1]"),
        ({"input": [[1], "a"]}, "input[1]"),
        ({"input": [[1], [-1]]}, "input[1][0]"),
        ({"input": [1, 2.5]}, "input[1]"),
        ({"input": {"text": "a"}}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": 385}, "dimensions"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "model": ["sandbox/embedder", "sandbox/embedder-large"]}, "model"),
        ({"input": "a", "omni": {"max_price": 1}}, "omni.max_price"),
    ],
)
async def test_wrong_fields_are_named_in_openais_shape(product: Running, body: dict[str, Any], param: str) -> None:
    answer = await product.post("/v1/embeddings", body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)


async def test_an_input_that_no_window_holds_is_too_long(product: Running) -> None:
    answer = await product.post("/v1/embeddings", {"input": ["short", [7] * 9000]})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input[1]"  # A list that mixes texts and tokens.
    answer = await product.post("/v1/embeddings", {"input": [[7], [7] * 9000]})
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert "input[1]" in answer.json()["error"]["message"]


async def test_many_inputs_may_be_longer_together_than_the_window(product: Running) -> None:
    answer = await product.post("/v1/embeddings", {"input": ["word " * 3000] * 10})
    assert answer.status_code == 200 and answer.json()["usage"]["prompt_tokens"] > 8192


async def test_max_cost_is_held_against_the_worst_case(product: Running) -> None:
    answer = await product.post("/v1/embeddings", {"input": "x " * 5000, "omni": {"max_cost": 1e-6}})
    assert answer.status_code == 422 and "max_cost" in answer.json()["error"]["message"]
    assert (await product.post("/v1/embeddings", {"input": "x", "omni": {"max_cost": 0.001}})).status_code == 200


async def test_a_model_of_fixed_size_takes_no_other(tmp_path: Path) -> None:
    async with live(tmp_path) as (running, first, _, key):
        body = {"input": "x", "model": "text-embedding-ada-002"}
        refused = await running.post("/v1/embeddings", body | {"dimensions": 256}, key=key)
        assert refused.status_code == 400 and refused.json()["error"]["param"] == "dimensions"
        taken = await running.post("/v1/embeddings", body | {"dimensions": 1536}, key=key)
        assert taken.status_code == 200 and "dimensions" not in first.last_body


async def test_a_live_key_without_a_provider_names_the_variable(product: Running) -> None:
    key = await product.new_key("live")
    answer = await product.post("/v1/embeddings", {"input": "x"}, key=key)
    assert answer.status_code == 422 and "OPENAI_API_KEY is not set" in answer.json()["error"]["message"]


async def test_a_model_that_is_no_longer_served_is_not_replaced_in_silence(tmp_path: Path) -> None:
    async with live(tmp_path) as (running, _, _, key):
        await running.post("/v1/embeddings", {"input": "x"}, key=key)
        left = [one for one in packaged_registry().deployments if one.id != SMALL]
        await serve(running, left)
        answer = await running.post("/v1/embeddings", {"input": "x"}, key=key)
        assert answer.status_code == 422 and "text-embedding-3-small" in answer.json()["error"]["message"]


async def test_embedders_never_answer_a_chat(product: Running) -> None:
    listed = {one["id"]: one["vector_size"] for one in (await product.get("/v1/models")).json()["data"]}
    assert listed["sandbox/embedder"] == 384 and listed["sandbox/premium"] is None
    pinned = {"model": "sandbox/embedder", "messages": [{"role": "user", "content": "Hi"}]}
    assert (await product.post("/v1/chat/completions", pinned)).status_code == 404
    debug = (await product.post("/v1/router/debug", {"messages": pinned["messages"]})).json()
    assert not any("embedder" in one["model"] for one in debug["considered_models"])


async def test_the_sandbox_plays_faults_here_too(product: Running) -> None:
    answer = await product.post("/v1/embeddings", {"input": "x", "metadata": {"sandbox_fail": "error"}})
    assert answer.status_code == 502 and "[simulated]" in answer.json()["error"]["message"]


async def test_base64_is_little_endian_floats(product: Running) -> None:
    floats = (await product.post("/v1/embeddings", {"input": "one two"})).json()
    packed = (await product.post("/v1/embeddings", {"input": "one two", "encoding_format": "base64"})).json()
    assert unpacked(b64decode(packed["data"][0]["embedding"])) == floats["data"][0]["embedding"]
    assert floats["omni"]["simulated"] is True and floats["omni"]["task"] == "embedding"


async def test_many_vectors_are_the_same_in_both_forms_and_in_order(product: Running) -> None:
    inputs = [f"text number {number}" for number in range(40)]
    floats = (await product.post("/v1/embeddings", {"input": inputs})).json()["data"]
    packed = (await product.post("/v1/embeddings", {"input": inputs, "encoding_format": "base64"})).json()["data"]
    assert [unpacked(b64decode(one["embedding"])) for one in packed] == [one["embedding"] for one in floats]
    alone = (await product.post("/v1/embeddings", {"input": inputs[39]})).json()["data"]
    assert floats[39]["embedding"] == alone[0]["embedding"] and floats[39]["index"] == 39
