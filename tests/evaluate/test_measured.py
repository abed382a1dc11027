import json
from pathlib import Path

import pytest

from omni_app.__main__ import main
from omni_app.evaluate.files import Outcome, ReplayRow, read_replay
from omni_app.evaluate.measured import Measured, fingerprint, in_sample, load_measured, measured_for, write_measured
from omni_app.evaluate.ratings import ROWS_OF_DOUBT, rating_of, ratings_from_rows
from omni_app.evaluate.report import EXAMPLES
from omni_app.routing.types import Task

EXAMPLE = EXAMPLES / "replay.jsonl"
ABOUT = """
[replay]
title = "Own examples"
source = "https://example.org"
commit = "abc"
licence = "ours"
date = "2026-11-23"
"""


def written(folder: Path) -> Path:
    about, to = folder / "about.toml", folder / "measured.json"
    about.write_text(ABOUT)
    write_measured([EXAMPLE], to, about=about)
    return to


def row(prompt: str, score: float) -> ReplayRow:
    return ReplayRow("1", Task.CHAT, "", prompt, {"a": Outcome(score, 1, 1, 0.1), "b": Outcome(1 - score, 1, 1, 0.2)})


def test_what_is_written_says_where_it_was_measured_and_holds_no_text_of_it(tmp_path: Path) -> None:
    to = written(tmp_path)
    (one,) = load_measured(to)
    assert one.facts["title"] == "Own examples" and one.rows == 43
    assert one.ratings.keys() == {"gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"}
    assert sum(one.rows_of.get(task.value, 0) for task in Task) == 43
    content = to.read_text(encoding="utf-8")
    assert not [row.prompt for row in read_replay(EXAMPLE) if row.prompt[:20] in content]


def test_rows_that_the_ratings_had_seen_are_counted_whatever_their_ids_and_spacing(tmp_path: Path) -> None:
    (one,) = load_measured(written(tmp_path))
    rows = read_replay(EXAMPLE)
    assert in_sample(rows, one.prompts) == 43
    assert fingerprint(f" {rows[0].prompt}\n") in one.prompts
    assert in_sample([row("Something that was never asked.", 1)], one.prompts) == 0


def test_of_several_files_the_one_that_knows_most_of_the_models_is_taken() -> None:
    def measured(title: str, *names: str) -> Measured:
        return Measured({"title": title}, 1, {"chat": 1}, {name: {"chat": 0.5} for name in names}, frozenset())

    packaged = [measured("few", "alpha-7b"), measured("most", "alpha-7b", "beta"), measured("other", "gamma")]
    found = measured_for(["acme/Alpha-7B", "beta", "gamma", "unheard-of"], packaged)
    titles = {name: one.facts["title"] for name, (one, _) in found.items()}
    assert titles == {"acme/Alpha-7B": "most", "beta": "most", "gamma": "other"}


def test_every_packaged_rating_is_a_share_with_its_source_commit_licence_and_date() -> None:
    for one in load_measured():
        assert all(one.facts.values())
        assert one.rows >= 1000 and len(one.prompts) <= one.rows
        for ratings in one.ratings.values():
            assert ratings.keys() <= one.rows_of.keys()
            assert all(0 <= value <= 1 for value in ratings.values())


def test_the_report_names_the_measurement_and_tells_rows_in_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--replay", str(EXAMPLE), "--json", "--resamples", "2"]) == 0
    replay = json.loads(capsys.readouterr().out)["replays"][0]
    assert "RouteLLM" in replay["ratings"]["gpt-4-1106-preview"]["from"]
    assert replay["rows_in_sample"] == 0
    copy = tmp_path / "copy.jsonl"
    copy.write_text("\n".join(EXAMPLE.read_text(encoding="utf-8").splitlines()[:10]), encoding="utf-8")
    assert main(["evaluate", "--replay", str(EXAMPLE), "--ratings-from", str(copy), "--resamples", "2"]) == 0
    assert "IN SAMPLE: the ratings were measured on 10 of 43 rows" in capsys.readouterr().out


def test_the_arena_alone_is_used_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--replay", str(EXAMPLE), "--arena", "--json", "--resamples", "2"]) == 0
    used = json.loads(capsys.readouterr().out)["replays"][0]["ratings"]
    assert all("LMArena" in one["from"] for one in used.values())


def test_a_file_of_unknown_origin_gives_no_ratings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = tmp_path / "measured.json"
    assert main(["evaluate", "--replay", str(EXAMPLE), "--write-ratings", str(to)]) == 1
    assert "says nothing of replay.jsonl" in capsys.readouterr().err
    assert not to.exists()


def test_a_sub_task_of_few_rows_is_rated_as_its_task() -> None:
    sums = [row(f"Tom buys {n} apples and {n} pears. How many pieces of fruit has Tom?", 1) for n in range(2, 40)]
    riddle = [row("This is a riddle: who sits to the left of Ann, if Bob sits to the right of Ann?", 0)]
    ratings = ratings_from_rows(sums + riddle)
    assert "logic" not in ratings["a"] and len(riddle) < ROWS_OF_DOUBT
    logic, _ = rating_of(ratings["a"], Task.REASONING, "logic")
    arithmetic, _ = rating_of(ratings["a"], Task.REASONING, "arithmetic")
    assert logic == ratings["a"]["reasoning"] < arithmetic < 1
