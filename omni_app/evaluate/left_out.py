"""How well the task is told of a source that was not learned from: each is left out once, the others teach."""

from collections.abc import Mapping, Sequence

from omni_app.evaluate.files import TaskRow
from omni_app.evaluate.tasks import Pair, guess, macro_f1
from omni_app.evaluate.training import NOT_LEARNED_FROM, learnable, train
from omni_app.routing.reading.learned import LearnedWords


def left_out_report(rows: Sequence[TaskRow]) -> dict[str, dict[str, float]]:
    """Source -> rows, macro-F1 from the text alone, and that of the rules alone; `all`: each row told by the others.

    Trains once for each source: slow.
    """
    report: dict[str, dict[str, float]] = {}
    every: dict[str, list[Pair]] = {"macro_f1": [], "rules_alone": []}
    whole = train(learnable(rows))
    for source in sorted({row.source for row in rows}):
        apart = [row for row in rows if row.source == source]
        learned = whole if source in NOT_LEARNED_FROM else train(learnable(rows, without=source))
        told = {"macro_f1": told_by(apart, learned), "rules_alone": told_by(apart, None)}
        report[source] = figures(told, apart)
        for name, pairs in told.items():
            every[name] += pairs
    return report | {"all": figures(every, rows)}


def told_by(rows: Sequence[TaskRow], learned: LearnedWords | None) -> list[Pair]:
    """What the rules with this learned part say of rows, from the text alone."""
    return [(row.label, guess([{"role": "user", "content": row.text}], tools=False, learned=learned)) for row in rows]


def figures(told: Mapping[str, Sequence[Pair]], rows: Sequence[TaskRow]) -> dict[str, float]:
    """How many rows, and each way of telling them as a macro-F1."""
    return {"rows": len(rows)} | {name: macro_f1(pairs) for name, pairs in told.items()}
