"""One request's page: when it did what, why this model and no other, what it cost line by line, and once more."""

from collections.abc import Callable

import reflex as rx
from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.errors import NotFound
from omni_app.gateway.replay import stored_decision
from omni_app.registry import Registry
from omni_app.registry.store import registries_at
from omni_app.routing.types import Decision, Deployment
from omni_app.storage import keys, ledger
from omni_app.storage.accounts import Identity
from omni_app.storage.ledger import RequestDetail, RequestRecord
from omni_app.storage.log_pages import ID_LENGTH
from omni_app.ui import text
from omni_app.ui.again import why_not
from omni_app.ui.choice import choice_of
from omni_app.ui.components.basics import (
    Row,
    badge,
    button_link,
    card,
    copy_button,
    facts,
    model_name,
    moment,
    money,
    notice,
    stat,
)
from omni_app.ui.components.candidates import ranking, score_table, scored_ranking
from omni_app.ui.components.requests import attempt_steps, cost_table
from omni_app.ui.components.shell import app_page
from omni_app.ui.components.time_line import time_line
from omni_app.ui.cost_lines import baseline_rows, cost_rows, price_note
from omni_app.ui.log_view import PATH, address, typed
from omni_app.ui.records import attempt_row, request_row
from omni_app.ui.session import AppState, authed, backstage
from omni_app.ui.time_line import precise_ms, ticks, time_rows, timed

WHY_NOT = {"aria-describedby": "why-not-again"}


class RequestState(AppState):
    """One request of the org, as text."""

    loaded: bool = False
    facts: Row = {}
    times: list[Row] = []
    ticks: list[str] = []
    attempts: list[Row] = []
    costs: list[Row] = []
    price_note: str = ""
    reason: str = ""
    tasks: list[Row] = []
    best: list[Row] = []
    stacked: bool = True
    candidates: list[Row] = []
    candidates_note: str = ""
    counted: str = ""
    hints: list[str] = []
    again_note: str = ""
    """Why it cannot be sent again; empty when it can."""
    curl_before: str = ""
    curl_after: str = ""
    """The command, without the reader's own key that stands between the two."""
    running: bool = False
    repeated: Row = {}
    """The request that "run again" made."""

    @rx.event
    @authed
    async def load(self, who: Identity, /) -> None:
        """Reads it by the id in the address. Another team's id is answered as one that does not exist."""
        self.loaded = False
        request_id = typed(self.router.url.query_parameters.get("id", ""), most=ID_LENGTH)
        async with backstage.services.database.reading() as session:
            found = await ledger.request_detail(session, org_id=who.org_id, request_id=request_id)
            if found is None:
                raise NotFound("there is no such request; it may belong to another team")
            then = await registry_then(session, found.request)
            decision = await stored_decision(session, org_id=who.org_id, request_id=request_id)
            mine = await keys.list_keys(session, org_id=who.org_id, include_hidden=True)
        names = {key.id: key.name for key in mine}
        self.facts = told(found.request) | {"key": names.get(found.request.key_id, "a key that is gone")}
        self._show_course(found, then)
        self._show_choice(found.request, decision)
        self._show_again(found.request)
        self.loaded = True

    def _show_course(self, found: RequestDetail, then: Registry | None) -> None:
        record, attempts = found.request, found.attempts
        self.times, self.ticks = time_rows(record, attempts), ticks(record, attempts)
        self.attempts = [attempt_row(attempt) for attempt in attempts]
        known: Callable[[str], Deployment | None] = then.get if then else lambda _: None
        self.costs = [*cost_rows(record, attempts, known), *baseline_rows(record, known)]
        today = backstage.services.gateway.registry.get(record.model)
        self.price_note = price_note(known(record.model), today) if record.cost else ""

    def _show_choice(self, record: RequestRecord, decision: Decision | None) -> None:
        gateway = backstage.services.gateway
        choice = choice_of(record, decision, policy=gateway.policy, registry=gateway.registry)
        self.reason, self.tasks, self.hints = choice.reason, choice.tasks, choice.hints
        self.best, self.candidates, self.stacked = choice.best, choice.table, choice.stacked
        self.candidates_note, self.counted = choice.note, choice.counted

    def _show_again(self, record: RequestRecord) -> None:
        self.again_note = why_not(record, kept=False)
        self.curl_before = self.curl_after = ""
        self.running, self.repeated = False, {}


async def registry_then(session: AsyncSession, record: RequestRecord) -> Registry | None:
    """The registry that the request was decided with; None when that version is not kept."""
    current = backstage.services.gateway.registry
    version = record.routing.registry_version if record.routing else ""
    if version == current.version:
        return current
    return (await registries_at(session, [version])).get(version) if version else None


def told(record: RequestRecord) -> Row:
    """The request's own figures."""
    first = text.milliseconds(record.first_token_ms)
    streamed = "" if record.first_token_ms is None else f", first piece after {first}"
    decided = f"decided in {precise_ms(record.routing_us / 1000)}" if timed(record) else "timings not recorded"
    versions = record.routing
    return request_row(record) | {
        "endpoint": record.endpoint,
        "latency_note": f"{decided}{streamed}",
        "tokens_note": counted_by(record),
        "against": compared(record),
        "attempts": text.number(record.attempts),
        "session": record.session_id,
        "session_href": address({"mode": record.key_kind, "session": record.session_id}),
        "step": record.step_id,
        "policy": versions.policy_version if versions else "–",
        "registry": versions.registry_version if versions else "–",
        "snapshot": versions.snapshot_id if versions else "–",
        "price": record.price_version or "–",
    }


