"""Requests as CSV: whole, exact, only the caller's own, and enough for somebody else to compute every cost again."""

import asyncio
import csv
import io
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from omni_app.api.request_export import HEADINGS, PAGE
from omni_app.money import PICO_PER_USD
from omni_app.registry.store import registries_at
from omni_app.storage import accounts, keys, ledger
from tests.api.conftest import HELLO, Running
from tests.api.test_real_wires import Live, live
from tests.product import ROOT
from tests.storage.facts import KEY, NOON, record

RECOMPUTE = ROOT / "docs" / "recompute.py"
GPT, CLAUDE = "openai/gpt-4.1", "anthropic/claude-haiku-4-5"
CACHED = {
    "prompt_tokens": 1_000, "completion_tokens": 70, "total_tokens": 1_070,
    "prompt_tokens_details": {"cached_tokens": 600},
}  # fmt: skip
CACHED_AND_WRITTEN = {
    "input_tokens": 40, "output_tokens": 70, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 300,
}  # fmt: skip


def recompute(export: str, *, file: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The program as somebody runs it who has nothing but Python and the file."""
    if file is not None:
        file.write_text(export, encoding="utf-8", newline="")
    command = [sys.executable, "-I", str(RECOMPUTE), *([str(file)] if file else [])]
    return subprocess.run(command, input=None if file else export, capture_output=True, text=True, check=False)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Live]:
    """After requests of every kind over real wires; the ledger has them."""
    async with live(tmp_path / "product") as product:
        openai, anthropic = product.openai, product.anthropic

        async def ask(*models: str, stream: bool = False) -> int:
            body = HELLO | {"model": list(models) if len(models) > 1 else models[0], "stream": stream}
            return int((await product.post("/v1/chat/completions", body)).status_code)

        told = [await ask(GPT), await ask(CLAUDE), await ask(GPT, stream=True)]
        openai.usage, anthropic.usage = CACHED, CACHED_AND_WRITTEN
        told += [await ask(GPT), await ask(GPT, stream=True), await ask(CLAUDE), await ask(CLAUDE, stream=True)]
        openai.fault = "null_content"
        told += [await ask(GPT, CLAUDE), await ask(GPT, CLAUDE, stream=True)]
        openai.fault = "mid_close"
        told += [await ask(GPT, stream=True)]
        openai.fault = anthropic.fault = "500"
        told += [await ask(GPT, CLAUDE)]
        assert told == [200] * 10 + [502]
        await product.running.services.drainer.flush()
        await until_the_price_list_is_kept(product)
        yield product


async def until_the_price_list_is_kept(product: Live) -> None:
    """A server keeps it in the background, when the database is there."""
    services = product.running.services
    async with asyncio.timeout(20), services.database.session() as session:
        while not await registries_at(session, [services.gateway.registry.version]):  # noqa: ASYNC110 another task's work
            await asyncio.sleep(0.05)


async def test_everything_can_be_computed_again_from_the_file(served: Live, tmp_path: Path) -> None:
    export = (await served.running.get("/v1/requests.csv", key=served.key)).text
    lines = rows(export)
    assert len(lines) == 11
    assert {line["outcome"] for line in lines} == {"answered", "rescued", "failed"}
    assert sum(int(line["tokens_cached"]) > 0 for line in lines) >= 6
    assert any(int(line["failed_cost_pico"]) > 0 and line["outcome"] == "rescued" for line in lines)
    assert any(int(line["savings_pico"]) < 0 for line in lines)
    for done in (recompute(export), recompute(export, file=tmp_path / "requests.csv")):
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("11 requests, 0 figures wrong, 0 without a known price")
    usage = (await served.running.get("/v1/usage", key=served.key)).json()
    total = sum(int(line["cost_pico"]) for line in lines)
    assert Decimal(total) / PICO_PER_USD == Decimal(str(usage["total_cost"]))
    assert f"total: 11 requests, cost {Decimal(total).scaleb(-12):f}" in done.stdout


@pytest.mark.parametrize(
    "column",
    [
        "tokens_input", "tokens_output", "tokens_cached", "tokens_cache_write", "cost_pico", "failed_cost_pico",
        "premium_cost_pico", "savings_pico", "price_output_pico", "premium_price_input_pico", "failed_attempts",
    ],
)  # fmt: skip
async def test_a_changed_figure_is_found(served: Live, column: str) -> None:
    lines = rows((await served.running.get("/v1/requests.csv", key=served.key)).text)
    changed = next(line for line in lines if line["outcome"] != "failed" and line[column] not in ("", "0"))
    changed[column] += "1" if column == "failed_attempts" else "0"
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, HEADINGS)
    writer.writeheader()
    writer.writerows(lines)
    done = recompute(out.getvalue())
    assert done.returncode == 1 and f"{changed['request_id']}: " in done.stdout


@pytest.fixture
async def person(product: Running) -> accounts.Identity:
    """Somebody who is signed in, with requests of an evil key's name, and one of another org."""
    services = product.services
    async with services.database.session() as session:
        who = await accounts.sign_up(session, email="a@example.com", password="a wonderful horse 9", org_name="A")
        token = await accounts.open_session(session, user_id=who.user_id)
        key, _ = await keys.create_key(session, org_id=who.org_id, name="=cmd()", kind="live", hasher=services.hasher)
        mine = replace(record(), org_id=who.org_id, key_id=key.id, session_id="@run", task="chat")
        times = [NOON - timedelta(seconds=n // 3) for n in range(PAGE + 7)]  # three of each instant
        many = [replace(mine, request_id=f"r{n:05}", created_at=at) for n, at in enumerate(times)]
        apart = [
            replace(mine, request_id="test", key_kind="test"),
            replace(mine, request_id="failed", success=False, error_code="timeout", task="coding"),
            replace(record("other"), org_id=uuid4()),
        ]
        await ledger.insert_records(session, [*many, *apart])
        await session.commit()
    product.client.cookies.set("omr_session", token)
    return who


async def test_pages_join_without_gaps_or_repeats(product: Running, person: accounts.Identity) -> None:
    answer = await product.client.get("/auth/requests.csv")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="requests-live.csv"'
    lines = rows(answer.text)
    assert tuple(lines[0]) == HEADINGS
    assert len({line["request_id"] for line in lines}) == len(lines) == PAGE + 8
    assert [line["created_at_utc"] for line in lines] == sorted((one["created_at_utc"] for one in lines), reverse=True)
    assert lines[0]["created_at_utc"] == "2025-03-10T12:00:00.123456Z"


async def test_texts_are_no_formulas_and_unknown_prices_are_left_out(
    product: Running, person: accounts.Identity
) -> None:
    line = rows((await product.client.get("/auth/requests.csv", params={"id": "r00001"})).text)[0]
    assert (line["key"][:7], line["session_id"], line["simulated"]) == ("'=cmd()", "'@run", "false")
    assert (line["price_input_pico"], line["registry_version"]) == ("", "r1")
    done = recompute((await product.client.get("/auth/requests.csv", params={"id": "r00001"})).text)
    assert done.stdout.startswith("1 requests, 0 figures wrong, 3 without a known price")


@pytest.mark.parametrize(
    ("params", "count"),
    [
        ({"mode": "test"}, 1),
        ({"outcome": "failed"}, 1),
        ({"task": "coding"}, 1),
        ({"model": "nobody/x"}, 0),
        ({"key": str(KEY)}, 0),
        ({"session": "@run", "outcome": "answered"}, PAGE + 7),
        ({"from": NOON.isoformat()}, 4),
        ({"to": NOON.isoformat(), "from": (NOON - timedelta(seconds=1)).isoformat()}, 3),
        ({"from": "2030-01-01"}, 0),
    ],
)
async def test_filters_are_those_of_the_log(
    product: Running, person: accounts.Identity, params: dict[str, str], count: int
) -> None:
    answer = await product.client.get("/auth/requests.csv", params=params)
    assert answer.text.startswith(",".join(HEADINGS)) and len(rows(answer.text)) == count


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"mode": "all"}, "mode"),
        ({"outcome": "odd"}, "outcome"),
        ({"key": "mine"}, "key"),
        ({"from": "2026-02-01", "to": "2026-01-01"}, "from"),
        ({"id": "a\0"}, "id"),
        ({"x": "1"}, "x"),
    ],
)
async def test_a_bad_address_is_told_before_the_file_begins(
    product: Running, person: accounts.Identity, params: Any, word: str
) -> None:
    answer = await product.client.get("/auth/requests.csv", params=params)
    assert answer.status_code == 400 and answer.json()["error"]["message"].startswith(word)


async def test_a_key_sees_its_own_org_and_without_one_there_is_nothing(
    product: Running, person: accounts.Identity
) -> None:
    keyed = await product.get("/v1/requests.csv")
    assert keyed.status_code == 200 and rows(keyed.text) == []
    crossed = await product.client.get("/auth/requests.csv", headers={"sec-fetch-site": "cross-site"})
    assert crossed.status_code == 403
    product.client.cookies.clear()
    assert (await product.client.get("/auth/requests.csv")).status_code == 401
    assert (await product.client.get("/v1/requests.csv")).status_code == 401
