"""The recipes of docs/CLIENTS.md: each has its play in `make conformance`, and its row of what was measured."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/CLIENTS.md").read_text()
PLAYS = dict(re.findall(r'^    Client\("(.+?)", "(.+?)", ', (ROOT / "conformance/run.py").read_text(), re.MULTILINE))


def test_every_recipe_has_its_play_and_a_row_without_a_failure() -> None:
    recipes, measured = PAGE.split("## As last measured")
    named = re.findall(r"^\| (.+?) \| (?!what changes|---)", recipes, re.MULTILINE)
    results = dict(re.findall(r"^\| (.+?) \| ((?:pass|not supported|fail).*?) \|$", measured, re.MULTILINE))
    assert len(named) == len(PLAYS) == 13
    assert set(named) == set(PLAYS) == set(results)
    assert {one for row in results.values() for one in row.split(" | ")} == {"pass", "not supported"}
    for script in PLAYS.values():
        assert (ROOT / "conformance" / ("node" if script.endswith(".js") else "clients") / script).exists(), script
