"""The one chart: actual cost against the baseline's, per bucket, with the same figures in a table behind it.

The geometry is worked out here, in Python, and drawn as plain SVG: nothing to load, nothing to evaluate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import reflex as rx

from omni_app.ui import text
from omni_app.ui.components.basics import Row, Text, money
from omni_app.ui.components.table import data_table

HEIGHT = 100.0
SLOT = 10.0
"""The drawing's own units: a slot per bucket, stretched to the width there is."""
LABELS = 8
"""At most this many have room."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bar pair: a label, and pico-dollars."""

    label: str
    cost: int
    baseline: int
    requests: int


def drawn(buckets: Sequence[Bucket]) -> tuple[list[Row], str]:
    """The bars as rows for `cost_chart`, and the scale's top as text."""
    top = max((max(one.cost, one.baseline) for one in buckets), default=0)
    return [_bar(one, index=index, top=top) for index, one in enumerate(buckets)], text.money(top)


def labels(buckets: Sequence[Bucket]) -> list[str]:
    """One label per bucket, as `labels_of`."""
    return labels_of([one.label for one in buckets])


def labels_of(names: Sequence[str]) -> list[str]:
    """One label per name, most of them empty when there are many; the last always has its own."""
    step = -(-len(names) // LABELS)
    last = len(names) - 1
    return [name if (last - index) % step == 0 else "" for index, name in enumerate(names)]


def _bar(bucket: Bucket, *, index: int, top: int) -> Row:
    baseline, cost = _height(bucket.baseline, top), _height(bucket.cost, top)
    left = index * SLOT
    return {
        "label": bucket.label,
        "x_baseline": f"{left + 1.6:.2f}",
        "x_cost": f"{left + 5.2:.2f}",
        "y_baseline": f"{HEIGHT - baseline:.3f}",
        "h_baseline": f"{baseline:.3f}",
        "y_cost": f"{HEIGHT - cost:.3f}",
        "h_cost": f"{cost:.3f}",
        "cost": text.money(bucket.cost),
        "cost_exact": text.exact_money(bucket.cost),
        "baseline": text.money(bucket.baseline),
        "baseline_exact": text.exact_money(bucket.baseline),
        "saved": text.money(bucket.baseline - bucket.cost),
        "saved_exact": text.exact_money(bucket.baseline - bucket.cost),
        "requests": text.number(bucket.requests),
        "tip": f"{bucket.label}: {text.money(bucket.cost)} paid, {text.money(bucket.baseline)} at the baseline",
    }


def _height(amount: int, top: int) -> float:
    """At least a sliver for an amount that is not zero."""
    return max(0.6, HEIGHT * amount / top) if top and amount > 0 else 0.0


def cost_chart(
    bars: rx.Var[list[Row]], *, top: Text, view_box: Text, ticks: rx.Var[list[str]], baseline: Text, unit: Text
) -> rx.Component:
    """Bars of what was paid beside what the baseline would have cost."""

    def pair(bar: rx.Var[Row]) -> rx.Component:
        return rx.el.svg.g(
            rx.el.svg.title(bar["tip"]),
            rx.el.svg.rect(
                x=bar["x_baseline"], y=bar["y_baseline"], width="3.2", height=bar["h_baseline"], class_name="base"
            ),
            rx.el.svg.rect(x=bar["x_cost"], y=bar["y_cost"], width="3.2", height=bar["h_cost"], class_name="cost"),
        )

    legend = rx.el.p(
        rx.el.span("Paid", class_name="key cost"), rx.el.span("At the baseline ", baseline, class_name="key base")
    )
    return rx.el.figure(
        rx.el.figcaption(rx.el.h2("Cost per ", unit, " in US dollars"), legend),
        rx.el.div(
            rx.el.div(rx.el.span(top), rx.el.span("$0"), class_name="scale", custom_attrs={"aria-hidden": "true"}),
            rx.el.svg(
                rx.foreach(bars, pair),
                view_box=view_box,
                preserve_aspect_ratio="none",
                role="img",
                custom_attrs={
                    "aria-label": "Bars: cost paid and cost at the baseline; the table below has the figures"
                },
            ),
            rx.el.div(
                rx.foreach(ticks, lambda tick: rx.el.span(rx.el.span(tick))),
                class_name="ticks",
                custom_attrs={"aria-hidden": "true"},
            ),
            class_name="plot",
        ),
        rx.el.details(
            rx.el.summary("Show the figures as a table"),
            data_table(
                bars,
                [
                    ("When (UTC)", lambda bar: bar["label"]),
                    ("#Requests", lambda bar: bar["requests"]),
                    ("#Paid", lambda bar: money(bar["cost"], bar["cost_exact"])),
                    ("#At the baseline", lambda bar: money(bar["baseline"], bar["baseline_exact"])),
                    ("#Saved", lambda bar: money(bar["saved"], bar["saved_exact"])),
                ],
                caption="Cost paid and at the baseline",
            ),
        ),
        class_name="chart card",
    )
