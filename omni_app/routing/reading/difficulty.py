"""The finer class of a request, and how hard it is: what decides the quality that it needs.

Both are rough on purpose, and mild in effect: the policy asks for more quality only above its `hard_from`.
"""

import re
from collections.abc import Mapping

from omni_app.routing.reading.questions import is_science, kind_of_question
from omni_app.routing.reading.sightings import FIRST_WORDS, OPENING
from omni_app.routing.reading.structure import NUMBER, Shape, count, listed_lines, options
from omni_app.routing.types import SUBTASKS, Task

CHAT_SUBTASKS: Mapping[str, str] = {
    "creative": "creative",
    "rewrite": "rewriting",
    "extract": "extraction",
    "writing": "writing",
    "roleplay": "roleplay",
    "advice": "advice",
    "explain": "knowledge",
    "fact_question": "trivia",
}
"""Marker -> the kind of chat it tells, the most telling first."""

BASE: Mapping[str, float] = {
    "small_talk": 0.05,
    "general": 0.25,
    "knowledge": 0.25,
    "trivia": 0.25,
    "commonsense": 0.25,
    "reading": 0.25,
    "quiz": 0.25,
    "advice": 0.25,
    "rewriting": 0.25,
    "extraction": 0.4,
    "writing": 0.3,
    "roleplay": 0.31,
    "creative": 0.31,
    "translation": 0.25,
    "summary": 0.25,
    "image": 0.3,
    "tool_use": 0.45,
    "arithmetic": 0.53,
    "mathematics": 0.53,
    "logic": 0.5,
    "science": 0.4,
    "exam": 0.25,
    "code_writing": 0.49,
    "code_explanation": 0.4,
    "code_repair": 0.49,
}
"""Difficulty of an ordinary request of its kind, on one scale over all kinds.

Where the text arena has a category for the kind, `0.25 + 2.5 * (separation - 1)`: how much further models stand apart
in that category than over all prompts (`registry/quality.py: separation`). `logic` takes what stands for its task. The
others are priors between those: an extraction and a tool call fail more often than a text that is free in its form.
"""

WORK = ("creative", "rewrite", "extract", "writing", "roleplay", "advice")
"""Markers of something to be written."""
LEAST_OPTIONS = 3
ORDINARY_WORDS = 45
SHARE = re.compile(
    r"%|\b(?:percent|half|halves|thirds?|quarters?|twice|thrice|times|double|triple|fraction)\b|\b\d+/\d+",
    re.IGNORECASE,
)
COMPARISON = re.compile(r"\b(?:than|as (?:many|much))\b", re.IGNORECASE)
RELATION = re.compile(r"\b(?:average|mean|ratio|speed|rate|age|old)\b", re.IGNORECASE)
"""In English; elsewhere only the length counts."""
CLUE = 5
"""Strength from which a marker of deduction counts: half a sighting."""
QUESTIONS = ("trivia", "commonsense", "quiz")
CASE = re.compile(r"[.!]\s+[\"“]?[A-Z][^.!?]*\?")
"""A question about what was just told."""
DEDUCTION = ("relations", "logic", "word_problem", "calculate", "math_thing", "formulas")
"""Markers of something to be worked out, within a request of another kind."""
SMALL_TALK, SHORT, LONG, VERY_LONG = 20, 60, 1500, 4000
"""Characters."""


def subtask_of(task: Task, strength: Mapping[str, int], request: str) -> str:
    """The finer class within a task; one of the names in `BASE`."""
    if task is Task.CODING:
        return _coding(strength)
    if task is Task.REASONING:
        return _reasoning(strength, request)
    if task is Task.CHAT:
        return _chat(strength, request)
    names = {Task.SUMMARIZATION: "summary", Task.AGENT_STEP: "tool_use"}
    return names.get(task, task.value)


