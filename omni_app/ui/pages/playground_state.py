"""The playground's state: the draft, the choice it would lead to, and answers that stream beside each other."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import reflex as rx
from pydantic import StringConstraints

from omni_app.errors import OmniError
from omni_app.gateway.types import Caller, ChatRequest
from omni_app.routing.types import Decision
from omni_app.storage.accounts import Identity
from omni_app.ui import text
from omni_app.ui.asking import caller_of
from omni_app.ui.code_samples import samples
from omni_app.ui.columns import Column, blank, column_of, compared, model_note, words_of
from omni_app.ui.components.basics import Row
from omni_app.ui.drafts import AUTO, MAX_NUMBER, MAX_PROMPT, MAX_SYSTEM, Draft, problem_of, well_formed
from omni_app.ui.ranking import confidence, excluded, ranked
from omni_app.ui.runs import Run
from omni_app.ui.session import AppState, authed, backstage, identity
from omni_app.ui.view import key_kind

PATH = "/playground/"
MAX_MODELS = 3
"""Beside Auto."""
PREVIEW_LIMIT = 120
PREVIEW_WINDOW_S = 60.0
ASK_SESSION_EVERY_S = 1.0
AWAY_S = 10.0
"""A tab may be without its connection for so long (a reload, a bad line) before what it asked is stopped."""
GRACE_S = 30.0
"""A run is taken for dead this long after its deadline: its process may have ended."""
EVERY = "*"
"""Stands for all columns."""

Prompt = Annotated[str, StringConstraints(max_length=MAX_PROMPT)]
System = Annotated[str, StringConstraints(max_length=MAX_SYSTEM)]
Figure = Annotated[str, StringConstraints(max_length=MAX_NUMBER)]
ColumnKey = Annotated[str, StringConstraints(max_length=200)]
PriorityName = Literal["cheap", "balanced", "quality", "best"]
LatencyName = Literal["normal", "fast"]
YesNo = Literal["yes", "no"]


class PlaygroundState(AppState):
    """The draft, the choice it would lead to, and the answers. It lives as long as the tab, in memory only."""

    loaded: bool = False
    play_mode: str = "test"
    can_live: bool = False
    offered: list[str] = []
    """Models that may be put beside Auto."""
    models: list[str] = []
    """Those that are."""
    priority: str = "balanced"
    latency_pref: str = "normal"
    broken: bool = False
    problems: dict[str, str] = {}
    """Form field -> what is wrong with it."""
    models_problem: str = ""
    task: str = ""
    reason: str = ""
    hint: str = ""
    rows: list[Row] = []
    left_out: list[Row] = []
    hints: list[str] = []
    busy: bool = False
    columns: list[Column] = []
    words: dict[str, str] = {}
    """Column -> its answer's text so far."""
    told: str = ""
    """How the newest run stands, in a sentence."""
    costs: Row = {}
    code_open: bool = False
    code: list[Row] = []
    _typed: dict[str, str] = {}
    _run: str = ""
    """The run under way."""
    _stops: list[str] = []
    """Columns that it is asked to stop."""
    _ends_s: float = 0.0
    _spent: int = 0
    """Pico-dollars of the runs before."""
    _asked: int = 0

    @rx.event
    @authed
    async def load(self, who: Identity, /) -> None:
        """Test by default; live when the address says so and a provider is configured. The draft stays."""
        gateway = backstage.services.gateway
        unavailable = gateway.unavailable()
        self.can_live = any(one.id not in unavailable for one in gateway.registry.serving("live"))
        query = self.router.url.query_parameters
        mode = "live" if query.get("mode", self.play_mode) == "live" and self.can_live else "test"
        if mode != self.play_mode:
            self._leave_mode()
        self.play_mode = mode
        caller = await caller_of(who, key_kind(mode))
        self.offered = [one.id for one in gateway.visible(caller) if one.id not in unavailable]
        wanted = query["models"].split(",") if "models" in query else self.models
        self._compare([one for one in wanted if one])
        if self.busy and time.time() > self._ends_s:
            self.busy, self._run = False, ""
        self._show_costs()
        self.loaded = True
        await self._preview(who)

    @rx.event
    @authed
    async def type_prompt(self, who: Identity, /, prompt: Prompt) -> None:
        """Shows the choice for what is typed; no provider is called."""
        await self._edit(who, "prompt", prompt)

    @rx.event
    @authed
    async def type_system(self, who: Identity, /, system: System) -> None:
        """Another system prompt."""
        await self._edit(who, "system", system)

    @rx.event
    @authed
    async def type_max_cost(self, who: Identity, /, amount: Figure) -> None:
        """The most that a request may cost, in US dollars."""
        await self._edit(who, "max_cost", amount)

    @rx.event
    @authed
    async def type_max_tokens(self, who: Identity, /, amount: Figure) -> None:
        """The most tokens that an answer may have."""
        await self._edit(who, "max_tokens", amount)

    @rx.event
    @authed
    async def set_priority(self, who: Identity, /, priority: PriorityName) -> None:
        """Another trade between price and quality."""
        self.priority = priority
        await self._preview(who)

    @rx.event
    @authed
    async def set_latency(self, who: Identity, /, latency_pref: LatencyName) -> None:
        """How much speed counts."""
        self.latency_pref = latency_pref
        await self._preview(who)

    @rx.event
    @authed
    async def break_primary(self, who: Identity, /, broken: YesNo) -> None:
        """Whether the first attempt is made to fail."""
        self.broken = broken == "yes"
        self._show_code(self._draft())

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
    async def toggle_code(self, who: Identity, /) -> None:
        """Shows the request as code, or hides it."""
        self.code_open = not self.code_open
        self._show_code(self._draft())

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
        draft = self._take_form(form)
        self.problem, self.problems = "", draft.problems()
        if self.problems:
            return None
        caller = await caller_of(who, key_kind(self.play_mode))
        try:
            requests = {key: chat_request(draft, key, caller) for key in (AUTO, *self.models)}
        except OmniError as error:
            self.problems = problem_of(error)
            return None
        run = Run(caller, requests)
        self._run, self._stops, self.busy = run.id, [], True
        self._ends_s = time.time() + backstage.services.gateway.limits.total_s + GRACE_S
        self._show(run)
        self._show_code(draft)
        return run

    def _take_form(self, form: Mapping[str, Any]) -> Draft:
        """What stands in the browser's form decides, whatever events came before."""
        draft = Draft.of_form(form)
        draft = replace(draft, broken=draft.broken and self.play_mode == "test")
        self._typed = {name: getattr(draft, name) for name in ("prompt", "system", "max_cost", "max_tokens")}
        self.priority, self.latency_pref, self.broken = draft.priority, draft.latency_pref, draft.broken
        return draft

    async def _follow(self, who: Identity, run: Run) -> None:
        """Shows the run until it is over; ends it when somebody stops it, logs out or closes the page."""
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
            if now_s - here_s > AWAY_S:
                run.stop(run.replies)
            if now_s - asked_s > ASK_SESSION_EVERY_S:
                asked_s = now_s
                seen = await identity(self)
                if seen is None or seen.user_id != who.user_id:
                    run.stop(run.replies)

    def _to_stop(self, run: Run) -> list[str]:
        """What somebody wants stopped since the last look; all of it when the tab has moved on to something else."""
        if self._run != run.id:
            return list(run.replies)
        stops, self._stops = self._stops, []
        return list(run.replies) if EVERY in stops else [*stops]

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
        self._show_costs(run)
        self._spent += run.cost
        self._asked += len(run.replies)

    def _show_costs(self, run: Run | None = None) -> None:
        """The newest run's cost, and that of all since the tab was opened; `run` is not yet in the sum."""
        cost, asked = (run.cost, len(run.replies)) if run else (0, 0)
        if run:
            self.costs = {**self.costs, "run": text.money(cost), "run_exact": text.exact_money(cost)}
        whole = self._spent + cost
        self.costs = {
            **self.costs,
            "all": text.money(whole),
            "all_exact": text.exact_money(whole),
            "asked": text.number(self._asked + asked),
        }

    def _leave_mode(self) -> None:
        """Answers of the other mode are not shown beside this one's."""
        self._stops = [EVERY]
        self.models, self.columns, self.words, self.told, self.broken = [], [], {}, "", False
        self.costs = {}

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

    def _draft(self) -> Draft:
        return Draft(priority=self.priority, latency_pref=self.latency_pref, broken=self.broken, **self._typed)

    async def _edit(self, who: Identity, name: str, typed: str) -> None:
        self._typed = {**self._typed, name: well_formed(typed)}
        await self._preview(who)

    async def _preview(self, who: Identity) -> None:
        """What the router would choose for the draft, at most so many times a minute."""
        draft = self._draft()
        self._show_code(draft)
        if not draft.prompt.strip():
            self.rows, self.left_out, self.hints, self.task, self.reason, self.hint = [], [], [], "", "", ""
            return
        self.problems = draft.problems()
        if self.problems or not await self._may_preview(who):
            return
        caller = await caller_of(who, key_kind(self.play_mode))
        try:
            request = chat_request(draft, AUTO, caller)
        except OmniError as error:
            self.problems = problem_of(error)
            return
        self._show_choice(backstage.services.gateway.decide(caller, request))

    async def _may_preview(self, who: Identity) -> bool:
        subject = f"preview:{who.user_id}"
        verdict = await backstage.services.limiter.hit(subject, limit=PREVIEW_LIMIT, window_s=PREVIEW_WINDOW_S)
        self.hint = "" if verdict.allowed else "That was a lot of typing. The preview is back in a minute."
        return verdict.allowed

    def _show_choice(self, decision: Decision) -> None:
        registry = backstage.services.gateway.registry
        self.rows = ranked(decision, note=lambda model: model_note(model, registry))
        self.left_out = excluded(decision)
        self.hints = list(decision.what_would_change_it[:4])
        self.task = confidence(decision)
        self.reason = decision.reason or decision.no_eligible_reason

    def _show_code(self, draft: Draft) -> None:
        """The code of the draft, while somebody looks at it and the draft makes a request."""
        if not self.code_open:
            self.code = []
        elif not draft.problems():
            origin = backstage.services.settings.origin
            self.code = samples(draft.body(), (AUTO, *self.models), origin=origin)


def chat_request(draft: Draft, model: str, caller: Caller) -> ChatRequest:
    """What one column asks. Raises an `OmniError` naming the API's field."""
    return draft.request(model, deployments=backstage.services.gateway.visible(caller), kind=caller.kind)
