"""How many cases a property of the ledger is tried with: some in the suite, 10,000 each in `make invariants`.

A property that needs a database has many cases in one example, each an org of its own: they share the writing.
"""

from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

PROFILE = "invariants"
FUZZ = "fuzz"
"""`make fuzz`: everything that is made up, for a long time."""
IN_FULL = 10_000
SOME = 24
"""In the suite. The first example that Hypothesis makes is the simplest one, and shows little."""
QUIET = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large)

Case = TypeVar("Case")


def in_full() -> bool:
    """Whether this is `make invariants`; known once tests are collected."""
    return settings.get_current_profile_name() == PROFILE


def fuzzing() -> bool:
    """Whether this is `make fuzz`; known once tests are collected."""
    return settings.get_current_profile_name() == FUZZ


def cases(count: int, *, each: int = 1) -> settings:
    """So many cases, or 10,000 with the profile; `each`: how many one example has."""
    wanted = IN_FULL if in_full() else count
    return settings(max_examples=-(-wanted // each), deadline=None, suppress_health_check=QUIET)


def batches(count: int = SOME) -> settings:
    """As `cases`, for examples that are a `batch`."""
    return cases(count, each=batch_size())


def batch(case: st.SearchStrategy[Case]) -> st.SearchStrategy[list[Case]]:
    """Several cases, always as many."""
    return st.lists(case, min_size=batch_size(), max_size=batch_size())


def batch_size() -> int:
    """Large where there are many: writing costs more than reading."""
    return 20 if in_full() else 4
