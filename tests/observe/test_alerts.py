"""Alerts: each once, signed, and again when nobody took it."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from omni_app.gateway.health import LATELY_S
from omni_app.observe.alerts import DOWN_ROUNDS, LOOK_S, Alerts
from omni_app.providers.base import FaultKind, ProviderFault
from omni_app.registry import commands, packaged_registry
from omni_app.registry.store import edit_model, seed_models
from omni_app.settings import Settings
from omni_app.storage import budgets
from omni_app.storage.tables import ModelRow, utc_now
from tests.api.conftest import Running, run, settings_for
from tests.registry.catalogues import publishing
from tests.storage.facts import record

SECRET = "a secret that both sides know"
LIMIT = 1_000_000
NAME = "openai/gpt-4o-mini"


@dataclass
class Receiver:
    """A webhook's other end. While `status` is not 200 it takes nothing; what it took, in order."""

    url: str = ""
    status: int = 200
    taken: list[dict[str, Any]] = field(default_factory=list)
    unsigned: int = 0

    def take(self, body: bytes, header: str) -> None:
        parts = dict(part.split("=", 1) for part in header.split(","))
        expected = hmac.new(SECRET.encode(), f"{parts['t']}.".encode() + body, hashlib.sha256).hexdigest()
        self.unsigned += not hmac.compare_digest(parts["v1"], expected)
        self.taken.append(json.loads(body))


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if receiver.status == 200:
                receiver.take(body, self.headers["x-omni-signature"])
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.send_header("Location", receiver.url)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/alerts"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield receiver
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[tuple[Running, Receiver, list[Alerts]]]:
    """Two workers' look-outs over one database."""
    with receiving() as receiver:
        async for running in run(settings_for(tmp_path)):
            both = [
                Alerts(receiver.url, SECRET, database=running.services.database, health=running.services.gateway.health)
                for _ in range(2)
            ]
            yield running, receiver, both


async def spend(running: Running, amount: int) -> None:
    live = await running.services.keys.authenticate(await running.new_key("live"))
    row = replace(record(f"req_{amount}"), org_id=live.org_id, key_id=live.id, created_at=utc_now(), cost=amount)
    running.services.spool.finish(row)
    await running.services.drainer.flush()


async def look(both: list[Alerts], *, now_s: float = 0.0) -> None:
    await asyncio.gather(*(one.look(now=utc_now(), now_s=now_s) for one in both))