def counted_by(record: RequestRecord) -> str:
    """Whose count of the tokens it is."""
    if not record.tokens_input + record.tokens_output:
        return ""
    return "counted by us: the provider gave no usage" if record.estimated else "as the provider counted"


def compared(record: RequestRecord) -> str:
    """What the saving is measured against."""
    if record.premium_model:
        return f"against {record.premium_model}"
    return "no baseline to compare with" if record.success else "nothing was answered"


def page() -> rx.Component:
    """What happened, in order; why; what it cost."""
    return app_page(
        rx.cond(
            RequestState.facts["note"] == "simulated",
            notice("A simulated model answered: its cost and what it saved are made up.", tone="sim"),
        ),
        _figures(),
        _course(),
        rx.el.div(_why(), _costs(), class_name="two"),
        _candidates(),
        rx.el.div(_details(), _again(), class_name="two"),
        path=PATH,
        title="Request",
        lead=rx.el.span(
            rx.el.code(RequestState.facts["id"], id="request-id"), copy_button("request-id"), class_name="row"
        ),
        controls=[button_link("All requests", PATH)],
        loaded=RequestState.loaded,
    )


def _figures() -> rx.Component:
    fact = RequestState.facts
    return rx.el.dl(
        stat("Outcome", badge(fact["outcome"], tone=fact["tone"]), moment(fact["at"], fact["at_text"])),
        stat("Task", fact["task"], rx.fragment("endpoint: ", fact["endpoint"])),
        stat("Cost", money(fact["cost"], fact["cost_exact"]), fact["model"]),
        stat("Saved", money(fact["saved"], fact["saved_exact"]), fact["against"], tone="good"),
        stat("Latency", fact["latency"], fact["latency_note"]),
        stat("Tokens", fact["tokens"], fact["tokens_note"]),
        class_name="stats",
    )


def _course() -> rx.Component:
    return card(
        rx.cond(
            RequestState.times.length() > 0,
            time_line(RequestState.times, RequestState.ticks),
            rx.el.p("The timings of this request were not recorded; its attempts were.", class_name="soft small"),
        ),
        rx.cond(
            RequestState.attempts.length() > 0,
            rx.cond(RequestState.times.length() == 0, attempt_steps(RequestState.attempts)),
            rx.el.p("No provider was called.", class_name="soft small"),
        ),
        title="Time line",
        class_name="stack tight",
    )


def _why() -> rx.Component:
    return card(
        rx.el.p(RequestState.reason),
        rx.cond(
            RequestState.tasks.length() > 0,
            rx.el.p(
                "Task: ",
                rx.foreach(RequestState.tasks, lambda row: badge(row["task"] + " " + row["share"])),
                class_name="row small soft",
            ),
        ),
        rx.cond(
            RequestState.hints.length() > 0,
            rx.el.div(
                rx.el.h3("What would change it"),
                rx.el.ul(rx.foreach(RequestState.hints, rx.el.li), class_name="bullets small"),
                class_name="stack hair",
            ),
        ),
        title="Why this model",
        class_name="stack tight",
    )


def _costs() -> rx.Component:
    return card(
        cost_table(RequestState.costs, caption="What it cost, and would have cost at the baseline, line by line"),
        rx.cond(RequestState.price_note != "", rx.el.p(RequestState.price_note, class_name="soft small")),
        title="What it cost",
        class_name="stack",
    )


def _candidates() -> rx.Component:
    table = rx.el.details(
        rx.el.summary(RequestState.counted),
        score_table(RequestState.candidates, caption="Candidates with the figures behind their scores"),
    )
    shown = rx.el.div(
        rx.cond(RequestState.stacked, scored_ranking(RequestState.best), ranking(RequestState.best)),
        rx.cond(RequestState.candidates_note != "", rx.el.p(RequestState.candidates_note, class_name="soft small")),
        table,
        class_name="stack tight",
    )
    none = rx.el.p("No model was compared for this request.", class_name="soft")
    return card(rx.cond(RequestState.candidates.length() > 0, shown, none), title="Candidates")


def _details() -> rx.Component:
    fact = RequestState.facts
    return card(
        facts(
            ("Model", model_name(fact["model"], fact["note"])),
            ("Key", fact["key"]),
            ("Session", rx.cond(fact["session"] != "", rx.el.a(fact["session"], href=fact["session_href"]), "–")),
            ("Step", rx.cond(fact["step"] != "", fact["step"], "–")),
            ("Policy version", rx.el.code(fact["policy"])),
            ("Registry version", rx.el.code(fact["registry"])),
            ("Snapshot", rx.el.code(fact["snapshot"])),
            ("Price version", rx.el.code(fact["price"])),
        ),
        title="Details",
    )


def _again() -> rx.Component:
    """Copy as curl and run again; without the prompt, disabled with the reason."""
    missing = rx.el.div(
        rx.el.p(RequestState.again_note, id="why-not-again"),
        rx.el.div(
            rx.el.button("Copy as curl", type="button", class_name="button", disabled=True, custom_attrs=WHY_NOT),
            rx.el.button("Run again", type="button", class_name="button", disabled=True, custom_attrs=WHY_NOT),
            class_name="row",
        ),
        class_name="stack tight",
    )
    return card(rx.cond(RequestState.again_note != "", missing, rx.fragment()), title="Once more")
