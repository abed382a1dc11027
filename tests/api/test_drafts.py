"""`GET /auth/draft-key`: the same key for the same person after every log-in, and nobody else's."""

from base64 import b64decode
from pathlib import Path
from typing import Any

from tests.api.conftest import Running, run, settings_for
from tests.api.test_account import EMAIL, OURS, PASSWORD, post, sign_up


async def draft_key(product: Running) -> dict[str, Any]:
    answer = await product.client.get("/auth/draft-key", headers=OURS)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    body: dict[str, Any] = answer.json()
    return body


async def test_a_person_gets_their_own_key_after_every_log_in_and_nobody_else_does(product: Running) -> None:
    await sign_up(product)
    first = await draft_key(product)
    assert first["whose"] == EMAIL and len(b64decode(first["key"])) == 32
    await post(product, "/auth/logout")
    assert (await product.client.get("/auth/draft-key", headers=OURS)).status_code == 401
    await sign_up(product, "bob@example.com")
    other = await draft_key(product)
    assert other["whose"] == "bob@example.com" and other["key"] != first["key"]
    await post(product, "/auth/login", email=EMAIL, password=PASSWORD)
    assert await draft_key(product) == first


async def test_it_is_made_from_the_server_s_secret_key(tmp_path: Path) -> None:
    found = []
    for secret in ("a" * 32, "b" * 32):
        async for running in run(settings_for(tmp_path, omni_secret_key=secret)):
            await sign_up(running)
            await post(running, "/auth/login", email=EMAIL, password=PASSWORD)
            found.append(await draft_key(running))
    assert found[0]["whose"] == found[1]["whose"] and found[0]["key"] != found[1]["key"]


async def test_it_is_for_our_own_pages_alone(product: Running) -> None:
    await sign_up(product)
    for headers in ({}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        answer = await product.client.get("/auth/draft-key", headers=headers)
        assert answer.status_code == 403 and "key" not in answer.json()
