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
    FORMULA,
    LATEX,
    NUMBER,
    agent_lines,
    code_lines,
    code_signs,
    count,
    has_stack_trace,
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
LONG_TEXT = 300
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
    "relations": (REASONING, 80),
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
    "agent_format": (AGENT_STEP, 280),
    # structure
    "tools": (AGENT_STEP, 700),
    "tool_messages": (AGENT_STEP, 900),
    "agent_lines": (AGENT_STEP, 300),
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
    "brief_of_long": (SUMMARIZATION, 250),
    "word_problem": (REASONING, 200),
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
    "code_product": 20,
    "number_word": 20,
    "math_thing": 25,
    "math_word": 30,
    "logic": 20,
    "picture_style": 30,
    "agent_format": 30,
    "agent_lines": 20,
    "relations": 30,
    "constraint": 30,
    "code_lines": 50,
    "code_signs": 30,
    "latex": 20,
    "formulas": 30,
}
"""Strength up to which different phrases of one marker add up; `FIRST_WORDS` where not listed."""
SAID_ANYWHERE = frozenset({"agent_format", "constraint", "expert"})
"""Markers that count in full wherever they stand."""
SYSTEM_MARKERS = frozenset(
    {"translate", "to_language", "summarize", "code_thing", "code_word", "code_verb", "math_thing", "agent_format"}
)
"""What a system prompt can say about the task: its role and tone say nothing."""


@dataclass(slots=True)
class Sightings:
    """The markers of one request with their strengths; a phrase counts once, where it is looked for first."""

    strength: dict[str, int] = field(default_factory=dict)
    _phrases: set[str] = field(default_factory=set)

    def add(self, marker: str, strength: int) -> None:
        """One more sighting of a marker."""
        if strength:
            self.strength[marker] = min(MOST.get(marker, FIRST_WORDS), self.strength.get(marker, 0) + strength)

    def look(self, zone: str, strength: int, *, first: int, only: frozenset[str] | None = None) -> None:
        """Adds the phrases of one zone; those among its first words with strength `first`."""
        text = plain(zone)
        words = WORD.findall(text)
        places: dict[str, int] = {}
        for phrase, position in phrases_in(text, words):
            places.setdefault(phrase.marker, position)
            if phrase.key not in self._phrases and (only is None or phrase.marker in only):
                self._phrases.add(phrase.key)
                self.add(phrase.marker, FULL if phrase.marker in SAID_ANYWHERE else first if position < FEW_WORDS else strength)
        if asks_for_image(words, places):
            self.add("image_request", FULL)

    def __getitem__(self, marker: str) -> int:
        return self.strength.get(marker, 0)


def classify(messages: Sequence[Message], *, tools: bool, image_parts: bool) -> Classification:
    """Task, sub-task and difficulty of a request. `image_parts`: it carries images to look at, which never makes
    it a request to make one."""
    turns = Turns.of(messages)
    request = (
        turns.request if len(turns.request) <= HEAD + TAIL else turns.request[:HEAD] + "\n" + turns.request[-TAIL:]
    )
    seen = Sightings()
    if tools:
        seen.add("tools", FULL)
    if turns.tool_messages:
        seen.add("tool_messages", FULL)
    look_at_words(request, turns, seen)
    look_at_structure(request, seen)
    if turns.code_before and len(request) < SHORT_TURN:
        seen.add("code_fence", FULL)
    combine(request, seen, image_parts=image_parts)
    scores = probabilities(seen.strength)
    likeliest = max(scores, key=scores.__getitem__)
    subtask = subtask_of(likeliest, seen.strength, request)
    return Classification(scores, signals(seen.strength), subtask, difficulty_of(subtask, seen.strength, request))


@dataclass(frozen=True, slots=True)
class Turns:
    """The texts of a conversation that tell its task."""

    request: str
    """The last user message."""
    earlier: str
    """The user message before it."""
    system: str
    tool_messages: bool
    code_before: bool
    """Whether the assistant's last answer holds a code block."""

    @classmethod
    def of(cls, messages: Sequence[Message]) -> "Turns":
        users = [message for message in messages if message.get("role") == "user"]
        assistants = [message for message in messages if message.get("role") == "assistant"]
        systems = [message for message in messages if message.get("role") in ("system", "developer")]
        return cls(
            request=text_of(users[-1]) if users else "",
            earlier=text_of(users[-2]) if len(users) > 1 else "",
            system=text_of(systems[0]) if systems else "",
            tool_messages=any(message.get("role") == "tool" or message.get("tool_calls") for message in messages),
            code_before=bool(assistants) and "```" in text_of(assistants[-1]),
        )


