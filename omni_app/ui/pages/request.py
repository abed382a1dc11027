"""One request's page: why this model, what each attempt met, what it cost."""

from typing import Any

import reflex as rx

from omni_app.errors import NotFound
from omni_app.storage import ledger
from omni_app.storage.accounts import Identity
from omni_app.storage.ledger import RequestDetail
from omni_app.storage.log_pages import ID_LENGTH
from omni_app.ui import text
from omni_app.ui.components.basics import Row, badge, button_link, card, facts, model_name, moment, money
from omni_app.ui.components.candidates import ranking
from omni_app.ui.components.requests import attempt_steps
from omni_app.ui.components.shell import app_page
from omni_app.ui.log_view import PATH, typed
from omni_app.ui.records import attempt_row, request_row
from omni_app.ui.session import AppState, authed, backstage


class RequestState(AppState):
    """One request of the org."""

    loaded: bool = False
    facts: Row = {}
    reason: str = ""
    attempts: list[Row] = []
    candidates: list[Row] = []
    scores: list[Row] = []

    @rx.event
    @authed
    async def load(self, who: Identity, /) -> None:
        """Reads it by the id in the address."""
        self.loaded = False
        request_id = typed(self.router.url.query_parameters.get("id", ""), most=ID_LENGTH)
        async with backstage.services.database.reading() as session:
            found = await ledger.request_detail(session, org_id=who.org_id, request_id=request_id)
        if found is None:
            raise NotFound("there is no such request; it may belong to another team")
        self.facts = told(found)
        self.attempts = [attempt_row(attempt) for attempt in found.attempts]
        routing = found.request.routing
        self.reason = routing.reason if routing else "This request ended before a model was chosen."
        self.candidates = (
            [candidate_row(one, chosen=routing.final_model) for one in routing.considered_models] if routing else []
        )
        self.scores = score_rows(routing.task_scores) if routing else []
        self.loaded = True


def told(found: RequestDetail) -> Row:
    """The request's own figures; the cost lines add up."""
    record = found.request
    cached = f" ({text.number(record.tokens_cached)} cached)" if record.tokens_cached else ""
    return request_row(record) | {
        "endpoint": record.endpoint,
        "input": f"{text.number(record.tokens_input)}{cached}",
        "output": text.number(record.tokens_output),
        "estimated": "counted by us: the provider gave no usage" if record.estimated else "",
        "premium": text.money(record.premium_cost),
        "premium_exact": text.exact_money(record.premium_cost),
        "premium_model": record.premium_model or "no baseline",
    }


def candidate_row(one: dict[str, Any], *, chosen: str) -> Row:
    """A stored candidate as the ranking shows it."""
    score = float(one.get("score", 0.0))
    cost = int(one.get("expected_cost", 0))
    return {
        "model": str(one.get("model", "")),
        "cost": text.money(cost),
        "exact": text.exact_money(cost),
        "width": f"{max(0.0, min(1.0, score)) * 100:.1f}",
        "chosen": "yes" if one.get("model") == chosen else "no",
        "note": "",
    }


def score_rows(scores: dict[str, float]) -> list[Row]:
    """Tasks by probability, likely ones first."""
    likely = sorted(scores.items(), key=lambda item: -item[1])[:3]
    return [{"task": text.task_name(task), "share": f"{share:.0%}"} for task, share in likely]


def page() -> rx.Component:
    """What happened, in order; why; what it cost."""
    fact = RequestState.facts
    return app_page(
        rx.el.div(
            rx.el.div(
                card(_facts(), title="What happened"),
                card(attempt_steps(RequestState.attempts), title="Attempts"),
                class_name="stack",
            ),
            rx.el.div(
                card(
                    rx.el.p(RequestState.reason),
                    rx.el.p(
                        "Task: ",
                        rx.foreach(RequestState.scores, lambda row: badge(row["task"] + " " + row["share"])),
                        class_name="row small soft",
                    ),
                    title="Why this model",
                    class_name="stack tight",
                ),
                card(ranking(RequestState.candidates), title="Best candidates"),
                class_name="stack",
            ),
            class_name="two",
        ),
        rx.el.p("“Run again” and “copy as curl” need the prompt, and prompts are not stored.", class_name="soft small"),
        path=PATH,
        title="Request",
        lead=rx.el.code(fact["id"]),
        controls=[button_link("All requests", PATH)],
        loaded=RequestState.loaded,
    )


def _facts() -> rx.Component:
    fact = RequestState.facts
    return facts(
        ("When", moment(fact["at"], fact["at_text"])),
        ("Endpoint", rx.el.code(fact["endpoint"])),
        ("Model", model_name(fact["model"], fact["note"])),
        ("Outcome", badge(fact["outcome"], tone=fact["tone"])),
        ("Latency", fact["latency"]),
        ("Tokens in", fact["input"]),
        ("Tokens out", rx.el.span(fact["output"], " ", rx.el.span(fact["estimated"], class_name="soft small"))),
        ("Baseline", rx.el.span(money(fact["premium"], fact["premium_exact"]), " with ", fact["premium_model"])),
        ("Cost", money(fact["cost"], fact["cost_exact"])),
        ("Saved", money(fact["saved"], fact["saved_exact"])),
    )
