"""Model breakdown: who answered how much, and every model there is with its price, rating and state."""

import reflex as rx

from omni_app.routing.types import Deployment, Rating
from omni_app.storage import ledger
from omni_app.storage.accounts import Identity
from omni_app.storage.ledger import UsageGroup
from omni_app.storage.tables import utc_now
from omni_app.ui import text
from omni_app.ui.components.basics import Row, badge, button_link, card, empty, model_name, money, test_note
from omni_app.ui.components.candidates import meter
from omni_app.ui.components.shell import MODES, RANGES, app_page, switch
from omni_app.ui.components.table import data_table
from omni_app.ui.session import AppState, authed, backstage
from omni_app.ui.view import View, view_of

PATH = "/models/"
TOKENS_PER_PRICE = 1_000_000
MEASURED = 20
"""Percentiles are read for this many of the most used models: the page makes a bounded number of queries."""


class ModelsState(AppState):
    """Used models with their figures, and the registry."""

    loaded: bool = False
    used: list[Row] = []
    known: list[Row] = []
    count: str = ""

    @rx.event
    @authed
    async def load(self, who: Identity, /) -> None:
        """Reads the breakdown and the registry."""
        gateway = backstage.services.gateway
        query = self.router.url.query_parameters
        async with backstage.services.database.reading() as session:
            view = await view_of(session, who, query=query, mode=self.mode, range_=self.range, now=utc_now())
            report = await ledger.usage(session, org_id=who.org_id, start=view.start, end=view.end, mode=view.mode)
            groups = sorted(report.by_model, key=lambda group: (-group.requests, group.key))
            latencies = [
                await ledger.latency_percentiles(
                    session, org_id=who.org_id, start=view.start, end=view.end, mode=view.mode, model=group.key
                )
                for group in groups[:MEASURED]
            ]
        self.mode, self.range = view.mode, view.range
        measured = {group.key: found for group, found in zip(groups, latencies, strict=False)}
        self.used = [
            used_row(group, total=report.total_requests, latency=measured.get(group.key, (None, None)))
            for group in groups
        ]
        unavailable = gateway.unavailable()
        served = gateway.registry.serving(view.mode)
        self.known = [known_row(one, reason=unavailable.get(one.id, "")) for one in served]
        self.count = count_text(view, known=len(served), ready=sum(one.id not in unavailable for one in served))
        self.loaded = True


def used_row(group: UsageGroup, *, total: int, latency: tuple[int | None, ...]) -> Row:
    """A model's part of the requests."""
    p50, p95 = latency
    return {
        "model": "no model answered" if group.key == ledger.NO_MODEL else group.key,
        "share": text.percent(group.requests, total),
        "width": f"{100 * group.requests / total:.2f}" if total else "0",
        "requests": text.number(group.requests),
        "cost": text.money(group.cost),
        "cost_exact": text.exact_money(group.cost),
        "per_1k": text.money(group.cost * 1000 // group.requests) if group.requests else "–",
        "saved": text.money(group.savings),
        "saved_exact": text.exact_money(group.savings),
        "latency": f"{text.milliseconds(p50)} / {text.milliseconds(p95)}",
    }


def known_row(deployment: Deployment, *, reason: str) -> Row:
    """A model of the registry."""
    price = deployment.price
    return {
        "model": deployment.id,
        "input": _price(price.input),
        "output": _price(price.output),
        "image": f"{text.money(price.image)} per image" if price.image else "",
        "source": deployment.price_source,
        "window": text.number(deployment.context_window),
        "rating": rating_text(deployment.overall),
        "rating_source": deployment.overall.measure if not deployment.overall.prior else "prior from its price",
        "kind": "simulated" if deployment.simulated else ("local" if deployment.provider == "local" else ""),
        "state": "ready" if not reason else "not available",
        "tone": "ok" if not reason else "",
        "reason": reason,
    }


def _price(pico_per_token: int) -> str:
    return text.money(pico_per_token * TOKENS_PER_PRICE)


def rating_text(rating: Rating) -> str:
    """The public figure with its date, or `unrated`."""
    if rating.prior:
        return "unrated"
    figure = f"{rating.value:g}" if rating.value is not None else f"{rating.percentile:.0%}"
    return f"{figure} ({rating.date})" if rating.date else figure


def count_text(view: View, *, known: int, ready: int) -> str:
    """How many models there are for this mode, and how many can be used now."""
    missing = view.mode == "live" and ready < known
    hint = " Set a provider’s key (OPENAI_API_KEY and the like) to use the others." if missing else ""
    return f"{text.number(known)} models for {view.mode} keys, {text.number(ready)} of them ready.{hint}"


def page() -> rx.Component:
    """What was used, then what there is."""
    view = [
        switch("mode", MODES, ModelsState.mode, path=PATH, other=("range", ModelsState.range)),
        switch("range", RANGES, ModelsState.range, path=PATH, other=("mode", ModelsState.mode)),
    ]
    return app_page(
        test_note(ModelsState.mode),
        rx.cond(
            ModelsState.used.length() > 0,
            card(_used(), title="Who answered"),
            empty(
                "No model has answered yet in this time",
                "Each model’s share, cost and latency appear here with the first request.",
                button_link("Send a request", "/start/", kind="primary"),
            ),
        ),
        card(rx.el.p(ModelsState.count, class_name="soft small"), _known(), title="Models to choose from"),
        path=PATH,
        title="Models",
        lead="Which model answered, what it cost, and every model the router can choose from.",
        controls=view,
        loaded=ModelsState.loaded,
    )


def _used() -> rx.Component:
    return data_table(
        ModelsState.used,
        [
            ("Model", lambda row: rx.el.div(row["model"], meter(row["width"]), class_name="stack hair")),
            ("#Share", lambda row: row["share"]),
            ("#Requests", lambda row: row["requests"]),
            ("#Cost", lambda row: money(row["cost"], row["cost_exact"])),
            ("#Per 1,000", lambda row: row["per_1k"]),
            ("#Saved", lambda row: money(row["saved"], row["saved_exact"])),
            ("#Latency p50 / p95", lambda row: row["latency"]),
        ],
        caption="Models that answered",
    )


def _known() -> rx.Component:
    return data_table(
        ModelsState.known,
        [
            (
                "Model",
                lambda row: model_name(row["model"], row["kind"]),
            ),
            (
                "State",
                lambda row: rx.el.span(
                    badge(row["state"], tone=row["tone"]), rx.el.span(row["reason"], class_name="sub")
                ),
            ),
            ("#$ per 1M in", lambda row: rx.el.span(row["input"], title=row["source"])),
            ("#$ per 1M out", lambda row: rx.el.span(row["output"], rx.el.span(row["image"], class_name="sub"))),
            ("#Context", lambda row: row["window"]),
            ("Rating", lambda row: rx.el.span(row["rating"], rx.el.span(row["rating_source"], class_name="sub wrap"))),
        ],
        caption="Models to choose from",
    )
