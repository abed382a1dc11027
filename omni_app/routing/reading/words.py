"""Finds the lexicon's phrases in a text: one dictionary look-up per word, so the size of the lexicon costs nothing.

Plain ASCII, which most requests are, is told into words by the byte: several times as fast as by a pattern.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import add

from omni_app.routing.reading.lexicon import MARKERS

WORD = re.compile(r"\w+(?:\+\+|#)?")
"""A word; `c++` and `c#` are words too."""
SIGNED_WORD = re.compile(r"#(?<=\w#)|\+\+(?<=\w\+\+)")
"""The sign that such a word ends with."""
QUESTION_MARKS = ("?", "？", "؟")
UNSPACED = re.compile(r"[\u0900-\u0dff\u0e00-\u0eff\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Scripts where words are not told by spaces, or whose vowel signs are no letters to `re`: matched anywhere."""
SEAM = re.compile(
    r"(?<=[a-z0-9])(?=[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])|(?<=[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])(?=[a-z0-9])"
)
"""Where a Latin word or a number touches a script without spaces: `SQL里` is two words."""
ARABIC_ARTICLE = re.compile(r"\b[وفب]?(?:ال|لل)")
ONE_SPELLING = str.maketrans("أإآى", "اااي", "\u0307")
"""Arabic letters that writers use for one another; and the dot that lower-casing leaves behind a Turkish İ."""
SPELLED_OTHERWISE = tuple(map(chr, ONE_SPELLING))
"""Looked for first: to translate a text takes as long as all the rest."""


def has_any(text: str, signs: Sequence[str]) -> bool:
    """Whether one of the signs stands in a text."""
    for sign in signs:  # noqa: SIM110 a generator takes longer than all the searching
        if sign in text:
            return True
    return False


def has_unspaced(text: str) -> bool:
    """Whether a script without spaces stands in the text."""
    return not text.isascii() and UNSPACED.search(text) is not None


def plain(text: str) -> str:
    """The text as it is compared: lower case, composed, without Arabic articles, words of other scripts apart."""
    text = text.lower()
    if text.isascii():
        return text
    text = unicodedata.normalize("NFC", text)
    if has_any(text, SPELLED_OTHERWISE):
        text = text.translate(ONE_SPELLING)
    if UNSPACED.search(text):
        text = SEAM.sub(" ", text)
    return ARABIC_ARTICLE.sub("", text) if "ال" in text or "لل" in text else text


def table(kept: str, *, other: str = " ") -> bytes:
    """For `bytes.translate`: ASCII characters that are kept, in lower case, and `other` in place of any other byte."""
    return bytes(ord(chr(byte).lower()) if byte < 128 and chr(byte) in kept else ord(other) for byte in range(256))


WORD_CHARACTERS = table("".join(character for character in map(chr, range(128)) if re.match(r"\w", character)))


def plain_words(zone: str) -> tuple[str, list[str]]:
    """A zone as it is compared (`plain`, its signs made spaces where that tells the same words), and its words."""
    if zone.isascii() and not (("#" in zone or "++" in zone) and SIGNED_WORD.search(zone)):
        text = zone.encode("ascii").translate(WORD_CHARACTERS).decode("ascii")
        return text, text.split()
    text = plain(zone)
    return text, WORD.findall(text)


def word_set(text: str) -> frozenset[str]:
    """The words of a text, each once."""
    return frozenset(text.split())


def phrase_set(text: str) -> frozenset[str]:
    """The phrases of a text, told by commas and line ends, each once."""
    return frozenset(phrase.strip() for phrase in text.replace("\n", ",").split(",")) - {""}


@dataclass(frozen=True, slots=True, eq=False)
class Phrase:
    """One phrase of the lexicon under one marker; there is one of each."""

    marker: str
    text: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Beginning:
    """What begins with a word: the phrases of that word alone, and the longer ones by their second word."""

    alone: list[Phrase] = field(default_factory=list)
    longer: dict[str, list[Phrase]] = field(default_factory=dict)


def _phrases() -> list[Phrase]:
    """Every phrase of the lexicon once per marker, those of more words first."""
    found = {
        (marker, text): Phrase(marker, text, tuple(WORD.findall(text)))
        for marker, lines in MARKERS.items()
        for phrase in phrase_set(lines)
        if (text := plain(phrase))
    }
    return sorted(found.values(), key=lambda phrase: (-len(phrase.words), phrase.marker, phrase.text))


def _indexed() -> tuple[dict[str, Beginning], dict[str, list[Phrase]]]:
    """Phrases by their first word, and in unspaced scripts by their first two characters."""
    words: dict[str, Beginning] = {}
    pairs: dict[str, list[Phrase]] = {}
    for phrase in _phrases():
        if UNSPACED.match(phrase.text):
            pairs.setdefault(phrase.text[:2], []).append(phrase)
            continue
        first, *others = phrase.words
        beginning = words.setdefault(first, Beginning())
        (beginning.longer.setdefault(others[0], []) if others else beginning.alone).append(phrase)
    return words, pairs


BEGINNINGS, FIRST_PAIR = _indexed()


def phrases_in(text: str, words: Sequence[str]) -> Iterator[tuple[Phrase, int]]:
    """Phrases of a `plain` text, with the number of the word where each begins; 0 for those of unspaced scripts.

    Where phrases begin at the same word only the longest is found, under each of its markers.
    """
    begun = [(position, start) for position, start in enumerate(map(BEGINNINGS.get, words)) if start]
    for position, start in begun:
        longer = start.longer.get(words[position + 1]) if start.longer and position + 1 < len(words) else None
        for phrase in (longer and _longest(longer, words, position)) or start.alone:
            yield phrase, position
    if has_unspaced(text):
        characters = set(text)
        characters.update(map(add, text, text[1:]))
        for first in FIRST_PAIR.keys() & characters:
            for phrase in FIRST_PAIR[first]:
                if phrase.text in text:
                    yield phrase, 0


def _longest(phrases: Sequence[Phrase], words: Sequence[str], position: int) -> Sequence[Phrase]:
    """Those of the phrases, longer ones first, that stand at this position and are the longest to do so."""
    standing = [phrase for phrase in phrases if (*words[position : position + len(phrase.words)],) == phrase.words]
    return [phrase for phrase in standing if len(phrase.words) == len(standing[0].words)]
