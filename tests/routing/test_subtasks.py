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
