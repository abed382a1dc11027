"""Public quality figures as percentiles, per task.

A percentile is taken among all models of the measure, not only ours: the share of the others that the model is above,
a tie counting half. A rating over several categories is the mean of the percentiles; its value is the mean of the
figures. Sources, licences and dates are in the tables themselves (`ratings/*.json`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, linear_regression
from typing import TypeVar

from omni_app.registry.price_map import SourceError
from omni_app.routing.types import Rating, Task

Kind = TypeVar("Kind", bound=str)
FOLDER = Path(__file__).parent / "ratings"
LANGUAGES = ("chinese", "french", "german", "spanish", "russian", "japanese", "korean")
SERVICE_DOMAINS = ("airline", "retail", "telecom")


@dataclass(frozen=True, slots=True)
class Table:
    """One public leaderboard: row name -> category -> figure (higher is better)."""

    title: str
    date: str
    rows: Mapping[str, Mapping[str, float]]

    def row(self, name: str) -> Mapping[str, float]:
        """A row. Raises `SourceError` when there is none of this name."""
        if name not in self.rows:
            raise SourceError(f"{self.title} has no row {name!r}")
        return self.rows[name]

    def percentile(self, name: str, category: str) -> float:
        """Where the row stands among all that have a figure in the category."""
        return percentile(self.rows[name][category], [row[category] for row in self.rows.values() if category in row])


@dataclass(frozen=True, slots=True)
class Measure:
    """What stands for a task in the text arena: `needed` of the categories must be there."""

    words: str
    categories: tuple[str, ...]
    needed: int


MEASURES: Mapping[Task, Measure] = {
    Task.CHAT: Measure("all prompts", ("full",), 1),
    Task.CODING: Measure("coding", ("coding",), 1),
    Task.REASONING: Measure("math and hard prompts", ("math", "hard_6"), 2),
    Task.SUMMARIZATION: Measure("longer queries and instruction following (a proxy)", ("long_user", "if"), 2),
    Task.TRANSLATION: Measure("languages other than English (a proxy)", LANGUAGES, 4),
}


SUBTASK_MEASURES: Mapping[str, Measure] = {
    "arithmetic": Measure("math", ("math",), 1),
    "mathematics": Measure("math", ("math",), 1),
    "logic": Measure("hard prompts (a proxy)", ("hard_6",), 1),
    "creative": Measure("creative writing", ("creative_writing",), 1),
    "roleplay": Measure("creative writing (a proxy)", ("creative_writing",), 1),
    "rewriting": Measure("instruction following (a proxy)", ("if",), 1),
    "extraction": Measure("instruction following (a proxy)", ("if",), 1),
}
"""Sub-tasks that the arena has a category of its own for; the others are rated as their task."""


@dataclass(frozen=True, slots=True)
class Leaderboards:
    """The tables that ratings come from."""

    arena: Table
    arena_image: Table
    tau2: Table

    def rate(self, *, arena: str, arena_image: str, tau2: str) -> dict[Task, Rating]:
        """Ratings of a model by its rows in the tables; an empty name = it is not in that table."""
        found = arena_ratings(self.arena, arena) if arena else {}
        if arena_image:
            found[Task.IMAGE] = image_rating(self.arena_image, arena_image)
        if tau2:
            found[Task.AGENT_STEP] = agent_rating(self.tau2, tau2)
        return found


def load_leaderboards(folder: Path = FOLDER) -> Leaderboards:
    """The committed tables."""

    def table(name: str) -> Table:
        content = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        return Table(content["title"], content["date"], content["rows"])

    return Leaderboards(table("arena_text"), table("arena_image"), table("tau2_bench"))


def percentile(value: float, values: Sequence[float]) -> float:
    """The share of the other values that are below; an equal one counts half. `values` holds `value` itself."""
    if len(values) < 2:
        return 0.0
    below = sum(other < value for other in values)
    ties = sum(other == value for other in values) - 1
    return (below + ties / 2) / (len(values) - 1)


def separation(table: Table, categories: Sequence[str]) -> float:
    """How much further models stand apart in these categories than over all prompts.

    The mean slope of a model's rating there over its rating in `full`, by least squares over the models that have both.
    Above 1, a weaker model loses more there than elsewhere.
    """
    pairs = [
        [(row["full"], row[category]) for row in table.rows.values() if category in row and "full" in row]
        for category in categories
    ]
    return fmean(linear_regression(*zip(*each, strict=True)).slope for each in pairs)


def arena_ratings(table: Table, name: str) -> dict[Task, Rating]:
    """A rating for each task whose categories the model has been voted on in."""
    return _measured(table, name, MEASURES)


def arena_subtask_ratings(table: Table, name: str) -> dict[str, Rating]:
    """The same for sub-tasks."""
    return _measured(table, name, SUBTASK_MEASURES)


def _measured(table: Table, name: str, measures: Mapping[Kind, Measure]) -> dict[Kind, Rating]:
    row = table.row(name)
    ratings: dict[Kind, Rating] = {}
    for kind, measure in measures.items():
        present = [category for category in measure.categories if category in row]
        if len(present) < measure.needed:
            continue
        ratings[kind] = Rating(
            percentile=round(fmean(table.percentile(name, category) for category in present), 4),
            measure=f"{table.title}: {measure.words}",
            value=round(fmean(row[category] for category in present), 1),
            date=table.date,
        )
    return ratings


def image_rating(table: Table, name: str) -> Rating:
    """The rating of an image maker."""
    value = table.row(name)["full"]
    return Rating(round(table.percentile(name, "full"), 4), table.title, value, table.date)


def agent_rating(table: Table, name: str) -> Rating:
    """pass^1 over the three service domains where a model has all three, else in `banking_knowledge`.

    The two are different measures with a field of their own each; a model with two of the three domains is in neither.
    The row's name ends with the effort and the date of the submission.
    """
    _, effort, day = name.split(" | ")
    row = table.row(name)
    whole = all(domain in row for domain in SERVICE_DOMAINS)
    domains = SERVICE_DOMAINS if whole else ("banking_knowledge",)
    words = "airline, retail and telecom" if whole else "banking knowledge"

    def mean(figures: Mapping[str, float]) -> float:
        return fmean(figures[domain] for domain in domains)

    field = [mean(other) for other in table.rows.values() if all(domain in other for domain in domains)]
    return Rating(
        percentile=round(percentile(mean(row), field), 4),
        measure=f"{table.title}: pass^1 in {words}, effort {effort}",
        value=round(mean(row), 1),
        date=day,
    )