async def test_each_step_of_a_budget_is_told_once_whoever_looks(
    scene: tuple[Running, Receiver, list[Alerts]],
) -> None:
    running, receiver, both = scene
    async with running.services.database.session() as session:
        await budgets.set_budget(
            session, org_id=running.org_id, key_id=None, period="total", limit=LIMIT, now=utc_now() - timedelta(hours=1)
        )
        await session.commit()
    for amount, told in ((LIMIT // 2 - 1, []), (1, [50]), (2, [50]), (LIMIT * 6 // 10, [50, 100])):
        await spend(running, amount)
        for _ in range(2):
            await look(both)
        assert [one["percent"] for one in receiver.taken] == told, amount
    assert receiver.unsigned == 0
    assert receiver.taken[0]["type"] == "budget.reached"
    assert receiver.taken[0]["org_id"] == str(running.org_id)
    assert (receiver.taken[0]["spent_usd"], receiver.taken[0]["limit_usd"]) == ("0.0000005", "0.000001")


@pytest.mark.parametrize("status", [500, 302])
async def test_what_nobody_took_is_told_again(scene: tuple[Running, Receiver, list[Alerts]], status: int) -> None:
    running, receiver, both = scene
    async with running.services.database.session() as session:
        await budgets.set_budget(session, org_id=running.org_id, key_id=None, period="day", limit=LIMIT, now=utc_now())
        await session.commit()
    await spend(running, LIMIT)
    receiver.status = status
    await look(both)
    assert receiver.taken == []
    receiver.status = 200
    await look(both)
    await look(both)
    assert [one["percent"] for one in receiver.taken] == [100]


async def test_a_provider_that_stays_down_is_told_once_an_hour(
    scene: tuple[Running, Receiver, list[Alerts]],
) -> None:
    running, receiver, both = scene
    health = running.services.gateway.health
    health.begin("groq/a", now_s=0.0).failed(ProviderFault(FaultKind.AUTHENTICATION, "no"), now_s=0.0)
    health.begin("openai/a", now_s=0.0).failed(ProviderFault(FaultKind.AUTHENTICATION, "no"), now_s=0.0)
    health.begin("openai/b", now_s=0.0).succeeded(now_s=0.0)
    for number in range(DOWN_ROUNDS + 3):
        await look(both)
        assert len(receiver.taken) == (number >= DOWN_ROUNDS - 1)
    assert (receiver.taken[0]["type"], receiver.taken[0]["provider"]) == ("provider.down", "groq")


async def test_models_that_nobody_calls_any_more_hide_no_outage(
    scene: tuple[Running, Receiver, list[Alerts]],
) -> None:
    """One answered long ago, one failed once; every probe of a third fails, and its cooldown is over at each look."""
    running, receiver, both = scene
    health, fault = running.services.gateway.health, ProviderFault(FaultKind.AUTHENTICATION, "no", retry_after_s=5.0)
    health.begin("groq/answered", now_s=0.0).succeeded(now_s=0.0)
    health.begin("groq/failed-once", now_s=0.0).failed(fault, now_s=0.0)
    health.begin("groq/fails", now_s=0.0).failed(fault, now_s=0.0)
    for number in range(DOWN_ROUNDS):
        assert receiver.taken == []
        now_s = LATELY_S + LOOK_S * number
        health.begin("groq/fails", now_s=now_s).failed(fault, now_s=now_s)
        await look(both, now_s=now_s + 6)
    assert [(one["type"], one["provider"]) for one in receiver.taken] == [("provider.down", "groq")]


async def test_a_price_that_changes_is_told_once_to_each_org_with_its_month(
    scene: tuple[Running, Receiver, list[Alerts]],
) -> None:
    running, receiver, both = scene
    live = await running.services.keys.authenticate(await running.new_key("live"))
    used = replace(
        record("req_priced"), org_id=live.org_id, key_id=live.id, created_at=utc_now() - timedelta(days=3),
        model=NAME, tokens_input=1_000_000, tokens_output=2_000_000, tokens_cached=400_000, tokens_cache_write=0,
        images=0,
    )  # fmt: skip
    running.services.spool.finish(used)
    running.services.spool.finish(replace(used, request_id="req_old", created_at=utc_now() - timedelta(days=40)))
    await running.services.drainer.flush()
    async with running.services.database.session() as session:
        await seed_models(session, packaged_registry())
        (row,) = await session.scalars(select(ModelRow).where(col(ModelRow.model_id) == NAME))
        price = row.data["price"]
        assert (price["input"], price["output"], price["cached_input"]) == (150_000, 600_000, 75_000)
        await edit_model(session, model_id=NAME, changes={"price": price | {"output": 500_000}}, source="test")
        await session.commit()
    receiver.status = 500
    await look(both)
    receiver.status = 200
    for _ in range(3):
        await look(both)
    (told,) = receiver.taken
    assert (told["type"], told["model"], told["held"]) == ("price.changed", NAME, False)
    assert told["org_id"] == str(live.org_id) and told["new_price"]["output_usd"] == "0.5"
    assert told["last_30_days"] == {
        "tokens": {"input": 1_000_000, "output": 2_000_000},
        "at_old_price_usd": "1.32",  # 0.6 M plain, 0.4 M cached at half, 2 M written
        "at_new_price_usd": "1.12",
        "difference_usd": "-0.2",
    }


async def test_a_price_that_is_held_is_told_though_nobody_used_the_model(
    scene: tuple[Running, Receiver, list[Alerts]],
) -> None:
    running, receiver, both = scene
    async with publishing() as publisher:
        publisher.litellm["gpt-4o-mini"]["output_cost_per_token"] = 1.2e-06
        await commands.sync(running.services.database, publisher.addresses)
        for _ in range(2):
            await look(both)
        (told,) = receiver.taken
        assert (told["held"], told["org_id"], told["new_price"]["output_usd"]) == (True, None, "1.2")
        publisher.litellm["gpt-4o-mini"]["output_cost_per_token"] = 6e-07
        await commands.sync(running.services.database, publisher.addresses)
        await look(both)
    assert len(receiver.taken) == 1


def test_an_address_without_a_secret_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="ALERT_WEBHOOK_SECRET is not"):
        Settings(alert_webhook_url="https://example.invalid/hook")
    with pytest.raises(ValueError, match="must start with https"):
        Settings.model_validate({"alert_webhook_url": "ftp://x", "alert_webhook_secret": SECRET})
