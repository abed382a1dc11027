"""Tables: one look, figures right-aligned, scrolling inside their own frame on a narrow screen."""

from collections.abc import Callable, Sequence
from typing import Any

import reflex as rx

from omni_app.ui.components.basics import Row, Text

Column = tuple[Text, Callable[[Any], Any]]
"""A heading and what a row shows under it; a heading that starts with `#` is a column of figures."""


def data_table(rows: rx.Var[list[Row]], columns: Sequence[Column], *, caption: str) -> rx.Component:
    """The rows of a state as a table; `caption` is read to those who cannot see it."""

    def line(row: Any) -> rx.Component:
        return rx.el.tr(*(rx.el.td(show(row), class_name=_look(title)) for title, show in columns))

    heads = [
        rx.el.th(title.lstrip("#") if isinstance(title, str) else title, scope="col", class_name=_look(title))
        for title, _ in columns
    ]
    return rx.el.div(
        rx.el.table(
            rx.el.caption(caption, class_name="sr-only"),
            rx.el.thead(rx.el.tr(*heads)),
            rx.el.tbody(rx.foreach(rows, line)),
        ),
        class_name="table",
        custom_attrs={"tabIndex": "0", "role": "region", "aria-label": caption},
    )


def _look(title: Text) -> str:
    return "num" if isinstance(title, str) and title.startswith("#") else ""
