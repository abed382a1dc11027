"""One answer beside others: who answered, what it says, what it cost, and the way it took."""

from typing import Any

import reflex as rx

from omni_app.ui.components.basics import badge, button_link, model_name, money, notice
from omni_app.ui.components.requests import attempt_steps


def answer_column(column: Any, words: Any, *, stop: Any, remove: Any, locked: Any) -> rx.Component:
    """A column; `words` is its answer's text. `stop` and `remove` are its events; `locked`: nothing may be removed."""
    return rx.el.section(
        rx.el.header(
            rx.el.h3(column["title"], title=column["title"]),
            rx.cond(
                column["busy"] == "yes",
                _small_button("Stop", "Stop " + column["title"].to(str), stop, kind="danger"),
                rx.cond(
                    (column["key"] != "auto") & ~locked,
                    _small_button("✕", "Remove " + column["title"].to(str), remove, kind="quiet"),
                ),
            ),
        ),
        rx.cond(column["state"] != "", _state(column), rx.el.p("Its answer appears here.", class_name="soft small")),
        rx.cond(
            column["state"] == "rescued",
            notice("The first model failed; a fallback answered. The caller changed nothing.", tone="warn"),
        ),
        rx.cond(column["problem"] != "", notice(column["problem"], tone="bad")),
        rx.cond(column["image"] != "", rx.el.img(src=column["image"], alt="The image that was made")),
        rx.cond(words, rx.el.div(words, class_name="answer")),
        rx.cond(column["facts"].length() > 0, _figures(column["facts"])),
        rx.cond(column["steps"].length() > 0, _way(column)),
        rx.cond(column["href"] != "", button_link("Open this request", column["href"], kind="small")),
        class_name="card column",
        custom_attrs={"aria-label": column["title"], "aria-busy": rx.cond(column["busy"] == "yes", "true", "false")},
    )


def _small_button(label: str, name: Any, event: Any, *, kind: str) -> rx.Component:
    attributes = {"aria-label": name, "title": name}
    return rx.el.button(
        label, type="button", class_name=f"button small {kind}", on_click=event, custom_attrs=attributes
    )


def _state(column: Any) -> rx.Component:
    waiting = rx.el.p("At work …", class_name="waiting pulse small")
    said = rx.el.div(
        badge(column["state"], tone=column["tone"]),
        rx.cond(column["marks"] != "", badge(column["marks"], tone="ok")),
        class_name="row",
    )
    return rx.cond(column["state"] == "waiting", waiting, said)


def _figures(row: Any) -> rx.Component:
    def pair(name: str, value: Any) -> list[rx.Component]:
        return [rx.el.dt(name), rx.el.dd(value)]

    saved = rx.cond(
        row["saved"] != "",
        rx.el.span(money(row["saved"], row["saved_exact"]), rx.el.span(" against ", row["baseline"], class_name="sub")),
        "–",
    )
    return rx.el.dl(
        *pair("Model", model_name(row["model"], row["kind"])),
        *pair("Cost", money(row["cost"], row["cost_exact"])),
        *pair("Saved", saved),
        *pair("First word", row["first"]),
        *pair("Whole answer", rx.cond(row["latency"] != "", row["latency"], "–")),
        *pair("Tokens", rx.cond(row["tokens"] != "", row["tokens"], "–")),
        class_name="facts small",
    )


def _way(column: Any) -> rx.Component:
    return rx.el.div(rx.el.h4("The way it took"), attempt_steps(column["steps"]), class_name="stack hair")
