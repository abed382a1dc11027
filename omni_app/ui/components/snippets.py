"""Code ready to paste, with the new key inside while this page still holds it (`assets/omni.js` fills it in)."""

import re
from collections.abc import Sequence

import reflex as rx

from omni_app.ui.components.basics import button, copy_button
from omni_app.ui.session import AppState

SLOTS = re.compile("(<key>|<origin>)")
"""What stands for the key and for this server's address in a snippet's text."""
PLACEHOLDER = "YOUR_API_KEY"

CURL = """curl <origin>/v1/chat \\
  -H "Authorization: Bearer <key>" \\
  -H "Content-Type: application/json" \\
  -d '{"messages": [{"role": "user", "content": "What is the capital of France?"}]}'"""

PYTHON = """import json, urllib.request

request = urllib.request.Request(
    "<origin>/v1/chat",
    json.dumps({"messages": [{"role": "user", "content": "What is the capital of France?"}]}).encode(),
    {"Authorization": "Bearer <key>", "Content-Type": "application/json"},
)
answer = json.load(urllib.request.urlopen(request))
print(answer["output"], answer["model_used"], answer["cost"])"""

OPENAI = """from openai import OpenAI

client = OpenAI(base_url="<origin>/v1", api_key="<key>")
answer = client.chat.completions.create(
    model="auto",
    messages=[{"role": "user", "content": "What is the capital of France?"}],
)
print(answer.choices[0].message.content, answer.model)"""

JAVASCRIPT = """const answer = await fetch("<origin>/v1/chat", {
  method: "POST",
  headers: {
    "Authorization": "Bearer <key>",
    "Content-Type": "application/json",
  },
  body: JSON.stringify({
    messages: [{ role: "user", content: "What is the capital of France?" }],
  }),
}).then((response) => response.json());
console.log(answer.output, answer.model_used, answer.cost);"""


def key_slot() -> rx.Component:
    """Where the new key appears, once there is one."""
    return rx.el.span(PLACEHOLDER, custom_attrs={"data-key-slot": ""})


def snippet(name: str, code: str) -> rx.Component:
    """One block of code with its copy button."""
    filled = {"<key>": key_slot, "<origin>": lambda: rx.el.span(AppState.origin)}
    pieces = [filled[piece]() if piece in filled else piece for piece in SLOTS.split(code)]
    target = "code-" + name.lower().replace(" ", "-")
    return rx.el.div(
        rx.el.header(rx.el.span(name), copy_button(target)),
        rx.el.pre(rx.el.code(*pieces, id=target), custom_attrs={"tabIndex": "0"}),
        class_name="snippet",
    )


def filled_snippet(name: str, target: str, *, before: rx.Var[str], after: rx.Var[str]) -> rx.Component:
    """One block of code that is written while the page runs, cut where the key goes."""
    return rx.el.div(
        rx.el.header(rx.el.span(name), copy_button(target)),
        rx.el.pre(rx.el.code(before, key_slot(), after, id=target), custom_attrs={"tabIndex": "0"}),
        class_name="snippet",
    )


def snippets() -> rx.Component:
    """curl, Python, OpenAI's SDK and JavaScript, one at a time."""
    kinds = (
        ("curl", "curl", CURL),
        ("python", "Python", PYTHON),
        ("openai", "OpenAI SDK", OPENAI),
        ("javascript", "JavaScript", JAVASCRIPT),
    )
    return code_tabs([(kind, name, snippet(name, code)) for kind, name, code in kinds])


def code_tabs(panes: Sequence[tuple[str, str, rx.Component]]) -> rx.Component:
    """Kind (`curl`, `python`, `openai`, `javascript`), name and content of each tab; the first is open."""
    choices = [
        rx.el.input(
            type="radio", name="language", id=f"tab-{kind}", default_checked=kind == panes[0][0],
            custom_attrs={"aria-label": name},
        )
        for kind, name, _ in panes
    ]  # fmt: skip
    bar = rx.el.div(
        *(rx.el.label(name, html_for=f"tab-{kind}") for kind, name, _ in panes),
        class_name="bar",
        custom_attrs={"aria-hidden": "true"},
    )
    shown = [rx.el.div(content, class_name=f"pane {kind}") for kind, _, content in panes]
    return rx.el.div(*choices, bar, *shown, class_name="tabs")


def new_key_box() -> rx.Component:
    """Shows a new key once; hidden until the script has one."""
    return rx.el.div(
        rx.el.strong("Your new key: copy it now, it is shown only this once."),
        rx.el.div(
            rx.el.code(PLACEHOLDER, id="new-key", custom_attrs={"data-key-slot": ""}),
            copy_button("new-key", label="Copy key"),
            class_name="row",
        ),
        rx.el.div(
            rx.el.span("We keep only a fingerprint of it. Lost it? Make another one.", class_name="soft small"),
            button("I have saved it", kind="quiet small", data_key_done=""),
            class_name="row spread",
        ),
        class_name="secret",
        hidden=True,
        custom_attrs={"data-key-box": "", "role": "status"},
    )


def key_problem() -> rx.Component:
    """Why a key could not be made."""
    return rx.el.p(
        "", class_name="notice", hidden=True, role="alert", custom_attrs={"data-key-problem": "", "data-tone": "bad"}
    )
