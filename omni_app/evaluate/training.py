"""Trains the learned part of task detection: `python -m omni_app.evaluate.training --tasks FILE ...` writes it.

Multinomial logistic regression by AdaGrad, in the order of a hash, so that the same files give the same weights.
Every source and label counts by the square root of its rows: a large source teaches its style otherwise.
"""

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from math import exp, sqrt
from pathlib import Path
from statistics import fmean

from omni_app.errors import InvalidRequest
from omni_app.evaluate.files import TaskRow, read_tasks
from omni_app.routing.reading.courtesy import without_courtesy
from omni_app.routing.reading.learned import BIAS, FILE, LearnedWords, features
from omni_app.routing.types import Task

EPOCHS = 12
RATE = 0.25
RIDGE = 3.0
"""The penalty's factor: half of it times the sum of the squares of all weights is added to the loss."""
SEEN_LEAST = 2
"""Rows that a feature must be in."""
SHARE = 0.7
"""How much of the model's own certainty is given a say beside the rules; chosen by leaving sources out."""
KEPT_LEAST = 4
"""Hundredths of a nat; a word whose weights are all smaller is left out of the file."""
OWN = sorted((Path(__file__).parent / "prompts").glob("*.jsonl"))
"""Prompts written for this project: always learned from."""
NOT_LEARNED_FROM = frozenset({"flan_wording+wmt23", "t0:cnn", "t0:multi", "t0:xsum"})
"""Sources whose texts are news or test sets for research: measured on, never learned from."""
TASKS = tuple(Task)

Weights = dict[str, list[float]]


def train(rows: Sequence[TaskRow]) -> LearnedWords:
    """The learned part from labelled prompts."""
    return LearnedWords(rounded(fit(rows)))


def fit(rows: Sequence[TaskRow]) -> Weights:
    """Feature -> weight per task, in nats, before `SHARE`."""
    read = [features(without_courtesy(row.text)) for row in rows]
    seen = Counter(feature for one in read for feature in one)
    known = [sorted(feature for feature in one if seen[feature] >= SEEN_LEAST) for one in read]
    sizes = Counter((row.source, row.label) for row in rows)
    counts = [1 / sqrt(sizes[row.source, row.label]) for row in rows]
    usual = fmean(counts)
    weights: Weights = {feature: [0.0] * len(TASKS) for feature, times in seen.items() if times >= SEEN_LEAST}
    steps: Weights = {feature: [1e-6] * len(TASKS) for feature in weights}
    for epoch in range(EPOCHS):
        for place in mixed(rows, epoch):
            learn(known[place], TASKS.index(rows[place].label), counts[place] / usual, weights, steps, seen)
    return weights


def learn(
    known: Sequence[str], right: int, count: float, weights: Weights, steps: Weights, seen: Mapping[str, int]
) -> None:
    """One step of AdaGrad down the loss of one row; a weight's penalty is shared by the rows that it is seen in."""
    sums = [sum(lanes) for lanes in zip(*(weights[feature] for feature in known), strict=True)] or [0.0] * len(TASKS)
    highest = max(sums)
    odds = [exp(one - highest) for one in sums]
    total = sum(odds)
    slopes = [count * (odd / total - (place == right)) for place, odd in enumerate(odds)]
    for feature in known:
        lanes, stepped, ridge = weights[feature], steps[feature], RIDGE / seen[feature]
        for place, slope in enumerate(slopes):
            downhill = slope + ridge * lanes[place]
            stepped[place] += downhill * downhill
            lanes[place] -= RATE * downhill / sqrt(stepped[place])


def mixed(rows: Sequence[TaskRow], epoch: int) -> list[int]:
    """The places of the rows in an order that has nothing to do with their texts, another one every epoch."""
    texts = [f"{epoch} {row.text}".encode("utf-8", "surrogatepass") for row in rows]
    return sorted(range(len(rows)), key=lambda place: hashlib.blake2b(texts[place], digest_size=8).digest())


def rounded(weights: Weights) -> dict[str, tuple[int, ...]]:
    """Hundredths of a nat, scaled by `SHARE`, without the words that say next to nothing."""
    scaled = {
        feature: tuple(max(-BIAS, min(BIAS, round(100 * SHARE * weight))) for weight in lanes)
        for feature, lanes in weights.items()
    }
    return {feature: lanes for feature, lanes in sorted(scaled.items()) if max(map(abs, lanes)) >= KEPT_LEAST}


def own_rows() -> list[TaskRow]:
    """The prompts written for this project. Raises `InvalidRequest`."""
    return [row for path in OWN for row in read_tasks(path)]


def learnable(rows: Sequence[TaskRow], *, without: str = "") -> list[TaskRow]:
    """The rows that may be learned from, but for one source."""
    return [row for row in rows if row.source != without and row.source not in NOT_LEARNED_FROM]


def main() -> int:
    """Trains and writes. 1 when a file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m omni_app.evaluate.training", description="Trains task detection.")
    parser.add_argument("--tasks", type=Path, nargs="+", default=[], metavar="FILE", help="labelled prompts")
    asked = parser.parse_args()
    try:
        rows = [row for path in asked.tasks for row in read_tasks(path)] + own_rows()
    except InvalidRequest as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    write(rounded(fit(learnable(rows))))
    return 0


def write(weights: Mapping[str, tuple[int, ...]]) -> None:
    """One word a line, so that a change reads well as a diff."""
    lines = [f"{json.dumps(word, ensure_ascii=False)}: {json.dumps(lanes)}" for word, lanes in weights.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
