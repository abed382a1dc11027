"""What a request asks for: a probability per task, a sub-task and a difficulty, by rules alone.

Structure comes first (tools and tool messages are an agent's step), then instructions wherever they stand: the
opening and the close of the last user message count most, its middle, the system prompt and the turn before less.
Every marker adds its weight, in hundredths of a nat, to the task it speaks for; the softmax of the sums is the
probability. Whole numbers, so that no sum depends on the order of addition.

Time is bounded: whatever the input, at most `HEAD + TAIL` characters of the request are read, and most of what is
looked for is looked for at its ends (decision 61). Nothing in a text can steer a choice but through task, sub-task and
difficulty: asking for the dearest model changes nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp

from omni_app.routing.reading.conversation import Conversation, read_conversation
from omni_app.routing.reading.difficulty import difficulty_of, subtask_of
from omni_app.routing.reading.learned import LearnedWords, packaged
from omni_app.routing.reading.picture import is_caption
from omni_app.routing.reading.sightings import CLOSE, EARLIER, FIRST_WORDS, FULL, MIDDLE, OPENING, SYSTEM, Sightings
from omni_app.routing.reading.structure import (
    CODE_SIGNS,
    FORMULA,
    LANGUAGES,
    LATEX,
    MARKUP,
    MEASURED,
    NUMBER,
    Shape,
    agent_lines,
    code_lines,
    count,
    has_stack_trace,
    line_labels,
)
from omni_app.routing.reading.words import QUESTION_MARKS
from omni_app.routing.types import Message, Task

LEARNED = packaged()
DECIDED = 300
"""A lead of the rules, in hundredths of a nat, that words alone do not take back."""
MOST_FOR_IMAGE = 100
"""The most that words alone may say for a picture: what only sounds like a caption is no clear wish for one."""
ZONE = 280
"""Characters of the opening and of the close, where instructions stand."""
SYSTEM_ZONE = 500
SHORT_TURN = 60
"""A request shorter than this leans on the turn before it: `and now in French?`"""
LONG_TEXT = 300
"""Characters from which a request carries a text to work on."""
SYSTEM_MARKERS = frozenset(
    {"translate", "to_language", "summarize", "code_thing", "code_word", "code_verb", "math_thing", "agent_format"}
)
"""What a system prompt can say about the task: its role and tone say nothing."""
SHORT_PROBLEM = 500
"""Characters up to which a question with several quantities is taken for a sum."""
QUANTITY = re.compile(r"\d(?<![\d.]\d)(?!(?<=1)[5-9]\d\d\b|(?<=2)0\d\d\b)\d*(?:[.,]\d+)*")
"""A number that is no year."""
CODE = frozenset({"code_thing", "code_fence", "code_lines", "code_signs", "stack_trace"})
OTHER_WORK = frozenset(
    {
        "summarize",
        "main_points",
        "creative",
        "writing",
        "explain",
        "advice",
        "rewrite",
        "extract",
        "roleplay",
        "translate",
    }
)
"""Markers of work for which a language or a number that is named is only a circumstance."""
NO_CAPTIONS = frozenset(
    {
        "translate",
        "summarize",
        "say_in",
        "writing",
        "rewrite",
        "extract",
        "calculate",
        "creative",
        "math_thing",
        "not_picture",
    }
)
"""Markers of a text that is more than a picture's caption."""

