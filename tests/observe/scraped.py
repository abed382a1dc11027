"""A reader of Prometheus' text format, as strict as the format: what `/metrics` says, as figures."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal

LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{((?:[a-z_]+=\"(?:[^\"\\\n]|\\[\\n\"])*\",?)*)\} (\S+)")
PAIR = re.compile(r"([a-z_]+)=\"((?:[^\"\\\n]|\\[\\n\"])*)\"")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


@dataclass
class Scrape:
    """Metric -> (labels, value) of each of its lines."""

    kinds: dict[str, str] = field(default_factory=dict)
    lines: dict[str, list[tuple[dict[str, str], Decimal]]] = field(default_factory=lambda: defaultdict(list))

    def total(self, name: str, **labels: str) -> Decimal:
        """The sum of all lines that have these labels."""
        return sum((value for found, value in self.lines[name] if labels.items() <= found.items()), start=Decimal(0))


def read(text: str) -> Scrape:
    """Raises `AssertionError` where the format is broken: a family in two places, a line twice, a name unknown."""
    scrape, seen, family = Scrape(), set(), ""
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            continue
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert family not in scrape.kinds, f"{family} stands in two places"
            scrape.kinds[family] = kind
            continue
        found = LINE.fullmatch(line)
        assert found, line
        name, labels, value = found.groups()
        assert name in {family + suffix for suffix in SUFFIXES[scrape.kinds[family]]}, line
        assert (name, labels) not in seen, f"twice: {line}"
        seen.add((name, labels))
        scrape.lines[name].append((dict(PAIR.findall(labels)), Decimal(value)))
    return scrape
