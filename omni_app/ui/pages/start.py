"""First run: the key, the snippets, and the first request noticed by itself."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import reflex as rx

from omni_app.request_ids import new_request_id
from omni_app.storage import keys, ledger
from omni_app.storage.accounts import Identity
from omni_app.storage.ledger import RequestRecord
from omni_app.ui.asking import ask, caller_of, chat_request
from omni_app.ui.components.basics import Row, badge, button, button_link, facts, model_name, moment, money, saving
from omni_app.ui.components.shell import app_page
from omni_app.ui.components.snippets import key_problem, new_key_box, snippets
from omni_app.ui.records import request_row
from omni_app.ui.session import AppState, authed, backstage, is_still

PATH = "/start/"
LOOK_EVERY_S = 1.0
LOOKS = 900
"""After a quarter of an hour the page stops looking, and says so."""
EVER = datetime(2000, 1, 1, tzinfo=UTC)
TEST_PROMPT = "What is the capital of France?"


class StartState(AppState):
    """Where the newcomer stands."""

    loaded: bool = False
    needs_key: bool = False
    key_shown: str = ""
    waiting: bool = False
    sending: bool = False
    first: Row = {}
    answer: str = ""
    _test: str = ""
    """The test request under way, or the last one."""

    @rx.event
    @authed
    async def load(self, who: Identity, /) -> Any:
        """Has a first key made when there is none, and begins to wait for the first request."""
        async with backstage.services.database.reading() as session:
            found = await keys.list_keys(session, org_id=who.org_id)
        self.needs_key = not found
        self.key_shown = f"{found[0].prefix}…{found[0].last4}" if found else ""
        record = await first_request(who)
        self.first = request_row(record) if record else {}
        self.waiting = record is None
        self.loaded = True
        return StartState.watch if self.waiting else None

    @rx.event
    @authed
    async def key_made(self, who: Identity, /) -> None:
        """The page's script has made the first key."""
        async with backstage.services.database.reading() as session:
            found = await keys.list_keys(session, org_id=who.org_id)
        self.needs_key = False
        self.key_shown = f"{found[0].prefix}…{found[0].last4}" if found else ""

    @rx.event(background=True, supersedes=True)
    @authed
    async def watch(self, who: Identity, /) -> None:
        """Looks for the first request until it is there, the reader leaves, the session ends, or time is up."""
        for _ in range(LOOKS):
            if self.router.url.path.rstrip("/") != PATH.rstrip("/") or not await is_still(self, who):
                return
            record = await first_request(who)
            if record is not None:
                async with self:
                    self.first, self.waiting = request_row(record), False
                return
            await asyncio.sleep(LOOK_EVERY_S)
        async with self:
            self.waiting = False

    @rx.event(background=True)
    @authed
    async def send_test(self, who: Identity, /) -> None:
        """For those who won't paste: one small request with a test key."""
        async with self:
            if self.sending:
                return
            self.sending, self.answer, self.problem = True, "", ""
            test = self._test = new_request_id()
        try:
            answer = await ask(await caller_of(who, "test"), chat_request(TEST_PROMPT))
            async with self:
                if self._test == test:
                    self.answer = answer.output
        finally:
            async with self:
                if self._test == test:
                    self.sending = False


async def first_request(who: Identity) -> RequestRecord | None:
    """The org's first request of all, with whichever key."""
    async with backstage.services.database.reading() as session:
        found = [
            await ledger.first_request_after(session, org_id=who.org_id, key_kind=kind, since=EVER)
            for kind in ("live", "test")
        ]
    return min((record for record in found if record), key=lambda record: record.created_at, default=None)


def page() -> rx.Component:
    """Three steps; each is ticked off by itself."""
    return app_page(
        rx.el.ol(
            _step("Your key", _key(), done=~StartState.needs_key),
            _step("Send a request", _send(), done=StartState.first.length() > 0),
            _step("See what it saved", _seen(), done=StartState.first.length() > 0),
            class_name="todo",
        ),
        path=PATH,
        title="Your first request",
        lead="A key, a paste, and you see which model answered, what it cost and what was saved.",
        loaded=StartState.loaded,
    )


def _step(title: str, body: rx.Component, *, done: rx.Var[bool]) -> rx.Component:
    return rx.el.li(rx.el.div(rx.el.h2(title), body), custom_attrs={"data-done": rx.cond(done, "yes", "no")})


def _key() -> rx.Component:
    return rx.el.div(
        rx.cond(
            StartState.needs_key,
            rx.el.p("Making your first test key …", class_name="soft", custom_attrs={"data-first-key": ""}),
        ),
        new_key_box(),
        key_problem(),
        rx.cond(
            StartState.key_shown != "",
            rx.el.p(
                "Your newest key is ", rx.el.code(StartState.key_shown), ". ",
                rx.el.a("Make another one", href="/keys/"), " when you no longer have it.",
                class_name="soft small",
            ),
        ),
        rx.el.button(
            "The key is made", type="button", hidden=True, on_click=StartState.key_made,
            custom_attrs={"data-refresh-keys": ""},
        ),
        class_name="stack tight",
    )  # fmt: skip


def _send() -> rx.Component:
    return rx.el.div(
        snippets(),
        rx.el.div(
            button(
                rx.cond(StartState.sending, "Sending …", "Send a test request for me"), on_click=StartState.send_test
            ),
            rx.el.span(
                "It goes to the model on this machine or to a simulated one. Nothing is billed.",
                class_name="soft small",
            ),
            class_name="row",
        ),
        rx.cond(StartState.answer != "", rx.el.p(StartState.answer, class_name="answer")),
        class_name="stack tight",
    )


def _seen() -> rx.Component:
    return rx.el.div(
        rx.cond(
            StartState.first.length() > 0,
            _first(),
            rx.cond(
                StartState.waiting,
                rx.el.p("Waiting for your first request. This page notices it by itself.", class_name="waiting pulse"),
                rx.el.div(
                    rx.el.p("No request came for a while, so this page has stopped looking."),
                    button("Look again", on_click=StartState.load),
                    class_name="row",
                ),
            ),
        ),
        custom_attrs={"aria-live": "polite"},
    )


def _first() -> rx.Component:
    row = StartState.first
    told = facts(
        ("When", moment(row["at"], row["at_text"])),
        ("Task", row["task"]),
        ("Model", model_name(row["model"], row["note"])),
        ("Outcome", badge(row["outcome"], tone=row["tone"])),
        ("Cost", money(row["cost"], row["cost_exact"])),
        ("Saved", saving(row)),
    )
    return rx.el.div(
        rx.el.p("Your first request is in.", class_name="notice", custom_attrs={"data-tone": "good"}),
        told,
        rx.el.div(button_link("Open the overview", "/overview/", kind="primary"), class_name="row"),
        class_name="card stack tight",
        id="first-request",
    )
