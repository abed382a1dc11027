"""The ranked models of a decision: a bar for each score, whole or with its four terms."""

from typing import Any

import reflex as rx

from omni_app.ui.components.basics import Row, badge, money
from omni_app.ui.components.table import data_table

TERMS = (("cost", "Cost"), ("latency", "Latency"), ("task", "Task"), ("quality", "Quality"))
"""The terms of a score, in the order in which they are stacked."""


def meter(width: Any) -> rx.Component:
    """A bar of `width` percent."""
    return rx.el.svg(
        rx.el.svg.rect(x="0", y="0", width=width, height="10"),
        view_box="0 0 100 10",
        preserve_aspect_ratio="none",
        class_name="meter",
        custom_attrs={"aria-hidden": "true"},
    )


def stacked(row: Any) -> rx.Component:
    """A score's bar, put together from its weighted terms (`x_cost`, `w_cost`, …, in percent)."""
    parts = [
        rx.el.svg.rect(x=row[f"x_{name}"], y="0", width=row[f"w_{name}"], height="10", class_name=f"term-{name}")
        for name, _ in TERMS
    ]
    return rx.el.svg(
        *parts,
        view_box="0 0 100 10",
        preserve_aspect_ratio="none",
        class_name="meter stacked",
        custom_attrs={"aria-hidden": "true"},
    )


def ranking(rows: rx.Var[list[Row]]) -> rx.Component:
    """Best first; the chosen one is marked."""
    return _ranked(rows, lambda row: meter(row["width"]))


def scored_ranking(rows: rx.Var[list[Row]]) -> rx.Component:
    """As `ranking`, each bar with its terms; rows of `omni_app.ui.ranking.scored`."""
    keys = rx.el.p(
        *(rx.el.span(name, class_name=f"key term-{term}") for term, name in TERMS), class_name="keys small soft"
    )
    return rx.el.div(keys, _ranked(rows, stacked), class_name="stack hair")


def score_table(rows: rx.Var[list[Row]], *, caption: str) -> rx.Component:
    """Every candidate with the figures behind its bar, then those that could not be taken, with the reason."""

    def points(term: str) -> Any:
        return lambda row: rx.el.span(row[f"points_{term}"], title=row[f"how_{term}"])

    return data_table(
        rows,
        [
            ("Model", lambda row: row["model"]),
            ("#Score", lambda row: row["score"]),
            *((f"#{name} term", points(term)) for term, name in TERMS),
            ("#Expected cost", lambda row: money(row["cost"], row["exact"])),
            ("#Latency", lambda row: row["latency"]),
            ("Why not", lambda row: rx.el.div(row["why"], class_name="wrap")),
        ],
        caption=caption,
    )


def _ranked(rows: rx.Var[list[Row]], bar: Any) -> rx.Component:
    def line(row: Any) -> rx.Component:
        return rx.el.li(
            rx.el.span(row["model"], class_name="name", title=row["model"]),
            rx.el.span(
                rx.cond(row["chosen"] == "yes", badge("chosen", tone="ok")),
                rx.cond(row["note"] != "", badge(row["note"], tone="sim")),
                money(row["cost"], row["exact"]),
                class_name="row small",
            ),
            bar(row),
            custom_attrs={"data-chosen": row["chosen"]},
        )

    return rx.el.ol(rx.foreach(rows, line), class_name="ranked")
