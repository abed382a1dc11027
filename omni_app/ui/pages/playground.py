"""Playground: type, see the choice before anything is sent, send, and watch Auto answer beside models of your own."""

from typing import Any

import reflex as rx

from omni_app.ui.components.basics import badge, button, card, money
from omni_app.ui.components.candidates import ranking
from omni_app.ui.components.columns import answer_column
from omni_app.ui.components.shell import MODES, app_page, switch
from omni_app.ui.components.snippets import code_tabs, filled_snippet
from omni_app.ui.drafts import MAX_NUMBER, MAX_PROMPT, MAX_SYSTEM
from omni_app.ui.pages.playground_state import EVERY, MAX_MODELS, PATH, PlaygroundState
from omni_app.ui.session import AppState

__all__ = ["PlaygroundState", "page"]

PRIORITIES = (
    ("cheap", "Cheap: lowest cost"),
    ("balanced", "Balanced"),
    ("quality", "Quality before cost"),
    ("best", "Best for the task"),
)
LATENCIES = (("normal", "Normal"), ("fast", "Fast: speed first"))


def page() -> rx.Component:
    """The draft and the choice side by side, the answers under them."""
    return app_page(
        rx.el.div(_form(), _choice(), class_name="two"),
        _code(),
        _answers(),
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
                switch("mode", MODES, PlaygroundState.play_mode, path=PATH, kept={"range": PlaygroundState.range}),
            )
        ],
        loaded=PlaygroundState.loaded,
    )


def _form() -> rx.Component:
    problems = PlaygroundState.problems
    return rx.el.form(
        _field(
            "Prompt", "prompt",
            rx.el.textarea(
                max_length=MAX_PROMPT, rows="6", required=True,
                placeholder="Ask something. The choice appears while you type.",
                on_change=PlaygroundState.type_prompt.debounce(300), **_typed("prompt", **{"data-send-key": ""}),
            ),
        ),
        rx.el.div(
            _select("Priority", "priority", PRIORITIES, PlaygroundState.priority, PlaygroundState.set_priority),
            _select("Latency", "latency_pref", LATENCIES, PlaygroundState.latency_pref, PlaygroundState.set_latency),
            class_name="halves",
        ),
        _options(),
        rx.cond(
            problems["system"] | problems["max_cost"] | problems["max_tokens"],
            rx.el.p("Something under “More options” is not right yet.", class_name="wrong"),
        ),
        rx.cond(PlaygroundState.play_mode == "test", _break_switch()),
        rx.el.div(
            rx.el.button(
                rx.cond(PlaygroundState.busy, "Answering …", "Send"),
                type="submit", class_name="button primary", disabled=PlaygroundState.busy,
            ),
            rx.cond(PlaygroundState.busy, button("Stop all", on_click=PlaygroundState.stop(EVERY), kind="danger")),
            rx.el.button(
                rx.cond(PlaygroundState.code_open, "Hide code", "View code"),
                type="button", class_name="button", on_click=PlaygroundState.toggle_code,
                custom_attrs={"aria-expanded": rx.cond(PlaygroundState.code_open, "true", "false")},
            ),
            rx.cond(PlaygroundState.told != "", rx.el.a("To the answers", href="#answers", class_name="small")),
            class_name="row",
        ),
        on_submit=PlaygroundState.send,
        class_name="card form",
        id="playground-form",
    )  # fmt: skip


def _options() -> rx.Component:
    """What few need: a system prompt and two limits."""
    return rx.el.details(
        rx.el.summary("More options"),
        rx.el.div(
            _field(
                "System prompt", "system",
                rx.el.textarea(
                    max_length=MAX_SYSTEM, rows="2", placeholder="You are a terse assistant.",
                    on_change=PlaygroundState.type_system.debounce(300), **_typed("system"),
                ),
            ),
            rx.el.div(
                _field(
                    "Most it may cost (USD)", "max_cost",
                    rx.el.input(
                        max_length=MAX_NUMBER, placeholder="no limit", class_name="input",
                        on_change=PlaygroundState.type_max_cost.debounce(300),
                        **_typed("max_cost", inputMode="decimal"),
                    ),
                ),
                _field(
                    "Most output tokens", "max_tokens",
                    rx.el.input(
                        max_length=MAX_NUMBER, placeholder="no limit", class_name="input",
                        on_change=PlaygroundState.type_max_tokens.debounce(300),
                        **_typed("max_tokens", inputMode="numeric"),
                    ),
                ),
                class_name="halves",
            ),
            class_name="stack tight",
        ),
    )  # fmt: skip


def _typed(name: str, **attributes: str) -> dict[str, Any]:
    """What every text field has: its name, whose draft it is (`assets/omni.js` keeps it), and its problem's place."""
    return {
        "id": name,
        "name": name,
        "custom_attrs": {
            "data-keep-draft": AppState.email,
            "aria-describedby": f"{name}-problem",
            "aria-invalid": rx.cond(PlaygroundState.problems[name], "true", "false"),
            **attributes,
        },
    }


