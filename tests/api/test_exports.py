"""The CSV of the Usage page: exactly what it shows, for its own org, and nothing that a spreadsheet runs."""

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from omni_app.api.exports import file_name, no_formula
from omni_app.money import usd_text
from omni_app.storage import accounts, keys, ledger
from tests.api.conftest import Running
from tests.storage.facts import NOON, record

SPAN = {"from": (NOON - timedelta(days=1)).isoformat(), "to": (NOON + timedelta(days=1)).isoformat(), "bucket": "hour"}


@pytest.fixture
async def person(product: Running) -> accounts.Identity:
    """Somebody who is signed in, with two requests of an evil key's name and one of another org."""
    services = product.services
    async with services.database.session() as session:
        who = await accounts.sign_up(session, email="a@example.com", password="a wonderful horse 9", org_name="A")
        token = await accounts.open_session(session, user_id=who.user_id)
        key, _ = await keys.create_key(session, org_id=who.org_id, name="=cmd()", kind="live", hasher=services.hasher)
        mine = [replace(record(f"r{n}"), org_id=who.org_id, key_id=key.id, failed_cost=1_234) for n in range(2)]
        await ledger.insert_records(session, [*mine, replace(record("other"), org_id=uuid4())])
        await session.commit()
    product.client.cookies.set("omr_session", token)
    return who


def rows(answer: httpx.Response) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.text)))


async def test_the_file_holds_the_lines_with_exact_money(product: Running, person: accounts.Identity) -> None:
    answer = await product.client.get("/auth/usage.csv", params={"mode": "live", "by": "model", **SPAN})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/csv")
    name = f"usage-live-by-model-{NOON - timedelta(days=1):%Y-%m-%d}-{NOON + timedelta(days=1):%Y-%m-%d}.csv"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    (line,) = rows(answer)
    one = record()
    assert (line["model"], line["requests"], line["time_utc"]) == (one.model, "2", f"{NOON:%Y-%m-%dT%H}:00:00Z")
    assert (line["cost_usd"], line["saved_usd"]) == (usd_text(2 * one.cost), usd_text(2 * one.savings))
    assert line["failed_attempts_cost_usd"] == usd_text(2 * 1_234)


def test_a_file_is_named_by_its_first_and_its_last_day() -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    assert file_name(start, end, mode="live", by="model") == "usage-live-by-model-2026-01-01-2026-01-31.csv"


async def test_names_are_no_formulas(product: Running, person: accounts.Identity) -> None:
    answer = await product.client.get("/auth/usage.csv", params={"by": "key", **SPAN})
    assert rows(answer)[0]["key"].startswith("'=cmd()")
    for text in ("=1+1", "+1", "-1", "@x", "\tx", "\rx"):
        assert no_formula(text) == f"'{text}"
    assert no_formula("gpt-4o") == "gpt-4o"


@pytest.mark.parametrize(
    ("params", "word"),
    [({"by": "password"}, "by"), ({"bucket": "year"}, "bucket"), ({"mode": "all"}, "mode"), ({"x": "1"}, "x")],
)
async def test_a_bad_address_is_told(
    product: Running, person: accounts.Identity, params: dict[str, str], word: str
) -> None:
    answer = await product.client.get("/auth/usage.csv", params=params)
    assert answer.status_code == 400 and answer.json()["error"]["message"].startswith(word)


async def test_minutes_are_for_a_day_at_most(product: Running, person: accounts.Identity) -> None:
    answer = await product.client.get("/auth/usage.csv", params={**SPAN, "bucket": "minute"})
    assert answer.status_code == 400


async def test_without_a_session_or_from_another_site_there_is_nothing(
    product: Running, person: accounts.Identity
) -> None:
    crossed = await product.client.get("/auth/usage.csv", headers={"sec-fetch-site": "cross-site"})
    assert crossed.status_code == 403
    product.client.cookies.clear()
    keyed = await product.get("/auth/usage.csv")
    assert keyed.status_code == 401 and isinstance(person.org_id, UUID)