def text_of(message: Message) -> str:
    """The text of a message; its image parts have none."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, Mapping) and not is_image_part(part)]
    return "\n".join(text for text in texts if isinstance(text, str))


def look_at_words(request: str, turns: Turns, seen: Sightings) -> None:
    """Looks for phrases in every zone: opening, close, middle, the turn before a short one, the system prompt."""
    seen.look(request[:ZONE], OPENING, first=FIRST_WORDS)
    if len(request) > ZONE:
        seen.look(request[max(ZONE, len(request) - ZONE) :], CLOSE, first=CLOSE)
        seen.look(request[ZONE : min(4 * ZONE, len(request) - ZONE)], MIDDLE, first=MIDDLE)
    if turns.earlier and len(request) < SHORT_TURN:
        seen.look(turns.earlier[:ZONE], EARLIER, first=EARLIER)
    if turns.system:
        seen.look(turns.system[:SYSTEM_ZONE], SYSTEM, first=SYSTEM, only=SYSTEM_MARKERS)


def look_at_structure(request: str, seen: Sightings) -> None:
    """Looks for code, formulas and agents' transcripts."""
    if "```" in request:
        seen.add("code_fence", FULL)
    seen.add("latex", FULL * count(LATEX, request, most=2))
    if seen["latex"] < 2 * FULL:
        seen.add("code_lines", FULL * code_lines(request, most=5))
        seen.add("code_signs", FULL * min(3, code_signs(request)))
    if has_stack_trace(request):
        seen.add("stack_trace", FULL)
    if seen["code_lines"] + seen["code_fence"] < 2 * FULL:
        seen.add("formulas", FULL * count(FORMULA, request, most=3))
    seen.add("agent_lines", FULL * agent_lines(request, most=2))


def combine(request: str, seen: Sightings, *, image_parts: bool) -> None:
    """Markers that mean something only together, or only in a text of a certain shape."""
    shown = seen["code_fence"] + seen["code_lines"] + seen["code_signs"] + seen["stack_trace"]
    code = shown + seen["code_thing"]
    if code or seen["not_picture"] or seen["draw_idiom"]:
        seen.strength.pop("image_request", None)
    if seen["write"] >= FULL and seen["code_product"] >= FULL:
        seen.add("write_code", FULL)
    if seen["translate"] and code >= FULL and not seen["to_language"]:
        seen.add("code_to_code", FULL)
    if seen["in_brief"] and len(request) >= LONG_TEXT and not code:
        seen.add("brief_of_long", FULL)
        seen.strength.pop("rewrite", None)
    if len(request) > SHORT_TURN:
        seen.strength.pop("greeting", None)
    if not code and seen["number_word"] // FULL + count(NUMBER, request, most=4) >= 2:
        asked = seen["how_many"] + seen["calculate"]
        seen.add("word_problem", FULL if asked else FULL // 2 if seen["math_word"] else 0)
    if seen["picture_style"] and not seen["image_request"] and not is_caption(request, seen):
        del seen.strength["picture_style"]
    if not image_parts and not code and is_caption(request, seen):
        seen.add("bare_caption", FULL)


# Requests to make an image

GLUE = frozenset("of for about with that to in on from and which who by into than".split())
"""Words that end the reach of `make`: `make a list of pictures` asks for a list."""
REACH = 9
ARTICLES = frozenset(
    "a an the some two three four five six seven my our this his her me us ein eine einen einem zwei das die der mir "
    "un une des le la les deux moi una uno unos dos il lo due um uma dois een twee bir mi".split()
)


def asks_for_image(words: Sequence[str], places: Mapping[str, int]) -> bool:
    """Whether the zone says to draw something, or to make a picture."""
    if "picture_request" in places:
        return True
    draw, make, picture = places.get("draw"), places.get("make"), places.get("picture")
    if (
        draw is not None
        and draw < FEW_WORDS
        and (not words[draw + 1 : draw + 2] or words[draw + 1] in ARTICLES or not words[draw].isascii())
    ):
        return True
    if picture is None:
        return False
    starts = [place for place in (make, draw) if place is not None and place < picture <= place + REACH]
    return any(
        GLUE.isdisjoint(words[start + 1 : picture]) or words[start + 1 : start + 3] == ["for", "me"] for start in starts
    )


CAPTION_STARTS = frozenset("a an the two three four five several many some".split())
NO_CAPTION = frozenset(
    "i you we my your our me us is are was were do does did can could should would will have has had please what who how why "
    "when where which if because not let make write give explain tell".split()
)
CAPTION_CHARACTERS = 400


def is_caption(request: str, seen: Sightings) -> bool:
    """Whether the text describes a scene and asks for nothing: what people send to an image model."""
    if len(request) > CAPTION_CHARACTERS or "?" in request or "\n" in request.strip():
        return False
    words = WORD.findall(request.lower())
    if len(words) < 4:
        return False
    styled = seen["picture_style"] > 0
    scene = words[0] in CAPTION_STARTS and NO_CAPTION.isdisjoint(words) and not request.rstrip().endswith(":")
    asked = ("translate", "summarize", "say_in", "writing", "rewrite", "extract", "calculate", "creative", "math_thing", "not_picture")
    return (scene or styled) and not any(seen[marker] for marker in asked)


# From markers to probabilities


def probabilities(strength: Mapping[str, int]) -> dict[Task, float]:
    """The softmax of the prior and of every marker's weight. Kinds of chat do not add up: the strongest counts."""
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
    highest = max(sums.values())
    odds = {task: exp((score - highest) / 100) for task, score in sums.items()}
    total = sum(odds.values())
    return {task: odd / total for task, odd in odds.items()}


def signals(strength: Mapping[str, int]) -> tuple[str, ...]:
    """The markers that carry weight, the weightiest first."""
    told = [marker for marker in strength if marker in WEIGHTS]
    return tuple(sorted(told, key=lambda marker: (-abs(WEIGHTS[marker][1]) * strength[marker], marker)))
