"""Which passwords may be chosen: long enough, on no list of common or leaked ones, not made of words of the place.

The words of the place are the product's name, the person's address and their teams' names. What is left of a password
without them has to be long enough by itself.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from omni_app.errors import InvalidRequest

MIN_LENGTH = 12
MAX_LENGTH = 128
LEAST_OTHERWISE = 8
"""Characters that a password has beside the words of the place."""
WORD = re.compile(r"[^\W\d_]{4,}")
PRODUCT = "omni model router"


class WeakPassword(InvalidRequest):
    """The password is too short, too long or too easy to guess."""


def check_strength(password: str, *, about: Iterable[str] = ()) -> None:
    """Raises `WeakPassword` with the reason. `about`: the person's address, their teams' names."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise WeakPassword(f"password: must have {MIN_LENGTH} to {MAX_LENGTH} characters", param="password")
    plain = normalised(password).casefold()
    if len(set(plain)) < 5 or is_common(plain):
        raise WeakPassword("password: this one is too easy to guess", param="password")
    if len(_without(plain, about)) < LEAST_OTHERWISE:
        raise WeakPassword("password: do not make it of your address, your team's or this product's name",
                           param="password")  # fmt: skip


def _without(plain: str, about: Iterable[str]) -> str:
    """What is left of a password without the words of the place, longest first."""
    for word in sorted(set(_words((PRODUCT, *about))), key=len, reverse=True):
        plain = plain.replace(word, "")
    return plain


def _words(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        folded = normalised(text).casefold()
        yield from WORD.findall(folded)
        if len(folded) >= 4:
            yield folded


def is_common(plain: str) -> bool:
    """Whether a case-folded password is on a list, as it is or without digits and !.? at its end."""
    bare = plain.rstrip("0123456789!.?")
    return any(one in common_passwords() or f"\n{one}\n" in leaked_passwords() for one in (plain, bare) if one)


@cache
def common_passwords() -> frozenset[str]:
    """Our own list: well-known words and keyboard runs, case-folded."""
    lines = Path(__file__).with_name("common_passwords.txt").read_text().splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


@cache
def leaked_passwords() -> str:
    """The packaged list of leaked ones, a line each, case-folded: as a text it takes a tenth of a set's memory."""
    return Path(__file__).with_name("leaked_passwords.txt").read_text()


def normalised(password: str) -> str:
    """The same keys pressed on another machine give the same password (NFKC)."""
    return unicodedata.normalize("NFKC", password)
