"""The draft half of the playground's state: what is typed, the choice it would lead to, and the same as code."""

from typing import Annotated, Literal

import reflex as rx
from pydantic import StringConstraints

from omni_app.errors import OmniError
from omni_app.gateway.types import Caller, ChatRequest
from omni_app.limits.base import Quota
from omni_app.routing.types import Decision
from omni_app.storage.accounts import Identity
from omni_app.ui.asking import caller_of
from omni_app.ui.code_samples import samples
from omni_app.ui.columns import model_note
from omni_app.ui.components.basics import Row
from omni_app.ui.drafts import AUTO, MAX_NUMBER, MAX_PROMPT, MAX_SYSTEM, Draft, problem_of, well_formed
from omni_app.ui.ranking import confidence, excluded, ranked
from omni_app.ui.session import authed, backstage
from omni_app.ui.view import key_kind

PREVIEW_LIMIT = 120
PREVIEW_WINDOW_S = 60.0

Prompt = Annotated[str, StringConstraints(max_length=MAX_PROMPT)]
System = Annotated[str, StringConstraints(max_length=MAX_SYSTEM)]
Figure = Annotated[str, StringConstraints(max_length=MAX_NUMBER)]
PriorityName = Literal["cheap", "balanced", "quality", "best"]
LatencyName = Literal["normal", "fast"]
YesNo = Literal["yes", "no"]


class DraftMixin(rx.State, mixin=True):
    """The form as far as the server knows it. Texts are kept, but not sent back: the browser has them."""

    play_mode: str = "test"
    models: list[str] = []
    """Those that stand beside Auto."""
    priority: str = "balanced"
    latency_pref: str = "normal"
    broken: bool = False
    problems: dict[str, str] = {}
    """Form field -> what is wrong with it."""
    task: str = ""
    reason: str = ""
    hint: str = ""
    rows: list[Row] = []
    left_out: list[Row] = []
    hints: list[str] = []
    code_open: bool = False
    code: list[Row] = []
    _typed: dict[str, str] = {}

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
    async def toggle_code(self, who: Identity, /) -> None:
        """Shows the request as code, or hides it."""
        self.code_open = not self.code_open
        self._show_code(self._draft())

    def _draft(self) -> Draft:
        return Draft(priority=self.priority, latency_pref=self.latency_pref, broken=self.broken, **self._typed)

    async def _edit(self, who: Identity, name: str, typed: str) -> None:
        self._typed = {**self._typed, name: well_formed(typed)}
        await self._preview(who)

    async def _preview(self, who: Identity) -> None:
        """What the router would choose for the draft, at most so many times a minute."""
        draft = self._draft()
        self._show_code(draft)
        blank = not draft.prompt.strip()
        self.problems = {name: words for name, words in draft.problems().items() if not (blank and name == "prompt")}
        if blank:
            self.rows, self.left_out, self.hints, self.task, self.reason, self.hint = [], [], [], "", "", ""
        if blank or self.problems or not await self._may_preview(who):
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
        verdict = await backstage.services.limiter.take(Quota(subject, PREVIEW_LIMIT, PREVIEW_WINDOW_S))
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
        self.code = []
        if self.code_open and not draft.problems():
            origin = backstage.services.settings.origin
            self.code = samples(draft.body(), (AUTO, *self.models), origin=origin)

    def _keep(self, draft: Draft) -> None:
        """What stood in the browser's form counts, whatever events came before."""
        self._typed = {name: getattr(draft, name) for name in ("prompt", "system", "max_cost", "max_tokens")}
        self.priority, self.latency_pref, self.broken = draft.priority, draft.latency_pref, draft.broken


def chat_request(draft: Draft, model: str, caller: Caller) -> ChatRequest:
    """What one column asks. Raises an `OmniError` naming the API's field."""
    return draft.request(model, deployments=backstage.services.gateway.visible(caller), kind=caller.kind)
