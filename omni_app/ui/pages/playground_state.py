"""The other half of the playground's state: models beside Auto, and their answers as they stream."""

import time
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlencode

import reflex as rx
from pydantic import StringConstraints

from omni_app.errors import OmniError
from omni_app.gateway.types import Caller
from omni_app.storage.accounts import Identity
from omni_app.ui import text
from omni_app.ui.asking import caller_of
from omni_app.ui.columns import Column, blank, column_of, compared, words_of
from omni_app.ui.components.basics import Row
from omni_app.ui.drafts import AUTO, Draft, problem_of
from omni_app.ui.pages.playground_draft import DraftMixin, chat_request
from omni_app.ui.runs import Run
from omni_app.ui.session import AppState, authed, backstage, is_still
from omni_app.ui.view import key_kind

PATH = "/playground/"
MAX_MODELS = 3
"""Beside Auto."""
ASK_SESSION_EVERY_S = 1.0
GRACE_S = 30.0
"""A run is taken for dead this long after its deadline: its process may have ended."""
EVERY = "*"
"""Stands for all columns."""

ColumnKey = Annotated[str, StringConstraints(max_length=200)]


class PlaygroundState(DraftMixin, AppState):
    """The draft, the choice it would lead to, and the answers. It lives as long as the tab, in memory only."""

    loaded: bool = False
    can_live: bool = False
    offered: list[str] = []
    """Models that may be put beside Auto."""
    models_problem: str = ""
    busy: bool = False
    columns: list[Column] = []
    words: dict[str, str] = {}
    """Column -> its answer's text so far."""
    told: str = ""
    """How the newest run stands, in a sentence."""
    costs: Row = {}
    _run: str = ""
    """The run under way."""
    _stops: list[str] = []
    """Columns that it is asked to stop."""
    _ends_s: float = 0.0
    """When the run is over at the latest, in seconds since 1970."""
    _away_s: float = 10.0
    """So long may the tab be without its connection (a reload, a bad line) before what it asked is stopped."""
    _spent: dict[str, int] = {}
    """Mode -> pico-dollars of the runs before."""
    _asked: dict[str, int] = {}
    """Mode -> how many requests these were."""

    @rx.event
    @authed
    async def load(self, who: Identity, /) -> None:
        """Test by default; live when the address says so and a provider is configured. The draft stays."""
        query = self.router.url.query_parameters
        mode = "live" if query.get("mode", self.play_mode) == "live" else "test"
        caller = await caller_of(who, key_kind(mode))
        live = backstage.services.gateway.registry.serving("live")
        self.can_live = not unconfigured(replace(caller, kind="live")).issuperset(one.id for one in live)
        if mode == "live" and not self.can_live:
            mode, caller = "test", await caller_of(who, "test")
        if mode != self.play_mode:
            self._leave_mode()
        self.play_mode = mode
        self._offer(caller)
        if self.busy and time.time() > self._ends_s:
            self.busy, self._run, self.columns, self.words, self.told = False, "", [], {}, ""
        wanted = query["models"].split(",") if "models" in query else self.models
        self._compare([one for one in wanted if one])
        if not self.costs:
            self._show_costs()
        self.loaded = True
        await self._preview(who)

    @rx.event
    @authed
    async def add_model(self, who: Identity, /, form: dict[str, Any]) -> Any:
        """One more column beside Auto; the address then says so."""
        model = form.get("model")
        if self.busy or not isinstance(model, str) or not model:
            return None
        if not self._compare([*self.models, model]):
            return None
        self._show_code(self._draft())
        return self._address()

    @rx.event
    @authed
    async def remove_model(self, who: Identity, /, column: ColumnKey) -> Any:
        """One column less."""
        if self.busy or column not in self.models:
            return None
        self._compare([one for one in self.models if one != column])
        self._show_code(self._draft())
        return self._address()

    @rx.event
    @authed
    async def stop(self, who: Identity, /, column: ColumnKey) -> None:
        """Ends one column's answer, or every one with `*`: the call at its provider is cancelled."""
        if self.busy:
            self._stops = [*self._stops, column]

    @rx.event(background=True)
    @authed
    async def send(self, who: Identity, /, form: dict[str, Any]) -> None:
        """Asks every column at once and shows the answers as they come. A second press while it runs does nothing."""
        async with self:
            run = await self._begin(who, form)
        if run is None:
            return
        try:
            async with run:
                await self._follow(who, run)
        finally:
            async with self:
                self._end(run)

    async def _begin(self, who: Identity, form: dict[str, Any]) -> Run | None:
        """The run that the form asks for; None when one is under way or the form is wrong."""
        if self.busy:
            return None
        draft = Draft.of_form(form)
        draft = replace(draft, broken=draft.broken and self.play_mode == "test")
        self.problem, self.problems = "", draft.problems()
        if self.problems:
            return None
        caller = await caller_of(who, key_kind(self.play_mode))
        self._offer(caller)
        gone = [one for one in self.models if one not in self.offered]
        self.models_problem = f"{gone[0]} is no longer available: remove its column." if gone else ""
        if gone:
            return None
        try:
            requests = {key: chat_request(draft, key, caller) for key in (AUTO, *self.models)}
        except OmniError as error:
            self.problems = problem_of(error)
            return None
        self._keep(draft)
        run = Run(caller, requests)
        self._run, self._stops, self.busy = run.id, [], True
        self._ends_s = time.time() + backstage.services.gateway.limits.total_s + GRACE_S
        self._show(run)
        self._show_code(draft)
        return run

    async def _follow(self, who: Identity, run: Run) -> None:
        """Shows the run until it is over; ends it when somebody stops it, logs out, leaves the team or the page."""
        asked_s = here_s = time.monotonic()
        over = False
        while not over:
            await run.news()
            over, now_s = run.over, time.monotonic()
            if backstage.tab_is_open(self.router.session.client_token):
                here_s = now_s
                async with self:
                    self._show(run)
                    run.stop(self._to_stop(run))
            if now_s - here_s > self._away_s:
                run.stop(run.replies)
            if now_s - asked_s > ASK_SESSION_EVERY_S:
                asked_s = now_s
                if not await is_still(self, who):
                    run.stop(run.replies)

    def _to_stop(self, run: Run) -> list[str]:
        """What somebody wants stopped since the last look; all of it when the tab has moved on to something else."""
        if self._run != run.id:
            return list(run.replies)
        stops = list(self._stops)
        if stops:
            self._stops = []
        return list(run.replies) if EVERY in stops else stops

    def _show(self, run: Run) -> None:
        """Puts the run's answers into the columns; what has not changed is not sent again."""
        if self._run != run.id or run.caller.kind != key_kind(self.play_mode):
            return
        registry = backstage.services.gateway.registry
        columns = [
            column_of(one["key"], run.replies[one["key"]], registry) if one["key"] in run.replies else one
            for one in self.columns
        ]
        words = {key: words_of(reply) for key, reply in run.replies.items()}
        if columns != self.columns:
            self.columns = columns
            self.told = f"{sum(one.over for one in run.replies.values())} of {len(run.replies)} finished."
            self._show_costs(run)
        if words != self.words:
            self.words = words

    def _end(self, run: Run) -> None:
        if self._run != run.id:
            return
        self._show(run)
        marks = compared(run.replies)
        self.columns = [{**column, "marks": marks.get(column["key"], "")} for column in self.columns]
        self._run, self.busy = "", False
        kind = run.caller.kind
        if kind == key_kind(self.play_mode):
            self._show_costs(run)
        self._spent = {**self._spent, kind: self._spent.get(kind, 0) + run.cost}
        self._asked = {**self._asked, kind: self._asked.get(kind, 0) + len(run.replies)}

    def _show_costs(self, run: Run | None = None) -> None:
        """The newest run's cost, and that of all of this mode since the tab was opened; `run` is not yet in the sum."""
        cost, asked = (run.cost, len(run.replies)) if run else (0, 0)
        if run:
            self.costs = {**self.costs, "run": text.money(cost), "run_exact": text.exact_money(cost)}
        whole = self._spent.get(self.play_mode, 0) + cost
        self.costs = {
            **self.costs,
            "all": text.money(whole),
            "all_exact": text.exact_money(whole),
            "asked": text.number(self._asked.get(self.play_mode, 0) + asked),
        }

    def _leave_mode(self) -> None:
        """Answers of the other mode are not shown beside this one's."""
        self._stops = [EVERY]
        self.models, self.columns, self.words, self.told, self.broken = [], [], {}, "", False
        self.costs = {}

    def _offer(self, caller: Caller) -> None:
        """Lists what may stand beside Auto: allowed, switched on and configured."""
        missing = unconfigured(caller)
        self.offered = [one.id for one in backstage.services.gateway.visible(caller) if one.id not in missing]

    def _compare(self, models: list[str]) -> bool:
        """Puts these beside Auto as far as they may be; says so and gives False when one may not."""
        known = [one for one in dict.fromkeys(models) if one in self.offered]
        unknown = [one for one in models if one not in self.offered]
        self.models = known[:MAX_MODELS]
        before = {column["key"]: column for column in self.columns}
        self.columns = [before.get(key) or blank(key) for key in (AUTO, *self.models)]
        self.models_problem = ""
        if unknown:
            self.models_problem = f"{unknown[0][:100]} is not available here."
        elif len(known) > MAX_MODELS:
            self.models_problem = f"At most {MAX_MODELS} models beside Auto."
        return not self.models_problem

    def _address(self) -> Any:
        query = urlencode({"mode": self.play_mode, "models": ",".join(self.models)}, safe="/,:")
        return rx.redirect(f"{PATH}?{query}", replace=True)


def unconfigured(caller: Caller) -> frozenset[str]:
    """Deployments that this caller cannot reach before something is configured; those that only cool down are not
    among them.
    """
    gateway = backstage.services.gateway
    return frozenset(gateway.unavailable(caller).keys() - gateway.cooling(caller).keys())
