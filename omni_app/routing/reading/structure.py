"""What the shape of a text tells: code, formulas, numbers, transcripts of agents.

Patterns begin with the rare character that they are about, so that a search runs at C's speed through text without
it, and none repeats within a repetition: time is linear in the text, whatever the text.
"""

import re
from collections.abc import Mapping, Sequence
from string import punctuation

from omni_app.routing.reading.lexicon import MARKERS
from omni_app.routing.reading.words import has_any, phrase_set, word_set

NO_SIGNS = bytes(set(range(256)) - set(punctuation.replace("_", "").encode()))


def signs_of(text: str) -> str:
    """The punctuation of a text in its order, ASCII's alone: what it does not hold, the text does not hold either."""
    return text.encode("utf-8", "surrogatepass").translate(None, NO_SIGNS).decode("ascii")


def with_signs(*pieces: str) -> Mapping[str, str]:
    """Pieces of text to be looked for, each with the signs that it has."""
    return {piece: signs_of(piece) for piece in pieces}


HEAD, TAIL = 1000, 500
"""Characters of the opening and of the close by which the shape of a text is told; decision 61."""
MOST_LINES = 150
"""Lines looked at one by one."""

CODE_STARTS = word_set(
    """
    def #include #define elif const var fn func impl struct namespace using async await public private protected static
    void int float double char bool boolean String auto import package #!/bin/bash #!/usr/bin/env >>> $ try: else:
    finally: except: } }else console.log print SELECT INSERT UPDATE DELETE CREATE ALTER FROM WHERE npm pip git docker
    sudo curl apt-get <?php <!DOCTYPE BEGIN DECLARE
    """
)
"""First words of lines that are code; capitals matter."""
CODE_STARTS_IF_PUNCTUATED = word_set(
    "class from for if while return function let with switch case except catch else type interface export enum do"
)
"""First words of lines that are code when the line also ends or goes on like code."""
BULLETS = frozenset({"- ", "* ", "• "})
CODE_ENDS = frozenset(";{}),>")
"""The last character of these."""
CODE_LINE_ENDS = (";", "{", "}", "};", "})", "});", "},", "];", "/>")
CODE_SIGNS = with_signs(
    *("()", "==", "!=", "=>", "&&", "||", "::", "</", "->", "+=", "++;", "${", "/>", "def ", "):", "[i]", "[0]")
)
"""Signs of code within a line of text."""
MARKUP = re.compile(r"[`(=!&|:<>+$/\[\"\\^*×÷−∑∫√≤≥≠∞∂∀∃∠△²³：-]|def ")
"""A text without one of these has neither code signs, nor formulas, nor labels, nor tags."""
STACK_TRACE_HINTS = ("rror", "xception", "raceback", "fault", "panic:", "fatal:", "undefined ref", "core dumped")
"""One of these stands in what looks like a trace by its shape alone, too."""
STACK_TRACE_WORDS = with_signs(
    "Traceback (most recent",
    "undefined reference",
    "Segmentation fault",
    "segmentation fault",
    "core dumped",
    "error: ",
)
STACK_TRACE_STARTS = ("panic: ", "fatal: ")
"""Of a line."""
ERROR_NAME = re.compile(r"[A-Z](?<!\w[A-Z])\w{2,40}(?:Error|Exception)\b")
ERROR_CODE = re.compile(r"error\[E\d")
CALLED_AT = re.compile(r"at [\w.$<>]{1,200}\(")
DEEPEST_INDENT = 20
LATEX = re.compile(
    r"\\(?:frac|sqrt|sum|int|lim|begin|cdot|times|left|neq|alpha|beta|pi|theta|overline|math|text|angle|le|ge)|\$[a-zA-Z(\\]"
)
FORMULA = re.compile(
    r"[=^+*×÷/−∑∫√≤≥≠∞∂∀∃∠△²³-](?:"
    r"(?<=[\d)}a-zA-Z ][=^+*×÷]) ?-?(?:[\d(\\]|[a-z]\b)"  # 2+3, x = 5, y=2x, 2^n
    r"|(?<=\d [-−/]) \d"  # 5 - 3, but no dates
    r"|(?<=[∑∫√≤≥≠∞∂∀∃∠△²³]))"
)
NUMBER = re.compile(r"\d\d*(?:[.,]\d+)*")
MEASURED = re.compile(
    r"[$€£¥₹₽\d](?:(?<=[$€£¥₹₽]) ?\d|(?<=\d)[\d.,]{0,12} ?(?:%|‰|°|[$€£¥₹₽]|(?:"
    r"[mckμµn]?m|k?g|mg|m?l|k?m/[sh]|mph|k?Pa|k?J|k?Wh?|m?V|m?A|k?Hz|eV|mol|ms|cm²|m²|mm Hg|atm|ohms?|volts?|newtons?"
    r"|joules?|watts?|lit(?:er|re)s?|gallons?|met(?:er|re)s?|feet|inch(?:es)?|degrees?|seconds?|minutes?|hours?"
    r"|м|см|мм|км|кг|г|м/с|км/ч|Па|Дж|к?Вт|Н|Ом|моль|градус\w{0,4})\b"
    r"|米|厘米|千米|公里|毫米|千克|公斤|克|升|毫升|平方|立方|元|度|小时|分钟|秒|千瓦|牛|焦|円|時間|分|시간))"
)
"""A quantity: a number with its unit, or money."""
AGENT_LINES = phrase_set(
    """
    thought, action, action input, observation, think, act, obs, tool, function, tool call, tool result
    tool_call, tool_result, command, final answer, last action, next action, gedanke, aktion
    aktionseingabe, beobachtung, pensée, entrée de l'action, pensamiento, acción, entrada de la acción
    observación, pensamento, ação, observação, pensiero, azione, osservazione, мысль, действие
    наблюдение, düşünce, eylem, gözlem, myśl, akcja, obserwacja, gedachte, actie, observatie, pemikiran
    tindakan, pengamatan, 思考, 行动, 行动输入, 动作, 观察, 工具返回, 観察, 行動, 行動入力, 생각, 행동, 관찰
    الفكرة, الإجراء, الملاحظة, विचार, क्रिया, अवलोकन
    """
)
"""What stands before the colon in the transcripts of agents that work in plain text."""
LABEL = 28
"""Characters of a line in which its label ends."""
LANGUAGES = phrase_set(MARKERS["language"])
"""What stands before the colon in lines that give the same text in several languages."""
AGENT_TAGS = with_signs(
    *("<tool_call", "<tool_result", "<tool_response", "<observation", "<function", "<invoke"),
    *('"tool_calls"', '"arguments":', '"parameters":{', '"parameters": {', '"input_schema"', '"action":', '"tool":'),
)


