"""Providers' keys of an org's own: used for its requests only, where they were entered for, and seen by nobody."""

import io
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update
from sqlmodel import col

from omni_app import redaction
from omni_app.gateway.types import Caller, ChatRequest
from omni_app.money import markup_on
from omni_app.storage import accounts, provider_keys
from omni_app.storage.sealing import CannotOpen, Sealer
from omni_app.storage.tables import AttemptRow, ProviderKeyRow, RequestRow
from tests.api.conftest import Running, run, settings_for
from tests.servers.upstream import Upstream

OURS = "sk-the-servers-own-key-000"
THEIRS = "sk-the-orgs-own-key-1111"
ASK = {"model": "openai/gpt-4.1", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 50}


@dataclass
class Scene:
    """A product before a provider, with two orgs' live keys; everything that is logged."""

    product: Running
    upstream: Upstream
    folder: Path
    log: io.StringIO
    acme: str
    other: str

    async def ask(self, key: str, **more: Any) -> httpx.Response:
        return await self.product.post("/v1/chat/completions", ASK | more, key=key)

    def keys_seen(self) -> list[str]:
        return [one.headers["authorization"].removeprefix("Bearer ") for one in self.upstream.calls]

    async def enter(self, secret: str = THEIRS, *, base_url: str = "") -> None:
        services = self.product.services
        async with services.database.session() as session:
            org_id = await accounts.org_named(session, "Acme")
            await provider_keys.set_provider_key(
                session, org_id=org_id, provider="openai", base_url=base_url or self.upstream.openai_url,
                secret=secret, entered_by="ada@example.com", sealer=services.key_sealer,
            )  # fmt: skip
            await session.commit()
        await services.keys.poll()


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    before = logging.getLogRecordFactory()
    redaction.install()
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(level)
    root.removeHandler(handler)
    logging.setLogRecordFactory(before)


