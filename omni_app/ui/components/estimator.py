"""The savings estimator: a file goes in, `assets/estimate.js` reads it and shows what routing would have cost.

Nothing of it is in the web app's state: the file goes from the browser to `POST /estimate` in parts.
"""

import reflex as rx

from omni_app.api.estimate import MIX, WRITTEN_TASKS
from omni_app.ui.text import task_name

CHOICES = (
    ("balanced", "Balanced: the default"),
    ("quality", "Quality first"),
    ("as_good", "Balanced, among models rated as high or higher"),
)
"""What `POST /estimate` takes as `choice`, in words."""
TASKS = (*((task.value, task_name(task.value)) for task in WRITTEN_TASKS), (MIX, "An even mix of these"))
"""What it takes as `tasks`."""


def estimator() -> rx.Component:
    """The section of the landing page."""
    return rx.el.section(
        rx.el.div(
            rx.el.h2("What would it have saved you?", id="estimate-title"),
            rx.el.p(
                "Drop the requests you made, or OpenAI’s usage export. It is read in your browser, computed by this "
                "server in memory, and kept nowhere.",
                class_name="lead",
            ),
        ),
        rx.el.div(_file(), _options(), class_name="estimate-form"),
        _progress(),
        rx.el.div(class_name="stack tight", custom_attrs={"data-estimate-result": ""}),
        class_name="card stack estimate",
        custom_attrs={"aria-labelledby": "estimate-title", "data-estimate-drop": ""},
    )


def _file() -> rx.Component:
    return rx.el.div(
        rx.el.label("Your file", html_for="estimate-file", class_name="label"),
        rx.el.input(
            id="estimate-file",
            type="file",
            accept=".jsonl,.ndjson,.json,.csv,.tsv,.txt",
            class_name="input",
            custom_attrs={"data-estimate-file": "", "aria-describedby": "estimate-kinds"},
        ),
        rx.el.p(
            "Drop it anywhere on this card. Taken: one request a line as JSON (chat completions, or the Batch API’s "
            "form), the activity export of OpenAI’s usage dashboard, or its usage API’s JSON grouped by model.",
            id="estimate-kinds",
            class_name="hint",
        ),
        rx.el.div(
            rx.el.button(
                "Use an example",
                type="button",
                class_name="button small",
                custom_attrs={"data-estimate-example": ""},
            ),
            rx.el.a("See the example’s lines", href="/estimate-example.jsonl", class_name="small", download=True),
            class_name="row",
        ),
        class_name="field",
    )


def _options() -> rx.Component:
    return rx.el.div(
        _select("choice", "Choose models by", CHOICES, "Which of the models that can do a request is taken."),
        _select(
            "tasks", "A usage export counts as", TASKS, "It holds no prompts: say what most of your requests ask for."
        ),
        class_name="stack tight",
    )


def _select(name: str, label: str, choices: tuple[tuple[str, str], ...], hint: str) -> rx.Component:
    return rx.el.div(
        rx.el.label(label, html_for=f"estimate-{name}", class_name="label"),
        rx.el.select(
            *(rx.el.option(words, value=value) for value, words in choices),
            id=f"estimate-{name}",
            custom_attrs={f"data-estimate-{name}": "", "aria-describedby": f"estimate-{name}-hint"},
        ),
        rx.el.p(hint, id=f"estimate-{name}-hint", class_name="hint"),
        class_name="field",
    )


def _progress() -> rx.Component:
    return rx.el.div(
        rx.el.progress(hidden=True, custom_attrs={"data-estimate-progress": "", "aria-label": "Computing"}),
        rx.el.p(role="status", class_name="said", custom_attrs={"data-estimate-status": ""}),
        rx.el.button(
            "Stop", type="button", class_name="button small", hidden=True, custom_attrs={"data-estimate-stop": ""}
        ),
        class_name="row",
    )
