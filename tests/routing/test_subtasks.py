import tomllib
from pathlib import Path
from time import perf_counter

import pytest

from omni_app.routing.classify import classify
from omni_app.routing.reading.difficulty import BASE
from omni_app.routing.reading.questions import is_science, kind_of_question
from omni_app.routing.types import SUBTASKS

CASES = tomllib.loads((Path(__file__).parent / "subtasks.toml").read_text(encoding="utf-8"))
TEXTS = [(text, subtask) for subtask, texts in CASES.items() for text in texts]


@pytest.mark.parametrize(("text", "subtask"), TEXTS)
def test_the_finer_class_is_found(text: str, subtask: str) -> None:
    seen = classify([{"role": "user", "content": text}], tools=False, image_parts=False)
    assert seen.subtask == subtask


def test_every_finer_class_belongs_to_a_task_and_has_a_difficulty() -> None:
    assert SUBTASKS.keys() == BASE.keys()
    assert CASES.keys() <= SUBTASKS.keys()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", ""),
        ("?", ""),
        ("A" * 4000 + "?", ""),
        ("Tell me a joke.", ""),
        ("Explain the water cycle to a child", ""),
        ("Who was Ada Lovelace?", "trivia"),
        ("Who was she?", "commonsense"),
        ("who sang in the first opera in dresden", "trivia"),
        ("can you help me to find a job", ""),
        ("私は何を食べますか？", ""),
        ("word " * 100 + "Why did the man in the story leave?", "reading"),
        ("word " * 100 + "What should I do about the noise?", ""),
    ],
)
def test_the_kind_of_a_bare_question_is_told_by_its_form(text: str, kind: str) -> None:
    assert kind_of_question(text) == kind


@pytest.mark.parametrize("unit", ["a", " ", "The A ", "? ", "\"'", "to ", "_", "1900 ", "Ä"])
def test_no_text_takes_long(unit: str) -> None:
    """The reader of conversations hands over 4,001 characters at most; shorter ones reach every branch."""
    for length in (290, 4001):
        text = (unit * length)[:length]
        begin = perf_counter()
        kind_of_question(text)
        is_science(text)
        assert perf_counter() - begin < 0.02


def difficulty(text: str) -> float:
    return classify([{"role": "user", "content": text}], tools=False, image_parts=False).difficulty


@pytest.mark.parametrize(
    ("easier", "harder"),
    [
        (
            "Ann buys 4 boxes of 6 eggs and uses 9 eggs today. How many eggs are left in her kitchen now?",
            "Ann buys 4 boxes of 6 eggs and Ben buys half as many. They use 25% of all. How many eggs are left now?",
        ),
        (
            "A bus makes 12 trips with 30 people on each of the trips. How many people does it carry in all?",
            "A bus makes 12 trips, 3 more than the tram, at an average of 30 people. How many people do both carry?",
        ),
        ("Write a short story about a lighthouse keeper.", "Compute the determinant of the matrix [[2, 1], [5, 3]]."),
        ("Describe the causes of the French Revolution and their effects.", "Write a C program that merges two lists."),
        (
            "Which part of a bicycle would you replace first if it could not stop?",
            "Mia's bicycle no longer stops. She cleaned the rims this morning. Which part should she replace first?",
        ),
    ],
)
def test_what_weaker_models_fail_at_is_read_as_harder(easier: str, harder: str) -> None:
    assert difficulty(easier) < difficulty(harder)
