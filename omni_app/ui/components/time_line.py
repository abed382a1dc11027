"""A request's time as bars on one scale, with the same figures as text beside each."""

from typing import Any

import reflex as rx

from omni_app.ui.components.basics import Row


def time_line(rows: rx.Var[list[Row]], ticks: rx.Var[list[str]]) -> rx.Component:
    """Rows and ticks of `omni_app.ui.time_line`; bars are drawn in percent, so any width shows them whole."""

    def line(row: Any) -> rx.Component:
        return rx.el.li(
            rx.el.span(rx.el.span(row["name"], class_name="name"), rx.el.span(row["told"], class_name="sub")),
            rx.el.svg(
                rx.el.svg.rect(x=row["x"], y="0", width=row["width"], height="100%", class_name=row["kind"]),
                rx.el.svg.rect(x=row["x2"], y="0", width=row["width2"], height="100%", class_name=row["kind2"]),
                custom_attrs={"aria-hidden": "true"},
            ),
            rx.el.span(row["took"], rx.el.span(" from ", row["from"], class_name="sub"), class_name="num"),
            rx.cond(row["detail"] != "", rx.el.span(row["detail"], class_name="detail")),
        )

    scale = rx.el.div(rx.foreach(ticks, rx.el.span), class_name="time-scale", custom_attrs={"aria-hidden": "true"})
    return rx.el.div(rx.el.ol(rx.foreach(rows, line), class_name="time-line"), scale)
