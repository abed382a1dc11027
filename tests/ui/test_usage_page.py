"""Usage and Overview: which stretch of time an address means, and that every figure adds up to the same totals."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import event

from omni_app.services import Services
from omni_app.storage import keys, ledger
from omni_app.storage.tables import utc_now
from omni_app.ui.pages import models, usage
from omni_app.ui.pages.overview import OverviewState
from omni_app.ui.pages.usage import UsageState
from omni_app.ui.session import AppState
from omni_app.ui.view import MOST_BUCKETS, View, begun, custom_range, natural_bucket, sensible_buckets, view_of
from tests.ui.conftest import Person, Tab
from tests.ui.test_pages import record

MOST_STATEMENTS = 12
"""Of opening either page: the session, the mode, then the figures."""


async def with_requests(services: Services, person: Person) -> None:
    """Requests of three models, two tasks and one key, over the last three hours."""
    async with services.database.session() as session:
        key, _ = await keys.create_key(
            session, org_id=person.who.org_id, name="<b>Web</b>", kind="live", hasher=services.hasher
        )
        rows = [
            record(
                person.who.org_id,
                number * 1_000,
                model=("openai/a", "openai/b", "groq/c")[number % 3],
                provider=("openai", "openai", "groq")[number % 3],
                task=("chat", "coding")[number % 2],
                key_id=key.id,
            )
            for number in range(9)
        ]
        await ledger.insert_records(session, rows)
        await session.commit()


def dollars(rows: list[dict[str, str]], name: str = "cost_exact") -> Decimal:
    return sum((Decimal(row[name].replace("$", "")) for row in rows), Decimal(0))


@pytest.mark.parametrize(("by", "names"), [("model", 3), ("task", 2), ("provider", 2), ("key", 1)])
@pytest.mark.parametrize("bucket", ["hour", "day"])
async def test_every_breakdown_adds_up_to_the_page_s_totals(
    services: Services, sign_up: Any, by: str, names: int, bucket: str
) -> None:
    ada = await sign_up("ada@example.com")
    await with_requests(services, ada)
    await ada.tab.at("/usage/", range="24h", by=by, bucket=bucket).fire(UsageState, "load")
    state = ada.tab.state(UsageState)
    assert len(state.groups) == names
    assert dollars(state.groups) == dollars(state.lines) == Decimal(state.figures["cost_exact"].replace("$", ""))
    assert state.figures["requests"] == "9"
    heights = sum(float(bar["h"]) for bar in state.bars)
    assert state.bars and heights > 0
    if by == "key":
        assert state.groups[0]["key"].startswith("<b>Web</b> (…"), "a key's name is text"


async def test_the_csv_is_of_exactly_what_is_shown(services: Services, sign_up: Any) -> None:
    ada = await sign_up("ada@example.com")
    await with_requests(services, ada)
    await ada.tab.at("/usage/", range="24h", by="task", bucket="hour", mode="live").fire(UsageState, "load")
    query = parse_qs(urlsplit(ada.tab.state(UsageState).csv).query)
    assert (query["by"], query["bucket"], query["mode"]) == (["task"], ["hour"], ["live"])
    start, end = (datetime.fromisoformat(query[name][0]) for name in ("from", "to"))
    assert timedelta(hours=23) < end - start <= timedelta(hours=24)


@pytest.mark.parametrize("state", [UsageState, OverviewState])
@pytest.mark.parametrize("span", ["1h", "24h", "7d", "30d", "2026-01-01..2026-03-31"])
async def test_every_range_opens_with_a_bounded_number_of_statements(
    services: Services, sign_up: Any, state: Any, span: str
) -> None:
    ada = await sign_up("ada@example.com")
    await with_requests(services, ada)
    statements: list[str] = []
    event.listen(
        services.database.engine.sync_engine,
        "before_cursor_execute",
        lambda *args: statements.append(args[2]) if args[2].startswith("SELECT") else None,
    )
    await ada.tab.at("/overview/", range=span).fire(state, "load")
    assert ada.tab.state(AppState).range == span and ada.tab.state(AppState).problem == ""
    assert len(statements) <= MOST_STATEMENTS, "\n".join(statements)


async def test_days_of_one_s_own_come_from_the_form_and_stay_in_the_address(services: Services, sign_up: Any) -> None:
    ada = await sign_up("ada@example.com")
    tab: Tab = ada.tab
    await tab.at("/overview/", **{"range": "custom", "from": "2026-02-01", "to": "2026-02-28"}).fire(
        OverviewState, "load"
    )
    state = tab.state(OverviewState)
    assert (state.range, state.first_day, state.last_day) == ("2026-02-01..2026-02-28", "2026-02-01", "2026-02-28")
    assert len(state.bars) == 28


@pytest.mark.parametrize(
    ("first", "last"),
    [("2026-02-28", "2026-02-01"), ("", "2026-02-01"), ("yesterday", "today"), ("1990-01-01", "2026-01-01")],
)
async def test_days_that_are_none_are_told_and_seven_shown(sign_up: Any, first: str, last: str) -> None:
    ada = await sign_up("ada@example.com")
    await ada.tab.at("/usage/", **{"range": "custom", "from": first, "to": last}).fire(UsageState, "load")
    assert "first and a last day" in ada.tab.state(AppState).problem
    assert ada.tab.state(AppState).range == "7d"


async def test_each_figure_is_shown_with_the_period_before(services: Services, sign_up: Any) -> None:
    ada = await sign_up("ada@example.com")
    day = 86_400
    async with services.database.session() as session:
        now = [record(ada.who.org_id, number * 60) for number in range(4)]
        before = [record(ada.who.org_id, 8 * day + number * 60, success=False) for number in range(2)]
        await ledger.insert_records(session, [*now, *before])
        await session.commit()
    await ada.tab.at("/overview/", range="7d", mode="live").fire(OverviewState, "load")
    figures = ada.tab.state(OverviewState).figures
    assert figures["requests_change"] == "+100% vs the period before"
    assert figures["errors_change"] == "100% in the period before"
    for name in ("saved_change", "latency_change", "rescued_change"):
        assert figures[name].endswith("in the period before")


async def view(services: Services, person: Person, span: str, now: datetime) -> View:
    async with services.database.session() as session:
        query = {"range": span, "mode": "live"}
        return await view_of(session, person.who, query=query, mode="", range_="", now=now)


@pytest.mark.parametrize(
    ("span", "hours_before"),
    [
        ("2026-03-14..2026-03-14", 10),
        ("2026-03-13..2026-03-14", 34),
        ("2026-03-12..2026-03-13", 48),
        ("2026-03-15..2026-03-20", 1),
    ],
)
async def test_days_that_are_not_over_are_compared_with_as_long_a_time_before(
    services: Services, sign_up: Any, span: str, hours_before: int
) -> None:
    """At ten in the morning of 14 March: that day so far, with the day before, all over, still ahead."""
    shown = await view(services, await sign_up("ada@example.com"), span, datetime(2026, 3, 14, 10, tzinfo=UTC))
    assert shown.before == (shown.start - timedelta(hours=hours_before), shown.start)


@pytest.mark.parametrize(
    ("page", "path", "kept"),
    [
        (usage.page, "/usage/?range=24h", ("mode", "by")),
        (usage.page, "/usage/?mode=live", ("range", "by", "bucket")),
        (models.page, "/models/?range=24h", ("mode", "provider", "show", "sort")),
        (models.page, "/models/?mode=live", ("range", "provider", "show", "sort")),
    ],
)
def test_another_range_or_mode_keeps_what_else_was_chosen(page: Any, path: str, kept: tuple[str, ...]) -> None:
    link = str(page().render()).partition(path)[2].partition("'")[0]
    assert sorted(re.findall(r'"&(\w+)="', link)) == sorted(kept)


async def test_what_else_was_chosen_is_known_by_the_address_names(services: Services, sign_up: Any) -> None:
    ada = await sign_up("ada@example.com")
    await ada.tab.at("/usage/", range="24h", by="task", bucket="day").fire(UsageState, "load")
    state = ada.tab.state(UsageState)
    assert (state.by, state.bucket) == ("task", "day")


def test_a_chart_never_has_more_bars_than_there_is_room_for() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for days in (1, 3, 30, 200, 400, 3_000):
        span = (start, start + timedelta(days=days))
        assert natural_bucket(*span) == sensible_buckets(*span)[0]
        assert (span[1] - span[0]) / timedelta(days=28) <= MOST_BUCKETS or sensible_buckets(*span) == ["month"]
    assert natural_bucket(start, start + timedelta(days=1)) == "hour"
    assert natural_bucket(start, start + timedelta(days=30)) == "day"


def test_buckets_begin_where_the_ledger_s_do() -> None:
    instant = datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC)
    assert begun(instant, "minute") == datetime(2026, 3, 14, 15, 9, tzinfo=UTC)
    assert begun(instant, "hour") == datetime(2026, 3, 14, 15, tzinfo=UTC)
    assert begun(instant, "day") == datetime(2026, 3, 14, tzinfo=UTC)
    assert begun(instant, "month") == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "..", "7d", "2026-01-01", "2026-13-01..2026-13-02", "9999-12-31..9999-12-31"])
def test_what_is_no_range_is_none(text: str) -> None:
    assert custom_range(text) is None


def test_a_range_holds_its_last_day() -> None:
    found = custom_range("2026-01-01..2026-01-01")
    assert found == (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    assert found[1] < utc_now()
