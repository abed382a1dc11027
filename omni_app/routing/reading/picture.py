"""Tells a request to make a picture from all the others that speak of drawing and pictures."""

from collections.abc import Mapping, Sequence

from omni_app.routing.reading.words import WORD, word_set

MARKERS = frozenset(["draw", "picture", "picture_request"])
FIRST_WORDS = 8
"""`draw` counts among the first words only: `can you please draw me a …`."""
REACH = 9
"""Words between a verb and the picture that it is to make."""
GLUE = word_set("of for about with that to in on from and which who by into than")
"""Words that end a verb's reach: `make a list of pictures` asks for a list."""
ENGLISH_DRAW = word_set("draw paint sketch")
"""Verbs with other senses (`draw on`, `paint job`): something countable must follow."""
COUNTED = word_set("a an the some two three four five my our this his her me us")


def asks_for_picture(words: Sequence[str], places: Mapping[str, Sequence[int]]) -> bool:
    """Whether a zone says to draw something or to make a picture. `places`: marker -> where its phrases begin."""
    if places.keys().isdisjoint(MARKERS):
        return False
    if "picture_request" in places or any(draws(words, place) for place in places.get("draw", ())):
        return True
    verbs = (*places.get("make", ()), *places.get("draw", ()))
    return any(reaches(words, verb, picture) for picture in places.get("picture", ()) for verb in verbs)


def draws(words: Sequence[str], place: int) -> bool:
    """Whether the verb at `place` says to draw something."""
    if place >= FIRST_WORDS:
        return False
    following = words[place + 1 : place + 2]
    return not following or words[place] not in ENGLISH_DRAW or following[0] in COUNTED


def reaches(words: Sequence[str], verb: int, picture: int) -> bool:
    """Whether the picture named at `picture` is the object of the verb."""
    between = words[verb + 1 : picture]
    if between[:2] == ["for", "me"]:
        between = between[2:]
    return verb < picture <= verb + REACH and GLUE.isdisjoint(between)


# Captions: a scene described, nothing asked. What people send to an image model.

CAPTION_STARTS = word_set("a an the two three four five several many some")
NO_CAPTION = word_set(
    """
    i you we my your our me us is are was were do does did can could should would will have has had please what who how
    why when where which if because not let make write give explain tell
    """
)
"""Words of a speaker, a question or an order."""
CAPTION_CHARACTERS = 400
CAPTION_WORDS = 4


def is_caption(text: str, *, styled: bool) -> bool:
    """Whether a text only describes a scene; `styled`: it names a painter's or photographer's technique."""
    if len(text) > CAPTION_CHARACTERS or "?" in text or "\n" in text.strip():
        return False
    words = text.lower().split()
    if len(words) < CAPTION_WORDS or (words[0] not in CAPTION_STARTS and not styled):
        return False
    return styled or (NO_CAPTION.isdisjoint(WORD.findall(text.lower())) and words[-1][-1] != ":")
