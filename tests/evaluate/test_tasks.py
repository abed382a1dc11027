import pytest

from omni_app.evaluate.tasks import by_label, macro_f1, typo
from omni_app.routing.types import Task

PAIRS = [(Task.CHAT, Task.CHAT), (Task.CHAT, Task.CODING), (Task.CODING, Task.CODING)]


def test_f1_is_as_worked_out_by_hand() -> None:
    report = by_label(PAIRS)
    assert report["chat"]["precision"] == 1.0 and report["chat"]["recall"] == 0.5
    assert report["coding"]["f1"] == pytest.approx(2 / 3)
    assert macro_f1(PAIRS) == pytest.approx(2 / 3)


def test_typos_are_the_same_each_time_and_keep_every_letter() -> None:
    text = "please translate this rather lengthy sentence about several mountains"
    assert typo(text) == typo(text)
    assert sorted(typo(text)) == sorted(text)
