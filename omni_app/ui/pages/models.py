"""Model breakdown: who answered how much at what cost and speed, and every model there is, to switch on and off."""

from typing import Annotated

import reflex as rx
from pydantic import StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.errors import NotFound, PermissionDenied
from omni_app.registry.history import priced_since
from omni_app.registry.price_changes import MONTH, price_changes
from omni_app.registry.replacement import replacements
from omni_app.routing.types import Deployment, KeyKind
from omni_app.storage.accounts import Identity
from omni_app.storage.org_settings import disabled_models, set_model_enabled
from omni_app.storage.reports import model_report
from omni_app.storage.tables import utc_now
from omni_app.ui.asking import whoever_asks
from omni_app.ui.components.basics import (
    NativeForm,
    Row,
    badge,
    button,
    button_link,
    card,
    empty,
    model_name,
    money,
    question,
    test_note,
)
from omni_app.ui.components.candidates import meter
from omni_app.ui.components.scatter import drawn, scatter
from omni_app.ui.components.shell import MODES, RANGES, app_page, days_form, switch
from omni_app.ui.components.table import data_table
from omni_app.ui.model_rows import (
    SHOWN,
    SORTS,
    Standing,
    Wanted,
    count_text,
    known_row,
    last_that_serves,
    points_of,
    used_row,
)
from omni_app.ui.session import AppState, authed, backstage
from omni_app.ui.view import key_kind, view_of

PATH = "/models/"

ModelId = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ModelsState(AppState):
    """Used models with their figures, and the registry."""

    loaded: bool = False
    first_day: str = ""
    last_day: str = ""
    used: list[Row] = []
    points: list[Row] = []
    across: list[Row] = []
    up: list[Row] = []
    known: list[Row] = []
    providers: list[Row] = []
    provider: str = ""
    show: str = ""
    sort: str = ""
    count: str = ""
    may_switch: bool = False
    asking: str = ""
    """The model whose switching off would leave none that serves, until that is confirmed."""

    @rx.event
    @authed
    async def load(self, who: Identity, /) -> None:
        """Reads the breakdown and the registry."""
        query = self.router.url.query_parameters
        async with backstage.services.database.consistent_reading() as session:
            view = await view_of(session, who, query=query, mode=self.mode, range_=self.range, now=utc_now())
            figures = await model_report(session, org_id=who.org_id, start=view.start, end=view.until, mode=view.mode)
            standing = await standing_of(session, who)
        self.mode, self.range, self.problem = view.mode, view.range, view.problem
        self.first_day, self.last_day = view.days
        figures.sort(key=lambda one: (-one.group.requests, one.group.key))
        total = sum(one.group.requests for one in figures)
        self.used = [used_row(one, total=total, mode=view.mode) for one in figures]
        self.points, self.across, self.up = drawn(points_of(figures))
        self._show_known(who, standing)
        self.loaded = True

    def _show_known(self, who: Identity, standing: Standing) -> None:
        mode = key_kind(self.mode)
        deployments = served(mode)
        names = sorted({one.provider for one in deployments})
        wanted = Wanted.of(self.router.url.query_parameters, names)
        self.providers = [{"value": name, "label": name} for name in names]
        self.provider, self.show, self.sort = wanted.provider, wanted.show, wanted.sort
        self.known = [known_row(one, standing) for one in wanted.listed(deployments, standing)]
        self.count = count_text(mode, deployments, standing)
        self.may_switch = who.is_owner
        self.asking = ""

    @rx.event
    @authed
    async def switch_off(self, who: Identity, /, model_id: ModelId) -> None:
        """No request of the org goes there any more; asks first when nothing would be left."""
        async with backstage.services.database.reading() as session:
            standing = await standing_of(session, who)
        if last_that_serves(served(key_kind(self.mode)), standing, model_id) and self.asking != model_id:
            self.asking = model_id
            return
        await self._switch(who, model_id, enabled=False)

    @rx.event
    @authed
    async def switch_on(self, who: Identity, /, model_id: ModelId) -> None:
        """It may be chosen again."""
        await self._switch(who, model_id, enabled=True)

    @rx.event
    @authed
    async def keep(self, who: Identity, /) -> None:
        """The last model stays on."""
        self.asking = ""

    async def _switch(self, who: Identity, model_id: str, *, enabled: bool) -> None:
        if not who.is_owner:
            raise PermissionDenied("only an owner of the team switches models on and off")
        if backstage.services.gateway.registry.get(model_id) is None:
            raise NotFound("there is no such model")
        async with backstage.services.database.reading() as session:
            await set_model_enabled(session, org_id=who.org_id, model_id=model_id, enabled=enabled)
            await session.commit()
            standing = await standing_of(session, who)
        self._show_known(who, standing)


