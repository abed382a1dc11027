"""Ratings of the models of a replay, never from the rows that they are measured on.

In this order: a ratings file; the mean score per task on another named file; the packaged text arena, where the names
are matched after lower-casing, dropping what stands before a `/`, and turning everything but letters and digits into
dashes (and, failing that, without `-instruct`, `-it`, `-chat` and a version
at the end). A model that is in none gets a prior: the median of the rated models of the replay less a margin, or, when
none is rated, the share of models that are cheaper than it less that margin.
"""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean, median

from omni_app.evaluate.files import ReplayRow
from omni_app.registry.quality import arena_ratings, load_leaderboards
from omni_app.routing.types import Task

Ratings = dict[str, dict[Task, float]]
MARGIN = 0.1
"""What being unrated costs."""
ENDINGS = re.compile(r"(-instruct|-it|-chat|-v\d+|-v\d+-\d+)+$")


def normal(name: str) -> str:
    """A model's name as it is compared."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower().rsplit("/", 1)[-1]).strip("-")


def arena_ratings_for(names: Sequence[str], usd: Mapping[str, float]) -> tuple[Ratings, dict[str, str]]:
    """Ratings of the packaged arena with, for each model, where its rating is from."""
    table = load_leaderboards().arena
    exact = {normal(row): row for row in table.rows}
    short = {ENDINGS.sub("", name): row for name, row in sorted(exact.items(), reverse=True)}
    ratings: Ratings = {}
    origin: dict[str, str] = {}
    for name in names:
        row = exact.get(normal(name)) or short.get(ENDINGS.sub("", normal(name)))
        if row is not None:
            ratings[name] = {task: one.percentile for task, one in arena_ratings(table, row).items()}
            origin[name] = f"{table.title}: {row}"
    known = [fmean(row.values()) for row in ratings.values() if row]
    for name in names:
        if not ratings.get(name):
            ratings[name] = dict.fromkeys(Task, prior(name, usd, known))
            origin[name] = "prior from price"
    return ratings, origin


def prior(name: str, usd: Mapping[str, float], known: Sequence[float]) -> float:
    """The median of the rated models less a margin; without any, the share of models that are cheaper less it."""
    cheaper = sum(other < usd[name] for other in usd.values()) / max(1, len(usd) - 1)
    return max(0.0, (median(known) if known else cheaper) - MARGIN)


def ratings_from_rows(rows: Sequence[ReplayRow]) -> Ratings:
    """The mean score per task on another split."""
    groups: dict[str, dict[Task, list[float]]] = {}
    for row in rows:
        for name, outcome in row.models.items():
            groups.setdefault(name, {}).setdefault(row.task, []).append(outcome.score)
    return {name: {task: fmean(scores) for task, scores in group.items()} for name, group in groups.items()}


def rating_of(row: Mapping[Task, float], task: Task) -> float:
    """The rating at a task; the mean of the others when the measure has none for it."""
    return row.get(task, fmean(row.values()) if row else 0.0)
