"""Playground: type, see the choice before anything is sent, send, see the answer, its cost and the way it took."""

from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints

from omni_app.gateway.types import Answer
from omni_app.routing.types import Decision
from omni_app.storage.accounts import Identity
from omni_app.ui import text
from omni_app.ui.asking import ask, caller_of, chat_request
from omni_app.ui.components.basics import Row, badge, button_link, card, facts, model_name, money, notice, saving
from omni_app.ui.components.candidates import ranking
from omni_app.ui.components.requests import attempt_steps
from omni_app.ui.components.shell import MODES, app_page, switch
from omni_app.ui.ranking import confidence, excluded, ranked
from omni_app.ui.records import step
from omni_app.ui.session import AppState, authed, backstage
from omni_app.ui.view import key_kind

PATH = "/playground/"
MAX_PROMPT = 20_000
PRIORITIES = (
    ("cheap", "Cheap: the lowest cost among capable models"),
    ("balanced", "Balanced: cost, speed and fit together"),
    ("quality", "Quality: fit and quality before cost"),
    ("best", "Best: the highest quality for the task"),
)
LATENCIES = (("normal", "Normal"), ("fast", "Fast: speed counts more"))

Prompt = Annotated[str, StringConstraints(max_length=MAX_PROMPT)]
PriorityName = Annotated[str, StringConstraints(pattern="^(cheap|balanced|best|quality)$")]
LatencyName = Annotated[str, StringConstraints(pattern="^(fast|normal)$")]


class PlaygroundState(AppState):
    """The draft, the choice it would lead to, and the last answer. It lives as long as the tab, in memory only."""

    loaded: bool = False
    play_mode: str = "test"
    can_live: bool = False
    priority: str = "balanced"
    latency_pref: str = "normal"
    busy: bool = False
    task: str = ""
    reason: str = ""
    rows: list[Row] = []
    left_out: list[Row] = []
    hints: list[str] = []
    output: str = ""
    answered: Row = {}
    attempts: list[Row] = []
    _prompt: str = ""

    @rx.event
    @authed
    async def load(self, who: Identity, /) -> None:
        """Test by default; live when the address says so and a provider is configured."""
        gateway = backstage.services.gateway
        unavailable = gateway.unavailable()
        self.can_live = any(one.id not in unavailable for one in gateway.registry.serving("live"))
        wanted = self.router.url.query_parameters.get("mode", self.play_mode)
        self.play_mode = "live" if wanted == "live" and self.can_live else "test"
        self.priority, self.latency_pref, self._prompt = "balanced", "normal", ""
        self.busy = False
        self.loaded = True
        await self._preview(who)

    @rx.event
    @authed
    async def type_prompt(self, who: Identity, /, prompt: Prompt) -> None:
        """Shows the choice for what is typed; no provider is called."""
        self._prompt = prompt
        await self._preview(who)

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

    @rx.event(background=True)
    @authed
    async def send(self, who: Identity, /, form: dict[str, Any]) -> None:
        """Sends the prompt through the gateway and shows what came of it."""
        prompt = form.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip() or len(prompt) > MAX_PROMPT:
            return
        async with self:
            if self.busy:
                return
            self.busy, self.problem = True, ""
            self.output, self.answered, self.attempts = "", {}, []
            kind = key_kind(self.play_mode)
            request = chat_request(
                prompt,
                priority=self.priority,
                latency_pref=self.latency_pref,
                broken=bool(form.get("broken")) and kind == "test",
            )
        try:
            answer = await ask(await caller_of(who, kind), request)
            async with self:
                self._show_answer(answer)
        finally:
            async with self:
                self.busy = False

    async def _preview(self, who: Identity) -> None:
        if not self._prompt.strip():
            self.rows, self.left_out, self.hints, self.task, self.reason = [], [], [], "", ""
            return
        kind = key_kind(self.play_mode)
        request = chat_request(self._prompt, priority=self.priority, latency_pref=self.latency_pref)
        self._show_choice(backstage.services.gateway.decide(await caller_of(who, kind), request))

    def _show_choice(self, decision: Decision) -> None:
        registry = backstage.services.gateway.registry

        def note(model: str) -> str:
            found = registry.get(model)
            return (
                ""
                if found is None
                else "simulated"
                if found.simulated
                else "local"
                if found.provider == "local"
                else ""
            )

        self.rows = ranked(decision, note=note)
        self.left_out = excluded(decision)
        self.hints = list(decision.what_would_change_it[:4])
        self.task = confidence(decision)
        self.reason = decision.reason or decision.no_eligible_reason

    def _show_answer(self, answer: Answer) -> None:
        saved = answer.savings or 0
        self.output = answer.output or "(The model answered without text.)"
        self.answered = {
            "model": answer.model,
            "kind": "simulated" if answer.simulated else "local" if answer.provider == "local" else "",
            "cost": text.money(answer.cost),
            "cost_exact": text.exact_money(answer.cost),
            "saved": text.money(saved),
            "saved_exact": text.exact_money(saved),
            "baseline": answer.premium_model,
            "latency": text.milliseconds(answer.latency_ms),
            "tokens": f"{text.number(answer.usage.input)} → {text.number(answer.usage.output)}",
            "href": f"/request/?id={answer.request_id}",
            "rescued": "yes" if answer.rescued else "no",
        }
        self.attempts = [
            step(model=one.model, outcome=one.outcome, detail=one.detail, latency_ms=one.latency_ms, cost=one.cost)
            for one in answer.attempts
        ]


