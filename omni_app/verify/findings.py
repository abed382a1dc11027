"""What one invariant came to: how much was checked, what could not be and why, and where it does not hold."""

from collections import Counter
from dataclasses import dataclass, field

EXAMPLES = 5
"""So many violations are told one by one; the others are counted."""


@dataclass(slots=True)
class Finding:
    """One invariant over everything that it speaks of. `unchecked`: reason -> how many; `notes` are no violations."""

    invariant: str
    checked: int = 0
    violations: int = 0
    examples: list[str] = field(default_factory=list)
    unchecked: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def equal(self, where: str, *, kept: int, computed: int) -> None:
        """Checks that a kept figure is the computed one."""
        self.checked += 1
        if kept != computed:
            self._violated(f"{where}: {kept} is kept, {computed} is computed")

    def holds(self, where: str, *, true: bool, told: str = "") -> None:
        """Checks a condition; `told` says what is wrong."""
        self.checked += 1
        if not true:
            self._violated(f"{where}: {told}" if told else where)

    def skip(self, reason: str, *, count: int = 1) -> None:
        """What cannot be checked."""
        if count:
            self.unchecked[reason] += count

    def _violated(self, text: str) -> None:
        self.violations += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(text)
