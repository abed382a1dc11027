"""What a request asks for: a probability per task, a sub-task and a difficulty, by rules alone.

Structure comes first (tools and tool messages are an agent's step), then instructions wherever they stand: the
opening and the close of the last user message count most, its middle, the system prompt and the turn before less.
Every marker found adds its weight, in hundredths of a nat, to the tasks it speaks for; the softmax of the sums is the
probability. Whole numbers, so no sum depends on the order of addition.

Time is bounded: whatever the input, at most `HEAD + TAIL` characters of the request are read, by patterns without
nested repetition. Nothing here can steer a choice but the task, the sub-task and the difficulty: a prompt that asks
for the dearest model is classified like the same prompt without that wish.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from operator import add

from omni_app.routing.lexicon import MARKERS
from omni_app.routing.tokens import is_image_part
from omni_app.routing.types import Message, Task

HEAD, TAIL = 2400, 1600
"""Characters read of the request: its head and its tail."""
ZONE = 260
"""Characters of the opening and of the close, where instructions stand."""
SYSTEM_ZONE = 500
SHORT_TURN = 60
"""A request shorter than this leans on the turn before it: `and now in French?`"""


@dataclass(frozen=True, slots=True)
class Classification:
    """What the detector saw. `task_scores` sums to 1 over all seven tasks; `difficulty` is in [0, 1]."""

    task_scores: Mapping[Task, float]
    signals: tuple[str, ...]
    """Names of what was seen, the weightiest first: `structure:tools`, `word:translate`, `difficulty:proof`."""
    subtask: str
    difficulty: float


CHAT, CODING, REASONING = Task.CHAT, Task.CODING, Task.REASONING
SUMMARIZATION, TRANSLATION, IMAGE, AGENT_STEP = Task.SUMMARIZATION, Task.TRANSLATION, Task.IMAGE, Task.AGENT_STEP

PRIOR: Mapping[Task, int] = {CHAT: 150, CODING: 0, REASONING: 0, SUMMARIZATION: -50, TRANSLATION: -50, IMAGE: -150, AGENT_STEP: -200}
"""Before anything is seen: most requests are chat, and a mistake towards chat is the mildest."""

WEIGHTS: Mapping[str, Mapping[Task, int]] = {
    "translate": {TRANSLATION: 520},
    "say_in": {TRANSLATION: 300},
    "to_language": {TRANSLATION: 170},
    "summarize": {SUMMARIZATION: 520},
    "main_points": {SUMMARIZATION: 330},
    "tldr": {SUMMARIZATION: 450},
    "in_brief": {SUMMARIZATION: 60},
    "the_text": {SUMMARIZATION: 60},
    "code_thing": {CODING: 250},
    "code_word": {CODING: 100},
    "code_verb": {CODING: 180},
    "code_fault": {CODING: 50},
    "math_thing": {REASONING: 220},
    "math_word": {REASONING: 60},
    "how_many": {REASONING: 100},
    "calculate": {REASONING: 150},
    "prove": {REASONING: 150},
    "logic": {REASONING: 150},
    "step_by_step": {REASONING: 130},
    "creative": {CHAT: 180},
    "writing": {CHAT: 130},
    "explain": {CHAT: 50},
    "advice": {CHAT: 90},
    "roleplay": {CHAT: 90},
    "rewrite": {CHAT: 200},
    "extract": {CHAT: 130},
    "greeting": {CHAT: 100},
    "fact_question": {CHAT: 60},
    "picture_style": {IMAGE: 200},
    "agent_format": {AGENT_STEP: 250},
}
"""Marker -> what one full sighting adds, in hundredths of a nat."""
