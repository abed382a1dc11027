"""`docs/SECURITY.md` names tests that exist, claims nothing without one, and leaves no requirement out."""

import ast
import re
from collections import Counter
from functools import cache

import pytest

from omni_app.settings import Settings
from tests.security import asvs
from tests.security.requirements import DOCUMENT, ROOT, Requirement, not_applying, requirements, section

ROWS = requirements()
WRITTEN: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "V2.1.1": ("SECURITY.md", "What is taken", ("e-mail address", "password", "name of a key", "OpenAPI")),
    "V2.1.2": ("SECURITY.md", "What is taken", ("has to fit together", "ends after it begins", "outlast")),
    "V2.1.3": ("SECURITY.md", "What is taken", ("100 keys", "50 open invitations", "`RATE_LIMIT_MAX`")),
    "V5.1.1": ("SECURITY.md", "What is taken", ("a file for the estimator", ".jsonl", "20,000 lines", "20 MB")),
    "V6.1.1": ("SECURITY.md", "Secrets of ours, and how they are found", ("5 in 30 seconds", "locks out somebody")),
    "V6.1.2": ("SECURITY.md", "Secrets of ours, and how they are found", ("Words of the place", "omni, model, router")),
    "V6.1.3": ("SECURITY.md", "Ways in", ("Supabase", "API key", "`METRICS_TOKEN`", "command line", "is invited")),
    "V7.1.1": ("SECURITY.md", "Secrets of ours, and how they are found", ("12 idle hours", "after 7 days")),
    "V7.1.2": ("SECURITY.md", "Secrets of ours, and how they are found", ("any number",)),
    "V7.1.3": ("SECURITY.md", "Ways in", ("a session of ours", "thrown away")),
    "V8.1.1": ("SECURITY.md", "Who may do what", ("verdicts.toml", "`owner`", "scope")),
    "V8.1.2": ("SECURITY.md", "Who may do what", ("Fields, too", "Nobody sets whose a thing is", "Never shown again")),
    "V11.1.1": ("SECURITY.md", "Algorithms and keys", ("two holders at most", "once a year", "256 random bits")),
    "V11.1.2": ("SECURITY.md", "Algorithms and keys", ("AES-256-GCM", "argon2id", "HMAC-SHA256", "TLS")),
    "V13.1.1": ("SECURITY.md", "Whom the server calls", ("providers of models", "Redis", "mail server")),
    "V14.1.1": ("SECURITY.md", "What data there is", ("| secret |", "| content |", "| personal |", "| business |")),
    "V14.1.2": ("SECURITY.md", "What data there is", ("sealed", "in no log", "24 hours", "13 months")),
    "V15.1.1": ("SECURITY.md", "Packages with known faults", ("2 days", "7 days", "30 days", "quarter")),
    "V15.1.3": ("SECURITY.md", "What one client can use up", ("What costs most", "password's hash", "exports")),
    "V16.1.1": ("OBSERVE.md", "What is told where", ("security log", "standard error", "how long", "UTC")),
}
"""Requirements that something is written down -> page, heading, and words that have to stand there."""


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


def test_every_requirement_of_level_1_and_2_has_a_row_or_a_reason_why_it_does_not_apply() -> None:
    rows = [row.id for row in ROWS if row.id.startswith("V")]
    apart = not_applying()
    assert len(asvs.numbers()) == 253
    assert [one for one in asvs.numbers() if one not in {*rows, *apart}] == [], "neither"
    assert sorted({*rows} & {*apart}) == [], "both"
    assert [one for one, count in Counter(apart).items() if count > 1] == []
    assert [one for one in apart if one not in asvs.numbers()] == [], "no such number"
    beyond = [row for row in ROWS if row.id.startswith("V") and row.id not in asvs.numbers()]
    assert all("(level 3)" in row.short or row.id == "V6.5.8" for row in beyond)


@pytest.mark.parametrize("number", WRITTEN)
def test_what_has_to_be_written_down_is_there(number: str) -> None:
    page, heading, words = WRITTEN[number]
    text = section(ROOT / "docs" / page, heading)
    assert [word for word in words if word not in text] == []
    (row,) = [one for one in ROWS if one.id == number]
    assert "below" in row.result or f"[{heading}](" in row.result or "verdicts" in text


def test_every_address_that_is_set_is_among_those_that_are_called() -> None:
    text = section(DOCUMENT, "Whom the server calls")
    addresses = {name for name in Settings.model_fields if name.endswith(("_url", "_endpoint"))} - {"public_url"}
    assert set(re.findall(r"`([A-Z_]+)`", text)) == {name.upper() for name in addresses}
