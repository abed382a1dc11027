"""Models by what they cost and how long they take: one numbered point each, with the same figures in a table behind.

The geometry is worked out here and drawn in percent, so the drawing keeps its shape and its letters at any width.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import floor, log10

import reflex as rx

from omni_app.ui import text
from omni_app.ui.components.basics import Row, money
from omni_app.ui.components.table import data_table

MARGIN = 8.0
"""Percent of the drawing left free on each side."""
ZERO_GAP = 12.0
"""Percent that what costs nothing stands to the left of the logarithmic scale, which has no zero."""
MOST_TICKS = 6
WIDTH_PX, HEIGHT_PX, LETTER_PX = 700.0, 288.0, 7.0
"""The size that labels are laid out for; on narrow screens they are left out, the numbers stay."""


@dataclass(frozen=True, slots=True)
class Point:
    """One model's figures: pico-dollars per 1,000 requests, median milliseconds, and how often it answered."""

    model: str
    cost: int
    latency_ms: int
    requests: int


@dataclass(frozen=True, slots=True)
class LogAxis:
    """A logarithmic scale between round figures; 0 stands left of it where it occurs."""

    low: float
    high: float
    has_zero: bool

    def place(self, value: float) -> float:
        """Percent along the axis."""
        begin = MARGIN + (ZERO_GAP if self.has_zero else 0.0)
        if value <= 0:
            return MARGIN
        share = (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return begin + share * (100 - MARGIN - begin)

    def ticks(self) -> list[float]:
        """Round figures from end to end; only powers of ten, then fewer of those, where there are too many."""
        if self.low == self.high:
            return [0.0]
        found = steps(self.low, self.high)
        if len(found) > MOST_TICKS:
            found = [one for one in found if is_power(one)]
        found = found[:: -(-len(found) // MOST_TICKS)]
        return [0.0, *found] if self.has_zero else found


def axis_of(values: Sequence[int]) -> LogAxis:
    """The axis that holds all of these."""
    above = [value for value in values if value > 0]
    if not above:
        return LogAxis(1.0, 1.0, has_zero=True)
    low, high = step_below(min(above)), step_above(max(above))
    if low == high:
        low, high = step_below(low * 0.9), step_above(high * 1.1)
    return LogAxis(low, high, any(value <= 0 for value in values))


def step_below(value: float) -> float:
    """The greatest of 1, 2, 5 × 10ⁿ that is not above."""
    ten = 10.0 ** floor(log10(value))
    return next(ten * one for one in (5, 2, 1) if ten * one <= value * (1 + 1e-9))


def step_above(value: float) -> float:
    """The least of 1, 2, 5 × 10ⁿ that is not below."""
    ten = 10.0 ** floor(log10(value))
    return next(ten * one for one in (1, 2, 5, 10) if ten * one >= value * (1 - 1e-9))


def steps(low: float, high: float) -> list[float]:
    """1, 2, 5 × 10ⁿ from `low` to `high`."""
    found = [low]
    while found[-1] < high * (1 - 1e-9):
        found.append(step_above(found[-1] * 1.1))
    return found


def is_power(value: float) -> bool:
    """Whether it is a power of ten."""
    return abs(log10(value) - round(log10(value))) < 1e-9


def drawn(points: Iterable[Point]) -> tuple[list[Row], list[Row], list[Row]]:
    """The points, the ticks below and the ticks at the side, as rows for `scatter`; most used models first.

    Every second tick says so (`class`): on a narrow screen there is no room for its label.
    """
    ordered = sorted(points, key=lambda one: (-one.requests, one.model))
    if not ordered:
        return [], [], []
    across, up = axis_of([one.cost for one in ordered]), axis_of([one.latency_ms for one in ordered])
    rows = [_point(one, number, across, up) for number, one in enumerate(ordered, 1)]
    _label(rows)
    return rows, _ticks(across, lambda one: text.money(round(one))), _ticks(up, text.milliseconds, upwards=True)


def _point(point: Point, number: int, across: LogAxis, up: LogAxis) -> Row:
    per_1k = text.money(point.cost)
    return {
        "number": str(number),
        "model": point.model,
        "x": f"{across.place(point.cost):.2f}%",
        "y": f"{100 - up.place(point.latency_ms):.2f}%",
        "label": "",
        "anchor": "start",
        "dx": "13",
        "cost": per_1k,
        "cost_exact": text.exact_money(point.cost),
        "latency": text.milliseconds(point.latency_ms),
        "requests": text.number(point.requests),
        "tip": f"{point.model}: {per_1k} per 1,000 requests, {text.milliseconds(point.latency_ms)} at the median",
    }


def _ticks(axis: LogAxis, word: Callable[[float], str], *, upwards: bool = False) -> list[Row]:
    places = ((one, axis.place(one)) for one in axis.ticks())
    return [
        {
            "at": f"{100 - place if upwards else place:.2f}%",
            "label": word(one),
            "class": "second" if index % 2 else "",
        }
        for index, (one, place) in enumerate(places)
    ]


def _label(rows: list[Row]) -> None:
    """Names beside the points, where one has room; the others are read by their number."""
    taken = [_box(row, 0.0, 0.0) for row in rows]
    for row in rows:
        name = row["model"].rpartition("/")[2]
        for anchor, dx in (("start", 13.0), ("end", -13.0)):
            box = _box(row, dx, len(name) * LETTER_PX * (1 if anchor == "start" else -1))
            inside = box[0] > 0 and box[1] < WIDTH_PX
            others = [one for one in taken if one is not taken[rows.index(row)]]
            if inside and not any(_meet(box, one) for one in others):
                row |= {"label": name, "anchor": anchor, "dx": f"{dx:g}"}
                taken.append(box)
                break


def _box(row: Row, dx: float, length: float) -> tuple[float, float, float, float]:
    """Left, right, top, bottom in pixels: of the point itself, or of a label that begins `dx` beside it."""
    x, y = float(row["x"].rstrip("%")) / 100 * WIDTH_PX, float(row["y"].rstrip("%")) / 100 * HEIGHT_PX
    ends = sorted((x + dx, x + dx + length)) if length else [x - 10, x + 10]
    return ends[0], ends[1], y - 10, y + 10


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def scatter(points: rx.Var[list[Row]], across: rx.Var[list[Row]], up: rx.Var[list[Row]]) -> rx.Component:
    """The drawing with its axes, a key of its numbers, and the table behind it."""
    return rx.el.figure(
        rx.el.figcaption(
            rx.el.h2("Cost against latency"),
            rx.el.p("Lower left is cheaper and faster. Both scales are logarithmic.", class_name="soft small"),
        ),
        rx.el.div(
            rx.el.span("Median latency", class_name="axis-y"),
            _side(up),
            _drawing(points, across, up),
            _below(across),
            rx.el.span("US dollars per 1,000 requests", class_name="axis-x"),
            class_name="scatter-plot",
        ),
        rx.el.ol(rx.foreach(points, lambda one: rx.el.li(one["model"])), class_name="scatter-key small"),
        rx.el.details(
            rx.el.summary("Show the figures as a table"),
            data_table(
                points,
                [
                    ("#No.", lambda one: one["number"]),
                    ("Model", lambda one: one["model"]),
                    ("#$ per 1,000 requests", lambda one: money(one["cost"], one["cost_exact"])),
                    ("#Median latency", lambda one: one["latency"]),
                    ("#Requests", lambda one: one["requests"]),
                ],
                caption="Cost and latency of each model that answered",
            ),
        ),
        class_name="chart scatter card",
    )


def _drawing(points: rx.Var[list[Row]], across: rx.Var[list[Row]], up: rx.Var[list[Row]]) -> rx.Component:
    def point(one: rx.Var[Row]) -> rx.Component:
        middle = {"textAnchor": "middle", "dominantBaseline": "central"}
        beside = {"textAnchor": one["anchor"], "dominantBaseline": "central"}
        return rx.el.svg.g(
            rx.el.svg.title(one["tip"]),
            rx.el.svg.circle(cx=one["x"], cy=one["y"], r="10"),
            rx.el.svg.text(one["number"], x=one["x"], y=one["y"], class_name="number", custom_attrs=middle),
            rx.el.svg.text(one["label"], x=one["x"], y=one["y"], dx=one["dx"], class_name="label", custom_attrs=beside),
        )

    return rx.el.svg(
        rx.foreach(across, lambda tick: rx.el.svg.line(x1=tick["at"], x2=tick["at"], y1="0", y2="100%")),
        rx.foreach(up, lambda tick: rx.el.svg.line(x1="0", x2="100%", y1=tick["at"], y2=tick["at"])),
        rx.foreach(points, point),
        role="img",
        class_name="field-of-points",
        custom_attrs={"aria-label": "Cost and median latency of each model; the table below has the figures"},
    )


def _side(ticks: rx.Var[list[Row]]) -> rx.Component:
    placed = {"textAnchor": "end", "dominantBaseline": "central"}
    return rx.el.svg(
        rx.foreach(ticks, lambda tick: rx.el.svg.text(tick["label"], x="100%", y=tick["at"], custom_attrs=placed)),
        class_name="ticks-y",
        custom_attrs={"aria-hidden": "true"},
    )


def _below(ticks: rx.Var[list[Row]]) -> rx.Component:
    placed = {"textAnchor": "middle", "dominantBaseline": "central"}
    return rx.el.svg(
        rx.foreach(
            ticks,
            lambda tick: rx.el.svg.text(
                tick["label"], x=tick["at"], y="50%", class_name=tick["class"], custom_attrs=placed
            ),
        ),
        class_name="ticks-x",
        custom_attrs={"aria-hidden": "true"},
    )
