"""Overview: what was spent, what was saved against which baseline, how fast, how often it went wrong."""

import reflex as rx

from omni_app.gateway.comparison import chosen, compared, recorded_band
from omni_app.registry.price_changes import MONTH, Effect, effects, price_changes
from omni_app.registry.wording import percent_text
from omni_app.routing.band import OF_MANY, Band
from omni_app.storage import ledger, org_settings, reports
from omni_app.storage.accounts import Identity
from omni_app.storage.reports import Totals
from omni_app.storage.tables import utc_now
from omni_app.ui import text
from omni_app.ui.components.basics import Row, button_link, card, empty, money, notice, stat
from omni_app.ui.components.chart import SLOT, cost_chart, drawn, labels
from omni_app.ui.components.requests import request_table
from omni_app.ui.components.shell import MODES, RANGES, app_page, days_form, switch
from omni_app.ui.components.table import Column, data_table
from omni_app.ui.records import request_row
from omni_app.ui.savings_view import (
    LESS,
    MORE,
    between,
    billed_note,
    comparison_rows,
    failed_note,
    recorded_row,
    routing_note,
)
from omni_app.ui.session import AppState, authed, backstage
from omni_app.ui.view import View, buckets, view_of

PATH = "/overview/"
RECENT = 10


class OverviewState(AppState):
    """The figures of the chosen view, as text."""

    loaded: bool = False
    figures: Row = {}
    compared: list[Row] = []
    """The baseline, then the models that the team compares with."""
    bars: list[Row] = []
    ticks: list[str] = []
    top: str = ""
    view_box: str = "0 0 10 100"
    unit: str = "day"
    simulated: str = ""
    has_rows: bool = False
    first_day: str = ""
    last_day: str = ""
    recent: list[Row] = []
    prices: list[str] = []
    """Prices that changed, with what they mean for the team's month."""

    @rx.event
    @authed
    async def load(self, who: Identity, /) -> None:
        """Reads the ledger once: this period, the one before, the buckets, the newest requests."""
        query = self.router.url.query_parameters
        async with backstage.services.database.consistent_reading() as session:
            view = await view_of(session, who, query=query, mode=self.mode, range_=self.range, now=utc_now())
            scope = {"org_id": who.org_id, "mode": view.mode}
            now = await reports.totals(session, start=view.start, end=view.until, **scope)
            start, end = view.before
            before = await reports.totals(session, start=start, end=end, **scope)
            groups = await reports.series(session, start=view.start, end=view.until, bucket=view.bucket, **scope)
            newest = await ledger.recent_requests(session, limit=RECENT, **scope)
            others = await org_settings.comparisons(session, org_id=who.org_id)
            changes = await price_changes(session, since=utc_now() - MONTH) if view.mode == "live" else []
            felt = await effects(session, changes, now=utc_now(), org_id=who.org_id)
        self.mode, self.range, self.problem = view.mode, view.range, view.problem
        self.first_day, self.last_day = view.days
        registry = backstage.services.gateway.registry
        band = recorded_band(now.by_baseline, registry.get)
        self.figures = figures(now, before, band)
        further = compared(now.by_baseline, chosen(others, registry, view.mode))
        self.compared = [recorded_row(now, band)] * bool(now.premium_models) + comparison_rows(further)
        self.simulated = simulated_note(now)
        self.recent = [request_row(record) for record in newest]
        self.has_rows = bool(newest)
        self.prices = [price_note(one) for one in felt]
        self._draw(view, groups)
        self.loaded = True

    def _draw(self, view: View, groups: list[reports.UsageGroup]) -> None:
        shown = buckets(view, groups)
        self.bars, self.top = drawn(shown)
        self.ticks = labels(shown)
        self.view_box = f"0 0 {SLOT * len(shown):g} 100"
        self.unit = view.bucket


def figures(now: Totals, before: Totals, band: Band) -> Row:
    """The headline figures as text, each with what it was in the period before."""
    share = "" if now.saved_share is None else f"{100 * now.saved_share:.0f}% of "
    return {
        "spend": text.money(now.cost),
        "spend_exact": text.exact_money(now.cost),
        "spend_note": failed_note(now.overhead, now.requests),
        "billed_note": billed_note(now.cost, now.markup),
        "spend_change": text.change(now.cost, before.cost),
        "saved": text.money(now.savings),
        "saved_exact": text.exact_money(now.savings),
        "saved_note": f"{share}{text.money(now.premium_cost)} with {baseline_name(now)}" if now.requests else "",
        "saved_band": between(band, OF_MANY) if now.premium_models else "",
        "saved_change": was(text.money(before.savings), before),
        "requests": text.number(now.requests),
        "requests_change": text.change(now.requests, before.requests),
        "latency": text.milliseconds(now.p50_ms),
        "latency_note": f"p95 {text.milliseconds(now.p95_ms)}",
        "routing_note": routing_note(now.overhead),
        "latency_change": was(f"{text.milliseconds(before.p50_ms)}, p95 {text.milliseconds(before.p95_ms)}", before),
        "errors": text.percent(now.requests - now.successful, now.requests),
        "errors_note": f"{text.number(now.requests - now.successful)} of {text.number(now.requests)}",
        "errors_change": was(text.percent(before.requests - before.successful, before.requests), before),
        "rescued": text.number(now.rescued),
        "rescued_change": was(text.number(before.rescued), before),
        "baseline": baseline_name(now),
    }


