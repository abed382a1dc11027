"""`record`: a frozen dataclass that is as quick to make as any other. Frozen for the type checker, not at run time.

A frozen dataclass sets each field through `object.__setattr__`: five times as long, for hundreds of fields a request.
mypy reads `record` as `dataclass` and refuses every assignment to a field; nothing here runs that it has not read
(docs/decisions/0034-records.md). Equality, hash, `replace` and the rest are the dataclass's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    T = TypeVar("T")

    def record(*, frozen: bool, slots: bool) -> Callable[[type[T]], type[T]]:
        """As `dataclass`, with its hash, and without the guard that freezing is."""
        return dataclass(slots=slots, unsafe_hash=frozen)


__all__ = ["record"]
