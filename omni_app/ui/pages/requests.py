"""The request log: newest first, filtered by its address, turned page by page, and followed live."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import reflex as rx

from omni_app.errors import Unavailable
from omni_app.routing.types import KeyKind
from omni_app.storage import keys, ledger
from omni_app.storage.accounts import Identity
from omni_app.storage.by_id import ID_LENGTH
from omni_app.storage.log_pages import LogFilter, LogPage, log_page
from omni_app.ui import log_view
from omni_app.ui.components.basics import (
    DocumentLink,
    NativeForm,
    Row,
    Text,
    badge,
    button,
    button_link,
    card,
    empty,
    test_note,
)
from omni_app.ui.components.requests import choice_links, request_table
from omni_app.ui.components.shell import app_page
from omni_app.ui.log_view import PATH
from omni_app.ui.records import request_row
from omni_app.ui.session import AppState, authed, backstage, is_still
from omni_app.ui.view import key_kind

PAGE_SIZE = 50
MAX_SHOWN = 200
"""While the log is followed the page keeps this many rows; older ones are on the next page."""
LOOK_EVERY_S = 1.0
LOOKS = 600
"""After ten minutes the page stops looking, and says so."""


class RequestsState(AppState):
    """One page of the log. `tail`: `live`, `paused`, `ended` (time is up), or empty on any page but the newest."""

    loaded: bool = False
    rows: list[Row] = []
    values: Row = {}
    shown_at: str = ""
    """The address of these filters: another one makes the form anew, for its fields begin with what they are given."""
    narrowed: bool = False
    csv: str = ""
    """The address of all of them as a file."""
    typed: int = 0
    """How many filters of the form are set."""
    newer_href: str = ""
    older_href: str = ""
    modes: list[Row] = []
    outcomes: list[Row] = []
    tasks: list[Row] = []
    models: list[Row] = []
    keys: list[Row] = []
    tail: str = ""
    held: str = ""
    """How many new rows a paused page holds back, in words."""
    _held: list[Row] = []

    @rx.event
    @authed
    async def load(self, who: Identity, /) -> Any:
        """The page that the address names; the newest one is followed from then on."""
        query = self.router.url.query_parameters
        async with backstage.services.database.reading() as session:
            mode = query.get("mode", self.mode)
            if mode not in ("live", "test"):
                mode = await ledger.default_mode(session, org_id=who.org_id)
            wanted = log_view.filter_of(query, mode=key_kind(mode))
            turn = {name: log_view.typed(query.get(name, ""), most=ID_LENGTH) for name in ("after", "before")}
            page = await log_page(session, org_id=who.org_id, wanted=wanted, limit=PAGE_SIZE, **turn)
            known = await keys.list_keys(session, org_id=who.org_id, include_hidden=True, include_revoked=True)
        self.mode = mode
        self._show(wanted, page)
        self.models = log_view.model_options(served(wanted.mode), chosen=wanted.model)
        mine = [key for key in known if key.kind == mode]
        self.keys = log_view.key_options(mine, chosen=self.values["key"])
        self.loaded = True
        return RequestsState.follow if self.tail else None

    def _show(self, wanted: LogFilter, page: LogPage) -> None:
        values = self.values = log_view.values_of(wanted)
        self.rows = [request_row(record) for record in page.records]
        self.shown_at = log_view.address(values)
        self.csv = log_view.address(values, path=log_view.CSV_PATH)
        self.typed = sum(1 for name in log_view.NARROWING if values[name] and name != "outcome")
        self.narrowed = self.typed > 0 or values["outcome"] != ""
        self.newer_href = log_view.address(values, before=page.newer) if page.newer else ""
        self.older_href = log_view.address(values, after=page.older) if page.older else ""
        self.modes, self.outcomes = log_view.mode_links(values), log_view.outcome_links(values)
        self.tasks = log_view.task_options()
        self._held, self.held = [], ""
        self.tail = "" if page.newer or wanted.end else "live"

    @rx.event(background=True, supersedes=True)
    @authed
    async def follow(self, who: Identity, /) -> Any:
        """Looks for newer rows until the reader leaves or turns the page, the session ends, or time is up."""
        async with self:
            address, wanted = str(self.router.url), log_view.filter_of(self.values, mode=key_kind(self.mode))
        for _ in range(LOOKS):
            await asyncio.sleep(LOOK_EVERY_S)
            with suppress(Unavailable):
                if not await is_still(self, who):
                    return RequestsState.load
                found = await newest(who, wanted)
                async with self:
                    if str(self.router.url) != address or self.tail not in ("live", "paused"):
                        return None
                    self._take(found)
        async with self:
            self.tail = "ended"
        return None

    def _take(self, found: Sequence[Row]) -> None:
        """New rows go on top; a paused page only counts them."""
        shown = {row["id"] for row in self.rows}
        fresh = [row for row in found if row["id"] not in shown]
        if self.tail == "paused":
            self._held, self.held = fresh, held_text(len(fresh))
        elif fresh:
            self._merge(found)

    def _merge(self, found: Sequence[Row]) -> None:
        """What no longer has room here is on the next page."""
        last = self.rows[-1:]
        self.rows = merged(self.rows, found)
        if last and self.rows[-1]["id"] != last[0]["id"]:
            self.older_href = log_view.address(self.values, after=self.rows[-1]["id"])

    @rx.event
    @authed
    async def pause(self, who: Identity, /) -> None:
        """The rows stay as they are; new ones are counted."""
        if self.tail == "live":
            self.tail = "paused"

    @rx.event
    @authed
    async def resume(self, who: Identity, /) -> Any:
        """Shows what has come meanwhile, and goes on; begins again when time was up."""
        if self.tail == "ended":
            return RequestsState.load
        if self.tail == "paused":
            self._merge(self._held)
            self.tail, self.held, self._held = "live", "", []
        return None


async def newest(who: Identity, wanted: LogFilter) -> list[Row]:
    """The newest page under these filters, as it is now."""
    async with backstage.services.database.reading() as session:
        page = await log_page(session, org_id=who.org_id, wanted=wanted, limit=PAGE_SIZE)
    return [request_row(record) for record in page.records]


def merged(shown: Sequence[Row], found: Sequence[Row]) -> list[Row]:
    """Both, newest first, each row once. Only those found when so many came that the two do not meet: no hidden gap."""
    known = {row["id"]: row for row in shown}
    if len(found) == PAGE_SIZE and not any(row["id"] in known for row in found):
        return list(found)
    both = known | {row["id"]: row for row in found}
    return sorted(both.values(), key=lambda row: row["order"], reverse=True)[:MAX_SHOWN]


def held_text(count: int) -> str:
    """`3 new`, and `50+ new` from a whole page on."""
    return "" if not count else f"{count}{'+' if count >= PAGE_SIZE else ''} new"


def served(mode: KeyKind) -> list[str]:
    """The models that keys of this kind can reach."""
    registry = backstage.services.gateway.registry
    return [one.id for one in (*registry.serving(mode), *registry.embedding(mode))]


def page() -> rx.Component:
    """Filters, rows, and the way to the neighbouring pages."""
    return app_page(
        test_note(RequestsState.mode),
        _bar(),
        _filters(),
        rx.cond(RequestsState.rows.length() > 0, _rows(), _nothing()),
        path=PATH,
        title="Requests",
        lead="Every request, newest first; failed ones too.",
        controls=[choice_links(RequestsState.modes, label="Live or test")],
        loaded=RequestsState.loaded,
    )


def _bar() -> rx.Component:
    return rx.el.div(choice_links(RequestsState.outcomes, label="Outcome"), _tail(), class_name="row spread")


def _tail() -> rx.Component:
    state = RequestsState.tail
    told = rx.match(
        state,
        ("live", rx.el.span("Following", class_name="tail-light", custom_attrs={"data-on": "yes"})),
        ("paused", rx.el.span("Paused", class_name="tail-light")),
        rx.el.span("Stopped looking after ten minutes", class_name="tail-light"),
    )
    return rx.cond(
        state != "",
        rx.el.div(
            rx.el.span(told, badge_of_held(), role="status", class_name="row small soft"),
            rx.cond(
                state == "live",
                button("Pause", on_click=RequestsState.pause, kind="small"),
                button("Resume", on_click=RequestsState.resume, kind="small"),
            ),
            class_name="row",
        ),
    )


def badge_of_held() -> rx.Component:
    """How many rows wait."""
    return rx.cond(RequestsState.held != "", badge(RequestsState.held, tone="ok"))


def _filters() -> rx.Component:
    values = RequestsState.values
    form = NativeForm.create(
        rx.el.input(type="hidden", name="mode", default_value=values["mode"]),
        rx.el.input(type="hidden", name="outcome", default_value=values["outcome"]),
        _choose("Task", "task", "Any task", RequestsState.tasks),
        _choose("Model", "model", "Any model", RequestsState.models),
        _choose("Key", "key", "Any key", RequestsState.keys),
        _field("Session id", "session", max_length=log_view.MAX_LENGTH),
        _field("Request id", "id", max_length=40, placeholder="req_… or its beginning"),
        _field("From (UTC)", "from", type="datetime-local"),
        _field("Before (UTC)", "to", type="datetime-local"),
        rx.el.div(
            rx.el.button("Apply", type="submit", class_name="button primary"),
            rx.cond(RequestsState.narrowed, button_link("Clear", _cleared())),
            class_name="row",
        ),
        action=PATH,
        method="get",
        class_name="filter-form",
        key=RequestsState.shown_at,
        custom_attrs={"data-tidy": ""},
    )
    label = rx.cond(RequestsState.typed > 0, f"Filters ({RequestsState.typed} set)", "Filters")
    filters = rx.el.details(rx.el.summary(label), form, class_name="card filters", open=RequestsState.typed > 0)
    return rx.el.div(filters, _download(), class_name="stack tight")


def _download() -> rx.Component:
    link = DocumentLink.create(
        "Download as CSV", href=RequestsState.csv, class_name="button small", custom_attrs={"download": ""}
    )
    return rx.cond(RequestsState.rows.length() > 0, rx.el.div(link, class_name="row"))


def _choose(label: str, name: str, everything: str, options: rx.Var[list[Row]]) -> rx.Component:
    return rx.el.div(
        rx.el.label(label, html_for=f"filter-{name}"),
        rx.el.select(
            rx.el.option(everything, value=""),
            rx.foreach(options, lambda one: rx.el.option(one["label"], value=one["value"])),
            id=f"filter-{name}",
            name=name,
            default_value=RequestsState.values[name],
        ),
        class_name="field",
    )


def _field(label: str, name: str, **attrs: str | int) -> rx.Component:
    return rx.el.div(
        rx.el.label(label, html_for=f"filter-{name}"),
        rx.el.input(
            id=f"filter-{name}",
            name=name,
            default_value=RequestsState.values[name],
            class_name="input",
            **{"type": "text", **attrs},
        ),
        class_name="field",
    )


def _cleared() -> Text:
    return f"{PATH}?mode=" + RequestsState.mode


def _rows() -> rx.Component:
    return card(
        request_table(RequestsState.rows, caption="Requests, newest first"),
        rx.cond((RequestsState.newer_href != "") | (RequestsState.older_href != ""), _turn()),
        class_name="stack",
    )


def _turn() -> rx.Component:
    return rx.el.nav(
        rx.cond(RequestsState.newer_href != "", button_link("Newer", RequestsState.newer_href)),
        rx.cond(RequestsState.older_href != "", button_link("Older", RequestsState.older_href)),
        class_name="row",
        custom_attrs={"aria-label": "Pages of the log"},
    )


def _nothing() -> rx.Component:
    return rx.cond(
        RequestsState.newer_href != "",
        empty(
            "There is nothing older",
            "The log begins with the page before.",
            button_link("Newer", RequestsState.newer_href),
        ),
        rx.cond(
            RequestsState.narrowed,
            empty(
                "No request matches these filters",
                "Requests that match appear here by themselves.",
                button_link("Clear the filters", _cleared()),
            ),
            empty(
                "No requests yet",
                "Every request appears here with its model, its cost and what was saved, failed ones too.",
                button_link("Send the first request", "/start/", kind="primary"),
            ),
        ),
    )