async def standing_of(session: AsyncSession, who: Identity) -> Standing:
    """What holds of the models now, for this org."""
    gateway, caller = backstage.services.gateway, await whoever_asks(session, who)
    return Standing(
        unavailable=gateway.unavailable(caller),
        cooling=gateway.cooling(caller),
        latency=gateway.latencies.by_model(now_s=gateway.clock()),
        disabled=await disabled_models(session, org_id=who.org_id),
        priced_since=await priced_since(session),
        today=utc_now().date(),
        price_changes={one.model_id: one for one in await price_changes(session, since=utc_now() - MONTH)},
        replacements=replacements(gateway.registry),
    )


def served(mode: KeyKind) -> tuple[Deployment, ...]:
    """The models that keys of this kind can reach."""
    registry = backstage.services.gateway.registry
    return (*registry.serving(mode), *registry.embedding(mode))


def page() -> rx.Component:
    """What was used, then what there is."""
    kept = {"provider": ModelsState.provider, "show": ModelsState.show, "sort": ModelsState.sort}
    view = [
        switch("mode", MODES, ModelsState.mode, path=PATH, kept={"range": ModelsState.range, **kept}),
        switch("range", RANGES, ModelsState.range, path=PATH, kept={"mode": ModelsState.mode, **kept}),
        days_form(
            PATH,
            first=ModelsState.first_day,
            last=ModelsState.last_day,
            kept={"mode": ModelsState.mode, **kept},
            chosen=ModelsState.range.contains(".."),
        ),
    ]
    return app_page(
        test_note(ModelsState.mode),
        rx.cond(
            ModelsState.used.length() > 0,
            rx.fragment(
                card(_used(), title="Who answered"),
                rx.cond(
                    ModelsState.points.length() > 0, scatter(ModelsState.points, ModelsState.across, ModelsState.up)
                ),
            ),
            empty(
                "No model has answered yet in this time",
                "Each model’s share, cost and latency appear here with the first request.",
                button_link("Send a request", "/start/", kind="primary"),
            ),
        ),
        rx.cond(ModelsState.asking != "", _ask()),
        card(
            rx.el.p(ModelsState.count, class_name="soft small"),
            rx.cond(
                ModelsState.may_switch,
                rx.fragment(),
                rx.el.p("Only an owner of the team switches models on and off.", class_name="soft small"),
            ),
            _choose(),
            rx.cond(ModelsState.known.length() > 0, _known(), rx.el.p("No model is like that.", class_name="soft")),
            title="Models to choose from",
            class_name="stack tight",
        ),
        path=PATH,
        title="Models",
        lead="Which model answered, what it cost, and every model the router can choose from.",
        controls=view,
        loaded=ModelsState.loaded,
    )


def _ask() -> rx.Component:
    return question(
        rx.el.strong(ModelsState.asking),
        " is the last model that can serve these keys. Without it their requests are refused.",
        about=ModelsState.asking,
        yes=("Switch it off all the same", ModelsState.switch_off(ModelsState.asking)),
        no=("Keep it on", ModelsState.keep),
        label="Switch the last model off?",
    )


