"""Usage: the same report as `GET /v1/usage`, by day, by model and by task."""

import reflex as rx

from omni_app.storage import reports
from omni_app.storage.accounts import Identity
from omni_app.storage.reports import UsageGroup, UsageReport
from omni_app.storage.tables import utc_now
from omni_app.ui import text
from omni_app.ui.components.basics import Row, Text, button_link, card, empty, money, stat, test_note
from omni_app.ui.components.shell import MODES, RANGES, app_page, switch
from omni_app.ui.components.table import data_table
from omni_app.ui.session import AppState, authed, backstage
from omni_app.ui.view import view_of

PATH = "/usage/"


class UsageState(AppState):
    """One usage report, as text."""

    loaded: bool = False
    figures: Row = {}
    days: list[Row] = []
    models: list[Row] = []
    tasks: list[Row] = []
    period: str = ""

    @rx.event
    @authed
    async def load(self, who: Identity, /) -> None:
        """Reads the report."""
        query = self.router.url.query_parameters
        async with backstage.services.database.reading() as session:
            view = await view_of(session, who, query=query, mode=self.mode, range_=self.range, now=utc_now())
            report = await reports.usage(session, org_id=who.org_id, start=view.start, end=view.end, mode=view.mode)
        self.mode, self.range = view.mode, view.range
        self.period = f"{text.utc_text(view.start)} to {text.utc_text(view.end)}"
        self.figures = figures(report)
        self.days = [group_row(group, report) for group in reversed(report.by_day)]
        self.models = [group_row(group, report) for group in report.by_model]
        self.tasks = [group_row(group, report) | {"key": text.task_name(group.key)} for group in report.by_task]
        self.loaded = True


def figures(report: UsageReport) -> Row:
    """The report's totals."""
    return {
        "requests": text.number(report.total_requests),
        "answered": f"{text.number(report.successful_requests)} answered",
        "cost": text.money(report.total_cost),
        "cost_exact": text.exact_money(report.total_cost),
        "saved": text.money(report.estimated_savings),
        "saved_exact": text.exact_money(report.estimated_savings),
        "premium": f"of {text.money(report.premium_cost)} at the baseline",
        "tokens": text.number(report.tokens_input + report.tokens_output),
        "tokens_note": f"{text.number(report.tokens_input)} in, {text.number(report.tokens_output)} out",
    }


def group_row(group: UsageGroup, report: UsageReport) -> Row:
    """One line of a breakdown."""
    return {
        "key": group.key,
        "requests": text.number(group.requests),
        "share": text.percent(group.requests, report.total_requests),
        "tokens_in": text.number(group.tokens_input),
        "tokens_out": text.number(group.tokens_output),
        "cost": text.money(group.cost),
        "cost_exact": text.exact_money(group.cost),
        "saved": text.money(group.savings),
        "saved_exact": text.exact_money(group.savings),
        "latency": text.milliseconds(group.avg_latency_ms),
    }


def page() -> rx.Component:
    """Totals and three breakdowns that add up to them."""
    view = [
        switch("mode", MODES, UsageState.mode, path=PATH, other=("range", UsageState.range)),
        switch("range", RANGES, UsageState.range, path=PATH, other=("mode", UsageState.mode)),
    ]
    return app_page(
        test_note(UsageState.mode),
        _stats(),
        rx.cond(
            UsageState.days.length() > 0,
            rx.fragment(
                card(_table(UsageState.days, "Day (UTC)", "Usage by day"), title="By day"),
                card(_table(UsageState.models, "Model", "Usage by model"), title="By model"),
                card(_table(UsageState.tasks, "Task", "Usage by task"), title="By task"),
            ),
            empty(
                "Nothing used in this time",
                "Days, models and tasks appear here with their cost and saving as soon as there are requests.",
                button_link("Send a request", "/start/", kind="primary"),
            ),
        ),
        path=PATH,
        title="Usage",
        lead=UsageState.period,
        controls=view,
        loaded=UsageState.loaded,
    )


def _stats() -> rx.Component:
    figure = UsageState.figures
    return rx.el.dl(
        stat("Requests", figure["requests"], figure["answered"]),
        stat("Cost", money(figure["cost"], figure["cost_exact"])),
        stat("Saved", money(figure["saved"], figure["saved_exact"]), figure["premium"], tone="good"),
        stat("Tokens", figure["tokens"], figure["tokens_note"]),
        class_name="stats",
    )


def _table(rows: rx.Var[list[Row]], first: str, caption: Text) -> rx.Component:
    return data_table(
        rows,
        [
            (first, lambda row: row["key"]),
            ("#Requests", lambda row: row["requests"]),
            ("#Share", lambda row: row["share"]),
            ("#Tokens in", lambda row: row["tokens_in"]),
            ("#Tokens out", lambda row: row["tokens_out"]),
            ("#Mean latency", lambda row: row["latency"]),
            ("#Cost", lambda row: money(row["cost"], row["cost_exact"])),
            ("#Saved", lambda row: money(row["saved"], row["saved_exact"])),
        ],
        caption=str(caption),
    )
