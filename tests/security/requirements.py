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


def not_applying() -> list[str]:
    """The numbers under 'What does not apply'; `V10.4.1-11` stands for all eleven."""
    found = re.findall(r"\bV(\d+\.\d+)\.(\d+)(?:-(\d+))?\b", section(DOCUMENT, "What does not apply"))
    return [
        f"V{place}.{number}" for place, first, last in found for number in range(int(first), int(last or first) + 1)
    ]


def section(page: Path, heading: str) -> str:
    """What stands under a heading of a page, up to the next one of its level or above. Raises `LookupError`."""
    found = re.search(
        rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", page.read_text(), re.MULTILINE | re.DOTALL
    )
    if found is None:
        raise LookupError(f"{page.name} has no heading {heading!r}")
    return found[2]