def _field(label: str, name: str, control: rx.Component) -> rx.Component:
    return rx.el.div(
        rx.el.label(label, html_for=name), control, _problem(name, PlaygroundState.problems[name]), class_name="field"
    )


def _problem(name: str, words: Any) -> rx.Component:
    shown = rx.cond(words, rx.el.span(words, class_name="wrong"))
    return rx.el.span(shown, id=f"{name}-problem", custom_attrs={"aria-live": "polite"})


def _select(label: str, name: str, choices: tuple[tuple[str, str], ...], chosen: Any, on_change: Any) -> rx.Component:
    control = rx.el.select(
        *(rx.el.option(words, value=one) for one, words in choices),
        id=name,
        name=name,
        default_value=chosen,
        on_change=on_change,
    )
    return _field(label, name, control)


def _break_switch() -> rx.Component:
    return rx.el.label(
        rx.el.input(
            type="checkbox", id="broken", name="broken", default_checked=PlaygroundState.broken,
            on_change=lambda checked: PlaygroundState.break_primary(rx.cond(checked, "yes", "no")),
        ),
        rx.el.span("Break the primary model of each column, to see the fallback answer"),
        class_name="check",
        html_for="broken",
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
                rx.cond(PlaygroundState.hints.length() > 0, _changes()),
                rx.cond(PlaygroundState.left_out.length() > 0, _left_out()),
                class_name="stack tight",
            ),
            rx.el.p(
                "The task, the ranked models and what each would cost appear here while you type.", class_name="soft"
            ),
        ),
        rx.cond(PlaygroundState.hint != "", rx.el.p(PlaygroundState.hint, class_name="soft small", role="status")),
        title="The router’s choice",
    )


def _changes() -> rx.Component:
    return rx.el.details(
        rx.el.summary("What would change it"),
        rx.el.ul(rx.foreach(PlaygroundState.hints, rx.el.li), class_name="soft small"),
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


def _code() -> rx.Component:
    """The request as code, while it is wanted."""

    def pane(kind: str, name: str, index: int) -> tuple[str, str, rx.Component]:
        row = PlaygroundState.code[index]
        return kind, name, filled_snippet(name, f"code-{kind}", before=row["before"], after=row["after"])

    panes = [pane("curl", "curl", 0), pane("openai", "Python", 1), pane("javascript", "JavaScript", 2)]
    return rx.cond(
        PlaygroundState.code_open,
        card(
            rx.cond(
                PlaygroundState.code.length() > 0,
                code_tabs(panes),
                rx.el.p(
                    "The code appears here once there is a prompt and nothing is marked as wrong.", class_name="soft"
                ),
            ),
            title="This request as code",
        ),
    )


def _answers() -> rx.Component:
    def column(one: Any) -> rx.Component:
        return answer_column(
            one,
            PlaygroundState.words[one["key"]],
            stop=PlaygroundState.stop(one["key"]),
            remove=PlaygroundState.remove_model(one["key"]),
            locked=PlaygroundState.busy,
        )

    return rx.el.section(
        rx.el.div(rx.el.h2("Answers"), _costs(), class_name="row spread"),
        _picker(),
        rx.el.div(rx.foreach(PlaygroundState.columns, column), class_name="columns"),
        class_name="stack tight",
        id="answers",
        custom_attrs={"aria-label": "Answers"},
    )


def _costs() -> rx.Component:
    costs = PlaygroundState.costs
    run = rx.el.span(PlaygroundState.told, " This run: ", money(costs["run"], costs["run_exact"]), ".")
    return rx.el.p(
        rx.cond(PlaygroundState.told != "", run),
        rx.el.span(
            " Cost so far: ", money(costs["all"], costs["all_exact"]), " for ", costs["asked"], " requests in this tab."
        ),
        class_name="soft small",
        role="status",
    )


def _picker() -> rx.Component:
    def option(model: Any) -> rx.Component:
        return rx.cond(PlaygroundState.models.contains(model), rx.fragment(), rx.el.option(model, value=model))

    full = PlaygroundState.models.length() >= MAX_MODELS
    return rx.el.form(
        rx.el.label("Auto beside", html_for="model", class_name="label"),
        rx.el.select(
            rx.el.option("a model of your choice …", value=""), rx.foreach(PlaygroundState.offered, option),
            id="model", name="model",
            disabled=PlaygroundState.busy | full,
            custom_attrs={"aria-describedby": "models-problem"},
        ),
        rx.el.button("Add", type="submit", class_name="button", disabled=PlaygroundState.busy | full),
        _problem("models", PlaygroundState.models_problem),
        on_submit=PlaygroundState.add_model,
        reset_on_submit=True,
        class_name="picker",
    )  # fmt: skip
