"""Figures for Prometheus: counters and histograms as plain dictionaries, and the text format they are read in.

One increment is one dictionary entry (docs/decisions/0029-observe.md has it measured). Labels are few by construction:
routes, models of the registry, fixed words; never a caller's own text, an org or a key.
The format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from omni_app.money import usd_text

Labels = tuple[str, ...]
Sample = tuple["Family", Labels, float]
"""A figure read at the moment of the scrape."""
Lines = Mapping[str, list[str]]
"""Family's name -> its lines."""

MILLISECONDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000, 120_000)
"""Upper bounds for what a model's answer takes, by 1-2-5; then one and two minutes, the longest deadline."""
MICROSECONDS = (20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000)


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One metric. `scale`: how many of what is counted make one of the unit in its name."""

    name: str
    kind: str
    help: str
    labels: Labels = ()
    scale: int = 1
    bounds: tuple[int, ...] = ()
    """Of a histogram, in what is counted."""


@dataclass(slots=True)
class _Histogram:
    counts: list[int]
    total: int = 0


@dataclass(slots=True)
class Figures:
    """One process's counters and histograms, since it began."""

    _counters: dict[tuple[Family, Labels], int] = field(default_factory=dict)
    _histograms: dict[tuple[Family, Labels], _Histogram] = field(default_factory=dict)

    def add(self, family: Family, labels: Labels, amount: int = 1) -> None:
        """Counts."""
        key = (family, labels)
        self._counters[key] = self._counters.get(key, 0) + amount

    def observe(self, family: Family, labels: Labels, value: int) -> None:
        """Files one value under its bound."""
        histogram = self._histograms.get((family, labels))
        if histogram is None:
            histogram = self._histograms[family, labels] = _Histogram([0] * (len(family.bounds) + 1))
        histogram.counts[bisect_left(family.bounds, value)] += 1
        histogram.total += value

    def lines(self, samples: Iterable[Sample], *, worker: str) -> dict[str, list[str]]:
        """Everything counted, and the samples, as lines that carry the worker's label."""
        found: dict[str, list[str]] = {}
        for (family, labels), count in list(self._counters.items()):
            line = f"{family.name}{_braces(family, labels, worker)} {_number(family, count)}"
            found.setdefault(family.name, []).append(line)
        for (family, labels), histogram in list(self._histograms.items()):
            found.setdefault(family.name, []).extend(_buckets(family, labels, histogram, worker))
        for family, labels, value in samples:
            found.setdefault(family.name, []).append(f"{family.name}{_braces(family, labels, worker)} {value:.12g}")
        return found


def exposition(families: Iterable[Family], workers: Iterable[Lines]) -> str:
    """The lines of all workers in one text, each family's together, as the format wants it."""
    every = list(workers)
    parts: list[str] = []
    for family in families:
        lines = [line for one in every for line in one.get(family.name, ())]
        if lines:
            parts += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}", *lines]
    return "\n".join(parts) + "\n"


def _buckets(family: Family, labels: Labels, histogram: _Histogram, worker: str) -> Iterator[str]:
    running = 0
    for bound, count in zip((*family.bounds, None), list(histogram.counts), strict=True):
        running += count
        limit = "+Inf" if bound is None else f"{bound / family.scale:.12g}"
        yield f"{family.name}_bucket{_braces(family, labels, worker, le=limit)} {running}"
    yield f"{family.name}_sum{_braces(family, labels, worker)} {histogram.total / family.scale:.12g}"
    yield f"{family.name}_count{_braces(family, labels, worker)} {running}"


def _number(family: Family, count: int) -> str:
    if family.scale == 1:
        return str(count)
    return usd_text(count) if family.name.endswith("_dollars_total") else f"{count / family.scale:.12g}"


def _braces(family: Family, labels: Labels, worker: str, *, le: str = "") -> str:
    pairs = [*zip(family.labels, labels, strict=True), ("worker", worker), *([("le", le)] if le else [])]
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
