"""Requests as a table, links to choose between, and the walk along the fallback chain as steps."""

from typing import Any

import reflex as rx

from omni_app.ui.components.basics import Row, badge, model_name, moment, money
from omni_app.ui.components.table import data_table

COST_COLUMNS = (("What", ""), ("Count", "num"), ("$ per 1M", "num"), ("Amount", "num"))


def request_table(rows: rx.Var[list[Row]], *, caption: str) -> rx.Component:
    """When, what, which model, what it cost and saved; each line leads to the request's page."""
    return data_table(
        rows,
        [
            ("When", lambda row: rx.el.a(moment(row["at"], row["at_text"]), href=row["href"])),
            ("Outcome", lambda row: badge(row["outcome"], tone=row["tone"])),
            ("Task", lambda row: row["task"]),
            ("Model", lambda row: model_name(row["model"], row["note"])),
            ("#Tokens", lambda row: row["tokens"]),
            ("#Latency", lambda row: row["latency"]),
            ("#Cost", lambda row: money(row["cost"], row["cost_exact"])),
            ("#Saved", lambda row: money(row["saved"], row["saved_exact"])),
        ],
        caption=caption,
    )


def choice_links(rows: rx.Var[list[Row]], *, label: str) -> rx.Component:
    """One choice out of a few (`label`, `href`, `current`), as links: the choice is in the address."""
    return rx.el.div(
        rx.foreach(
            rows,
            lambda row: rx.el.a(row["label"], href=row["href"], custom_attrs={"aria-current": row["current"]}),
        ),
        class_name="switch",
        role="group",
        custom_attrs={"aria-label": label},
    )


def cost_table(rows: rx.Var[list[Row]], *, caption: str) -> rx.Component:
    """Cost lines of `omni_app.ui.cost_lines`: headings, lines, totals."""

    def line(row: Any) -> rx.Component:
        amount = rx.el.td(money(row["amount"], row["exact"]), class_name="num")
        figures = [rx.el.td(row["count"], class_name="num"), rx.el.td(row["price"], class_name="num")]
        kind = {"data-kind": row["kind"]}
        return rx.match(
            row["kind"],
            ("part", rx.el.tr(rx.el.th(row["what"], col_span=4, scope="colgroup"), custom_attrs=kind)),
            ("line", rx.el.tr(rx.el.td(row["what"]), *figures, amount, custom_attrs=kind)),
            rx.el.tr(rx.el.td(row["what"], col_span=3), amount, custom_attrs=kind),
        )

    heads = [rx.el.th(title, scope="col", class_name=kind) for title, kind in COST_COLUMNS]
    return rx.el.div(
        rx.el.table(
            rx.el.caption(caption, class_name="sr-only"),
            rx.el.thead(rx.el.tr(*heads)),
            rx.el.tbody(rx.foreach(rows, line)),
        ),
        class_name="table costs",
        custom_attrs={"tabIndex": "0", "role": "region", "aria-label": caption},
    )


def attempt_steps(rows: rx.Var[list[Row]]) -> rx.Component:
    """Every attempt in order: who was asked, what came of it, how long it took."""

    def line(row: Any) -> rx.Component:
        return rx.el.li(
            rx.el.span(row["model"]),
            rx.el.span(row["latency"], class_name="num soft small"),
            rx.el.span(
                row["outcome"], rx.cond(row["detail"] != "", " – " + row["detail"].to(str), ""), class_name="sub"
            ),
            custom_attrs={"data-ok": row["ok"]},
        )

    return rx.el.ol(rx.foreach(rows, line), class_name="steps")
