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
from operator import add
from pathlib import Path

from omni_app.routing.reading.words import QUESTION_MARKS
from omni_app.routing.types import Task

ZONE = 280
"""Characters of the opening and of the close that are read."""
WORD_LETTERS = 12
"""A longer word is told by so many of its first letters."""
FIRST_WORDS = 2
"""Words that count by their place too."""
UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
APART = re.compile(r"[\u0900-\u097f\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Scripts whose words are told by other rules."""
TOKEN = re.compile(
    r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|[\u0900-\u097f]+"
    r"|[^\W\d_\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0900-\u097f]+|\d+|[^\w\s]"
)
SPACED_TOKEN = re.compile(rf"(?<![^\W\d_])[^\W\d_]{{1,{WORD_LETTERS}}}|(?<!\d)\d{{1,{WORD_LETTERS}}}|[^\w\s]")
"""The same where there is no such script, cut already: several times as fast."""
ASCII_TOKEN = re.compile(rf"(?<![a-z])[a-z]{{1,{WORD_LETTERS}}}|(?<!0)0{{1,{WORD_LETTERS}}}|[^\sa-z0_]")
"""The same in ASCII, in lower case and with zeros for digits."""
ZEROS = bytes.maketrans(b"123456789", b"000000000")
FULL_SAY = 30
"""Known words whose weights are added up; of more, their mean counts: a pasted text does not drown the question."""
LANE_BITS = 20
LANE = (1 << LANE_BITS) - 1
BIAS = 512
"""Added to every weight, so that a lane never falls below zero; weights lie in -BIAS … BIAS."""
FILE = Path(__file__).with_name("learned_words.json")


def features(request: str) -> set[str]:
    """What the model reads of a request: its words, neighbouring pairs, first words, and a few marks of its shape."""
    length, lines = len(request).bit_length(), request.count("\n").bit_length()
    opening = tokens(request[:ZONE])
    close = tokens(request[max(ZONE, len(request) - ZONE) :])
    found = {f"#length {min(13, length)}", f"#lines {min(4, lines)}", *opening, *close}
    found.update([f"^{word}" for word in opening[:FIRST_WORDS]])
    for words in (opening, close):
        found.update(map(" ".join, pairwise(words)))
    if request.rstrip()[-1:] in QUESTION_MARKS:
        found.add("#asks")
    return found


def tokens(zone: str) -> list[str]:
    """Words in lower case, cut; single characters and pairs of scripts without spaces; digits as zeros; signs."""
    if zone.isascii():
        return ASCII_TOKEN.findall(zone.lower().encode("ascii").translate(ZEROS).decode("ascii"))
    text = zone.lower().encode("utf-8", "surrogatepass").translate(ZEROS).decode("utf-8", "surrogatepass")
    if not APART.search(text):
        return SPACED_TOKEN.findall(text)
    return [piece for token in TOKEN.findall(text) for piece in pieces(token[:WORD_LETTERS])]


def pieces(token: str) -> list[str]:
    """A word as it is; characters and their pairs where words are not told by spaces."""
    return [*token, *map(add, token, token[1:])] if UNSPACED.match(token) else [token]


class LearnedWords:
    """The weights, ready to be summed."""

    def __init__(self, weights: Mapping[str, tuple[int, ...]]) -> None:
        """`weights`: feature -> hundredths of a nat per task, in the order of `Task`."""
        alone_first = sorted(weights, key=lambda feature: " " in feature)  # what is looked up together lies together
        self._packed = {feature: pack(weights[feature]) for feature in alone_first}

    def lean(self, request: str) -> dict[Task, int]:
        """Hundredths of a nat that the words of a request add to each task."""
        known = [packed for packed in map(self._packed.get, features(request)) if packed is not None]
        total, bias = sum(known), BIAS * len(known)
        count = max(len(known), FULL_SAY)
        return {task: ((total >> shift & LANE) - bias) * FULL_SAY // count for task, shift in SHIFTS}


SHIFTS = tuple((task, LANE_BITS * place) for place, task in enumerate(Task))


def pack(lanes: tuple[int, ...]) -> int:
    """Seven weights in one integer."""
    return sum(max(0, weight + BIAS) << LANE_BITS * place for place, weight in enumerate(lanes))


def packaged() -> LearnedWords:
    """The weights that come with the package."""
    return LearnedWords({word: tuple(lanes) for word, lanes in json.loads(FILE.read_text(encoding="utf-8")).items()})
