"""Usage over time, by model, task, key or provider: the same sums as `GET /v1/usage`, and as a CSV."""

import reflex as rx

from omni_app.storage.accounts import Identity
from omni_app.storage.reports import Overhead, UsageGroup
from omni_app.storage.tables import utc_now
from omni_app.ui import text
from omni_app.ui.components.basics import DocumentLink, Row, Text, button_link, card, empty, money, stat, test_note
from omni_app.ui.components.chart import labels_of
from omni_app.ui.components.shell import MODES, RANGES, app_page, days_form, switch
from omni_app.ui.components.table import Column, data_table
from omni_app.ui.savings_view import billed_note, failed_note, routing_note
from omni_app.ui.session import AppState, authed, backstage
from omni_app.ui.usage_view import (
    BREAKDOWNS,
    BUCKET_NAMES,
    OTHERS,
    SERIES,
    SLOT,
    TABLE_LINES,
    Selection,
    added,
    group_figures,
    line_row,
    read_lines,
    selection_of,
    shown_name,
    stacks,
)
from omni_app.ui.view import FORMATS, sensible_buckets

PATH = "/usage/"
CSV_PATH = "/auth/usage.csv"


class UsageState(AppState):
    """One selection's lines, as text."""

    loaded: bool = False
    figures: Row = {}
    groups: list[Row] = []
    lines: list[Row] = []
    more_lines: str = ""
    bars: list[Row] = []
    legend: list[Row] = []
    ticks: list[str] = []
    top: str = ""
    view_box: str = "0 0 10 100"
    period: str = ""
    by: str = ""
    by_name: str = ""
    bucket: str = ""
    bucket_name: str = ""
    by_links: list[Row] = []
    bucket_links: list[Row] = []
    csv: str = ""
    first_day: str = ""
    last_day: str = ""

    @rx.event
    @authed
    async def load(self, who: Identity, /) -> None:
        """Reads the lines; every figure of the page is added up from them."""
        query = self.router.url.query_parameters
        async with backstage.services.database.consistent_reading() as session:
            selection = await selection_of(session, who, query=query, mode=self.mode, range_=self.range, now=utc_now())
            lines = await read_lines(session, who, selection)
        view = selection.view
        self.mode, self.range, self.problem = view.mode, view.range, view.problem
        self.first_day, self.last_day = view.days
        self.period = f"{text.utc_text(view.start)} to {text.utc_text(view.end)}"
        sums = added(lines)
        self.figures = figures(list(sums.values()))
        self.groups = [group_row(group, list(sums.values()), selection.by) for group in sums.values()]
        self.lines = [line_row(line, selection.by) for line in reversed(lines[-TABLE_LINES:])]
        self.more_lines = f"The newest {TABLE_LINES:,} of {len(lines):,} lines; the CSV holds all." * (
            len(lines) > TABLE_LINES
        )
        self.bars, self.top = stacks(lines, selection, list(sums))
        self._frame(selection, list(sums))
        self.loaded = True

    def _frame(self, selection: Selection, names: list[str]) -> None:
        view = selection.view
        instants = view.instants()
        self.ticks = labels_of([instant.strftime(FORMATS[view.bucket][1]) for instant in instants])
        self.view_box = f"0 0 {SLOT * len(instants):g} 100"
        shown = [shown_name(name, selection.by) for name in names[:SERIES]] + [OTHERS] * (len(names) > SERIES)
        self.legend = [{"name": name, "tone": str(place)} for place, name in enumerate(shown)]
        self.by, self.bucket = selection.by, view.bucket
        self.by_name, self.bucket_name = BREAKDOWNS[selection.by], BUCKET_NAMES[view.bucket]
        self.by_links = [
            _link(name, selection.address(PATH, by=by), chosen=by == selection.by) for by, name in BREAKDOWNS.items()
        ]
        self.bucket_links = [
            _link(BUCKET_NAMES[one], selection.address(PATH, bucket=one), chosen=one == view.bucket)
            for one in sensible_buckets(view.start, view.end)
        ]
        self.csv = selection.csv_address(CSV_PATH)


def _link(label: str, href: str, *, chosen: bool) -> Row:
    return {"label": label, "href": href, "current": "true" if chosen else "false"}


def figures(groups: list[UsageGroup]) -> Row:
    """The totals of all lines."""
    requests, answered = sum(one.requests for one in groups), sum(one.successful for one in groups)
    cost, premium = sum(one.cost for one in groups), sum(one.premium_cost for one in groups)
    tokens_in, tokens_out = sum(one.tokens_input for one in groups), sum(one.tokens_output for one in groups)
    overhead = sum((one.overhead for one in groups), Overhead())
    return {
        "requests": text.number(requests),
        "answered": f"{text.number(answered)} answered",
        "routing": routing_note(overhead),
        "cost": text.money(cost),
        "cost_exact": text.exact_money(cost),
        "failed": failed_note(overhead, requests),
        "billed": billed_note(cost, sum(one.markup for one in groups)),
        "saved": text.money(premium - cost),
        "saved_exact": text.exact_money(premium - cost),
        "premium": f"of {text.money(premium)} at the baseline",
        "tokens": text.number(tokens_in + tokens_out),
        "tokens_note": f"{text.number(tokens_in)} in, {text.number(tokens_out)} out",
    }


def group_row(group: UsageGroup, groups: list[UsageGroup], by: str) -> Row:
    """One name's sums over the whole period."""
    share = text.percent(group.requests, sum(one.requests for one in groups))
    return {"key": shown_name(group.key, by), "share": share} | group_figures(group)


