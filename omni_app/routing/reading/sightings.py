"""The markers seen in one request, and how strongly: by where phrases stand and how many different ones there are."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from omni_app.routing.reading.picture import OF_PICTURES, asks_for_picture, asks_unspaced
from omni_app.routing.reading.words import Phrase, has_unspaced, phrases_in, plain_words

FULL = 10
"""Strength of one full sighting, in tenths."""
FIRST_WORDS, OPENING, CLOSE, MIDDLE, SYSTEM, EARLIER = 15, 10, 11, 3, 7, 5
"""Strength of a phrase among the first words of the opening, in the rest of it, in the close, and so on."""
FEW_WORDS = 8
MOST: Mapping[str, int] = {
    "agent_format": 30,
    "agent_lines": 20,
    "code_lines": 50,
    "code_product": 20,
    "code_signs": 30,
    "code_thing": 25,
    "code_word": 30,
    "constraint": 30,
    "formulas": 30,
    "latex": 20,
    "logic": 20,
    "math_thing": 25,
    "math_word": 30,
    "number_word": 20,
    "picture_style": 30,
    "relations": 30,
}
"""Strength up to which the different phrases of a marker add up; `FIRST_WORDS` where not listed."""
SAID_ANYWHERE = frozenset({"agent_format", "constraint", "expert"})
"""Markers that count in full wherever they stand."""


@dataclass(slots=True)
class Sightings:
    """Markers with their strengths. A phrase counts once, in the zone that is looked at first."""

    strength: dict[str, int] = field(default_factory=dict)
    _phrases: set[Phrase] = field(default_factory=set)

    def __getitem__(self, marker: str) -> int:
        return self.strength.get(marker, 0)

    def add(self, marker: str, strength: int = FULL) -> None:
        """One more sighting of a marker; none when the strength is 0."""
        if strength:
            self.strength[marker] = min(MOST.get(marker, FIRST_WORDS), self.strength.get(marker, 0) + strength)

    def forget(self, marker: str) -> None:
        """Something else told that the marker means nothing here."""
        self.strength.pop(marker, None)

    def look(self, zone: str, strength: int, *, first: int = 0, only: frozenset[str] | None = None) -> None:
        """Adds the phrases of a zone; `first` is the strength of those among its first words, when it differs."""
        text, words = plain_words(zone)
        places: dict[str, list[int]] = {}
        for phrase, position in phrases_in(text, words):
            marker = phrase.marker
            if marker in OF_PICTURES:
                places.setdefault(marker, []).append(position)
            if phrase in self._phrases or (only is not None and marker not in only):
                continue
            self._phrases.add(phrase)
            if marker in SAID_ANYWHERE:
                self.add(marker)
            else:
                self.add(marker, first if first and position < FEW_WORDS else strength)
        if asks_for_picture(words, places) or (has_unspaced(text) and asks_unspaced(text)):
            self.add("image_request", min(FULL, strength))
