"""`n` on `/v1/chat/completions`: as many answers as were asked for, whatever the wire; one cost, one promise."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from omni_app.api.app import create_api
from omni_app.money import PICO_PER_USD
from omni_app.providers.base import Completion, Delta, Deltas, ProviderRequest, Usage
from omni_app.storage import ledger
from tests.api.conftest import Running, run, settings_for
from tests.api.test_chaos_streams import Chaos
from tests.servers.asgi import serving
from tests.servers.upstream import KEY, TEXT, Upstream

CODE: Any = [{"role": "user", "content": "Write a Python function that reverses a linked list."}]
GPT, CLAUDE = "openai/gpt-4.1", "anthropic/claude-haiku-4-5"


@pytest.fixture
async def client(product: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        serving(create_api(product.services)) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=product.key) as client,
    ):
        yield client


async def test_the_sdk_gets_n_choices_and_their_usage_together(client: openai.AsyncOpenAI) -> None:
    one = await client.chat.completions.create(model="auto", messages=CODE)
    three = await client.chat.completions.create(model="auto", messages=CODE, n=3)
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in three.choices}) == 3
    assert three.choices[0].message.content == one.choices[0].message.content
    assert one.usage is not None and three.usage is not None
    assert three.usage.prompt_tokens == 3 * one.usage.prompt_tokens
    assert three.usage.completion_tokens > 2 * one.usage.completion_tokens


async def test_a_stream_of_n_choices_equals_its_plain_twin(client: openai.AsyncOpenAI) -> None:
    plain = await client.chat.completions.create(model="auto", messages=CODE, n=3)
    chunks = [
        chunk
        async for chunk in await client.chat.completions.create(
            model="auto", messages=CODE, n=3, stream=True, stream_options={"include_usage": True}
        )
    ]
    for choice in plain.choices:
        mine = [one for chunk in chunks for one in chunk.choices if one.index == choice.index]
        assert mine[0].delta.role == "assistant" and mine[-1].finish_reason == "stop"
        assert "".join(one.delta.content or "" for one in mine) == choice.message.content
    assert chunks[-1].usage == plain.usage and not chunks[-1].choices
    assert len({chunk.id for chunk in chunks}) == 1


async def test_tools_of_every_choice_come_in_order(client: openai.AsyncOpenAI) -> None:
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    chunks = await client.chat.completions.create(model="auto", messages=CODE, n=2, tools=[tool], stream=True)
    calls = [
        (one.index, call.index, call.function.name)
        async for chunk in chunks
        for one in chunk.choices
        for call in one.delta.tool_calls or ()
        if call.function
    ]
    assert sorted(calls) == [(0, 0, "weather"), (1, 0, "weather")]


@pytest.mark.parametrize("n", [0, 9, 1.5, "2", True])
async def test_n_is_bounded(product: Running, n: object) -> None:
    answer = await product.post("/v1/chat/completions", {"messages": CODE, "n": n})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "n"


async def test_max_cost_holds_for_all_choices_together(product: Running) -> None:
    dear = {"messages": CODE, "model": "sandbox/premium", "omni": {"max_cost": 0.006}}
    one, four = [await product.post("/v1/chat/completions", {**dear, "n": n}) for n in (1, 4)]
    assert one.status_code == 200 and one.json()["omni"]["cost"] <= 0.006
    assert four.status_code == 422 and "max_cost" in four.json()["error"]["message"]
    cheap = {"messages": CODE, "n": 4, "model": "sandbox/swift", "omni": {"max_cost": 0.0011}}
    answer = (await product.post("/v1/chat/completions", cheap)).json()
    assert len(answer["choices"]) == 4 and answer["omni"]["cost"] <= 0.0011
    assert any("max_cost" in warning for warning in answer["omni"]["warnings"])


@asynccontextmanager
async def live(folder: Path) -> AsyncIterator[tuple[Running, Upstream, Upstream, str]]:
    async with Upstream() as gpt, Upstream() as claude:
        settings = settings_for(
            folder,
            openai_api_key=KEY,
            openai_base_url=gpt.openai_url,
            anthropic_api_key=KEY,
            anthropic_base_url=claude.anthropic_url,
        )
        async for running in run(settings):
            yield running, gpt, claude, await running.new_key("live")


@pytest.mark.parametrize(
    ("model", "calls", "tokens", "usd_per_million"), [(GPT, 1, (12, 7), (2, 8)), (CLAUDE, 3, (36, 21), (1, 5))]
)
async def test_one_attempt_one_row_one_exact_cost_whatever_the_wire(
    tmp_path: Path, model: str, calls: int, tokens: tuple[int, int], usd_per_million: tuple[int, int]
) -> None:
    async with live(tmp_path) as (running, gpt, claude, key):
        answer = await running.post("/v1/chat/completions", {"messages": CODE, "n": 3, "model": model}, key=key)
        body = answer.json()
        assert [choice["message"]["content"] for choice in body["choices"]] == [TEXT] * 3
        assert len(gpt.calls) + len(claude.calls) == calls and len(body["omni"]["attempts"]) == 1
        cost = sum(count * usd for count, usd in zip(tokens, usd_per_million, strict=True)) * PICO_PER_USD // 10**6
        await running.services.drainer.flush()
        async with running.services.database.session() as session:
            found = await ledger.request_detail(
                session, org_id=running.org_id, request_id=answer.headers["x-request-id"]
            )
        assert found is not None and len(found.attempts) == 1
        assert (found.request.tokens_input, found.request.tokens_output, found.request.cost) == (*tokens, cost)


async def test_when_one_of_the_calls_fails_another_model_answers_all(tmp_path: Path) -> None:
    async with live(tmp_path) as (running, _, claude, key):
        claude.fault = "500"
        body = {"messages": CODE, "n": 2, "model": [CLAUDE, GPT]}
        told = (await running.post("/v1/chat/completions", body, key=key)).json()
        assert len(told["choices"]) == 2 and told["model"] == GPT
        assert [one["outcome"] for one in told["omni"]["attempts"]] == ["server_error", "ok"]


@pytest.mark.parametrize("way", ["close", "end", "error"])
async def test_a_cut_stream_of_two_choices_is_whole_or_ends_with_an_error(tmp_path: Path, way: str) -> None:
    async with Chaos() as upstream:
        settings = settings_for(
            tmp_path, openai_api_key=KEY, openai_base_url=upstream.openai_url, rate_limit_max=10_000
        )
        async for running in run(settings):
            key = await running.new_key("live")
            body = {"messages": CODE, "n": 2, "stream": True, "model": [GPT, "openai/gpt-4o-mini"]}
            twin = await running.post("/v1/chat/completions", body, key=key)
            chunks = upstream.chunks(upstream.calls[0])
            for after in range(len(chunks) + 1):
                upstream.calls.clear()
                upstream.cut, upstream.cut_after = way, after
                running.services.gateway.health.__init__()  # type: ignore[misc]
                answer = await running.post("/v1/chat/completions", body, key=key)
                if "[DONE]" in answer.text:
                    assert said(answer) == said(twin), f"a silent truncation after {after}"
                else:
                    assert '"error":{' in answer.text and after > 0, (after, answer.text)


def said(answer: httpx.Response) -> list[str]:
    """What each of two choices said."""
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
    choices = [choice for line in lines for choice in json.loads(line).get("choices", ())]
    return ["".join(one["delta"].get("content") or "" for one in choices if one["index"] == index) for index in (0, 1)]


class Writer:
    """In the sandbox's place: begins a tool call with long arguments and never ends it."""

    name, simulated = "sandbox", True

    def unavailable_reason(self) -> str:
        return ""

    async def complete(self, request: ProviderRequest) -> Completion:
        return Completion(text="x", usage=Usage(1, 1))

    async def stream(self, request: ProviderRequest) -> AsyncIterator[Deltas | Completion]:
        call = {"index": 0, "id": "c", "type": "function", "function": {"name": "write", "arguments": '{"text": "'}}
        yield (Delta(tool_call=call),)
        yield (Delta(tool_call={"index": 0, "function": {"arguments": "many words to write down " * 40}}),)
        await asyncio.sleep(30)

    async def aclose(self) -> None:
        """Nothing to close."""


async def test_what_a_tool_call_had_written_before_the_client_left_is_billed(product: Running) -> None:
    product.services.providers["sandbox"] = Writer()  # type: ignore[assignment]
    tool = {"type": "function", "function": {"name": "write", "parameters": {"type": "object"}}}
    body = {"messages": CODE, "tools": [tool], "stream": True}
    async with (
        serving(create_api(product.services)) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=product.key) as client,
    ):
        stream = await client.chat.completions.create(model="auto", **body)
        heard = 0
        async for chunk in stream:
            heard += len(chunk.choices[0].delta.tool_calls or ())
            if heard == 2:
                break
        await stream.close()
        await asyncio.sleep(0.3)
    await product.services.drainer.flush()
    async with product.services.database.session() as session:
        found = await ledger.recent_requests(session, org_id=product.org_id, mode="test", limit=1)
    assert (found[0].error_code, found[0].estimated) == ("cancelled", True)
    assert found[0].tokens_output > 150 and found[0].cost > 0