def was(figure: str, before: Totals) -> str:
    """What a figure was in the period before; empty when there were no requests then."""
    return f"{figure} in the period before" if before.requests else ""


def baseline_name(totals: Totals) -> str:
    """The baseline's name; when it changed within the period, all of them."""
    return ", ".join(totals.premium_models) or "no baseline"


def simulated_note(totals: Totals) -> str:
    """Says so when figures are simulated."""
    if not totals.simulated:
        return ""
    which = (
        "All"
        if totals.simulated == totals.requests
        else f"{text.number(totals.simulated)} of {text.number(totals.requests)}"
    )
    return f"{which} of these requests were answered by simulated models, whose costs and savings are made up."


def price_note(effect: Effect) -> str:
    """A price that changed, and what the last 30 days would have cost at it."""
    change, amount = effect.change, text.money(abs(effect.difference))
    more = f"{amount} {'more' if effect.difference > 0 else 'less'} for the tokens of your last 30 days"
    moved = percent_text(change.old, change.new)
    if change.is_held:
        return f"{change.model_id}: a new price is announced and not in force here yet ({moved}): {more}."
    return f"{change.model_id} has a new price since {change.at:%-d %b %Y} ({moved}): {more}."


def page() -> rx.Component:
    """Figures, chart, newest requests; or what to do first."""
    view = [
        switch("mode", MODES, OverviewState.mode, path=PATH, kept={"range": OverviewState.range}),
        switch("range", RANGES, OverviewState.range, path=PATH, kept={"mode": OverviewState.mode}),
        days_form(
            PATH,
            first=OverviewState.first_day,
            last=OverviewState.last_day,
            kept={"mode": OverviewState.mode},
            chosen=OverviewState.range.contains(".."),
        ),
    ]
    return app_page(
        rx.foreach(OverviewState.prices, lambda one: notice(one, tone="info")),
        rx.cond(OverviewState.simulated != "", notice(OverviewState.simulated, tone="sim")),
        _stats(),
        rx.cond(OverviewState.has_rows, rx.fragment(_chart(), _compared(), _recent()), _nothing_yet()),
        path=PATH,
        title="Overview",
        lead="What your requests cost, and what they would have cost with one premium model.",
        controls=view,
        loaded=OverviewState.loaded,
    )


def _stats() -> rx.Component:
    figure = OverviewState.figures
    return rx.el.dl(
        stat(
            "Spend",
            money(figure["spend"], figure["spend_exact"]),
            figure["billed_note"],
            figure["spend_note"],
            figure["spend_change"],
        ),
        stat(
            "Saved",
            money(figure["saved"], figure["saved_exact"]),
            figure["saved_note"],
            figure["saved_band"],
            figure["saved_change"],
            tone="good",
        ),
        stat("Requests", figure["requests"], figure["requests_change"]),
        stat(
            "Median latency",
            figure["latency"],
            figure["latency_note"],
            figure["routing_note"],
            figure["latency_change"],
        ),
        stat("Errors", figure["errors"], figure["errors_note"], figure["errors_change"]),
        stat("Rescued by fallback", figure["rescued"], "answered after a model failed", figure["rescued_change"]),
        class_name="stats",
    )


def _chart() -> rx.Component:
    return cost_chart(
        OverviewState.bars,
        top=OverviewState.top,
        view_box=OverviewState.view_box,
        ticks=OverviewState.ticks,
        baseline=OverviewState.figures["baseline"],
        unit=OverviewState.unit,
    )


def _compared() -> rx.Component:
    columns: list[Column] = [
        ("Model", lambda row: rx.el.span(row["model"], class_name="wrap")),
        ("Prices", lambda row: row["prices"]),
        ("#Would have cost", lambda row: money(row["cost"], row["cost_exact"])),
        ("#Saved", lambda row: money(row["saved"], row["saved_exact"])),
        (f"#Saved if it wrote {LESS}", lambda row: money(row["low"], row["low_exact"])),
        (f"#Saved if it wrote {MORE}", lambda row: money(row["high"], row["high_exact"])),
    ]
    note = rx.el.p(
        "The same tokens at the prices named. Another model writes more or less: ", OF_MANY.source, ". A model that "
        "reasons against one that does not differs by more. Images and embeddings count as recorded. ",
        rx.el.a("Choose models to compare with", href="/settings/"), ".",
        class_name="soft small",
    )  # fmt: skip
    table = data_table(OverviewState.compared, columns, caption="Cost and saving against other models")
    shown = card(table, note, title="Against other models", class_name="stack tight")
    return rx.cond(OverviewState.compared.length() > 0, shown)


def _recent() -> rx.Component:
    return card(
        rx.el.div(
            rx.el.h2("Newest requests"),
            rx.el.a("All requests", href="/requests/", class_name="small"),
            class_name="row spread",
        ),
        request_table(OverviewState.recent, caption="Newest requests"),
    )


def _nothing_yet() -> rx.Component:
    return empty(
        "No requests yet",
        rx.cond(
            OverviewState.mode == "live",
            "Your spend, savings and latency appear here with the first request of a live key.",
            "Your spend, savings and latency appear here with the first request of a test key.",
        ),
        button_link("Send the first request", "/start/", kind="primary"),
    )