class Shape:
    """A text with what its shape is told by: its ends, the signs in them, and their lines."""

    __slots__ = ("ends", "lines", "signs", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.ends = text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"
        self.signs = signs_of(self.ends)
        self.lines = self.ends.split("\n", MOST_LINES)
        """Up to `MOST_LINES`, and the rest as one more."""

    def holds(self, pieces: Mapping[str, str], *, most: int) -> int:
        """How many of the pieces (`with_signs`) stand in the ends, counted no further than `most`."""
        found = 0
        for piece, signs in pieces.items():
            if signs in self.signs and piece in self.ends:
                found += 1
                if found == most:
                    break
        return found


def code_lines(shape: Shape, *, most: int) -> int:
    """How many lines look like source code, counted no further than `most`."""
    found = 0
    for line in filter(None, map(str.strip, shape.lines[:MOST_LINES])):
        if is_code_line(line):
            found += 1
            if found == most:
                break
    return found


def is_code_line(line: str) -> bool:
    """Whether a stripped line, not an empty one, is source code: by its first word and its end."""
    if line[-1] in CODE_ENDS and line.endswith(CODE_LINE_ENDS):
        return True
    first = line.split(None, 1)[0]
    start = first.partition("(")[0]
    if start in CODE_STARTS:
        return True
    if start in CODE_STARTS_IF_PUNCTUATED:
        return line[-1] in ":()" or "(" in first or " import " in line or " = " in line
    return first[0] == "<" and line[-1] == ">"


def has_stack_trace(shape: Shape) -> bool:
    """Whether the text quotes an error of a compiler or a program."""
    text, signs = shape.ends, shape.signs
    return (
        shape.holds(STACK_TRACE_WORDS, most=1) > 0
        or (":" in signs and any(text.startswith(start) or f"\n{start}" in text for start in STACK_TRACE_STARTS))
        or (("Error" in text or "Exception" in text) and ERROR_NAME.search(text) is not None)
        or ("[" in signs and ERROR_CODE.search(text) is not None)
        or (("!" in signs or "(" in signs) and _looks_like_trace(text) and has_any(text, STACK_TRACE_HINTS))
    )


def _looks_like_trace(text: str) -> bool:
    """Whether it has the lines of a trace, which may be something else if no error is spoken of."""
    return "npm ERR!" in text or any(_begins_line(text, found.start()) for found in CALLED_AT.finditer(text))


def _begins_line(text: str, place: int) -> bool:
    """Whether nothing but a small indent stands before it in its line."""
    indent = text[text.rfind("\n", 0, place) + 1 : place]
    return len(indent) <= DEEPEST_INDENT and not indent.strip(" \t")


def line_labels(shape: Shape) -> list[str]:
    """What stands before the colon that a line begins with, in lower case: `thought`, `french`, `subject`."""
    heads = [line[:LABEL] for line in shape.lines[:MOST_LINES]]
    if "：" in shape.ends:
        heads = [head.replace("：", ":") for head in heads]
    return [head.partition(":")[0].strip(" \t*#[]").lower() for head in heads if ":" in head]


def agent_lines(shape: Shape, labels: Sequence[str], *, most: int) -> int:
    """How many lines are those of an agent's transcript (`Action: …`, `tool: …`) or of a tool call's markup."""
    found = sum([label in AGENT_LINES for label in labels])
    return most if found >= most else found + shape.holds(AGENT_TAGS, most=most - found)


def listed_lines(shape: Shape, *, most: int) -> int:
    """How many lines are items of a list, counted no further than `most`."""
    found = 0
    for line in shape.lines:
        start = line.lstrip()[:2]
        if start in BULLETS or start[:1].isdigit():
            found += 1
            if found == most:
                break
    return found


def options(text: str) -> int:
    """How many answers a text offers to choose from: pieces that begin `A.`, `B)`, `(C)`, one after the other."""
    found, start = 0, 0
    for letter in "ABCD":
        places = [text.find(f"{letter}{mark}", start) for mark in (". ", ") ", ": ")]
        at = min((place for place in places if place >= 0), default=-1)
        if at < 0 or (at and text[at - 1] not in " \n(["):
            break
        found, start = found + 1, at + 1
    return found


def count(pattern: re.Pattern[str], text: str, *, most: int) -> int:
    """How often the pattern is found, counted no further than `most`."""
    found = 0
    for _ in pattern.finditer(text):
        found += 1
        if found == most:
            break
    return found