def _reasoning(strength: Mapping[str, int], request: str) -> str:
    """A choice among answers, sums in everyday words, mathematics proper, logic, or a natural science."""
    if options(request) >= LEAST_OPTIONS:
        return "exam"
    mathematics = sum(strength.get(marker, 0) for marker in ("math_thing", "formulas", "latex"))
    amount_asked = strength.get("word_problem", 0)
    deduction = strength.get("logic", 0) + strength.get("relations", 0)
    if amount_asked < OPENING and deduction > mathematics + amount_asked:
        return "logic"
    if is_science(request):
        return "science"
    everyday = amount_asked and not mathematics and not strength.get("expert")
    return "arithmetic" if everyday else "mathematics"


def _coding(strength: Mapping[str, int]) -> str:
    shown = strength.get("code_fence", 0) + strength.get("code_lines", 0) + strength.get("stack_trace", 0)
    if strength.get("stack_trace") or (strength.get("code_fault", 0) >= 10 and shown):
        return "code_repair"
    return "code_explanation" if shown and strength.get("explain", 0) >= 10 else "code_writing"


def _chat(strength: Mapping[str, int], request: str) -> str:
    if strength.get("greeting", 0) >= 10:
        return "small_talk"
    if options(request) >= LEAST_OPTIONS:
        return "quiz"
    if asks_only(strength) and (kind := kind_of_question(request)):
        return kind
    seen = [marker for marker in CHAT_SUBTASKS if strength.get(marker)]
    if seen:
        return CHAT_SUBTASKS[max(seen, key=strength.__getitem__)]
    return "small_talk" if len(request) < SMALL_TALK else "general"


def asks_only(strength: Mapping[str, int]) -> bool:
    """Whether nothing is to be written: no such work is named, or the question word stands first."""
    if strength.get("fact_question", 0) >= FIRST_WORDS:
        return True
    return not any(strength.get(marker, 0) >= OPENING for marker in WORK)


def difficulty_of(subtask: str, strength: Mapping[str, int], shape: Shape) -> float:
    """0 = anyone can, 1 = the best may fail: the kind's base, and more for what makes a request of any kind hard."""
    task, request = SUBTASKS[subtask], shape.text
    harder = (
        0.15 * bool(strength.get("expert"))
        + 0.1 * (len(request) >= LONG)
        + 0.1 * (len(request) >= VERY_LONG)
        + 0.1 * (strength.get("constraint", 0) >= 30)
        + 0.1 * (listed_lines(shape, most=3) == 3)
    )
    if subtask == "arithmetic":
        harder += _steps(request)
    elif task is Task.REASONING and subtask != "exam":
        harder += _depth(strength, request)
    else:
        harder -= 0.1 * (len(request) < SHORT)
    if task is Task.CHAT:
        harder += 0.15 * any(strength.get(marker, 0) >= CLUE for marker in DEDUCTION)
        harder += 0.1 * (subtask in QUESTIONS and CASE.search(request) is not None)
    return min(1.0, max(0.0, BASE[subtask] + harder))


def _depth(strength: Mapping[str, int], request: str) -> float:
    """Proofs, formulas, several things of mathematics, many numbers."""
    return (
        0.25 * bool(strength.get("prove"))
        + 0.15 * (strength.get("formulas", 0) + strength.get("latex", 0) >= 20)
        + 0.1 * (strength.get("math_thing", 0) >= 20)
        + 0.1 * (count(NUMBER, request, most=6) == 6)
    )


def _steps(request: str) -> float:
    """A longer word problem takes more steps; a share, a comparison, and an average, ratio, speed or age that has to be
    undone is another each. About 0 for an ordinary one.
    """
    words = request.count(" ") + 1
    length = 0.004 * (min(words, 2 * ORDINARY_WORDS) - ORDINARY_WORDS)
    relations = count(SHARE, request, most=2) + count(COMPARISON, request, most=2) + count(RELATION, request, most=1)
    return length + 0.08 * (relations - 1)
