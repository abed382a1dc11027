"""One request as its page shows it: read, put into words, and sent once more."""

import asyncio
import re
from collections.abc import Callable

import reflex as rx
from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.errors import NotFound, OmniError
from omni_app.gateway.replay import stored_decision
from omni_app.gateway.types import Answer
from omni_app.registry import Registry
from omni_app.registry.store import registries_at
from omni_app.request_ids import new_request_id
from omni_app.routing.types import Decision, Deployment
from omni_app.storage import ledger
from omni_app.storage.accounts import Identity
from omni_app.storage.by_id import ID_LENGTH
from omni_app.storage.ledger import RequestDetail, RequestRecord
from omni_app.storage.prompts import KeptExchange, read_prompt
from omni_app.storage.reports import key_names
from omni_app.ui import text
from omni_app.ui.again import body_of, command, request_of, why_not
from omni_app.ui.asking import ask, caller_of
from omni_app.ui.choice import choice_of
from omni_app.ui.components.basics import Row
from omni_app.ui.cost_lines import baseline_rows, cost_rows, price_note
from omni_app.ui.log_view import address, typed
from omni_app.ui.records import attempt_row, request_row
from omni_app.ui.savings_view import band_of_one
from omni_app.ui.session import AppState, authed, backstage
from omni_app.ui.time_line import precise_ms, ticks, time_rows, timed
from omni_app.ui.view import key_kind

ARRIVES_WITHIN_S = (0, 0.1, 0.2, 0.4, 0.8, 1)
"""How long to wait before each look for a request that is not in the database."""
REQUEST_ID = re.compile("req_[0-9a-f]{32}")


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
    run_note: str = ""
    running: bool = False
    repeated: Row = {}
    """The request that "run again" made."""
    _again: str = ""
    """The sending that this page waits for."""

    @rx.event
    @authed
    async def load(self, who: Identity, /) -> None:
        """Reads it by the id in the address. Another team's id is answered as one that does not exist."""
        self.loaded = self.running = False
        self.repeated, self._again = {}, ""
        request_id = typed(self.router.url.query_parameters.get("id", ""), most=ID_LENGTH)
        found = await arriving(who, request_id)
        if found is None:
            raise NotFound("there is no such request; it may belong to another team")
        async with backstage.services.database.reading() as session:
            then = await registry_then(session, found.request)
            decision = await stored_decision(session, org_id=who.org_id, request_id=request_id)
            names = await key_names(session, org_id=who.org_id)
            kept = await kept_exchange(session, who, request_id)
        self.facts = told(found.request) | {
            "key": names.get(str(found.request.key_id), "a key that is gone"),
            "band": band_of_one(found.request, then),
        }
        self._show_course(found, then)
        self._show_choice(found.request, decision)
        self._show_again(found.request, kept)
        self.loaded = True

    def _show_course(self, found: RequestDetail, then: Registry | None) -> None:
        record, attempts = found.request, found.attempts
        self.times, self.ticks = time_rows(record, attempts), ticks(record, attempts)
        self.attempts = [attempt_row(attempt) for attempt in attempts]
        known: Callable[[str], Deployment | None] = then.get if then else lambda _: None
        self.costs = [*cost_rows(record, attempts, known), *baseline_rows(record, known)]
        model = record.model or next((one.model for one in reversed(attempts) if one.cost), "")
        today = backstage.services.gateway.registry.get(model)
        self.price_note = price_note(known(model), today) if record.cost else ""

    def _show_choice(self, record: RequestRecord, decision: Decision | None) -> None:
        gateway = backstage.services.gateway
        choice = choice_of(record, decision, policy=gateway.policy, registry=gateway.registry)
        self.reason, self.tasks, self.hints = choice.reason, choice.tasks, choice.hints
        self.best, self.candidates, self.stacked = choice.best, choice.table, choice.stacked
        self.candidates_note, self.counted = choice.note, choice.counted

    def _show_again(self, record: RequestRecord, kept: KeptExchange | None) -> None:
        self.again_note = why_not(record, kept=kept is not None)
        self.curl_before = self.curl_after = ""
        self.run_note = ""
        if kept is not None and not self.again_note:
            body = body_of(record, kept.messages, kept.params)
            self.curl_before, self.curl_after = command(body, origin=self.origin)
            self.run_note = run_note(record)

    @rx.event(background=True)
    @authed
    async def run_again(self, who: Identity, /) -> None:
        """Sends the kept request once more, under the playground's hidden key, and shows the new one's link."""
        async with self:
            if self.running or self.again_note or not self.loaded:
                return
            self.running, self.repeated, self.problem = True, {}, ""
            request_id, run = self.facts["id"], new_request_id()
            self._again = run
        repeated: Row = {}
        try:
            repeated = repeated_row(await asked_again(who, request_id))
        except OmniError:
            async with self:
                is_shown_yet = self._again == run
            if is_shown_yet:  # else it is another request's page by now
                raise
        finally:
            async with self:
                if self._again == run:
                    self.running, self.repeated = False, repeated


async def arriving(who: Identity, request_id: str) -> RequestDetail | None:
    """The org's request. One that is missing is looked for again: the ledger takes what just happened in batches."""
    for pause_s in ARRIVES_WITHIN_S:
        await asyncio.sleep(pause_s)
        async with backstage.services.database.reading() as session:
            found = await ledger.request_detail(session, org_id=who.org_id, request_id=request_id)
        if found is not None or not REQUEST_ID.fullmatch(request_id):
            return found
    return None


async def asked_again(who: Identity, request_id: str) -> Answer:
    """The answer to the same request. Raises an `OmniError`; `NotFound` when its prompt is not kept (any more)."""
    async with backstage.services.database.reading() as session:
        found = await ledger.request_detail(session, org_id=who.org_id, request_id=request_id)
        kept = await kept_exchange(session, who, request_id)
    if found is None or kept is None:
        raise NotFound("the prompt of this request is not kept any more")
    record = found.request
    kind = key_kind(record.key_kind)
    body = body_of(record, kept.messages, kept.params)
    deployments = backstage.services.gateway.registry.serving(kind)
    return await ask(await caller_of(who, kind), request_of(body, deployments=deployments, kind=kind))


async def kept_exchange(session: AsyncSession, who: Identity, request_id: str) -> KeptExchange | None:
    """What was kept of the request's prompt and answer; None without the org's consent, or when its time is over."""
    sealer = backstage.services.sealer
    return await read_prompt(session, org_id=who.org_id, request_id=request_id, sealer=sealer)


def repeated_row(answer: Answer) -> Row:
    """The request that this answer was given to."""
    return {
        "href": f"/request/?id={answer.request_id}",
        "model": answer.model,
        "cost": text.money(answer.cost),
        "cost_exact": text.exact_money(answer.cost),
    }


def run_note(record: RequestRecord) -> str:
    """Where "run again" goes, and whether it costs."""
    if record.key_kind == "live":
        return f"Goes to a configured provider and costs money, about {text.money(record.cost)}."
    return "Goes to the model on this machine or to a simulated one. Nothing is billed."


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
