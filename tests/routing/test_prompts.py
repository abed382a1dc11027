"""Task detection over prompts of our own in 23 languages: those it learned from, and unseen ones, which it did not.

The unseen prompts were written without sight of the rules or the words that they look for: as applications send them,
and as people do in passing, where every third is meant to mislead (`write a summary of your favourite film`).
"""

from collections import Counter
from pathlib import Path

import pytest

from omni_app.evaluate.files import TaskRow, read_tasks
from omni_app.evaluate.tasks import Pair, guess, macro_f1, same_choice
from omni_app.evaluate.training import OWN
from omni_app.routing.classify import LEARNED
from omni_app.routing.reading.learned import LearnedWords
from omni_app.routing.types import Task

UNSEEN = read_tasks(Path(__file__).parent / "unseen_applications.jsonl")
MISLEADING = read_tasks(Path(__file__).parent / "unseen_everyday.jsonl")
LEARNED_FROM = [row for path in OWN for row in read_tasks(path)]


def pairs(rows: list[TaskRow], *languages: str, learned: LearnedWords | None = LEARNED) -> list[Pair]:
    chosen = [row for row in rows if not languages or row.lang in languages]
    return [(row.label, guess([{"role": "user", "content": row.text}], tools=False, learned=learned)) for row in chosen]


@pytest.mark.parametrize("rows", [UNSEEN, MISLEADING, LEARNED_FROM], ids=["applications", "everyday", "learned"])
def test_there_are_many_prompts_of_every_task(rows: list[TaskRow]) -> None:
    counts = Counter(row.label for row in rows)
    assert len(rows) >= 300 and min(counts.values()) >= 17 and counts.keys() == set(Task)


def test_no_unseen_prompt_was_learned_from() -> None:
    assert {row.text for row in UNSEEN + MISLEADING}.isdisjoint(row.text for row in LEARNED_FROM)


def test_the_task_of_unseen_prompts_is_found_from_the_text_alone() -> None:
    assert macro_f1(pairs(UNSEEN)) >= 0.88


def test_misleading_prompts_are_mostly_seen_through() -> None:
    assert macro_f1(pairs(MISLEADING)) >= 0.68


def test_learned_words_help_the_rules_on_unseen_prompts() -> None:
    assert macro_f1(pairs(UNSEEN)) > macro_f1(pairs(UNSEEN, learned=None)) + 0.01


@pytest.mark.parametrize(
    ("languages", "least"), [(("en",), 0.86), (("zh",), 0.88), (("de", "fr", "es", "it", "pt", "ru", "ja", "ko"), 0.88)]
)
def test_the_task_of_unseen_prompts_is_found_in_many_languages(languages: tuple[str, ...], least: float) -> None:
    assert macro_f1(pairs(UNSEEN, *languages)) >= least


def test_the_choice_is_the_same_under_typos_case_and_courtesy() -> None:
    assert min(same_choice(UNSEEN).values()) >= 0.95
