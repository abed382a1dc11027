"""The ranked models of a decision, as a list with a bar for each score."""

from typing import Any

import reflex as rx

from omni_app.ui.components.basics import Row, badge, money


def meter(width: Any) -> rx.Component:
    """A bar of `width` percent."""
    return rx.el.svg(
        rx.el.svg.rect(x="0", y="0", width=width, height="10"),
        view_box="0 0 100 10",
        preserve_aspect_ratio="none",
        class_name="meter",
        custom_attrs={"aria-hidden": "true"},
    )


def ranking(rows: rx.Var[list[Row]]) -> rx.Component:
    """Best first; the chosen one is marked."""

    def line(row: Any) -> rx.Component:
        return rx.el.li(
            rx.el.span(row["model"], class_name="name", title=row["model"]),
            rx.el.span(
                rx.cond(row["chosen"] == "yes", badge("chosen", tone="ok")),
                rx.cond(row["note"] != "", badge(row["note"], tone="sim")),
                money(row["cost"], row["exact"]),
                class_name="row small",
            ),
            meter(row["width"]),
            custom_attrs={"data-chosen": row["chosen"]},
        )

    return rx.el.ol(rx.foreach(rows, line), class_name="ranked")
