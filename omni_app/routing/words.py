"""Finds the lexicon's phrases in a text: one dictionary look-up per word, so the size of the lexicon costs nothing."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from operator import add

from omni_app.routing.lexicon import MARKERS

WORD = re.compile(r"\w+(?:\+\+|#)?")
"""A word; `c++` and `c#` are words too."""
UNSPACED = re.compile(r"[\u0900-\u097f\u0e00-\u0eff\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Scripts where words are not told by spaces, or whose vowel signs are no letters to `re`: matched anywhere."""
ARABIC_ARTICLE = re.compile(r"\b[وفب]?(?:ال|لل)")
ONE_SPELLING = str.maketrans("أإآى", "اااي", "\u0307")
"""Arabic letters that writers use for one another; and the dot that lower-casing leaves behind a Turkish İ."""


def plain(text: str) -> str:
    """The text as it is compared: lower case, composed, without Arabic articles."""
    text = text.lower()
    if text.isascii():
        return text
    return ARABIC_ARTICLE.sub("", unicodedata.normalize("NFC", text).translate(ONE_SPELLING))


@dataclass(frozen=True, slots=True)
class Phrase:
    """One phrase of the lexicon; `rest` are its words after the first."""

    marker: str
    text: str
    rest: list[str]


def _phrases() -> Iterator[Phrase]:
    for marker, lines in MARKERS.items():
        for phrase in lines.replace("\n", ",").split(","):
            if text := plain(phrase.strip()):
                yield Phrase(marker, text, WORD.findall(text)[1:])


def _grouped(*, unspaced: bool) -> dict[str, list[Phrase]]:
    """Phrases by what finds them: their first two characters in unspaced scripts, else their first word; longest first."""
    groups: dict[str, list[Phrase]] = {}
    for phrase in sorted(_phrases(), key=lambda phrase: -len(phrase.text)):
        if bool(UNSPACED.match(phrase.text)) is unspaced:
            groups.setdefault(phrase.text[:2] if unspaced else WORD.findall(phrase.text)[0], []).append(phrase)
    return groups


BY_FIRST_WORD = _grouped(unspaced=False)
BY_FIRST_PAIR = _grouped(unspaced=True)


def phrases_in(text: str, words: list[str]) -> Iterator[tuple[Phrase, int]]:
    """Phrases of a `plain` text and the number of the word where each begins; 0 for those of unspaced scripts.

    Where phrases begin at the same word the longest is found; of one length, all.
    """
    for position, word in enumerate(words):
        if word in BY_FIRST_WORD:
            yield from ((phrase, position) for phrase in _longest(BY_FIRST_WORD[word], words, position))
    if not text.isascii() and UNSPACED.search(text):
        characters = set(text)
        characters.update(map(add, text, text[1:]))
        for start in BY_FIRST_PAIR.keys() & characters:
            yield from ((phrase, 0) for phrase in BY_FIRST_PAIR[start] if phrase.text in text)


def _longest(phrases: list[Phrase], words: list[str], position: int) -> Iterator[Phrase]:
    found = -1
    for phrase in phrases:
        length = len(phrase.rest)
        if length >= found and (not length or words[position + 1 : position + 1 + length] == phrase.rest):
            found = length
            yield phrase
