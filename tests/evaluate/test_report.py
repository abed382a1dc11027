import json
from pathlib import Path

import pytest

from omni_app.__main__ import main
from omni_app.evaluate.report import EXAMPLES

CASES = Path(__file__).resolve().parents[1] / "routing" / "cases.toml"


def test_the_command_prints_one_json_document_and_the_same_one_twice(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "--replay", str(EXAMPLES / "replay.jsonl"), "--json", "--resamples", "20"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert main(arguments) == 0
    assert capsys.readouterr().out == first
    routers = json.loads(first)["replays"][0]["routers"]
    assert routers["random"]["apgr"] == pytest.approx(0.5)
    assert routers["oracle"]["apgr"] >= routers["difficulty"]["apgr"]


def test_without_files_the_examples_are_measured_and_labelled_as_proving_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["evaluate", "--resamples", "5"]) == 0
    text = capsys.readouterr().out
    assert "prove nothing" in text and "macro-F1" in text and "always cheapest" in text


def test_the_json_holds_the_classifier_the_replays_and_the_routing_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--cases", str(CASES), "--json", "--resamples", "5"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report.keys() == {"note", "tasks", "replays", "routing"}
    measured = {"by_label", "by_source", "by_language", "latency_microseconds", "same_choice", "confusion"}
    assert measured <= report["tasks"].keys()
    rows = report["routing"]["rows"]
    assert len(rows) >= 40 and all(row["reason"] and row["differences"] == [] for row in rows)


def test_a_row_of_the_table_that_is_not_as_expected_is_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "cases.toml"
    wrong.write_text(CASES.read_text().replace('refused_with = "2,000,000 tokens"', 'takes = "beta/solid"'))
    assert main(["evaluate", "--cases", str(wrong), "--resamples", "5"]) == 0
    text = capsys.readouterr().out
    assert text.count("NOT AS EXPECTED") == 1 and "nobody is taken, not beta/solid" in text
    assert main(["evaluate", "--cases", str(tmp_path / "none.toml")]) == 1


def test_a_bad_file_gives_one_line_a_problem_with_its_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": 1, "text": "a", "label": "chat"}\nnot json\n{"id": 2, "label": "chat"}\n')
    assert main(["evaluate", "--tasks", str(bad)]) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and ":2:" in told[0] and ":3: no field 'text'" in told[1]


def test_ratings_from_the_rows_themselves_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(EXAMPLES / "replay.jsonl")
    assert main(["evaluate", "--replay", path, "--ratings-from", path]) == 1
    assert "must not come from the rows" in capsys.readouterr().err
