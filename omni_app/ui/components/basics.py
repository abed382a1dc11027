"""Small pieces: text, figures, links, buttons, notices, empty states."""

from typing import Any

import reflex as rx
from reflex_components_core.el.elements.base import BaseHTML

Row = dict[str, str]
"""One line of a table, already as text."""
Text = str | rx.Var[str]


class NativeForm(BaseHTML):
    """A form that the browser submits by itself (`rx.el.form` always prevents that)."""

    tag = "form"
    action: rx.Var[str]
    method: rx.Var[str]


class DocumentLink(BaseHTML):
    """A link out of the web app, to a page that the API serves: a whole new document."""

    tag = "a"
    href: rx.Var[str]


def money(text: Text, exact: Text, *, class_name: str = "") -> rx.Component:
    """An amount as people read it, with the exact one on hover and for machines."""
    return rx.el.data(text, value=exact, title=exact, class_name=f"money {class_name}".strip())


def moment(instant: Text, text: Text) -> rx.Component:
    """An instant: UTC as served, in the reader's zone once the script runs, UTC on hover."""
    return rx.el.time(text, date_time=instant, custom_attrs={"data-local": ""})


def badge(text: Text, *, tone: Text = "") -> rx.Component:
    """A word in a pill; tones: `ok`, `warn`, `bad`, `sim`."""
    return rx.el.span(text, class_name="badge", custom_attrs={"data-tone": tone})


def model_name(model: Text, note: Any) -> rx.Component:
    """A model's id, marked when it is simulated or runs on this machine."""
    return rx.el.span(model, rx.cond(note != "", badge(note, tone="sim")), class_name="row")


def saving(row: Any) -> rx.Component:
    """What was saved (`saved`, `saved_exact`), against which model (`baseline`)."""
    against = rx.cond(row["baseline"] != "", rx.el.span(" against ", row["baseline"], class_name="soft"))
    return rx.el.span(money(row["saved"], row["saved_exact"]), against)


def facts(*pairs: tuple[str, Any]) -> rx.Component:
    """Names and values, one pair a line."""
    return rx.el.dl(*(one for name, value in pairs for one in (rx.el.dt(name), rx.el.dd(value))), class_name="facts")


def button(label: Text, *, on_click: Any = None, kind: str = "", type_: str = "button", **attrs: str) -> rx.Component:
    """A button; `kind`: `primary`, `danger`, `quiet` or plain."""
    events = {} if on_click is None else {"on_click": on_click}
    return rx.el.button(
        label, type=type_, class_name=f"button {kind}".strip(), custom_attrs=_attributes(attrs), **events
    )


def button_link(label: Text, href: Text, *, kind: str = "") -> rx.Component:
    """A link that looks like a button."""
    return rx.el.a(label, href=href, class_name=f"button {kind}".strip())


def notice(*children: Any, tone: str = "info") -> rx.Component:
    """A line worth reading; `tone`: `info`, `sim`, `warn` or `bad` (read out at once)."""
    role = "alert" if tone == "bad" else "status"
    return rx.el.div(*children, class_name="notice", role=role, custom_attrs={"data-tone": tone})


def test_note(mode: Any) -> rx.Component:
    """Says of a page's figures that they are not live ones."""
    text = "Figures of test keys: the model on this machine and simulated ones. Live figures never include them."
    return rx.cond(mode == "test", notice(text, tone="sim"))


def empty(title: str, text: Text, *action: rx.Component) -> rx.Component:
    """What will appear here, and the one thing to do."""
    return rx.el.div(rx.el.h2(title), rx.el.p(text), *action, class_name="empty")


def stat(label: str, figure: Any, *notes: Any, tone: str = "") -> rx.Component:
    """One figure with its label and lines under it."""
    return rx.el.div(
        rx.el.dt(label),
        rx.el.dd(figure, class_name="figure"),
        *(rx.el.dd(note, class_name="note") for note in notes or ("",)),
        class_name="stat",
        custom_attrs={"data-tone": tone},
    )


def card(*children: Any, title: str = "", class_name: str = "") -> rx.Component:
    """A quiet surface with an optional heading."""
    heading = [rx.el.h2(title)] if title else []
    return rx.el.section(*heading, *children, class_name=f"card {class_name}".strip())


def copy_button(target: str, *, label: str = "Copy") -> rx.Component:
    """Copies the text of the element with this id; `assets/omni.js` does it."""
    return rx.el.button(label, type="button", class_name="button quiet copy", custom_attrs={"data-copy": target})


def skeleton(lines: int = 3) -> rx.Component:
    """Holds the place of what is loading."""
    bars = [rx.el.div(class_name="bar") for _ in range(lines)]
    return rx.el.div(*bars, class_name="skeleton", custom_attrs={"aria-hidden": "true"})


def _attributes(attrs: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in attrs.items()}


def question(
    *words: Any, about: rx.Var[str] | str, yes: tuple[str, Any], no: tuple[str, Any], label: str
) -> rx.Component:
    """Asks before something is done that cannot be undone; `yes` and `no` are what to say and the event of it.

    `about`: the id of what it is asked of. `assets/omni.js` gives each new question the focus.
    """
    return rx.el.div(
        rx.el.p(*words),
        rx.el.div(button(yes[0], kind="danger", on_click=yes[1]), button(no[0], on_click=no[1]), class_name="row"),
        class_name="notice stack tight",
        role="alertdialog",
        key=about,
        custom_attrs={"data-tone": "warn", "aria-label": label, "tabIndex": "-1"},
    )
