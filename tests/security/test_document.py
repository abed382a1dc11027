"""`docs/SECURITY.md` names tests that exist, and claims nothing without one."""

import ast
import re
from collections import Counter
from functools import cache

import pytest

from tests.security.requirements import DOCUMENT, ROOT, Requirement, requirements

ROWS = requirements()


@cache
def defined_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))


def test_the_tables_are_read_whole() -> None:
    lines = re.findall(r"^\| (?:V\d|API\d|LLM\d)", DOCUMENT.read_text(), re.MULTILINE)
    assert len(ROWS) == len(lines) > 100
    assert {one for one, count in Counter(row.id for row in ROWS).items() if count > 1} == set()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_each_named_test_exists_and_nothing_is_claimed_without_one(row: Requirement) -> None:
    for name in row.tests:
        path, _, function = name.partition("::")
        assert function in defined_in(path), name
    word = re.match(r"(holds|partly|open)\b(?:: .+)?$", row.result)
    assert word, row.result
    assert bool(row.tests) == (word[1] != "open")
    assert word[1] != "partly" or ": " in row.result, "what is missing?"