def _used() -> rx.Component:
    return data_table(
        ModelsState.used,
        [
            (
                "Model",
                lambda row: rx.el.div(
                    rx.el.a(row["model"], href=row["href"]), meter(row["width"]), class_name="stack hair"
                ),
            ),
            ("#Share", lambda row: row["share"]),
            ("#Requests", lambda row: row["requests"]),
            ("#Cost", lambda row: money(row["cost"], row["cost_exact"])),
            ("#$ per 1,000 req", lambda row: row["per_1k"]),
            ("#Saved", lambda row: money(row["saved"], row["saved_exact"])),
            ("#p50", lambda row: row["p50"]),
            ("#p95", lambda row: row["p95"]),
            ("#Errors", lambda row: rx.el.span(row["errors"], title=row["errors_note"])),
        ],
        caption="Models that answered",
    )


def _choose() -> rx.Component:
    """Which models are listed, and how: kept in the address."""
    shown = [rx.el.option(words, value=one) for one, words in SHOWN.items()]
    sorts = [rx.el.option(words, value=one) for one, words in SORTS.items()]
    providers = rx.foreach(ModelsState.providers, lambda one: rx.el.option(one["label"], value=one["value"]))
    return NativeForm.create(
        rx.el.input(type="hidden", name="mode", default_value=ModelsState.mode),
        rx.el.input(type="hidden", name="range", default_value=ModelsState.range),
        _select("Provider", "provider", ModelsState.provider, rx.el.option("Any provider", value=""), providers),
        _select("Show", "show", ModelsState.show, *shown),
        _select("Order", "sort", ModelsState.sort, *sorts),
        rx.el.div(rx.el.button("Apply", type="submit", class_name="button")),
        action=PATH,
        method="get",
        class_name="filter-form",
        key=ModelsState.mode + ModelsState.range + ModelsState.provider + ModelsState.show + ModelsState.sort,
        custom_attrs={"data-tidy": ""},
    )


def _select(label: str, name: str, chosen: rx.Var[str], *options: rx.Component) -> rx.Component:
    return rx.el.div(
        rx.el.label(label, html_for=f"models-{name}"),
        rx.el.select(*options, id=f"models-{name}", name=name, default_value=chosen),
        class_name="field",
    )


def _known() -> rx.Component:
    return data_table(
        ModelsState.known,
        [
            (
                "Model",
                lambda row: rx.el.div(
                    model_name(row["model"], row["kind"]),
                    rx.cond(row["ends"] != "", badge(row["ends"], tone=row["ends_tone"])),
                    rx.cond(row["instead"] != "", rx.el.span("instead: ", row["instead"], class_name="sub note-under")),
                ),
            ),
            ("State", lambda row: _with_note(badge(row["state"], tone=row["tone"]), row["reason"])),
            ("Switch", _switch_button),
            ("#Latency", lambda row: _with_note(row["latency"], row["latency_note"])),
            (
                "Price per 1M in / out",
                lambda row: rx.el.span(
                    _with_note(row["price"], row["source"]),
                    rx.cond(row["change"] != "", badge(row["change"], tone=row["change_tone"])),
                    title=row["source_whole"],
                ),
            ),
            ("#Context", lambda row: row["window"]),
            ("Rating", lambda row: _with_note(row["rating"], row["rating_source"])),
        ],
        caption="Models to choose from",
    )


def _with_note(shown: rx.Component | rx.Var[str], note: rx.Var[str]) -> rx.Component:
    """A figure, and under it where it comes from; a long note is wrapped."""
    return rx.el.span(shown, rx.cond(note != "", rx.el.span(note, class_name="sub note-under")))


def _switch_button(row: rx.Var[Row]) -> rx.Component:
    on = button(
        "Switch on", on_click=ModelsState.switch_on(row["model"]), kind="small", aria_label="Switch on " + row["model"]
    )
    off = button(
        "Switch off",
        on_click=ModelsState.switch_off(row["model"]),
        kind="small",
        aria_label="Switch off " + row["model"],
    )
    return rx.cond(ModelsState.may_switch, rx.cond(row["off"] == "yes", on, off))