def page() -> rx.Component:
    """The draft and the choice on one side, the answer on the other."""
    return app_page(
        rx.el.div(
            rx.el.div(_form(), _choice(), class_name="stack"),
            rx.el.div(_answer(), class_name="stack", custom_attrs={"aria-live": "polite"}),
            class_name="two",
        ),
        path=PATH,
        title="Playground",
        lead=rx.cond(
            PlaygroundState.play_mode == "live",
            "Live: requests go to your configured providers and cost money.",
            "Test: the model on this machine and simulated ones answer. Nothing is billed.",
        ),
        controls=[
            rx.cond(
                PlaygroundState.can_live,
                switch("mode", MODES, PlaygroundState.play_mode, path=PATH, other=("range", PlaygroundState.range)),
            )
        ],
        loaded=PlaygroundState.loaded,
    )


def _select(label: str, name: str, choices: tuple[tuple[str, str], ...], chosen: str, on_change: Any) -> rx.Component:
    return rx.el.div(
        rx.el.label(label, html_for=name),
        rx.el.select(
            *(rx.el.option(words, value=one) for one, words in choices),
            id=name,
            name=name,
            default_value=chosen,
            on_change=on_change,
        ),
        class_name="field",
    )


def _form() -> rx.Component:
    return rx.el.form(
        rx.el.div(
            rx.el.label("Prompt", html_for="prompt"),
            rx.el.textarea(
                id="prompt", name="prompt", required=True, max_length=MAX_PROMPT, rows="6",
                placeholder="Ask something. The choice appears below while you type.",
                on_change=PlaygroundState.type_prompt.debounce(300),
            ),
            class_name="field",
        ),
        _select("Priority", "priority", PRIORITIES, "balanced", PlaygroundState.set_priority),
        _select("Latency", "latency", LATENCIES, "normal", PlaygroundState.set_latency),
        rx.cond(
            PlaygroundState.play_mode == "test",
            rx.el.label(
                rx.el.input(type="checkbox", id="broken", name="broken"),
                rx.el.span("Break the primary model, to see the fallback answer"),
                class_name="check",
                html_for="broken",
            ),
        ),
        rx.el.button(
            rx.cond(PlaygroundState.busy, "Waiting for the answer …", "Send"),
            type="submit", class_name="button primary", disabled=PlaygroundState.busy,
        ),
        on_submit=PlaygroundState.send,
        class_name="card form",
    )  # fmt: skip


def _choice() -> rx.Component:
    return card(
        rx.cond(
            PlaygroundState.task != "",
            rx.el.div(
                rx.el.div(
                    badge(PlaygroundState.task, tone="ok"),
                    rx.el.span("no provider is called for this", class_name="soft small"),
                    class_name="row",
                ),
                ranking(PlaygroundState.rows),
                rx.el.p(PlaygroundState.reason, class_name="small"),
                rx.cond(
                    PlaygroundState.hints.length() > 0,
                    rx.el.div(
                        rx.el.h3("What would change it"),
                        rx.el.ul(rx.foreach(PlaygroundState.hints, rx.el.li), class_name="soft small"),
                    ),
                ),
                rx.cond(PlaygroundState.left_out.length() > 0, _left_out()),
                class_name="stack tight",
            ),
            rx.el.p(
                "The task, the ranked models and what each would cost appear here while you type.", class_name="soft"
            ),
        ),
        title="The router’s choice",
    )


def _left_out() -> rx.Component:
    return rx.el.details(
        rx.el.summary("Models that cannot be taken"),
        rx.el.ul(
            rx.foreach(
                PlaygroundState.left_out,
                lambda row: rx.el.li(row["model"], rx.el.span(" – ", row["why"], class_name="soft")),
            ),
            class_name="small",
        ),
    )


def _answer() -> rx.Component:
    row = PlaygroundState.answered
    told = facts(
        ("Model", model_name(row["model"], row["kind"])),
        ("Cost", money(row["cost"], row["cost_exact"])),
        ("Saved", saving(row)),
        ("Latency", row["latency"]),
        ("Tokens", row["tokens"]),
    )
    full = rx.el.div(
        rx.cond(
            row["rescued"] == "yes",
            notice("The first model failed; a fallback answered. The caller changed nothing.", tone="warn"),
        ),
        rx.el.div(PlaygroundState.output, class_name="answer"),
        told,
        rx.el.h3("The way it took"),
        attempt_steps(PlaygroundState.attempts),
        button_link("Open this request", row["href"]),
        class_name="stack tight",
    )
    waiting = rx.cond(
        PlaygroundState.busy,
        rx.el.p("The model is at work. A small model on this machine takes a few seconds.", class_name="waiting pulse"),
        rx.el.p("The answer appears here, with its model, its cost and the way it took.", class_name="soft"),
    )
    return card(rx.cond(PlaygroundState.output != "", full, waiting), title="Answer")
