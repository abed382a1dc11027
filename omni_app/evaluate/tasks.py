"""How well `classify` tells the task: F1 by label, source and language, latency, and steadiness under typos.

F1 of a label is 2PR/(P+R) of its precision and recall; macro-F1 is the mean over the labels that the rows have.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from time import perf_counter_ns
from typing import Any

from omni_app.evaluate.files import TaskRow
from omni_app.routing.classify import LEARNED, classify
from omni_app.routing.reading.learned import LearnedWords
from omni_app.routing.types import Message, Task

BINS = 10
Pair = tuple[Task, Task]
"""The label and what the classifier said."""


def task_report(rows: Sequence[TaskRow]) -> dict[str, Any]:
    """All figures of a file of labelled prompts, ready for JSON."""
    said, sure, nanoseconds = _classified(rows)
    pairs = [(row.label, one) for row, one in zip(rows, said, strict=True)]
    alone = [(row.label, guess([{"role": "user", "content": row.text}], tools=False)) for row in rows]
    return {
        "rows": len(rows),
        "macro_f1_with_structure": macro_f1(pairs),
        "macro_f1_text_alone": macro_f1(alone),
        "accuracy_with_structure": accuracy(pairs),
        "by_label": by_label(pairs),
        "by_source": _grouped(pairs, [row.source for row in rows]),
        "by_language": _grouped(pairs, [row.lang for row in rows]),
        "calibration_error": calibration_error(pairs, sure),
        "confusion": confusion(pairs),
        "latency_microseconds": _latency(nanoseconds),
        "same_choice": same_choice(rows),
    }


def guess(messages: Sequence[Message], *, tools: bool, learned: LearnedWords | None = LEARNED) -> Task:
    """The likeliest task."""
    scores = classify(messages, tools=tools, image_parts=False, learned=learned).task_scores
    return max(scores, key=scores.__getitem__)


def by_label(pairs: Sequence[Pair]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and count of each label that occurs."""
    right = Counter(label for label, said in pairs if label is said)
    labels, sayings = Counter(label for label, _ in pairs), Counter(said for _, said in pairs)
    report = {}
    for label in sorted(labels):
        precision = right[label] / sayings[label] if sayings[label] else 0.0
        recall = right[label] / labels[label]
        f1 = 2 * right[label] / (sayings[label] + labels[label])
        report[label.value] = {"precision": precision, "recall": recall, "f1": f1, "rows": labels[label]}
    return report


def macro_f1(pairs: Sequence[Pair]) -> float:
    """The mean of the labels' F1."""
    return fmean(row["f1"] for row in by_label(pairs).values())


def accuracy(pairs: Sequence[Pair]) -> float:
    """The share that is right."""
    return fmean(label is said for label, said in pairs)


def calibration_error(pairs: Sequence[Pair], sure: Sequence[float]) -> float:
    """How far the probability of what was said is from the share that was right: the mean gap over `BINS` bins.

    0 = of what is said at 80 %, 80 % is right; bins count by their rows (expected calibration error).
    """
    bins: dict[int, list[tuple[bool, float]]] = {}
    for (label, said), probability in zip(pairs, sure, strict=True):
        bins.setdefault(min(BINS - 1, int(BINS * probability)), []).append((label is said, probability))
    gaps = (abs(sum(right for right, _ in one) - sum(probability for _, probability in one)) for one in bins.values())
    return sum(gaps) / len(pairs)


def confusion(pairs: Sequence[Pair]) -> dict[str, dict[str, int]]:
    """label -> what was said -> rows."""
    counts = Counter(pairs)
    return {
        label.value: {said.value: counts[label, said] for said in Task}
        for label in Task
        if any(p[0] is label for p in pairs)
    }


def _grouped(pairs: Sequence[Pair], names: Sequence[str]) -> dict[str, dict[str, float]]:
    groups: dict[str, list[Pair]] = {}
    for pair, name in zip(pairs, names, strict=True):
        groups.setdefault(name, []).append(pair)
    return {
        name: {"rows": len(group), "macro_f1": macro_f1(group), "accuracy": accuracy(group)}
        for name, group in sorted(groups.items())
    }


def _classified(rows: Sequence[TaskRow]) -> tuple[list[Task], list[float], list[int]]:
    said, sure, nanoseconds = [], [], []
    for row in rows:
        start = perf_counter_ns()
        result = classify(row.messages, tools=row.tools, image_parts=False)
        nanoseconds.append(perf_counter_ns() - start)
        said.append(max(result.task_scores, key=result.task_scores.__getitem__))
        sure.append(max(result.task_scores.values()))
    return said, sure, nanoseconds


def _latency(nanoseconds: Sequence[int]) -> dict[str, float]:
    ordered = sorted(nanoseconds)
    last = len(ordered) - 1
    return {
        "p50": ordered[last // 2] / 1000,
        "p95": ordered[last * 95 // 100] / 1000,
        "max": ordered[last] / 1000,
    }


# The same request, written otherwise


def typo(text: str) -> str:
    """Two neighbouring letters change places, in one word of eight; which ones follows from a hash of the text."""
    words = text.split(" ")
    for place, word in enumerate(words):
        digest = hashlib.sha256(f"{place} {word}".encode("utf-8", "surrogatepass")).digest()
        if len(word) >= 5 and word.isalpha() and digest[0] % 8 == 0:
            at = 1 + digest[1] % (len(word) - 3)
            words[place] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)


PERTURBATIONS: Mapping[str, Callable[[str], str]] = {
    "typos": typo,
    "lower_case": str.lower,
    "upper_case": str.upper,
    "polite_before": lambda text: f"Hello! Could you please help me with this? {text}",
    "polite_after": lambda text: f"{text}\n\nThank you very much in advance!",
    "framed_as_a_task": lambda text: f"Here is what I need you to do:\n\n{text}",
    "framed_as_a_wish": lambda text: f"I was wondering if you could do the following for me. {text}",
}


def same_choice(rows: Sequence[TaskRow]) -> dict[str, float]:
    """Perturbation -> share of prompts whose task stays the same, from text alone."""
    before = [guess([{"role": "user", "content": row.text}], tools=False) for row in rows]
    report = {}
    for name, change in PERTURBATIONS.items():
        after = (guess([{"role": "user", "content": change(row.text)}], tools=False) for row in rows)
        report[name] = fmean(one is other for one, other in zip(before, after, strict=True))
    report["all"] = fmean(report.values())
    return report