NO_REQUESTS = frozenset({"not_picture", "draw_idiom", "rewrite", "extract"})
"""Markers beside which a picture that is asked for is only spoken of."""


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
    CHAT: 100,
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
    "say_in": (TRANSLATION, 400),
    "to_language": (TRANSLATION, 170),
    "summarize": (SUMMARIZATION, 520),
    "main_points": (SUMMARIZATION, 380),
    "tldr": (SUMMARIZATION, 450),
    "in_brief": (SUMMARIZATION, 60),
    "the_text": (SUMMARIZATION, 60),
    "code_thing": (CODING, 250),
    "code_product": (CODING, 100),
    "code_word": (CODING, 100),
    "code_verb": (CODING, 180),
    "code_fault": (CODING, 50),
    "math_thing": (REASONING, 220),
    "math_word": (REASONING, 70),
    "how_many": (REASONING, 100),
    "calculate": (REASONING, 150),
    "prove": (REASONING, 150),
    "logic": (REASONING, 150),
    "relations": (REASONING, 110),
    "step_by_step": (REASONING, 130),
    "creative": (CHAT, 180),
    "writing": (CHAT, 130),
    "explain": (CHAT, 30),
    "advice": (CHAT, 80),
    "roleplay": (CHAT, 80),
    "rewrite": (CHAT, 200),
    "extract": (CHAT, 130),
    "greeting": (CHAT, 200),
    "fact_question": (CHAT, 40),
    "picture_style": (IMAGE, 200),
    "agent_format": (AGENT_STEP, 340),
    # structure
    "tools": (AGENT_STEP, 700),
    "tool_messages": (AGENT_STEP, 900),
    "agent_lines": (AGENT_STEP, 450),
    "language_lines": (TRANSLATION, 400),
    "code_fence": (CODING, 220),
    "code_lines": (CODING, 100),
    "code_signs": (CODING, 70),
    "stack_trace": (CODING, 250),
    "latex": (REASONING, 150),
    "formulas": (REASONING, 130),
    # together
    "image_request": (IMAGE, 800),
    "bare_caption": (IMAGE, 330),
    "write_code": (CODING, 180),
    "code_to_code": (TRANSLATION, -450),
    "brief_of_long": (SUMMARIZATION, 350),
    "word_problem": (REASONING, 200),
    "into_language": (TRANSLATION, 300),
}
"""Marker -> the task it speaks for, and what one full sighting adds in hundredths of a nat."""


def classify(
    messages: Sequence[Message], *, tools: bool, image_parts: bool, learned: LearnedWords | None = LEARNED
) -> Classification:
    """Task, sub-task and difficulty of a request.

    `image_parts`: it carries images to look at, which never makes it a request to make one. `learned`: the part that
    breaks ties; None = rules alone.
    """
    conversation = read_conversation(messages)
    request = conversation.request
    seen = Sightings()
    seen.add("tools", FULL * tools)
    seen.add("tool_messages", FULL * conversation.has_tool_messages)
    look_at_words(conversation, seen)
    shape = Shape(request)
    look_at_structure(shape, seen)
    seen.add("code_fence", FULL * (conversation.code_before and len(request) < SHORT_TURN))
    combine(request, seen, image_parts=image_parts)
    sums = weighed(seen.strength)
    structured = tools or conversation.has_tool_messages
    if learned is not None and not structured and is_close(sums):
        lean = learned.lean(in_context(conversation))
        lean[IMAGE] = min(0 if image_parts else MOST_FOR_IMAGE, lean[IMAGE])
        sums = {task: score + lean[task] for task, score in sums.items()}
    scores = probabilities(sums)
    subtask = subtask_of(max(scores, key=scores.__getitem__), seen.strength, request)
    return Classification(scores, signals(seen.strength), subtask, difficulty_of(subtask, seen.strength, shape))


def in_context(conversation: Conversation) -> str:
    """The request, after the turn before it when it is too short to be understood alone."""
    follows_up = conversation.earlier and len(conversation.request) < SHORT_TURN
    return f"{conversation.earlier}\n{conversation.request}" if follows_up else conversation.request


def look_at_words(conversation: Conversation, seen: Sightings) -> None:
    """Looks for phrases in every zone: opening, close, middle, the turn before a short one, the system prompt."""
    request = conversation.request
    seen.look(request[:ZONE], OPENING, first=FIRST_WORDS)
    if len(request) > ZONE:
        close = max(ZONE, len(request) - ZONE)
        seen.look(request[close:], CLOSE)
        seen.look(request[ZONE : min(3 * ZONE, close)], MIDDLE)
    if conversation.earlier and len(request) < SHORT_TURN:
        seen.look(conversation.earlier[:ZONE], EARLIER)
    if conversation.system:
        seen.look(conversation.system[:SYSTEM_ZONE], SYSTEM, only=SYSTEM_MARKERS)


def look_at_structure(shape: Shape, seen: Sightings) -> None:
    """Looks for code, formulas and transcripts of agents."""
    request = shape.text
    seen.add("stack_trace", FULL * has_stack_trace(shape))
    seen.add("code_fence", FULL * ("```" in request))
    if "\\" in request or "$" in request:
        seen.add("latex", FULL * count(LATEX, request, most=2))
    if MARKUP.search(shape.ends) is None:
        seen.add("code_lines", FULL * code_lines(shape, most=5))
        return
    if seen["latex"] < 2 * FULL:
        seen.add("code_lines", FULL * code_lines(shape, most=5))
        seen.add("code_signs", FULL * shape.holds(CODE_SIGNS, most=3))
    if seen["code_lines"] + seen["code_fence"] < 2 * FULL:
        seen.add("formulas", FULL * count(FORMULA, shape.ends, most=3))
    labels = line_labels(shape)
    seen.add("agent_lines", FULL * agent_lines(shape, labels, most=2))
    seen.add("language_lines", FULL * (len(LANGUAGES.intersection(labels)) >= 2))


