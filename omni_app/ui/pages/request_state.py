"""One request as its page shows it: read, put into words, and sent once more."""

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
from omni_app.ui.components.basics import Row
from omni_app.ui.cost_lines import baseline_rows, cost_rows, price_note
from omni_app.ui.log_view import address, typed
from omni_app.ui.records import attempt_row, request_row
from omni_app.ui.session import AppState, authed, backstage
from omni_app.ui.time_line import precise_ms, ticks, time_rows, timed


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
