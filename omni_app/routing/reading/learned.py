"""The learned part of task detection: what every word and pair of words leans to. It breaks ties between the rules.

A multinomial logistic regression over the words that open and close a request (`features`), trained by
`omni_app.evaluate.training` on the sources that `learned_words.md` names. `learned_words.json` holds its weights in
hundredths of a nat, scaled to the say that they are given beside the rules.

The seven weights of a word are kept in one integer, `LANE_BITS` bits each, so that a request is read by one sum.
"""

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from omni_app.routing.reading.words import QUESTION_MARKS
from omni_app.routing.types import Task

ZONE = 280
"""Characters of the opening and of the close that are read."""
WORD_LETTERS = 12
"""A longer word is told by so many of its first letters."""
FIRST_WORDS = 2
"""Words that count by their place too."""
TOKEN = re.compile(
    r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|[\u0900-\u097f]+"
    r"|[^\W\d_\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0900-\u097f]+|\d+|[^\w\s]"
)
UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
DIGIT = re.compile(r"[1-9]")
FULL_SAY = 30
"""Known words whose weights are added up; of more, their mean counts: a pasted text does not drown the question."""
LANE_BITS = 20
LANE = (1 << LANE_BITS) - 1
BIAS = 512
"""Added to every weight, so that a lane never falls below zero; weights lie in -BIAS … BIAS."""
FILE = Path(__file__).with_name("learned_words.json")


def features(request: str) -> set[str]:
    """What the model reads of a request: its words, neighbouring pairs, first words, and a few marks of its shape."""
    lines = request.count("\n")
    found = {f"#length {min(13, len(request).bit_length())}", f"#lines {min(4, lines.bit_length())}"}
    if request.rstrip()[-1:] in QUESTION_MARKS:
        found.add("#asks")
    opening = tokens(request[:ZONE])
    found.update(f"^{word}" for word in opening[:FIRST_WORDS])
    close = tokens(request[max(ZONE, len(request) - ZONE) :])
    for words in (opening, close):
        found.update(words)
        found.update(map(" ".join, pairwise(words)))
    return found


def tokens(zone: str) -> list[str]:
    """Words in lower case, cut; single characters and pairs of scripts without spaces; digits as zeros; signs."""
    cut = [token[:WORD_LETTERS] for token in TOKEN.findall(DIGIT.sub("0", zone.lower()))]
    return cut if zone.isascii() else [piece for token in cut for piece in pieces(token)]


def pieces(token: str) -> list[str]:
    """A word as it is; characters and their pairs where words are not told by spaces."""
    return [*token, *map("".join, pairwise(token))] if UNSPACED.match(token) else [token]


class LearnedWords:
    """The weights, ready to be summed."""

    def __init__(self, weights: Mapping[str, tuple[int, ...]]) -> None:
        """`weights`: feature -> hundredths of a nat per task, in the order of `Task`."""
        self._packed = {feature: pack(lanes) for feature, lanes in weights.items()}

    def lean(self, request: str) -> dict[Task, int]:
        """Hundredths of a nat that the words of a request add to each task."""
        known = self._packed.keys() & features(request)
        total, bias = sum(map(self._packed.__getitem__, known)), BIAS * len(known)
        count = max(len(known), FULL_SAY)
        return {task: ((total >> shift & LANE) - bias) * FULL_SAY // count for task, shift in SHIFTS}


SHIFTS = tuple((task, LANE_BITS * place) for place, task in enumerate(Task))


def pack(lanes: tuple[int, ...]) -> int:
    """Seven weights in one integer."""
    return sum(max(0, weight + BIAS) << LANE_BITS * place for place, weight in enumerate(lanes))


def packaged() -> LearnedWords:
    """The weights that come with the package."""
    return LearnedWords({word: tuple(lanes) for word, lanes in json.loads(FILE.read_text(encoding="utf-8")).items()})
