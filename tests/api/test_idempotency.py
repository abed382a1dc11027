"""`Idempotency-Key` through the real API: one call and one charge for a request that is sent again."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from omni_app.storage.tables import IdempotentAnswer, RequestRow, utc_now
from tests.api.conftest import HELLO, Running

OTHER = {"messages": [{"role": "user", "content": "Something else"}]}
BROKEN = {**HELLO, "metadata": {"sandbox_fail": "all:error"}}


async def send(product: Running, body: Any = HELLO, *, path: str = "/v1/chat", name: str = "k-1", key: str = "") -> Any:
    headers = {"Authorization": f"Bearer {key or product.key}", "Idempotency-Key": name}
    return await product.client.post(path, json=body, headers=headers)


async def rows(product: Running) -> int:
    await product.services.drainer.flush()
    async with product.services.database.session() as session:
        return int(await session.scalar(select(func.count()).select_from(RequestRow)) or 0)


async def change(product: Running, **values: Any) -> None:
    async with product.services.database.session() as session:
        await session.execute(update(IdempotentAnswer).values(**values))
        await session.commit()


async def kept(product: Running) -> list[IdempotentAnswer]:
    async with product.services.database.session() as session:
        return list(await session.scalars(select(IdempotentAnswer)))


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/chat/completions"])
@pytest.mark.parametrize("options", [{}, {"stream": True}])
async def test_a_request_that_is_sent_again_gets_the_same_answer_from_one_call(
    product: Running, path: str, options: Any
) -> None:
    body = {**HELLO, **options, **({"model": "auto"} if "completions" in path else {})}
    first, second = await send(product, body, path=path), await send(product, body, path=path)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.content == second.content
    assert first.headers["content-type"] == second.headers["content-type"]
    assert ("idempotent-replayed" in first.headers, second.headers.get("idempotent-replayed")) == (False, "true")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert await rows(product) == 1


async def test_of_fifty_at_once_one_is_served_and_the_others_are_told_to_wait(product: Running) -> None:
    answers = await asyncio.gather(*(send(product) for _ in range(50)))
    statuses = sorted(answer.status_code for answer in answers)
    assert set(statuses) <= {200, 409}
    assert statuses.count(200) >= 1
    assert len({answer.content for answer in answers if answer.status_code == 200}) == 1
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["error"]["code"] == "conflict" and answer.headers["retry-after"] == "1"
    assert await rows(product) == 1


async def test_the_same_key_with_another_body_or_path_is_refused(product: Running) -> None:
    await send(product)
    other = await send(product, OTHER)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")
    assert (await send(product, path="/v1/agent-step")).status_code == 422
    openai = await send(product, {**HELLO, "model": "auto"}, path="/v1/chat/completions")
    assert openai.status_code == 422 and openai.json()["error"]["type"] == "invalid_request_error"
    assert await rows(product) == 1


async def test_another_orgs_same_key_is_another_key(product: Running) -> None:
    stranger = await product.new_key(org="Elsewhere")
    mine, theirs = await send(product), await send(product, key=stranger)
    assert (mine.status_code, theirs.status_code) == (200, 200)
    assert mine.json()["request_id"] != theirs.json()["request_id"]
    assert await rows(product) == 2


@pytest.mark.parametrize("body", [BROKEN, {**BROKEN, "stream": True}, {"messages": []}])
async def test_after_an_error_the_request_may_be_sent_again(product: Running, body: Any) -> None:
    assert (await send(product, body)).status_code >= 400
    assert await kept(product) == []
    assert (await send(product)).status_code == 200


async def test_without_the_header_nothing_is_kept(product: Running) -> None:
    await product.post("/v1/chat", HELLO)
    assert await kept(product) == []


async def test_answers_are_sealed_in_the_database(product: Running) -> None:
    answer = await send(product)
    (row,) = await kept(product)
    assert row.sealed and answer.json()["output"].encode() not in row.sealed and b"output" not in row.sealed


async def test_after_a_day_the_key_is_free_again(product: Running) -> None:
    await send(product)
    await change(product, expires_at=utc_now() - timedelta(seconds=1))
    assert (await send(product, OTHER)).status_code == 200
    assert await rows(product) == 2


async def test_a_claim_whose_process_died_holds_the_key_until_it_lapses(product: Running) -> None:
    await send(product)
    await change(product, sealed=None)
    assert (await send(product)).status_code == 409
    await change(product, created_at=utc_now() - timedelta(seconds=product.services.settings.provider_timeout_sec + 61))
    answers = await asyncio.gather(*(send(product) for _ in range(8)))
    assert [answer.status_code for answer in answers].count(200) >= 1
    assert await rows(product) == 2, "one of them took the claim over"


@pytest.mark.parametrize("name", ["", " ", "x" * 256, "caf\u00e9", "a\tb"])
async def test_a_malformed_key_is_refused(product: Running, name: str) -> None:
    headers = {"Authorization": f"Bearer {product.key}", "Idempotency-Key": name.encode("latin-1")}
    answer = await product.client.post("/v1/chat", json=HELLO, headers=headers)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


async def test_a_wrong_api_key_is_told_before_anything_else(product: Running) -> None:
    answer = await send(product, key="omr_test_nonsense")
    assert answer.status_code == 401
    assert await kept(product) == []


async def test_with_the_database_away_a_request_with_the_header_waits_and_one_without_is_served(
    product: Running, tmp_path: Any
) -> None:
    assert (await send(product, name="warm")).status_code == 200  # the API key is known now
    database = product.services.database
    sessions = database._sessions
    database._sessions = _away  # type: ignore[assignment]
    try:
        refused = await send(product)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        assert "retry-after" in refused.headers
        assert (await product.post("/v1/chat", HELLO)).status_code == 200
    finally:
        database._sessions = sessions


def _away() -> Any:
    raise ConnectionError("the database is away")