def page() -> rx.Component:
    """Totals, the costs over time, and the lines that they are made of."""
    kept = {"by": UsageState.by}
    view = [
        switch(
            "mode",
            MODES,
            UsageState.mode,
            path=PATH,
            kept={"range": UsageState.range, "bucket": UsageState.bucket, **kept},
        ),
        switch("range", RANGES, UsageState.range, path=PATH, kept={"mode": UsageState.mode, **kept}),
        days_form(
            PATH,
            first=UsageState.first_day,
            last=UsageState.last_day,
            kept={"mode": UsageState.mode, **kept},
            chosen=UsageState.range.contains(".."),
        ),
    ]
    return app_page(
        test_note(UsageState.mode),
        _stats(),
        rx.cond(
            UsageState.groups.length() > 0,
            rx.fragment(
                _choices(), _chart(), card(_groups(), title="In the whole period"), card(_lines(), title="Over time")
            ),
            empty(
                "Nothing used in this time",
                "Cost over time appears here, by model, task, key or provider, as soon as there are requests.",
                button_link("Send a request", "/start/", kind="primary"),
            ),
        ),
        path=PATH,
        title="Usage",
        lead=UsageState.period,
        controls=view,
        loaded=UsageState.loaded,
    )


def _choices() -> rx.Component:
    def links(rows: rx.Var[list[Row]], label: str) -> rx.Component:
        return rx.el.div(
            rx.foreach(
                rows,
                lambda one: rx.el.a(one["label"], href=one["href"], custom_attrs={"aria-current": one["current"]}),
            ),
            class_name="switch",
            role="group",
            custom_attrs={"aria-label": label},
        )

    return rx.el.div(
        links(UsageState.by_links, "Broken down by"),
        links(UsageState.bucket_links, "Size of a bucket"),
        DocumentLink.create(
            "Download as CSV", href=UsageState.csv, class_name="button small", custom_attrs={"download": ""}
        ),
        class_name="row",
    )


def _stats() -> rx.Component:
    figure = UsageState.figures
    return rx.el.dl(
        stat("Requests", figure["requests"], figure["answered"], figure["routing"]),
        stat("Cost", money(figure["cost"], figure["cost_exact"]), figure["billed"], figure["failed"]),
        stat("Saved", money(figure["saved"], figure["saved_exact"]), figure["premium"], tone="good"),
        stat("Tokens", figure["tokens"], figure["tokens_note"]),
        class_name="stats",
    )


def _chart() -> rx.Component:
    def rectangle(bar: rx.Var[Row]) -> rx.Component:
        return rx.el.svg.g(
            rx.el.svg.title(bar["tip"]),
            rx.el.svg.rect(x=bar["x"], y=bar["y"], width="7", height=bar["h"]),
            custom_attrs={"data-tone": bar["tone"]},
        )

    return rx.el.figure(
        rx.el.figcaption(
            rx.el.h2("Cost per ", UsageState.bucket_name.lower(), " by ", UsageState.by_name.lower(), ", US dollars"),
            rx.el.p(
                rx.foreach(
                    UsageState.legend,
                    lambda one: rx.el.span(one["name"], class_name="key", custom_attrs={"data-tone": one["tone"]}),
                ),
                class_name="legend",
            ),
        ),
        rx.el.div(
            rx.el.div(
                rx.el.span(UsageState.top), rx.el.span("$0"), class_name="scale", custom_attrs={"aria-hidden": "true"}
            ),
            rx.el.svg(
                rx.foreach(UsageState.bars, rectangle),
                view_box=UsageState.view_box,
                preserve_aspect_ratio="none",
                role="img",
                custom_attrs={"aria-label": "Stacked bars of cost over time; the tables below have the figures"},
            ),
            rx.el.div(
                rx.foreach(UsageState.ticks, lambda tick: rx.el.span(rx.el.span(tick))),
                class_name="ticks",
                custom_attrs={"aria-hidden": "true"},
            ),
            class_name="plot",
        ),
        class_name="chart card stacked",
    )


FIGURES: list[Column] = [
    ("#Tokens in", lambda row: row["tokens_in"]),
    ("#Tokens out", lambda row: row["tokens_out"]),
    ("#Mean latency", lambda row: row["latency"]),
    ("#Cost", lambda row: money(row["cost"], row["cost_exact"])),
    ("#Saved", lambda row: money(row["saved"], row["saved_exact"])),
]
"""The columns that both tables end with."""


def _groups() -> rx.Component:
    columns: list[Column] = [
        (UsageState.by_name, lambda row: rx.el.span(row["key"], class_name="wrap")),
        ("#Requests", lambda row: row["requests"]),
        ("#Share", lambda row: row["share"]),
    ]
    return data_table(UsageState.groups, [*columns, *FIGURES], caption="Usage in the whole period")


def _lines() -> rx.Component:
    columns: list[Column] = [
        ("When (UTC)", lambda row: row["at"]),
        (UsageState.by_name, lambda row: rx.el.span(row["name"], class_name="wrap")),
        ("#Requests", lambda row: row["requests"]),
    ]
    table = data_table(UsageState.lines, [*columns, *FIGURES], caption="Usage over time")
    more: Text = UsageState.more_lines
    return rx.el.div(rx.cond(more != "", rx.el.p(more, class_name="soft small")), table, class_name="stack tight")
