"""Keys that nobody knows: who keeps presenting them is told to wait, and the database is left in peace."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from omni_app.api import auth
from omni_app.storage.keys import generate_key
from tests.api.conftest import HELLO, Running

FEW = 3


@pytest.fixture
def statements(product: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the database is asked about keys, from now on; and few tries are enough."""
    monkeypatch.setattr(auth, "STRANGERS", (FEW, 60.0))
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "digest IN" in statement:
            asked.append(statement)

    engine = product.services.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


async def ask(product: Running, key: str, **headers: str) -> Any:
    return await product.client.post("/v1/chat", json=HELLO, headers={"X-API-Key": key, **headers})


async def test_an_address_with_many_unknown_keys_is_told_to_wait(product: Running, statements: list[str]) -> None:
    answers = [await ask(product, generate_key("live")) for _ in range(FEW + 3)]
    assert [one.status_code for one in answers] == [401] * FEW + [429] * 3
    assert int(answers[-1].headers["retry-after"]) in range(1, 61)
    assert answers[-1].json()["error"]["code"] == "rate_limited"
    assert len(statements) == FEW
    again = await ask(product, generate_key("live"), **{"Idempotency-Key": "one"})
    assert again.status_code == 429, "the layer before the routes asks the same door"
    assert len(statements) == FEW


async def test_a_known_key_passes_from_the_same_address(product: Running, statements: list[str]) -> None:
    assert (await ask(product, product.key)).status_code == 200
    for _ in range(FEW + 1):
        await ask(product, generate_key("live"))
    assert (await ask(product, product.key)).status_code == 200


async def test_good_keys_count_for_nothing_however_many(product: Running, statements: list[str]) -> None:
    keys = [await product.new_key("test") for _ in range(FEW + 2)]
    assert [(await ask(product, key)).status_code for key in keys] == [200] * len(keys)
    assert len(statements) == len(keys)


async def test_a_new_key_that_is_used_many_times_at_once_is_looked_up_once(
    product: Running, statements: list[str]
) -> None:
    key = await product.new_key("test")
    answers = await asyncio.gather(*(ask(product, key) for _ in range(FEW * 5)))
    assert {one.status_code for one in answers} == {200}
    assert len(statements) == 1


async def test_a_typing_error_is_no_stranger(product: Running, statements: list[str]) -> None:
    wrong = product.key[:-1] + ("a" if product.key[-1] != "a" else "b")
    assert [(await ask(product, wrong)).status_code for _ in range(FEW + 2)] == [401] * (FEW + 2)
    assert not statements