@pytest.fixture(params=[OURS, ""], ids=["the server has a key", "the server has none"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path, everything_logged: io.StringIO) -> AsyncIterator[Scene]:
    async with Upstream(key=OURS, more_keys=(THEIRS, THEIRS + "2")) as upstream:
        settings = settings_for(
            tmp_path, openai_api_key=request.param, openai_base_url=upstream.openai_url, markup_percent=Decimal(10),
            log_requests="off",
        )  # fmt: skip
        async for product in run(settings):
            acme, other = await product.new_key("live"), await product.new_key("live", org="Other")
            yield Scene(product, upstream, tmp_path, everything_logged, acme, other)


async def test_an_org_with_keys_of_its_own_takes_no_shortlist_from_others(scene: Scene) -> None:
    await scene.enter()
    gateway = scene.product.services.gateway
    keys = [await scene.product.services.keys.authenticate(key) for key in (scene.acme, scene.other)]
    callers = [Caller.with_key(key) for key in keys]
    request = ChatRequest(messages=[{"role": "user", "content": "Hello!"}], endpoint="chat")
    lists = [[gateway.decide(caller, request).explanation.ranking.shortlist for caller in callers] for _ in range(2)]
    assert lists[0][0] is not lists[0][1]
    assert [one is two for one, two in zip(*lists, strict=True)] == [True, True]


async def test_an_orgs_key_goes_out_with_its_requests_and_with_nobody_elses(scene: Scene) -> None:
    await scene.enter()
    assert (await scene.ask(scene.acme)).status_code == 200
    assert (await scene.ask(scene.acme, stream=True)).status_code == 200
    others = await scene.ask(scene.other)
    server_has_one = bool(scene.product.services.settings.openai_api_key.get_secret_value())
    assert others.status_code == (200 if server_has_one else 422)
    assert scene.keys_seen() == [THEIRS, THEIRS, *([OURS] if server_has_one else [])]

    services = scene.product.services
    async with services.database.session() as session:
        await provider_keys.forget_provider_key(session, org_id=scene.product.org_id, provider="openai")
        await session.commit()
    await services.keys.poll()
    assert (await scene.ask(scene.acme)).status_code == (200 if server_has_one else 422)
    assert scene.keys_seen()[3:] == ([OURS] if server_has_one else [])


async def test_it_never_follows_a_changed_address(scene: Scene) -> None:
    await scene.enter(base_url="https://api.openai.com/v1")
    await scene.ask(scene.acme)
    assert THEIRS not in scene.keys_seen()
    async with scene.product.services.database.session() as session:  # whoever can write rows cannot send it elsewhere
        await session.execute(update(ProviderKeyRow).values(base_url=scene.upstream.openai_url))
        await session.commit()
    scene.product.services.keys._known.clear()
    await scene.ask(scene.acme)
    assert THEIRS not in scene.keys_seen()


async def test_a_refused_key_shuts_nothing_for_others(scene: Scene) -> None:
    others = 200 if scene.product.services.settings.openai_api_key.get_secret_value() else 422
    await scene.enter()
    scene.upstream.fault = "401"
    refused = await scene.ask(scene.acme)
    assert refused.status_code >= 500
    assert (await scene.ask(scene.acme)).status_code == 503, "its own breaker is open"
    scene.upstream.fault = ""
    assert (await scene.ask(scene.other)).status_code == others
    assert (await scene.ask(scene.acme)).status_code == 503
    assert scene.keys_seen() == [THEIRS, OURS][: 2 if others == 200 else 1]
    await scene.enter(THEIRS + "2")
    assert (await scene.ask(scene.acme)).status_code == 200, "a new key starts anew"


async def test_its_cost_is_in_the_ledger_with_a_mark_and_without_a_markup(scene: Scene) -> None:
    await scene.enter()
    answer = (await scene.ask(scene.acme)).json()["omni"]
    assert answer["attempts"][0]["byok"] is True
    assert answer["billed"] == answer["cost"] > 0
    await scene.product.services.drainer.flush()
    async with scene.product.services.database.session() as session:
        (row,) = (await session.scalars(select(RequestRow))).all()
        (attempt,) = (await session.scalars(select(AttemptRow).where(col(AttemptRow.byok).is_(True)))).all()
    assert (row.byok_cost, row.markup, row.markup_bp) == (row.cost, 0, 1_000)
    assert attempt.cost == row.cost
    assert markup_on(row.cost, row.markup_bp) > 0, "with the server's key there would be one"


async def test_it_is_in_no_log_no_file_and_no_answer(scene: Scene) -> None:
    await scene.enter()
    told = [(await scene.ask(scene.acme)).text]
    for fault in ("401", "500", "rst"):
        scene.upstream.fault = fault
        told.append((await scene.ask(scene.acme, stream=fault == "500")).text)
    paths = ("/v1/models", "/v1/usage", "/v1/requests.csv", "/ready")
    told += [(await scene.product.get(path, key=scene.acme)).text for path in paths]
    await scene.product.services.drainer.flush()
    assert THEIRS in scene.keys_seen(), "else nothing is shown"
    logged = scene.log.getvalue()
    assert len(logged) > 5_000
    assert THEIRS not in logged
    assert THEIRS not in "".join(told)
    kept = b"".join(path.read_bytes() for path in scene.folder.rglob("*") if path.is_file())
    assert b"ada@example.com" in kept and THEIRS.encode() not in kept


def test_a_sealing_key_is_exchanged_by_opening_with_two() -> None:
    before, after, other = "b" * 32, "a" * 32, "c" * 32
    sealed = Sealer(before, purpose="provider keys").seal(b"secret", about="x")
    both = Sealer(after, purpose="provider keys", other_key=before)
    assert both.open(sealed, about="x") == b"secret"
    again = both.seal(b"secret", about="x")
    assert Sealer(after, purpose="provider keys").open(again, about="x") == b"secret"
    for wrong in (Sealer(other, purpose="provider keys", other_key=after), Sealer(before, purpose="kept prompts")):
        with pytest.raises(CannotOpen):
            wrong.open(sealed, about="x")


async def test_all_keys_are_sealed_anew(scene: Scene) -> None:
    await scene.enter()
    services, exchanged = scene.product.services, "n" * 40
    both = Sealer(exchanged, purpose=provider_keys.PURPOSE, other_key=services.settings.sealing_key)
    async with services.database.session() as session:
        assert await provider_keys.reseal(session, both) == 1
        await session.commit()
    opener: Any = services.gateway.open_key
    new = replace(opener, sealer=Sealer(exchanged, purpose=provider_keys.PURPOSE))
    await services.keys.poll()
    (key,) = (await services.keys.authenticate(scene.acme)).org.own_keys
    assert opener(scene.product.org_id, key) is None
    assert new(scene.product.org_id, key).api_key == THEIRS


async def test_whether_a_model_can_be_reached_is_told_as_it_is_for_whoever_asks(scene: Scene) -> None:
    async def told(key: str) -> tuple[bool, bool]:
        model = (await scene.product.get(f"/v1/models/{ASK['model']}", key=key)).json()
        auto = (await scene.product.get("/v1/models/auto", key=key)).json()
        return model["available"], auto["available"]

    server_has_one = bool(scene.product.services.settings.openai_api_key.get_secret_value())
    assert await told(scene.acme) == (server_has_one, server_has_one)
    await scene.enter()
    assert await told(scene.acme) == (True, True)
    assert await told(scene.other) == (server_has_one, server_has_one)
    scene.upstream.fault = "401"
    await scene.ask(scene.acme)
    assert not (await told(scene.acme))[0], "its own breaker is open"
    assert (await told(scene.other))[0] is server_has_one
