"""Following the public catalogues: what changes, what is held for an operator, and what a bad catalogue cannot do."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlmodel import col

from omni_app.registry import commands, packaged_registry
from omni_app.registry.build import Sources, load_sources
from omni_app.registry.feeds import openrouter_prices, sources_of
from omni_app.registry.history import model_history, price_at, price_versions
from omni_app.registry.price_map import SourceError
from omni_app.registry.refresh import Catalogues, DailySync
from omni_app.registry.registry import Registry, packaged_file
from omni_app.registry.replacement import replacement
from omni_app.registry.store import edit_model, load_registry, seed_models
from omni_app.registry.sync import Told, differences, held_changes, read_catalogues
from omni_app.routing.types import Deployment
from omni_app.storage.database import Database
from omni_app.storage.tables import Meta, ModelChange
from tests.registry.catalogues import Publisher, publishing, recorded
from tests.registry.test_store import dearer

NAME, ROW = "openai/gpt-4o-mini", "gpt-4o-mini"
AT_OPENROUTER = "openrouter/deepseek/deepseek-v3.2"
TODAY = datetime.now(UTC).date()
AS_OF = packaged_file()["as_of"]


@pytest.fixture
async def publisher(database: Database) -> AsyncIterator[Publisher]:
    """A seeded database, and catalogues that say what the packaged ones say."""
    async with database.session() as session:
        await seed_models(session, packaged_registry())
        await session.commit()
    async with publishing() as made:
        yield made


@cache
def packaged_sources() -> Sources:
    return load_sources()


async def registry(database: Database) -> Registry:
    async with database.session() as session:
        return await load_registry(session)


async def model(database: Database, name: str = NAME) -> Deployment:
    found = (await registry(database)).get(name)
    assert found is not None
    return found


async def history(database: Database, name: str = NAME) -> list[ModelChange]:
    async with database.session() as session:
        return [one for one in await model_history(session, name) if one.field != "added"]


async def count_changes(database: Database) -> int:
    async with database.session() as session:
        return await session.scalar(select(func.count()).select_from(ModelChange)) or 0


async def sync(database: Database, publisher: Publisher, *, accept: bool = False) -> list[str]:
    lines, status = await commands.sync(database, publisher.addresses, accept=accept)
    assert status == 0, lines
    return lines


async def test_what_the_packaged_catalogues_say_is_what_the_recorded_ones_say(
    database: Database, publisher: Publisher
) -> None:
    assert await sync(database, publisher) == ["0 changed, 0 held"]
    assert await registry(database) == packaged_registry()
    assert {one.path for one in publisher.asked} == {"/openrouter", "/litellm"}


async def test_a_small_change_holds_at_once_and_leaves_a_row_for_each_field(
    database: Database, publisher: Publisher
) -> None:
    before = await model(database)
    publisher.litellm[ROW] |= {"input_cost_per_token": 1.6e-07, "deprecation_date": "2027-05-01"}
    publisher.model("deepseek/deepseek-v3.2")["pricing"]["completion"] = "0.0000004"
    lines = await sync(database, publisher)
    assert lines[-1] == "3 changed, 0 held"
    after = await model(database)
    assert (after.price.input, after.price.output) == (160_000, before.price.output)
    assert str(after.deprecated_on) == "2027-05-01"
    assert after.price_version == f"litellm-{datetime.now(UTC):%Y-%m-%d}" and ROW in after.price_source
    assert {one.field for one in await history(database)} == {
        "price",
        "price_source",
        "price_version",
        "deprecated_on",
    }
    assert (await model(database, AT_OPENROUTER)).price.output == 400_000
    assert any(line.startswith(f"ends     {NAME}: ") for line in lines)
    assert await sync(database, publisher) == ["0 changed, 0 held"]


@pytest.mark.parametrize(
    ("price", "word"),
    [(165_000, "small"), (165_001, "large"), (135_000, "small"), (134_999, "large"), (10**11, "large")],
)
def test_more_than_a_tenth_is_large(price: int, word: str) -> None:
    held = read().fields[NAME]
    (found,) = differences(NAME, held, dict(held) | {"price": held["price"] | {"input": price}})
    assert found.is_large == (word == "large")


async def test_what_is_held_waits_once_is_accepted_and_is_priced_from_then_on(
    database: Database, publisher: Publisher
) -> None:
    publisher.litellm[ROW]["output_cost_per_token"] = 1.2e-06
    for _ in range(2):
        lines = await sync(database, publisher)
        assert lines[0].startswith(f"HELD     {NAME}  price: $0.15 in, $0.6 out") and "+100 % out" in lines[0]
    assert [one.field for one in await history(database)] == ["price_held"]
    at = datetime.now(UTC)
    async with database.session() as session:
        assert await commands.accept(session, models=[NAME, "openai/unknown"]) == (
            [f"{NAME}: price accepted", "openai/unknown: nothing waits"],
            1,
        )
        await session.commit()
        assert await held_changes(session) == {}
        changes = await model_history(session, NAME)
    assert (await model(database)).price.output == 1_200_000
    before, now = price_versions(changes)
    assert before.until == now.since and now.until is None
    assert price_at(changes, at) == before and price_at(changes, datetime.now(UTC)) == now
    assert price_at(changes, at - timedelta(days=400)) is None
    assert "accepted: catalogue" in now.source


async def test_what_would_take_a_model_out_at_once_is_held(database: Database, publisher: Publisher) -> None:
    before, ends = await model(database), TODAY + timedelta(days=1)
    assert packaged_sources().catalog.deprecation_margin_days > 1
    publisher.litellm[ROW] |= {"deprecation_date": ends.isoformat(), "supports_function_calling": False}
    lines = await sync(database, publisher)
    assert lines[-1].startswith("0 changed, 2 held"), lines
    after = await model(database)
    assert after.supports_functions and after.deprecated_on == before.deprecated_on
    assert sorted(one.field for one in await history(database)) == ["deprecated_on_held", "supports_functions_held"]
    async with database.session() as session:
        assert await commands.accept(session, models=[NAME]) == (
            [f"{NAME}: deprecated_on, supports_functions accepted"],
            0,
        )
        await session.commit()
    after = await model(database)
    assert (after.supports_functions, after.deprecated_on) == (False, ends)


@pytest.mark.parametrize(
    ("name", "old", "new", "is_held"),
    [
        ("deprecated_on", None, "2027-02-28", True),
        ("deprecated_on", None, "2027-03-01", False),
        ("deprecated_on", "2027-02-28", None, False),
        ("deprecated_on", "2027-02-20", "2027-02-28", False),
        ("deprecated_on", "2027-04-01", "2027-02-28", True),
        ("supports_vision", True, False, True),
        ("supports_vision", False, True, False),
        ("sees_temperature", True, False, False),
    ],
)
def test_an_end_that_is_near_and_an_ability_that_is_gone_wait(name: str, old: Any, new: Any, is_held: bool) -> None:  # noqa: FBT001
    held = dict(read().fields[NAME]) | {name: old}
    (found,) = differences(NAME, held, held | {name: new}, soon="2027-03-01")
    assert found.is_large == is_held


async def test_a_run_that_accepts_takes_large_changes_too(database: Database, publisher: Publisher) -> None:
    publisher.litellm[ROW]["output_cost_per_token"] = 1.2e-06
    publisher.litellm[ROW]["max_input_tokens"] = 64_000
    assert (await sync(database, publisher))[-1].startswith("0 changed, 2 held")
    assert (await sync(database, publisher, accept=True))[-1] == "2 changed, 0 held"
    found = await model(database)
    assert (found.price.output, found.context_window) == (1_200_000, 64_000)
    async with database.session() as session:
        assert await held_changes(session) == {}


async def test_a_held_change_that_its_catalogue_takes_back_is_over(database: Database, publisher: Publisher) -> None:
    publisher.litellm[ROW]["output_cost_per_token"] = 1.2e-06
    await sync(database, publisher)
    publisher.litellm[ROW]["output_cost_per_token"] = 6e-07
    assert (await sync(database, publisher))[0].startswith(f"over     {NAME}")
    assert [one.field for one in await history(database)] == ["price_held", "price_dropped"]
    async with database.session() as session:
        assert (await commands.accept(session, models=[NAME]))[1] == 1


async def test_a_dry_run_says_the_same_and_changes_nothing(database: Database, publisher: Publisher) -> None:
    publisher.litellm[ROW]["input_cost_per_token"] = 1.6e-07
    before = await count_changes(database)
    lines, _ = await commands.sync(database, publisher.addresses, dry_run=True)
    assert lines[-1] == "1 would be changed, 0 held"
    assert await registry(database) == packaged_registry() and await count_changes(database) == before
    assert (await sync(database, publisher))[:-1] == lines[:-1]


async def test_an_operators_row_and_a_model_that_is_gone_are_left_alone(
    database: Database, publisher: Publisher
) -> None:
    async with database.session() as session:
        await edit_model(session, model_id=NAME, changes={"context_window": 1234}, source="contract")
        await session.commit()
    publisher.litellm[ROW]["input_cost_per_token"] = 1.6e-07
    del publisher.litellm["gpt-4.1"]
    lines = await sync(database, publisher)
    assert f"yours    {NAME}: changed by an operator, left alone" in lines
    assert any(line.startswith("gone     openai/gpt-4.1") for line in lines)
    assert (await model(database)).price.input == 150_000
    assert (await model(database, "openai/gpt-4.1")).price == packaged_registry().get("openai/gpt-4.1").price  # type: ignore[union-attr]


ROWS: dict[str, dict[str, Any]] = {
    "a price as text": {"input_cost_per_token": "cheap"},
    "a price that is true": {"input_cost_per_token": True},
    "a price that is a list": {"input_cost_per_token": [1]},
    "a negative price": {"output_cost_per_token": -1e-06},
    "a price finer than a pico-dollar": {"output_cost_per_token": 1.23456e-14},
    "a price of dollars a token": {"output_cost_per_token": 60},
    "no price at all": {"input_cost_per_token": 0, "output_cost_per_token": 0},
    "no price": {"input_cost_per_token": None},
    "a negative window": {"max_input_tokens": -1},
    "a window as text": {"max_input_tokens": "128000"},
    "a window without end": {"max_input_tokens": 10**12},
    "an end that is no day": {"deprecation_date": "soon"},
    "another kind of model": {"mode": "audio_speech"},
}


def read(litellm: Any = None, openrouter: Any = None) -> Told:
    """What two catalogues say; bytes as they are, else the recorded one with these changes."""
    bodies = [
        given if isinstance(given, bytes) else json.dumps(recorded(name) if given is None else given).encode()
        for name, given in (("litellm", litellm), ("openrouter", openrouter))
    ]
    return read_catalogues(sources_of(packaged_sources(), litellm=bodies[0], openrouter=bodies[1], seen=TODAY))


def test_the_recorded_catalogues_can_be_read() -> None:
    assert read().fields[NAME]["price"]["input"] == 150_000


@pytest.mark.parametrize("what", ROWS)
def test_a_row_that_cannot_be_is_refused_with_the_whole_catalogue(what: str) -> None:
    with pytest.raises(SourceError):
        read(litellm=recorded("litellm") | {ROW: recorded("litellm")[ROW] | ROWS[what]})


@pytest.mark.parametrize("price", ["-1", "NaN", "1e400", "Infinity", "free", 0.000002, None, True])
def test_a_price_of_openrouters_that_cannot_be_is_refused_with_the_whole_list(price: Any) -> None:
    changed = copy.deepcopy(recorded("openrouter"))
    next(one for one in changed["data"] if one["id"] == "deepseek/deepseek-v3.2")["pricing"]["prompt"] = price
    with pytest.raises(SourceError):
        read(openrouter=changed)


BODIES: dict[str, bytes] = {
    "empty": b"",
    "a page": b"<!doctype html><title>Rate limited</title>",
    "cut off": b'{"data": [{"id": "openai/gpt-5.1", "pri',
    "not a number": b'{"gpt-4o-mini": {"input_cost_per_token": NaN}}',
    "a list": b"[]",
    "an empty object": b"{}",
    "nothing that we list": b'{"data": [{"id": "x/y"}], "other": {}}',
    "deep": b"[" * 100_000,
    "not text": b"\xff\xfe\x00\x81",
}


@pytest.mark.parametrize("name", ["litellm", "openrouter"])
@pytest.mark.parametrize("what", BODIES)
def test_a_catalogue_that_is_none_is_refused(what: str, name: str) -> None:
    with pytest.raises(SourceError):
        read(**{name: BODIES[what]})


def test_a_catalogue_that_lacks_many_models_was_cut_off() -> None:
    rest = {name: row for name, row in recorded("litellm").items() if not name.startswith(("gpt", "claude"))}
    with pytest.raises(SourceError, match="cut off"):
        read(litellm=rest)


async def test_a_bad_catalogue_changes_nothing_of_any_model(database: Database, publisher: Publisher) -> None:
    publisher.litellm["gpt-4.1"]["input_cost_per_token"] = 2.1e-06  # a good change beside it
    publisher.litellm[ROW]["output_cost_per_token"] = -1
    assert "not right" in await assert_nothing_changes(database, publisher)
    publisher.litellm[ROW]["output_cost_per_token"] = 6e-07
    publisher.bodies["/openrouter"] = b" " * 50_000_000
    assert "over 20000000 bytes" in await assert_nothing_changes(database, publisher)
    publisher.bodies["/openrouter"] = BODIES["a page"]
    assert "not JSON" in await assert_nothing_changes(database, publisher)
    for status in (302, 404, 500):
        publisher.status = status
        publisher.headers = (("Location", f"http://127.0.0.1:{publisher.port}/elsewhere"),)
        assert f"HTTP {status}" in await assert_nothing_changes(database, publisher)
    assert "/elsewhere" not in {one.path for one in publisher.asked}


@pytest.mark.parametrize("url", ["http://example.invalid/x", "file:///etc/passwd", "https://user:pw@example.invalid"])
async def test_only_an_operators_address_of_a_safe_kind_is_asked(url: str) -> None:
    with pytest.raises(SourceError, match="must"):
        await Catalogues(url, url).read()


async def assert_nothing_changes(database: Database, publisher: Publisher) -> str:
    before = await count_changes(database)
    lines, status = await commands.sync(database, publisher.addresses)
    assert status == 1 and lines[0].startswith("nothing is changed: "), lines
    assert await registry(database) == packaged_registry()
    assert await count_changes(database) == before
    return lines[0]


async def test_an_offline_run_takes_the_packaged_catalogues(database: Database) -> None:
    assert await commands.sync(database, None) == (["0 changed, 0 held"], 0)


async def test_older_catalogues_never_follow_newer_ones(database: Database, publisher: Publisher) -> None:
    publisher.litellm[ROW]["input_cost_per_token"] = 1.6e-07
    await sync(database, publisher)
    lines, status = await commands.sync(database, None)
    assert status == 1 and "are older" in lines[0]
    async with database.session() as session:  # the next version's file, packaged before the catalogues were read
        await seed_models(session, dearer(packaged_registry()), as_of=AS_OF)
        await session.commit()
    assert (await model(database)).price.input == 160_000
    assert (await model(database, "openai/gpt-4.1")).context_window != 500_000
    async with database.session() as session:  # and one that is newer than they are
        await seed_models(session, packaged_registry(), as_of="2999-01-01")
        await session.commit()
    assert (await model(database)).price.input == 150_000


async def test_of_several_workers_one_follows_the_catalogues_a_day(database: Database, publisher: Publisher) -> None:
    publisher.litellm[ROW]["input_cost_per_token"] = 1.6e-07
    workers = [DailySync(database, publisher.addresses) for _ in range(3)]
    reports = await asyncio.gather(*(one.once_today() for one in workers))
    assert [len(one.applied) for one in reports if one] == [1]
    assert len(publisher.asked) == 2
    tomorrow = DailySync(database, publisher.addresses, clock=lambda: datetime.now(UTC) + timedelta(days=1))
    assert await tomorrow.once_today() is not None and await tomorrow.once_today() is None
    async with database.session() as session:
        claims = await session.scalars(select(col(Meta.key)).where(col(Meta.key).startswith("catalog_day:")))
        assert len(list(claims)) == 1


async def test_a_day_that_went_wrong_is_tried_again(
    database: Database, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.status = 500
    worker = DailySync(database, publisher.addresses)
    assert await worker.once_today() is None and "nothing is changed" in caplog.text
    publisher.status = 200
    assert await worker.once_today() is not None


def test_every_model_that_ends_has_a_replacement_that_stays_longer_and_can_do_the_same() -> None:
    whole = packaged_registry()
    ending = [one for one in whole.deployments if one.deprecated_on]
    assert ending
    for one in ending:
        instead = replacement(whole, one)
        assert instead is not None, one.id
        assert instead.deprecated_on is None or instead.deprecated_on > one.deprecated_on  # type: ignore[operator]
        assert instead.supports_functions >= one.supports_functions and instead.makes_images == one.makes_images


def test_a_catalogue_s_dearest_hour_and_first_price_step_are_taken() -> None:
    entry = (
        b'{"data": [{"id": "deepseek/deepseek-v3.2", "context_length": 160000, "expiration_date": "2027-02-01",'
        b' "pricing": {"prompt": "0.0000002", "completion": "0.0000004", "overrides": ['
        b'{"utc_start": 0, "utc_end": 1200, "prompt": "0.0000003"}, {"min_prompt_tokens": 100000, "prompt": "0.1"}]}}]}'
    )
    found = openrouter_prices(entry, packaged_sources(), seen=TODAY)
    row = found["rows"]["deepseek/deepseek-v3.2"]
    assert (str(row["input"]), row["flat_up_to_tokens"], row["ends"]) == ("0.3000000", 100_000, "2027-02-01")
    with pytest.raises(SourceError, match="price steps"):
        openrouter_prices(entry.replace(b'"overrides": [{', b'"overrides": [1, {'), packaged_sources(), seen=TODAY)
