"""The classifier over 282 prompts of our own, in 19 languages: how often the task is right, in all and by language."""

from collections import Counter
from pathlib import Path

import pytest

from omni_app.evaluate.tasks import Pair, guess, macro_f1
from omni_app.routing.types import Task

FILE = Path(__file__).parent / "prompts.tsv"


def prompts() -> list[tuple[Task, str, str]]:
    lines = [line for line in FILE.read_text(encoding="utf-8").split("\n") if line and not line.startswith("#")]
    rows = [line.split("\t", 2) for line in lines]
    return [(Task(label), language, text.replace("\\n", "\n")) for label, language, text in rows]


PROMPTS = prompts()


def pairs(*languages: str) -> list[Pair]:
    chosen = [row for row in PROMPTS if not languages or row[1] in languages]
    return [(label, guess([{"role": "user", "content": text}], tools=False)) for label, _, text in chosen]


def test_there_are_many_prompts_of_every_task() -> None:
    counts = Counter(label for label, _, _ in PROMPTS)
    assert len(PROMPTS) > 250 and min(counts.values()) >= 17 and counts.keys() == set(Task)


def test_the_task_is_found_from_the_text_alone() -> None:
    assert macro_f1(pairs()) >= 0.95


@pytest.mark.parametrize(
    ("languages", "least"), [(("en",), 0.93), (("zh",), 0.8), (("de", "fr", "es", "it", "pt"), 0.95)]
)
def test_the_task_is_found_in_many_languages(languages: tuple[str, ...], least: float) -> None:
    assert macro_f1(pairs(*languages)) >= least
