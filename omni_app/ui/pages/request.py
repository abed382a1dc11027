"""One request's page: when it did what, why this model and no other, what it cost line by line, and once more."""

import reflex as rx

from omni_app.routing.band import OF_ONE
from omni_app.ui.components.basics import (
    badge,
    button,
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
from omni_app.ui.components.snippets import filled_snippet
from omni_app.ui.components.time_line import time_line
from omni_app.ui.log_view import PATH
from omni_app.ui.pages.request_state import RequestState

WHY_NOT = {"aria-describedby": "why-not-again"}


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
        stat("Saved", money(fact["saved"], fact["saved_exact"]), fact["against"], fact["band"], tone="good"),
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
        rx.cond(
            RequestState.facts["band"] != "",
            rx.el.p("How much another model writes: ", OF_ONE.source, ".", class_name="soft small"),
        ),
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
    return card(rx.cond(RequestState.again_note != "", missing, _sendable()), title="Once more")


def _sendable() -> rx.Component:
    new = RequestState.repeated
    return rx.el.div(
        filled_snippet("curl", "again-curl", before=RequestState.curl_before, after=RequestState.curl_after),
        rx.el.div(
            button(
                rx.cond(RequestState.running, "Waiting for the answer …", "Run again"), on_click=RequestState.run_again
            ),
            rx.el.span(RequestState.run_note, class_name="soft small"),
            class_name="row",
        ),
        rx.el.div(
            rx.cond(
                new.length() > 0,
                rx.el.p(
                    new["model"], " answered for ", money(new["cost"], new["cost_exact"]), ". ",
                    rx.el.a("Open the new request", href=new["href"]),
                ),
            ),
            custom_attrs={"aria-live": "polite"},
        ),
        class_name="stack tight",
    )  # fmt: skip
