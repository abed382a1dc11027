"""The landing page: what it is in one screen, a routing preview to type into, and below it the savings estimator."""

from typing import Annotated
from uuid import UUID

import reflex as rx
from pydantic import StringConstraints

from omni_app.gateway.gateway import route_request
from omni_app.gateway.types import Caller, ChatRequest
from omni_app.limits.base import Quota
from omni_app.routing.decide import decide
from omni_app.routing.types import Decision, Priority, Snapshot
from omni_app.ui.components.basics import DocumentLink, Row, badge
from omni_app.ui.components.candidates import ranking
from omni_app.ui.components.estimator import estimator
from omni_app.ui.components.shell import public_page
from omni_app.ui.ranking import confidence, ranked
from omni_app.ui.session import AppState, address_of, backstage, identity, public

PREVIEW_LIMIT = 60
PREVIEW_WINDOW_S = 60.0
MAX_PROMPT = 4_000
EXAMPLES = (
    ("Code", "Write a Python function that merges two sorted lists, with type hints and tests."),
    ("Chat", "What is the capital of France?"),
    ("Translate", "Translate to German: The meeting has been moved to Thursday at noon."),
    ("Reason", "Prove that the sum of two odd numbers is even, step by step."),
)
EXCHANGE = """{"messages": [{"role": "user", "content": "…"}],
 "priority": "balanced"}

→ {"output": "…", "model_used": "…", "cost": …,
   "savings_estimate": …, "attempts": […], …}"""
NOBODY = Caller(org_id=UUID(int=0), key_id=UUID(int=0), kind="live")

Prompt = Annotated[str, StringConstraints(max_length=MAX_PROMPT)]
PriorityName = Annotated[str, StringConstraints(pattern="^(cheap|balanced|best|quality)$")]


class LandingState(AppState):
    """The preview. The prompt is routed and forgotten: it is not kept here either."""

    signed_in: bool = False
    task: str = ""
    reason: str = ""
    rows: list[Row] = []
    catalogue: str = ""
    hint: str = ""

    @rx.event
    @public
    async def load(self) -> None:
        """Shows a first example, and whether the reader is signed in."""
        self.signed_in = await identity(self, for_self=True) is not None
        models = backstage.services.gateway.registry.serving("live")
        self.catalogue = f"{len(models)} models of {len({one.provider for one in models})} providers, at list prices"
        if not self.rows:
            self._show(EXAMPLES[0][1])

    @rx.event
    @public
    async def preview(self, prompt: Prompt) -> None:
        """Routes what was typed over the whole catalogue; no provider is called."""
        subject = f"preview:{address_of(self)}"
        verdict = await backstage.services.limiter.take(Quota(subject, PREVIEW_LIMIT, PREVIEW_WINDOW_S))
        if not verdict.allowed:
            self.hint = "That was a lot of typing. The preview is back in a minute."
            return
        self.hint = ""
        self._show(prompt)

    def _show(self, prompt: str) -> None:
        if not prompt.strip():
            self.rows, self.task, self.reason = [], "", ""
            return
        decision = catalogue_decision(prompt, Priority.BALANCED)
        self.rows = ranked(decision, note=lambda _: "")
        self.task = confidence(decision)
        self.reason = decision.reason or decision.no_eligible_reason


def catalogue_decision(prompt: str, priority: Priority) -> Decision:
    """What the router would choose if every provider of the registry were configured and well."""
    gateway = backstage.services.gateway
    request = ChatRequest(messages=[{"role": "user", "content": prompt}], endpoint="preview", priority=priority)
    return decide(
        route_request(NOBODY, request),
        deployments=gateway.registry.serving("live"),
        policy=gateway.policy,
        snapshot=Snapshot(id="preview"),
        registry_version=gateway.registry.version,
    )


def landing() -> rx.Component:
    """One screen: the promise, the way in, and the proof."""
    pitch = rx.el.div(
        rx.el.h1("One endpoint. The right model for every request."),
        rx.el.p(
            "Point your app at one API. For each request the router sees what is being asked, takes the model with the "
            "best result for the price, moves on when a provider fails, and shows what it saved.",
            class_name="lead",
        ),
        rx.el.div(
            rx.el.a("Create an account", href="/signup/", class_name="button primary"),
            DocumentLink.create("Read the API", href="/docs", class_name="button"),
            class_name="row",
        ),
        rx.el.p("No card, no provider account: a test key answers at once.", class_name="soft small"),
        rx.el.div(
            rx.el.header(rx.el.span("POST /v1/chat")),
            rx.el.pre(rx.el.code(EXCHANGE), custom_attrs={"tabIndex": "0", "aria-label": "A request and its answer"}),
            class_name="snippet",
        ),
        class_name="stack tight",
    )
    return public_page(
        rx.el.div(pitch, _preview(), class_name="hero"),
        _points(),
        estimator(),
        signed_in=LandingState.signed_in,
    )


def _preview() -> rx.Component:
    examples = [
        rx.el.button(
            name,
            type="button",
            class_name="button small",
            on_click=[rx.set_value("prompt", prompt), LandingState.preview(prompt)],
        )
        for name, prompt in EXAMPLES
    ]
    return rx.el.section(
        rx.el.div(
            rx.el.label("Try it: what would you ask?", html_for="prompt", class_name="label"),
            rx.el.textarea(
                id="prompt",
                placeholder=EXAMPLES[0][1],
                max_length=MAX_PROMPT,
                rows="3",
                on_change=LandingState.preview.debounce(300),
            ),
            rx.el.div(*examples, class_name="row", role="group", custom_attrs={"aria-label": "Examples"}),
            class_name="field",
        ),
        rx.el.div(
            rx.cond(
                LandingState.rows.length() > 0,
                rx.el.div(
                    rx.el.div(
                        rx.el.h2("The router’s choice"), badge(LandingState.task, tone="ok"), class_name="row spread"
                    ),
                    ranking(LandingState.rows),
                    rx.el.p(LandingState.reason, class_name="soft small"),
                    class_name="stack tight",
                ),
                rx.el.p(
                    "Type a prompt to see which models would be taken, and what each would cost.", class_name="soft"
                ),
            ),
            custom_attrs={"aria-live": "polite"},
        ),
        rx.el.p(LandingState.catalogue, ". ", LandingState.hint, class_name="soft small"),
        class_name="card stack",
        custom_attrs={"aria-label": "Routing preview"},
    )


def _points() -> rx.Component:
    points = (
        (
            "Smaller bill",
            "Simple requests go to small models, hard ones to strong ones. Every saving names its baseline.",
        ),
        ("No outage", "When a provider fails, the next model answers. Your code does not change."),
        ("Nothing hidden", "Every choice comes with its score, its price and what would have changed it."),
    )
    return rx.el.div(*(rx.el.div(rx.el.h2(title), rx.el.p(text)) for title, text in points), class_name="points")
