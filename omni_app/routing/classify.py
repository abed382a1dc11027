"""What a request asks for: a probability per task, a sub-task and a difficulty, by rules alone.

Structure comes first (tools and tool messages are an agent's step), then instructions wherever they stand: the
opening and the close of the last user message count most, its middle, the system prompt and the turn before less.
Every marker adds its weight, in hundredths of a nat, to the task it speaks for; the softmax of the sums is the
probability. Whole numbers, so that no sum depends on the order of addition.

Time is bounded: whatever the input, at most `HEAD + TAIL` characters of the request are read. Nothing in a text can
steer a choice but through task, sub-task and difficulty: asking for the dearest model changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp

from omni_app.routing.difficulty import difficulty_of, subtask_of
from omni_app.routing.structure import (
    AGENT_LINE,
    CODE_IN_LINE,
    CODE_LINE,
    FORMULA,
    NUMBER,
    STACK_TRACE,
    count,
)
from omni_app.routing.tokens import is_image_part
from omni_app.routing.types import Message, Task
from omni_app.routing.words import WORD, phrases_in, plain

HEAD, TAIL = 2400, 1600
"""Characters read of a request: its head and its tail."""
ZONE = 280
"""Characters of the opening and of the close, where instructions stand."""
SYSTEM_ZONE = 500
SHORT_TURN = 60
"""A request shorter than this leans on the turn before it: `and now in French?`"""
LONG_TEXT = 600
"""Characters from which a request carries a text to work on."""


@dataclass(frozen=True, slots=True)
class Classification:
    """What the detector saw. `task_scores` sums to 1 over all seven tasks; `difficulty` is in [0, 1]."""

    task_scores: Mapping[Task, float]
    signals: tuple[str, ...]
    """The markers seen, the weightiest first: `tools`, `translate`, `code_fence`."""
    subtask: str
    difficulty: float


CHAT, CODING, REASONING = Task.CHAT, Task.CODING, Task.REASONING
SUMMARIZATION, TRANSLATION, IMAGE, AGENT_STEP = Task.SUMMARIZATION, Task.TRANSLATION, Task.IMAGE, Task.AGENT_STEP

PRIOR: Mapping[Task, int] = {
    CHAT: 150,
    CODING: 0,
    REASONING: 0,
    SUMMARIZATION: -50,
    TRANSLATION: -50,
    IMAGE: -150,
    AGENT_STEP: -200,
}
"""Before anything is seen: most requests are chat, and a mistake towards chat is the mildest."""

WEIGHTS: Mapping[str, tuple[Task, int]] = {
    # words
    "translate": (TRANSLATION, 520),
    "say_in": (TRANSLATION, 300),
    "to_language": (TRANSLATION, 170),
    "summarize": (SUMMARIZATION, 520),
    "main_points": (SUMMARIZATION, 330),
    "tldr": (SUMMARIZATION, 450),
    "in_brief": (SUMMARIZATION, 60),
    "the_text": (SUMMARIZATION, 60),
    "code_thing": (CODING, 250),
    "code_word": (CODING, 100),
    "code_verb": (CODING, 180),
    "code_fault": (CODING, 50),
    "math_thing": (REASONING, 220),
    "math_word": (REASONING, 60),
    "how_many": (REASONING, 100),
    "calculate": (REASONING, 150),
    "prove": (REASONING, 150),
    "logic": (REASONING, 150),
    "step_by_step": (REASONING, 130),
    "creative": (CHAT, 180),
    "writing": (CHAT, 130),
    "explain": (CHAT, 50),
    "advice": (CHAT, 90),
    "roleplay": (CHAT, 90),
    "rewrite": (CHAT, 200),
    "extract": (CHAT, 130),
    "greeting": (CHAT, 200),
    "fact_question": (CHAT, 60),
    "picture_style": (IMAGE, 200),
    "agent_format": (AGENT_STEP, 250),
    # structure
    "tools": (AGENT_STEP, 700),
    "tool_messages": (AGENT_STEP, 900),
    "agent_lines": (AGENT_STEP, 300),
    "code_fence": (CODING, 220),
    "code_lines": (CODING, 90),
    "stack_trace": (CODING, 250),
    "formulas": (REASONING, 110),
    # together
    "image_request": (IMAGE, 800),
    "bare_caption": (IMAGE, 330),
    "code_to_code": (TRANSLATION, -450),
    "brief_of_long": (SUMMARIZATION, 250),
    "word_problem": (REASONING, 220),
}
"""Marker -> the task it speaks for, and what one full sighting adds in hundredths of a nat."""

FULL = 10
"""Strength of one full sighting, in tenths."""
FIRST_WORDS, OPENING, CLOSE, MIDDLE, SYSTEM, EARLIER = 15, 10, 11, 3, 7, 5
"""Strength of a phrase by where it stands: among the first words, in the rest of the opening, in the close, and so on."""
FEW_WORDS = 8
MOST: Mapping[str, int] = {
    "code_thing": 25,
    "code_word": 30,
    "math_thing": 25,
    "math_word": 30,
    "logic": 20,
    "picture_style": 30,
    "agent_format": 30,
    "agent_lines": 20,
    "code_lines": 50,
    "formulas": 30,
}
"""Strength up to which different phrases of one marker add up; `FIRST_WORDS` where not listed."""
SYSTEM_MARKERS = frozenset(
    {"translate", "to_language", "summarize", "code_thing", "code_word", "code_verb", "math_thing", "agent_format"}
)
"""What a system prompt can say about the task: its role and tone say nothing."""


@dataclass(slots=True)
class Sightings:
    """The markers of one request with their strengths. A phrase counts once, where it is seen first."""

    strength: dict[str, int] = field(default_factory=dict)
    _phrases: set[str] = field(default_factory=set)

    def add(self, marker: str, strength: int) -> None:
        """One more sighting of a marker."""
        self.strength[marker] = min(MOST.get(marker, FIRST_WORDS), self.strength.get(marker, 0) + strength)

    def look(self, text: str, strength: int, *, first: int, only: frozenset[str] | None = None) -> "Zone":
        """Adds every phrase of a zone, its first words with strength `first`."""
        lower = plain(text)
        zone = Zone(WORD.findall(lower))
        for phrase, position in phrases_in(lower, zone.words):
            marker = phrase.marker
            zone.places.setdefault(marker, position)
            if phrase.text not in self._phrases and (only is None or marker in only):
                self._phrases.add(phrase.text)
                self.add(marker, first if position < FEW_WORDS else strength)
        return zone
