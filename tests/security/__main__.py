"""`make security`: runs every test that `docs/SECURITY.md` names and all of this folder, then says what holds.

Unless there were arguments, what would use the server up is tried for a while as well (`exhaustion.py`).

Exit status 1 when a test failed.
"""

import sys
from collections import Counter
from dataclasses import dataclass, field

import pytest

from tests.security import exhaustion
from tests.security.requirements import ROOT, Requirement, requirements

HERE = "tests/security"


@dataclass(eq=False)
class Outcomes:
    """Test, without its parameters -> how often it passed, failed or was skipped."""

    of: dict[str, Counter[str]] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Counts the call, and what went wrong before or after it."""
        if report.when == "call" or report.outcome != "passed":
            name = report.nodeid.partition("[")[0]
            self.of.setdefault(name, Counter())[report.outcome] += 1

    def result(self, row: Requirement) -> str:
        """`FAILED`, `not run` when a test of it was left out, else what the document says."""
        ran = [self.of.get(name, Counter()) for name in row.tests]
        if any(one.keys() - {"passed"} for one in ran):
            return "FAILED"
        return row.result.partition(":")[0] if all(ran) else "not run"

    def cases(self, row: Requirement) -> int:
        """How many cases of its tests passed."""
        return sum(self.of[name]["passed"] for name in row.tests if name in self.of)


def main(arguments: list[str]) -> int:
    """Runs the tests; further arguments are pytest's."""
    rows = requirements()
    outside = sorted({name for row in rows for name in row.tests if not name.startswith(HERE)})
    outcomes = Outcomes()
    status = pytest.main(["--rootdir", str(ROOT), HERE, *outside, *arguments], plugins=[outcomes])
    results = {row: outcomes.result(row) for row in rows}
    print()
    for row, result in results.items():
        print(f"{row.id:12} {result:8} {outcomes.cases(row):5} cases  {row.short}")
    print(f"\n{len(rows)} requirements: {counted(Counter(results.values()))}")
    cases = sum(outcomes.of.values(), Counter[str]())
    print(f"{len(outcomes.of)} tests, cases: {counted(cases)}")
    return int(status) or (0 if arguments else exhaustion.main())


def counted(totals: Counter[str]) -> str:
    """`97 holds, 20 partly`."""
    return ", ".join(f"{count} {word}" for word, count in totals.most_common())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
