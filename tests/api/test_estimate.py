"""`POST /estimate`: files of requests and of usage, bad lines told by number, nothing kept and nothing said back."""

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from omni_app.api.app import serves
from omni_app.api.estimate import MAX_LINES, PARTS_LIMIT
from omni_app.api.estimate_schema import AUDIO, BATCH
from omni_app.registry import packaged_registry
from tests.api.conftest import ORIGIN, Running

CANARY = "zanzibar-canary-7731"
HEADER = (
    "start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,model,batch,"
    "service_tier,input_tokens,output_tokens,input_cached_tokens,input_uncached_tokens,input_text_tokens,"
    "output_text_tokens,input_cached_text_tokens,input_audio_tokens,input_cached_audio_tokens,output_audio_tokens"
)
"""The columns of the dashboard's activity export, in their order."""
USAGE = {"prompt_tokens": 12, "completion_tokens": 7}
OTHER_NAMES = {"input_tokens": 12, "output_tokens": 7}


def row(model: str, *, requests: str = "10.0", batch: str = "FALSE", audio: str = "0.0") -> str:
    """A row of that export, its counts written as it writes them."""
    tokens = f"59200.0,10646.0,5760.0,53440.0,53440.0,10646.0,5760.0,{audio},0.0,0.0"
    times = "1759622400,1759708800,2025-10-05T00:00:00+00:00,2025-10-06T00:00:00+00:00"
    return f"{times},proj_x,{requests},user-x,key_x,{model},{batch},default,{tokens}"


def chat(prompt: str = "What is the capital of France?", **more: Any) -> dict[str, Any]:
    return {"model": "gpt-5.1", "messages": [{"role": "user", "content": prompt}], **more}


async def ask(product: Running, *lines: Any, form: str = "requests", **more: Any) -> httpx.Response:
    texts = [one if isinstance(one, str) else json.dumps(one) for one in lines]
    body = {"form": form, "lines": [[number, text] for number, text in enumerate(texts, 1)], **more}
    return await product.client.post("/estimate", json=body, headers={"Origin": ORIGIN})


def sums(answer: httpx.Response, name: str) -> int:
    return sum(int(kind[name]) for kind in answer.json()["kinds"])


async def test_requests_need_no_account_and_are_summed_by_model_task_and_choice(product: Running) -> None:
    code = chat(
        "Write a Python function that merges two sorted lists.", usage={"prompt_tokens": 30, "completion_tokens": 400}
    )
    answer = await ask(product, chat(), chat(), code)
    assert answer.status_code == 200
    assert {(kind["task"], kind["requests"]) for kind in answer.json()["kinds"]} == {("chat", 2), ("coding", 1)}
    (coding,) = [kind for kind in answer.json()["kinds"] if kind["task"] == "coding"]
    price = packaged_registry().get("openai/gpt-5.1")
    assert price is not None
    assert int(coding["cost_pico"]) == 30 * price.price.input + 400 * price.price.output
    assert answer.json()["prices_as_of"]


