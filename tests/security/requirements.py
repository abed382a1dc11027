"""The tables of `docs/SECURITY.md`: which requirement is held by which tests, with what result."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "docs" / "SECURITY.md"
ROW = re.compile(r"^\| (V\d+\.\d+\.\d+|API\d+:2023|LLM\d\d:2025) \| (.+?) \| (.*?) \| (.+?) \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One row. `tests` as pytest names them, `result` begins with holds, partly or open."""

    id: str
    short: str
    tests: tuple[str, ...]
    result: str


def requirements() -> list[Requirement]:
    """All rows of all tables."""
    rows = ROW.findall(DOCUMENT.read_text())
    return [Requirement(one, short, tuple(re.findall(r"`([^`]+)`", tests)), told) for one, short, tests, told in rows]
