"""Providers that write on beyond `max_tokens`, or count more than they may: the request costs no more than promised.

On both wires, plain and streamed. The provider is a server that heeds no limit; its calls, its words and what it
counts are held against what the caller is told, the ledger and the budget.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from omni_app.gateway.health import COOLDOWN_S
from omni_app.money import PICO_PER_USD, pico
from omni_app.routing.types import Price
from omni_app.storage import budgets, ledger
from omni_app.storage.keys import find_keys
from omni_app.storage.tables import utc_now
from omni_app.verify import verify_ledger
from tests.api.conftest import Running
from tests.api.test_max_cost import figures
from tests.api.test_real_wires import Live, live
from tests.product import ROOT
from tests.servers.upstream import Upstream

WORDS = 4_000
TEXT = " ".join(f"word{number}" for number in range(WORDS))
PINNED = {"openai": "openai/gpt-4.1", "anthropic": "anthropic/claude-opus-4-5"}
COUNTED = {
    "openai": {"prompt_tokens": 12, "completion_tokens": 90_000, "total_tokens": 90_012},
    "anthropic": {"input_tokens": 12, "output_tokens": 90_000},
}
"""What it says that it wrote."""
LIMIT_USD = "0.02"
LIMIT = pico(LIMIT_USD)

every_wire = pytest.mark.parametrize("wire", PINNED)
plain_and_streamed = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@dataclass
class Defiant:
    """A product, the provider that heeds no limit, and who asks."""

    product: Live
    wire: str
    provider: Upstream
    key: str

    @property
    def running(self) -> Running:
        return self.product.running

    @property
    def price(self) -> Price:
        """Of the pinned model."""
        deployment = self.running.services.gateway.registry.get(PINNED[self.wire])
        assert deployment is not None
        return deployment.price

    async def ask(self, *, stream: bool, **more: Any) -> Any:
        """One request for the pinned model."""
        body = {"model": PINNED[self.wire], "messages": [{"role": "user", "content": "Say something."}]}
        return await self.running.post("/v1/chat/completions", body | {"stream": stream} | more, key=self.key)

    async def row(self) -> ledger.RequestDetail:
        """The newest request of the ledger, with its attempts."""
        await self.running.services.drainer.flush()
        async with self.running.services.database.session() as session:
            (newest,) = await ledger.recent_requests(session, org_id=self.running.org_id, mode="live", limit=1)
            found = await ledger.request_detail(session, org_id=self.running.org_id, request_id=newest.request_id)
        assert found is not None
        return found

    async def broken(self) -> dict[str, list[str]]:
        """Invariants of the ledger that do not hold."""
        async with self.running.services.database.consistent_reading() as session:
            findings = await verify_ledger(session, now=utc_now(), on_its_way=timedelta(0))
        return {one.invariant: one.examples for one in findings if one.violations}


@asynccontextmanager
async def defiant(folder: Path, wire: str, *, spend: int | None = None, **counts: Any) -> AsyncIterator[Defiant]:
    """Its provider writes `TEXT` whatever it is told. `spend`: the key's budget, in pico-dollars."""
    async with live(folder) as product:
        provider = product.openai if wire == "openai" else product.anthropic
        provider.text, provider.delay_s, provider.usage = TEXT, 0.01, counts or COUNTED[wire]
        if spend is not None:
            await limit_spending(product, spend)
        yield Defiant(product, wire, provider, product.key)


async def limit_spending(product: Live, limit: int) -> None:
    """The live key may spend so much in all."""
    services = product.running.services
    digest = services.hasher.digest(product.key)
    async with services.database.session() as session:
        key = (await find_keys(session, digests=[digest]))[digest]
        await budgets.set_budget(session, org_id=key.org_id, key_id=key.id, period="total", limit=limit, now=utc_now())
        await session.commit()
    await services.keys.poll()


def finish_reasons(answer: Any) -> list[str]:
    """Of a plain answer, or of a stream's last pieces."""
    text = answer.text.replace(" ", "")
    return [one.split('"')[0] for one in text.split('"finish_reason":"')[1:]]


@every_wire
async def test_a_stream_is_stopped_when_it_goes_on_beyond_what_was_promised(tmp_path: Path, wire: str) -> None:
    async with defiant(tmp_path, wire) as one:
        answer = await one.ask(stream=True, omni={"max_cost": float(LIMIT_USD)}, max_tokens=100)
        assert answer.status_code == 200 and answer.text.rstrip().endswith("[DONE]")
        assert finish_reasons(answer) == ["length"]
        told = figures(answer)
        assert "the model wrote on beyond max_tokens, and was stopped" in told["warnings"]
        assert 0 < pico(str(told["cost"])) <= LIMIT
        assert answer.text.count('"content":"word') == 101, "one word more than there may be tokens"
        assert one.provider.words_sent < WORDS / 4, "its call was cancelled"
        found = await one.row()
        assert (found.request.success, found.request.estimated) == (True, True)
        assert 100 <= found.request.tokens_output < 300
        assert found.request.cost == pico(str(told["cost"])) and not found.request.overrun
        assert await one.broken() == {}


