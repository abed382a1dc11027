"""Cost and quality of a router over its trade-off points, and the figures of RouteLLM (arXiv 2406.18665, section 2).

    PGR   = (quality - quality of the weak model) / (quality of the strong model - quality of the weak model)
    APGR  = the mean of PGR over the share of calls to the strong model, from 0 to 1 (the area under the curve)
    CPTx  = the least share of calls to the strong model at which PGR reaches x %

With more than two models `share` is the share of cost between always-cheapest (0) and always-best (1): our own
widening, the same number when there are two models whose costs do not depend on the prompt. Between two
neighbouring points the curve is straight: what a coin flip between the two gives.
"""

import random
from array import array
from collections.abc import Sequence
from typing import NamedTuple

RESAMPLES = 1_000
SEED = 20_240_618
UNIT = 1_000_000_000
"""Scores, shares and USD are added as whole billionths, so that no sum depends on the order."""
FIELDS = 3
GRID = 200
"""Steps in which the area is summed."""


class Sample(NamedTuple):
    """One prompt at one trade-off point."""

    score: float
    usd: float
    strong: float
    """1 when the strong model answers; in between: how likely."""


class Point(NamedTuple):
    """One trade-off point: means over the prompts."""

    quality: float
    usd: float
    share: float


class Ends(NamedTuple):
    """Always-cheapest and always-best."""

    weak: Point
    strong: Point


Measures = dict[str, float | None]


def pgr(point: Point, ends: Ends) -> float:
    """Performance gap recovered; 1 at the strong model's quality. 0 when there is no gap."""
    gap = ends.strong.quality - ends.weak.quality
    return (point.quality - ends.weak.quality) / gap if gap else 0.0


def apgr(points: Sequence[Point], ends: Ends) -> float:
    """The mean PGR over the share from 0 to 1, by the trapezium rule; flat beyond the first and last point."""
    curve = sorted((point.share, pgr(point, ends)) for point in points)
    values = [_at(curve, step / GRID) for step in range(GRID + 1)]
    return (sum(values) - (values[0] + values[-1]) / 2) / GRID


def _at(curve: Sequence[tuple[float, float]], share: float) -> float:
    before = curve[0]
    for after in curve:
        if after[0] >= share:
            if after[0] == before[0]:
                return after[1]
            return before[1] + (after[1] - before[1]) * (share - before[0]) / (after[0] - before[0])
        before = after
    return before[1]


def least(points: Sequence[tuple[float, float]], wanted: float) -> float | None:
    """The least x at which y reaches `wanted`, on straight lines between (x, y) neighbours; None when it never does."""
    ordered = sorted(points)
    for number, (x, y) in enumerate(ordered):
        if y >= wanted:
            if not number:
                return x
            before_x, before_y = ordered[number - 1]
            return before_x + (x - before_x) * (wanted - before_y) / (y - before_y)
    return None


def measure(points: Sequence[Point], ends: Ends) -> Measures:
    """APGR, CPT50, CPT80 and the cost saved at 99 % and 95 % of the strong model's quality.

    A threshold that the router never reaches gives None; for cost saved, nothing less than always-best reaches it.
    """
    gaps = [(point.share, pgr(point, ends)) for point in points]
    costs = [(point.usd, point.quality) for point in points]
    report: Measures = {"apgr": apgr(points, ends), "cpt50": least(gaps, 0.5), "cpt80": least(gaps, 0.8)}
    for percent in (99, 95):
        usd = least(costs, ends.strong.quality * percent / 100)
        report[f"saved_at_{percent}"] = None if usd is None or not ends.strong.usd else 1 - usd / ends.strong.usd
    return report


def pack(samples: Sequence[Sample]) -> int:
    """One prompt at every point, as one long whole number of 64-bit fields: rows add in one step."""
    fields = array("Q", (round(value * UNIT) for sample in samples for value in sample))
    return int.from_bytes(fields.tobytes(), "little")


def unpack(total: int, *, points: int, rows: int) -> list[Point]:
    """The means at every point, from the sum of `rows` packed rows."""
    fields = array("Q")
    fields.frombytes(total.to_bytes(8 * FIELDS * points, "little"))
    means = [value / UNIT / rows for value in fields]
    return [Point(*means[at : at + FIELDS]) for at in range(0, len(means), FIELDS)]


def by_cost_share(points: Sequence[Point], ends: Ends) -> list[Point]:
    """The points with `share` as a share of cost between always-cheapest and always-best."""
    span = ends.strong.usd - ends.weak.usd
    return [one._replace(share=(one.usd - ends.weak.usd) / span if span else 0.0) for one in points]


def bootstrap(
    packed: Sequence[int], *, points: int, many: bool, resamples: int = RESAMPLES
) -> tuple[list[Point], Ends, dict[str, list[float | None]]]:
    """Points, ends and the 95 % interval of each measure. The first two points are always-cheapest and always-best."""
    draw = random.Random(SEED)
    rows = len(packed)
    curve, ends = _curve(sum(packed), points=points, rows=rows, many=many)
    found = []
    for _ in range(resamples):
        total = sum(draw.choices(packed, k=rows))
        found.append(measure(*_curve(total, points=points, rows=rows, many=many)))
    return curve, ends, {name: interval([one[name] for one in found]) for name in found[0]}


def _curve(total: int, *, points: int, rows: int, many: bool) -> tuple[list[Point], Ends]:
    weak, strong, *curve = unpack(total, points=points, rows=rows)
    ends = Ends(weak, strong)
    return (by_cost_share(curve, ends) if many else curve), ends


def interval(values: Sequence[float | None]) -> list[float | None]:
    """The middle 95 % of the values that there are; a threshold never reached counts as none."""
    ordered = sorted(value for value in values if value is not None)
    if not ordered:
        return [None, None]
    last = len(ordered) - 1
    return [ordered[round(last * 0.025)], ordered[round(last * 0.975)]]
