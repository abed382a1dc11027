"""Ratings of the models of a replay, never from the rows that they are measured on.

In this order: a ratings file; the mean score per task and sub-task on another named file; the packaged figures that
were measured so on public files (`measured.py`); the packaged text arena, where the names are matched after
lower-casing, dropping what stands before a `/`, and turning everything but letters and digits into dashes (and, failing
that, without `-instruct`, `-it`, `-chat` and a version at the end). A model that is in none gets a prior: the median of
the rated models of the replay less a margin, or, when none is rated, the share of models that are cheaper than it less
that margin.
"""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean, median

from omni_app.evaluate.files import ReplayRow
from omni_app.registry.quality import arena_ratings, load_leaderboards
from omni_app.routing.classify import classify
from omni_app.routing.reading.difficulty import BASE
from omni_app.routing.types import SUBTASKS, Task

Ratings = dict[str, dict[str, float]]
"""Model -> task or sub-task -> share in [0, 1]."""
ORDINARY: Mapping[Task, float] = {
    task: fmean(BASE[subtask] for subtask, wider in SUBTASKS.items() if wider is task) for task in Task
}
"""Difficulty of an ordinary request of a task, its sub-tasks counting the same."""
ROWS_OF_DOUBT = 10
"""A mean over few rows is drawn to the wider one as if so many rows had had that."""
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
            ratings[name] = {task.value: one.percentile for task, one in arena_ratings(table, row).items()}
            origin[name] = f"{table.title}: {row}"
    known = [fmean(row.values()) for row in ratings.values() if row]
    for name in names:
        if not ratings.get(name):
            ratings[name] = dict.fromkeys((task.value for task in Task), prior(name, usd, known))
            origin[name] = "prior from price"
    return ratings, origin


def prior(name: str, usd: Mapping[str, float], known: Sequence[float]) -> float:
    """The median of the rated models less a margin; without any, the share of models that are cheaper less it."""
    cheaper = sum(other < usd[name] for other in usd.values()) / max(1, len(usd) - 1)
    return max(0.0, (median(known) if known else cheaper) - MARGIN)


def ratings_from_rows(rows: Sequence[ReplayRow]) -> Ratings:
    """The mean score on another split, per task and sub-task as the classifier reads its prompts; each drawn to the
    wider mean. A sub-task is left out, and rated as its task, when that would be more than half of its figure.
    """
    tasks, subtasks = classes_of(rows)
    ratings: Ratings = {}
    for name in rows[0].models:
        scores = [row.models[name].score for row in rows]
        overall = fmean(scores)
        by_task = _means(scores, tasks, wider=dict.fromkeys(tasks, overall), least=1)
        wider = {subtask: by_task.get(task.value, overall) for subtask, task in SUBTASKS.items()}
        ratings[name] = _means(scores, subtasks, wider=wider, least=ROWS_OF_DOUBT) | by_task
    return ratings


def classes_of(rows: Sequence[ReplayRow]) -> tuple[list[str], list[str]]:
    """Task and sub-task of each row as the classifier reads its prompt; the models of a replay draw nothing."""
    read = [classify([{"role": "user", "content": row.prompt}], tools=False, image_parts=False) for row in rows]
    tasks = [max(one.task_scores, key=one.task_scores.__getitem__) for one in read]
    return [(Task.CHAT if task is Task.IMAGE else task).value for task in tasks], [one.subtask for one in read]


def _means(
    scores: Sequence[float], classes: Sequence[str], *, wider: Mapping[str, float], least: int
) -> dict[str, float]:
    """Class -> the mean of its scores, drawn to the wider mean; classes of fewer rows than `least` are left out."""
    groups: dict[str, list[float]] = {}
    for score, one in zip(scores, classes, strict=True):
        groups.setdefault(one, []).append(score)
    return {
        one: (sum(group) + ROWS_OF_DOUBT * wider[one]) / (len(group) + ROWS_OF_DOUBT)
        for one, group in groups.items()
        if len(group) >= least
    }


def rating_of(row: Mapping[str, float], task: Task, subtask: str) -> tuple[float, float]:
    """The rating at a sub-task, else at its task, else the mean of the tasks' that there are; and the difficulty of
    what it speaks of: the ordinary one of the sub-task, or the mean of those that are meant.
    """
    finer = row.get(subtask) if SUBTASKS.get(subtask) is task else None
    if finer is not None:
        return finer, BASE[subtask]
    if task.value in row:
        return row[task.value], ORDINARY[task]
    known = [other for other in Task if other.value in row]
    if not known:
        return 0.0, ORDINARY[task]
    return fmean(row[other.value] for other in known), fmean(ORDINARY[other] for other in known)