@pytest.mark.parametrize(
    "line",
    [
        chat(usage=USAGE),
        {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": chat(), "usage": OTHER_NAMES},
        {"request": chat(), "response": {"id": "x", "usage": USAGE}},
        {"custom_id": "a", "body": chat(), "response": {"status_code": 200, "body": {"usage": USAGE}}},
        chat(temperature=9, n=99, tool_choice="x", audio={}, usage=USAGE),
    ],
    ids=["plain", "batch", "with its answer", "batch with its answer", "with options that do not matter"],
)
async def test_every_usual_form_of_a_logged_request_is_read(product: Running, line: dict[str, Any]) -> None:
    answer = await ask(product, line)
    assert answer.json()["bad"] == []
    assert (sums(answer, "requests"), sums(answer, "input_tokens"), sums(answer, "output_tokens")) == (1, 12, 7)


async def test_a_bad_line_is_told_with_its_number_and_nothing_else_is_lost(product: Running) -> None:
    answer = await ask(
        product,
        chat(),
        "{not json",
        "",
        {"model": "gpt-5.1"},
        {"custom_id": "e", "url": "/v1/embeddings", "body": {"model": "text-embedding-3-small", "input": "x"}},
        chat(usage={"prompt_tokens": -1, "completion_tokens": 2}),
        {"model": 5, "messages": [{"role": "user", "content": "x"}]},
        "[1, 2]",
        chat(),
    )
    found = answer.json()
    assert {bad["line"]: bad["reason"].partition(":")[0] for bad in found["bad"]} == {
        2: "is not valid JSON",
        4: "messages",
        5: "url",
        6: "usage.prompt_tokens",
        7: "model",
        8: "is not a JSON object",
    }
    assert (sums(answer, "requests"), found["empty"]) == (2, 1)


async def test_the_dashboard_s_export_is_read_as_it_is(product: Running) -> None:
    rows = [
        row("gpt-5.1-2025-11-13"),
        row("gpt-4o-2024-08-06"),
        row("gpt-5.1", batch="True"),
        row("gpt-5.1", audio="9.0"),
    ]
    answer = await ask(product, *rows, row("", requests=""), "1,2", form="csv", header=HEADER, tasks="coding")
    found = answer.json()
    (kind,) = found["kinds"]
    assert (kind["model"], kind["priced_as"], kind["task"]) == ("gpt-5.1-2025-11-13", "openai/gpt-5.1", "coding")
    assert (kind["requests"], kind["input_tokens"], kind["output_tokens"]) == (10, 59_200, 10_646)
    price = packaged_registry().get("openai/gpt-5.1")
    assert price is not None
    cached = price.price.cached_input or 0
    assert int(kind["cost_pico"]) == 53_440 * price.price.input + 5_760 * cached + 10_646 * price.price.output
    reasons = {one["reason"]: one["requests"] for one in found["left_out"]}
    assert reasons[BATCH] == reasons[AUDIO] == 10
    assert "gpt-4o-2024-08-06" in {one["model"] for one in found["left_out"]}
    assert [bad["line"] for bad in found["bad"]] == [5, 6]


async def test_a_day_without_use_is_no_mistake(product: Running) -> None:
    empty = "1759881600,1759968000,2025-10-08T00:00:00+00:00,2025-10-09T00:00:00+00:00" + "," * 17
    answer = await ask(product, empty, form="csv", header=HEADER)
    assert (answer.json()["empty"], answer.json()["bad"]) == (1, [])


async def test_the_usage_api_s_results_are_read_and_spread_over_a_mix(product: Running) -> None:
    result = {
        "object": "organization.usage.completions.result",
        "model": "gpt-5.1",
        "num_model_requests": 12,
        "batch": None,
    }
    result |= {"input_tokens": 1200, "output_tokens": 601, "input_cached_tokens": 100, "project_id": None}
    answer = await ask(product, result, {**result, "model": None}, form="usage", tasks="mix")
    assert (sums(answer, "requests"), sums(answer, "input_tokens"), sums(answer, "output_tokens")) == (12, 1200, 601)
    assert len({kind["task"] for kind in answer.json()["kinds"]}) == 6
    assert answer.json()["bad"] == [{"line": 2, "reason": "model: missing: export the usage grouped by model"}]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"form": "csv", "header": "date,amount_value,line_item", "lines": [[1, "x"]]}, "header"),
        ({"form": "csv", "lines": [[1, "x"]]}, "header"),
        ({"form": "excel", "lines": [[1, "x"]]}, "form"),
        ({"form": "usage", "tasks": "image", "lines": [[1, "x"]]}, "tasks"),
        ({"form": "requests", "choice": "best", "lines": [[1, "x"]]}, "choice"),
        ({"form": "requests", "lines": []}, "lines"),
        ({"form": "requests", "lines": [[1, "x"]] * (MAX_LINES + 1)}, "lines"),
        ({"form": "requests", "lines": [["1", "x"]]}, "lines[0][0]"),
        ({"form": "requests", "lines": [[1]]}, "lines[0]"),
        ({"form": "requests", "lines": [[1, "x"]], "org": "x"}, "org"),
    ],
)
async def test_a_wrong_part_is_refused_by_field(product: Running, body: dict[str, Any], field: str) -> None:
    answer = await product.client.post("/estimate", json=body, headers={"Origin": ORIGIN})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field


