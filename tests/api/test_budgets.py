"""A spent budget through the real API, on every route and in every format; and a key's new secret."""

from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from omni_app.services import build_services
from omni_app.storage import budgets
from omni_app.storage.keys import KeyHasher, find_keys
from omni_app.storage.tables import utc_now
from tests.api.conftest import HELLO, ORIGIN, Running, settings_for

OURS = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
OPENAI = HELLO | {"model": "auto"}
ANTHROPIC = OPENAI | {"max_tokens": 50}
RESPONSES = {"model": "auto", "input": HELLO["messages"]}


async def with_budget(product: Running, limit: int) -> str:
    """A key that may spend so many pico-dollars a day."""
    secret = await product.new_key()
    hasher: KeyHasher = product.services.hasher
    async with product.services.database.session() as session:
        key = (await find_keys(session, digests=[hasher.digest(secret)]))[hasher.digest(secret)]
        await budgets.set_budget(session, org_id=key.org_id, key_id=key.id, period="day", limit=limit, now=utc_now())
        await session.commit()
    return secret


@pytest.mark.parametrize(("timeout_s", "lease_s"), [(120, 900), (3_600, 600 + 3_600 + 60)])
def test_leases_outlive_the_longest_request_of_this_server(tmp_path: Path, timeout_s: float, lease_s: float) -> None:
    services = build_services(settings_for(tmp_path, provider_timeout_sec=timeout_s))
    assert services.budgets.lease_s == lease_s


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat", HELLO),
        ("/v1/agent-step", HELLO),
        ("/v1/chat/completions", OPENAI),
        ("/v1/messages", ANTHROPIC),
        ("/v1/responses", RESPONSES),
    ],
)
async def test_a_request_that_its_budget_does_not_cover_is_402_in_the_route_s_own_shape(
    product: Running,
    path: str,
    body: dict[str, Any],
    stream: bool,  # noqa: FBT001 a parameter of the test
) -> None:
    secret = await with_budget(product, 1)
    answer = await product.post(path, body | {"stream": stream}, key=secret)
    assert answer.status_code == 402
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["content-type"].startswith("application/json")
    error = answer.json()["error"]
    assert "this key's budget of $0.000000000001 a day has $0.000000000001 left" in error["message"]
    assert "starts anew at" in error["message"]
    if path != "/v1/messages":
        assert error["code"] == "budget_exceeded"
    else:
        assert error["type"]
    if path in ("/v1/chat/completions", "/v1/responses"):
        assert error.keys() >= {"type", "param", "code", "message"}


async def test_a_request_within_its_budget_is_served_and_counts(product: Running) -> None:
    secret = await with_budget(product, 10**12)
    answer = await product.post("/v1/chat", HELLO, key=secret)
    assert answer.status_code == 200
    await product.services.drainer.flush()
    async with product.services.database.session() as session:
        (standing,) = await budgets.standings(session, org_id=product.org_id, now=utc_now())
    assert standing.spent == round(answer.json()["cost"] * 10**12) > 0


async def new_key(product: Running) -> dict[str, str]:
    form = {"email": "ada@example.com", "password": "teal-otter-maps-42-winter", "org_name": "Engines"}
    await product.client.post("/auth/signup", data=form, headers=OURS)
    answer = await product.client.post("/auth/keys", json={"name": "App", "kind": "test"}, headers=OURS)
    made: dict[str, str] = answer.json()
    return made


async def rotate(product: Running, **body: Any) -> httpx.Response:
    return await product.client.post("/auth/keys/rotate", json=body, headers=OURS)


async def test_both_secrets_work_in_the_grace_and_none_but_the_new_one_without(product: Running) -> None:
    made = await new_key(product)
    second = await rotate(product, id=made["id"], grace_hours=24)
    assert second.status_code == 200
    await product.services.keys.poll()
    for secret in (made["key"], second.json()["key"]):
        assert (await product.post("/v1/chat", HELLO, key=secret)).status_code == 200
    third = await rotate(product, id=made["id"], grace_hours=0)
    await product.services.keys.poll()
    statuses = [(await product.post("/v1/chat", HELLO, key=one.json()["key"])).status_code for one in (second, third)]
    assert statuses == [401, 200]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"grace_hours": 169}, 400),
        ({"grace_hours": -1}, 400),
        ({"grace_hours": "1"}, 400),
        ({"grace_hours": True}, 400),
        ({"id": "x"}, 400),
        ({"id": str(UUID(int=7))}, 404),
    ],
)
async def test_a_rotation_that_cannot_be_changes_nothing(product: Running, change: dict[str, Any], status: int) -> None:
    made = await new_key(product)
    answer = await rotate(product, **{"id": made["id"], "grace_hours": 1} | change)
    assert answer.status_code == status
    assert (await product.post("/v1/chat", HELLO, key=made["key"])).status_code == 200


async def test_a_secret_is_handed_out_to_our_own_page_and_to_somebody_signed_in_only(product: Running) -> None:
    made = await new_key(product)
    body = {"id": made["id"], "grace_hours": 1}
    foreign = await product.client.post("/auth/keys/rotate", json=body, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
    product.client.cookies.clear()
    assert (await rotate(product, **body)).status_code == 401
