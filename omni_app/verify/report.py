"""Findings for people and for machines."""

import json
from collections.abc import Iterator, Sequence

from omni_app.verify.findings import Finding


def as_json(findings: Sequence[Finding]) -> str:
    """`ok`, and of each invariant its counts, reasons and examples. Amounts are pico-dollars."""
    ok = not any(one.violations for one in findings)
    told = [{name: getattr(one, name) for name in one.__slots__} for one in findings]
    return json.dumps({"ok": ok, "invariants": told}, indent=2)


def as_text(findings: Sequence[Finding]) -> str:
    """A table, then what could not be checked and why, what is violated, and notes. Amounts are pico-dollars."""
    width = max(len(one.invariant) for one in findings)
    lines = [f"{'invariant':{width}}  {'checked':>11}  {'not checked':>11}  {'violations':>10}"]
    for one in findings:
        left = one.unchecked.total()
        lines.append(f"{one.invariant:{width}}  {one.checked:>11,}  {left:>11,}  {one.violations:>10,}")
    return "\n".join(
        [*lines, *_told("not checked", findings), *_told("notes", findings), *_told("violations", findings)]
    )


def _told(what: str, findings: Sequence[Finding]) -> Iterator[str]:
    lines = [f"  {one.invariant}: {text}" for one in findings for text in _texts(what, one)]
    if lines:
        yield f"\n{what}"
        yield from lines


def _texts(what: str, one: Finding) -> list[str]:
    if what == "not checked":
        return [f"{count:,} because {reason}" for reason, count in one.unchecked.most_common()]
    if what == "notes":
        return one.notes
    more = one.violations - len(one.examples)
    return [*one.examples, *([f"and {more:,} more"] if more else [])]
