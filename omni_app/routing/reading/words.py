"""Finds the lexicon's phrases in a text: one dictionary look-up per word, so the size of the lexicon costs nothing."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import add

from omni_app.routing.reading.lexicon import MARKERS

WORD = re.compile(r"\w+(?:\+\+|#)?")
"""A word; `c++` and `c#` are words too."""
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


def word_set(text: str) -> frozenset[str]:
    """The words of a text, each once."""
    return frozenset(text.split())


def phrase_set(text: str) -> frozenset[str]:
    """The phrases of a text, told by commas and line ends, each once."""
    return frozenset(phrase.strip() for phrase in text.replace("\n", ",").split(",")) - {""}


@dataclass(frozen=True, slots=True)
class Phrase:
    """One phrase of the lexicon."""

    key: str
    """Marker and text: tells a phrase from the same words under another marker."""
    marker: str
    text: str
    words: tuple[str, ...]


def _phrases() -> list[Phrase]:
    """Every phrase of the lexicon once per marker, those of more words first."""
    found = {
        Phrase(f"{marker}:{text}", marker, text, tuple(WORD.findall(text)))
        for marker, lines in MARKERS.items()
        for phrase in phrase_set(lines)
        if (text := plain(phrase))
    }
    return sorted(found, key=lambda phrase: (-len(phrase.words), phrase.key))


def _indexed() -> tuple[dict[str, list[Phrase]], dict[str, list[Phrase]], dict[str, list[Phrase]]]:
    """Phrases by their only word, by their first two words, and in unspaced scripts by their first two characters."""
    one: dict[str, list[Phrase]] = {}
    two: dict[str, list[Phrase]] = {}
    pairs: dict[str, list[Phrase]] = {}
    for phrase in _phrases():
        if UNSPACED.match(phrase.text):
            pairs.setdefault(phrase.text[:2], []).append(phrase)
        elif len(phrase.words) == 1:
            one.setdefault(phrase.words[0], []).append(phrase)
        else:
            two.setdefault(f"{phrase.words[0]} {phrase.words[1]}", []).append(phrase)
    return one, two, pairs


ONE_WORD, TWO_WORDS, FIRST_PAIR = _indexed()
STARTS = frozenset(start.split(" ")[0] for start in TWO_WORDS)
FIRST_WORDS = STARTS | ONE_WORD.keys()


def phrases_in(text: str, words: list[str]) -> Iterator[tuple[Phrase, int]]:
    """Phrases of a `plain` text, with the number of the word where each begins; 0 for those of unspaced scripts.

    Where phrases begin at the same word only the longest is found, under each of its markers.
    """
    last = len(words) - 1
    for position, word in enumerate(words):
        if word in FIRST_WORDS:
            if word in STARTS and position < last:
                longer = TWO_WORDS.get(f"{word} {words[position + 1]}")
                found = _longest(longer, words, position) if longer else ()
            else:
                found = ()
            for phrase in found or ONE_WORD.get(word, ()):
                yield phrase, position
    if not text.isascii() and UNSPACED.search(text):
        characters = set(text)
        characters.update(map(add, text, text[1:]))
        for start in FIRST_PAIR.keys() & characters:
            for phrase in FIRST_PAIR[start]:
                if phrase.text in text:
                    yield phrase, 0


def _longest(phrases: Sequence[Phrase], words: Sequence[str], position: int) -> Sequence[Phrase]:
    """Those of the phrases, longer ones first, that stand at this position and are the longest to do so."""
    standing = [phrase for phrase in phrases if (*words[position : position + len(phrase.words)],) == phrase.words]
    return [phrase for phrase in standing if len(phrase.words) == len(standing[0].words)]