@every_wire
@plain_and_streamed
async def test_what_a_provider_counts_beyond_the_promise_is_charged_to_nobody(
    tmp_path: Path,
    wire: str,
    stream: bool,  # noqa: FBT001 a parameter of the test
) -> None:
    async with defiant(tmp_path, wire) as one:
        one.provider.text = "Short, and dear."
        answer = await one.ask(stream=stream, omni={"max_cost": float(LIMIT_USD)}, max_tokens=100)
        assert answer.status_code == 200
        told = figures(answer)
        assert pico(str(told["cost"])) == LIMIT, "to the last pico-dollar, and no further"
        assert any("more than the request may cost; that is not charged" in words for words in told["warnings"])
        found = await one.row()
        price = one.price
        counted = 12 * price.input + 90_000 * price.output
        (attempt,) = found.attempts
        assert (attempt.cost, attempt.cost + attempt.overrun, attempt.tokens_output) == (LIMIT, counted, 90_000)
        assert (found.request.cost, found.request.overrun) == (attempt.cost, attempt.overrun)
        assert await one.broken() == {}
        cooling = one.running.services.gateway.health.cooling(now_s=one.running.services.gateway.clock())
        assert 0 < cooling[PINNED[wire]] <= COOLDOWN_S, "it is left alone for a while"


async def test_an_exported_overrun_is_computed_again_without_a_difference(tmp_path: Path) -> None:
    async with defiant(tmp_path, "openai") as one:
        one.provider.text = "Short, and dear."
        assert (await one.ask(stream=False, omni={"max_cost": float(LIMIT_USD)}, max_tokens=100)).status_code == 200
        async with asyncio.timeout(30):
            told = ""
            while "1 requests" not in told or "0 without" not in told:  # row and prices come in the background
                await one.running.services.drainer.flush()
                exported = (await one.running.get("/v1/requests.csv", key=one.key)).text
                told = await recomputed(tmp_path, exported)
    assert "1 requests, 0 figures wrong, 0 without" in told, told


async def recomputed(folder: Path, exported: str) -> str:
    """What the script of the documents says of an export."""
    (folder / "requests.csv").write_text(exported, encoding="utf-8")
    command = [sys.executable, str(ROOT / "docs" / "recompute.py"), str(folder / "requests.csv")]
    again = await asyncio.to_thread(subprocess.run, command, text=True, capture_output=True, check=False)
    return again.stdout + again.stderr


@every_wire
@plain_and_streamed
async def test_a_budget_is_never_passed_whatever_a_provider_counts(
    tmp_path: Path,
    wire: str,
    stream: bool,  # noqa: FBT001 a parameter of the test
) -> None:
    async with defiant(tmp_path, wire, spend=LIMIT // 4) as one:
        one.provider.text = "Short, and dear."
        statuses: list[int] = []
        while 402 not in statuses and len(statuses) < 20:
            statuses.append((await one.ask(stream=stream, max_tokens=100)).status_code)
            now_s = one.running.services.gateway.clock()
            one.running.services.gateway.health.begin(PINNED[wire], now_s=now_s).succeeded(now_s=now_s)
        assert statuses[0] == 200 and statuses[-1] == 402, statuses
        await one.running.services.drainer.flush()
        async with one.running.services.database.session() as session:
            (standing,) = await budgets.standings(session, org_id=one.running.org_id, now=utc_now())
        assert standing.spent <= standing.terms.limit
        assert len(one.provider.calls) == statuses.count(200), "402 comes before any provider is called"
        assert await one.broken() == {}


@every_wire
async def test_without_a_promise_an_answer_is_served_and_recorded_as_it_is(tmp_path: Path, wire: str) -> None:
    async with defiant(tmp_path, wire) as one:
        one.provider.text = " ".join(["word"] * 300)
        answer = await one.ask(stream=True, max_tokens=100)
        assert finish_reasons(answer) == ["stop"] and figures(answer)["warnings"] == []
        price = one.price
        found = await one.row()
        assert found.request.cost == 12 * price.input + 90_000 * price.output > PICO_PER_USD // 2
        assert not found.request.overrun


@every_wire
async def test_who_keeps_to_the_limit_is_not_stopped(tmp_path: Path, wire: str) -> None:
    async with defiant(tmp_path, wire) as one:
        one.provider.text = " ".join(["word"] * 100)
        one.provider.usage = {name: min(count, 112) for name, count in COUNTED[wire].items()}
        one.provider.usage |= {"completion_tokens": 100} if wire == "openai" else {"output_tokens": 100}
        answer = await one.ask(stream=True, omni={"max_cost": float(LIMIT_USD)}, max_tokens=100)
        assert finish_reasons(answer) == ["stop"] and figures(answer)["warnings"] == []
        assert not one.running.services.gateway.health.cooling(now_s=one.running.services.gateway.clock())
