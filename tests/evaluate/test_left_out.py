"""A source that is left out is told by what the others taught, and by nothing of its own."""

from omni_app.evaluate.files import TaskRow
from omni_app.evaluate.left_out import left_out_report, told_by
from omni_app.evaluate.training import NOT_LEARNED_FROM, learnable, own_rows, train
from omni_app.routing.types import Task


def row(number: int, text: str, label: Task, source: str) -> TaskRow:
    return TaskRow(str(number), text, label, source, "en", ({"role": "user", "content": text},), False)


def glorps(source: str, label: Task = Task.CODING) -> list[TaskRow]:
    return [row(number, f"glorp the snurf {number}", label, source) for number in range(30)]


def test_what_may_be_learned_from_leaves_out_the_source_and_those_of_the_news() -> None:
    rows = [*glorps("a"), *glorps("b"), *glorps(min(NOT_LEARNED_FROM))]
    assert {one.source for one in learnable(rows)} == {"a", "b"}
    assert {one.source for one in learnable(rows, without="b")} == {"a"}


def test_words_of_one_source_alone_help_nobody_and_those_of_two_help_both() -> None:
    own = own_rows()[::20]
    alone = train(learnable([*glorps("a"), *own], without="a"))
    taught = train(learnable([*glorps("a"), *glorps("b"), *own], without="a"))
    right = [sum(label is said for label, said in told_by(glorps("a"), words)) for words in (None, alone, taught)]
    assert right[0] == right[1] == 0 and right[2] == 30


def test_the_report_has_every_source_and_all() -> None:
    rows = [*glorps("a"), *glorps("b"), *glorps("t0:cnn", Task.SUMMARIZATION), *own_rows()[::40]]
    report = left_out_report(rows)
    assert {"a", "b", "t0:cnn", "people", "applications", "everyday", "all"} == report.keys()
    assert report["a"]["rows"] == 30 and report["a"]["macro_f1"] > report["a"]["rules_alone"]
    assert report["all"]["rows"] == len(rows) == sum(one["rows"] for name, one in report.items() if name != "all")