def combine(request: str, seen: Sightings, *, image_parts: bool) -> None:
    """Markers that mean something only together, or only in a text of a certain length."""
    code = not CODE.isdisjoint(seen.strength)
    if seen["write"] >= FULL and seen["code_product"] >= FULL:
        seen.add("write_code")
    if seen["translate"] and code and not seen["to_language"]:
        seen.add("code_to_code")
    if seen["language"] and (seen["quoted_words"] or ": " in request[:ZONE]) and not code and not other_work(seen):
        seen.add("into_language")
    if seen["in_brief"] and len(request) >= LONG_TEXT and not code:
        seen.add("brief_of_long")
        seen.forget("rewrite")
    if len(request) > SHORT_TURN:
        seen.forget("greeting")
    if not code:
        combine_figures(request, seen)
    combine_pictures(request, seen, code=code, image_parts=image_parts)


def other_work(seen: Sightings) -> bool:
    """Whether something else is to be done with the words: written, explained, summarized, …"""
    return not OTHER_WORK.isdisjoint(seen.strength)


def combine_figures(request: str, seen: Sightings) -> None:
    """Two numbers and a question for another: a word problem. A short question of many numbers asks for one too."""
    asked = FULL if seen["how_many"] or seen["calculate"] else FULL // 2 if seen["math_word"] else 0
    if len(request) < SHORT_PROBLEM and request.rstrip()[-1:] in QUESTION_MARKS and not other_work(seen):
        figures = count(QUANTITY, request, most=3) + seen["number_word"] // FULL
        asked = max(asked, FULL if figures >= 3 else FULL // 2 if figures == 2 else 0)
    if len(request) < 2 * SHORT_PROBLEM and not other_work(seen) and count(MEASURED, request, most=2) == 2:
        asked = max(asked, FULL)
    if asked and seen["number_word"] // FULL + count(NUMBER, request, most=2) >= 2:
        seen.add("word_problem", asked)


def combine_pictures(request: str, seen: Sightings, *, code: bool, image_parts: bool) -> None:
    """A picture is asked for unless it would be made by code, or only described; a caption asks without a verb."""
    named = seen["picture"] >= FIRST_WORDS
    caption = is_caption(request, styled=seen["picture_style"] > 0, named=named) and not code
    caption = caption and NO_CAPTIONS.isdisjoint(seen.strength)
    if caption and not image_parts:
        seen.add("bare_caption")
    if code or not NO_REQUESTS.isdisjoint(seen.strength):
        seen.forget("image_request")
    if not caption and not seen["image_request"]:
        seen.forget("picture_style")


# From markers to probabilities


def weighed(strength: Mapping[str, int]) -> dict[Task, int]:
    """The prior and every marker's weight, summed. Kinds of chat do not add up: the strongest counts."""
    sums = dict(PRIOR)
    chat = 0
    for marker, tenths in strength.items():
        if marker in WEIGHTS:
            task, weight = WEIGHTS[marker]
            if task is CHAT:
                chat = max(chat, weight * tenths // FULL)
            else:
                sums[task] += weight * tenths // FULL
    sums[CHAT] += chat
    return sums


def is_close(sums: Mapping[Task, int]) -> bool:
    """Whether the rules leave it open: the runner-up is near enough to be helped past the first."""
    *_, second, first = sorted(sums.values())
    return first - second < DECIDED


def probabilities(sums: Mapping[Task, int]) -> dict[Task, float]:
    """The softmax of hundredths of a nat."""
    highest = max(sums.values())
    odds = {task: exp((score - highest) / 100) for task, score in sums.items()}
    total = sum(odds.values())
    return {task: odd / total for task, odd in odds.items()}


def signals(strength: Mapping[str, int]) -> tuple[str, ...]:
    """The markers that carry weight, the weightiest first."""
    told = [marker for marker in strength if marker in WEIGHTS]
    return tuple(sorted(told, key=lambda marker: (-abs(WEIGHTS[marker][1]) * strength[marker], marker)))