async def test_another_site_s_page_cannot_use_it(product: Running) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN}, {}):
        answer = await product.client.post(
            "/estimate", json={"form": "requests", "lines": [[1, "{}"]]}, headers=headers
        )
        assert answer.status_code == 403


async def test_too_large_a_part_is_not_read(product: Running) -> None:
    answer = await ask(product, "x" * 3_100_000)
    assert answer.status_code == 413


async def test_one_address_has_a_limit_and_is_told_when_to_go_on(product: Running) -> None:
    answers = [await ask(product, "{}") for _ in range(PARTS_LIMIT + 1)]
    assert [one.status_code for one in answers] == [200] * PARTS_LIMIT + [429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60


async def test_others_are_served_while_a_part_is_computed(product: Running) -> None:
    prompt = "Explain, step by step, why the sky is blue. " * 40
    long = asyncio.create_task(ask(product, *(chat(f"{number} {prompt}") for number in range(MAX_LINES))))
    waits = []
    while not long.done():
        began = time.perf_counter()
        await asyncio.sleep(0)
        assert (await product.client.get("/health")).status_code == 200
        waits.append(time.perf_counter() - began)
    assert (await long).status_code == 200
    assert len(waits) > 5, "nothing else was served"
    assert sorted(waits)[len(waits) // 2] < 0.1


async def test_no_text_of_a_file_comes_back_is_logged_or_is_stored(
    product: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    lines = [
        chat(CANARY),
        json.dumps(chat(CANARY))[:-1],
        f'{{"{CANARY}": 1, "{CANARY}": 2}}',
        {"model": "gpt-5.1", "messages": [{"role": CANARY, "content": CANARY}]},
        {"model": "gpt-5.1", "messages": [{"role": "user", "content": [{"type": CANARY, CANARY: CANARY}]}]},
        {"model": "gpt-5.1", "messages": CANARY},
        chat("x", tools=[{"type": CANARY}], response_format={"type": CANARY}),
        chat("x", tools=[{"type": "function", "function": {"name": CANARY + "\n"}}]),
        chat("x", usage={"prompt_tokens": CANARY}),
        {"url": CANARY, "body": CANARY},
    ]
    answer = await ask(product, *lines)
    assert answer.status_code == 200
    assert len(answer.json()["bad"]) == len(lines) - 1
    csv = await ask(product, f"{CANARY},{CANARY}", f'"{CANARY}', form="csv", header=HEADER)
    assert CANARY not in answer.text + csv.text + caplog.text
    await asyncio.sleep(0.1)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


def test_the_path_is_the_api_s_and_no_other() -> None:
    assert serves("/estimate")
    assert not serves("/estimate.js")
    assert not serves("/estimate-example.jsonl")


async def test_the_example_is_read_whole(product: Running) -> None:
    example = Path(__file__).resolve().parent.parent.parent / "assets" / "estimate-example.jsonl"
    lines = example.read_text(encoding="utf-8").splitlines()
    for choice in ("balanced", "quality", "as_good"):
        answer = await ask(product, *lines, choice=choice)
        assert (answer.json()["bad"], answer.json()["left_out"]) == ([], [])
        assert sums(answer, "requests") == len(lines)
        assert len({kind["task"] for kind in answer.json()["kinds"]}) >= 5
