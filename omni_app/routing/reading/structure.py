"""What the shape of a text tells: code, formulas, numbers, transcripts of agents.

Patterns begin with the rare character that they are about, so that a search runs at C's speed through text without
it, and none repeats within a repetition: time is linear in the text, whatever the text.
"""

import re

from omni_app.routing.reading.words import word_set

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
CODE_LINE_ENDS = (";", "{", "}", "};", "})", "});", "},", "];", "/>")
CODE_SIGNS = ("()", "==", "!=", "=>", "&&", "||", "::", "</", "->", "+=", "++;", "${", "/>", "def ", "):", "[i]", "[0]")
"""Signs of code within a line of text."""
STACK_TRACE_HINTS = ("rror", "xception", "raceback", "fault", "panic:", "fatal:", "undefined ref", "core dumped")
STACK_TRACE = re.compile(
    r"Traceback \(most recent|\b[A-Z]\w{2,40}(?:Error|Exception)\b|^[ \t]{0,20}at [\w.$<>]{1,200}\(|error\[E\d"
    r"|undefined reference|[Ss]egmentation fault|core dumped|npm ERR!|^panic: |^fatal: |error: ",
    re.MULTILINE,
)
LATEX = re.compile(
    r"\\(?:frac|sqrt|sum|int|lim|begin|cdot|times|left|neq|alpha|beta|pi|theta|overline|math|text|angle|le|ge)|\$[a-zA-Z(\\]"
)
FORMULA = re.compile(
    r"[=^+*×÷/−∑∫√≤≥≠∞∂∀∃∠△²³-](?:"
    r"(?<=[\d)}a-zA-Z ][=^+*×÷]) ?-?(?:[\d(\\]|[a-z]\b)"  # 2+3, x = 5, y=2x, 2^n
    r"|(?<=\d [-−/]) \d"  # 5 - 3, but no dates
    r"|(?<=[∑∫√≤≥≠∞∂∀∃∠△²³]))"
)
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
AGENT_LINES = frozenset(
    [
        "thought",
        "action",
        "action input",
        "observation",
        "think",
        "act",
        "tool",
        "function",
        "tool_call",
        "tool_result",
        "final answer",
        "last action",
        "next action",
        "思考",
        "行动",
        "观察",
    ]
)
"""What stands before the colon in the transcripts of agents that work in plain text."""
AGENT_TAGS = (
    "<tool_call",
    "<tool_result",
    "<tool_response",
    "<observation",
    "<function",
    "<invoke",
    '"tool_calls"',
    '"arguments":',
)


def code_lines(text: str, *, most: int) -> int:
    """How many lines look like source code, counted no further than `most`."""
    found = 0
    for line in text.split("\n", MOST_LINES)[:MOST_LINES]:
        found += is_code_line(line.strip())
        if found == most:
            break
    return found


def is_code_line(line: str) -> bool:
    """Whether a stripped line is source code, by its first word and its end."""
    if not line:
        return False
    if line.endswith(CODE_LINE_ENDS):
        return True
    first = line.split(None, 1)[0]
    start = first.partition("(")[0]
    if start in CODE_STARTS:
        return True
    if start in CODE_STARTS_IF_PUNCTUATED:
        return line[-1] in ":()" or "(" in first or " import " in line or " = " in line
    return first[0] == "<" and line[-1] == ">"


def code_signs(text: str, *, most: int) -> int:
    """How many different signs of code stand in a text, counted no further than `most`."""
    return min(most, sum([sign in text for sign in CODE_SIGNS]))


def has_stack_trace(text: str) -> bool:
    """Whether the text quotes an error of a compiler or a program."""
    return any(hint in text for hint in STACK_TRACE_HINTS) and STACK_TRACE.search(text) is not None


def agent_lines(text: str, *, most: int) -> int:
    """How many lines are those of an agent's transcript (`Action: …`, `tool: …`) or of a tool call's markup."""
    found = sum(tag in text for tag in AGENT_TAGS)
    for line in text.split("\n", MOST_LINES)[:MOST_LINES]:
        if found >= most:
            return most
        name, colon, _ = line[:24].partition(":")
        found += bool(colon) and name.strip(" \t*#").lower() in AGENT_LINES
    return min(found, most)


def listed_lines(text: str, *, most: int) -> int:
    """How many lines are items of a list, counted no further than `most`."""
    items = sum(
        line.lstrip()[:2] in ("- ", "* ", "• ") or line.lstrip()[:1].isdigit() for line in text.split("\n", MOST_LINES)
    )
    return min(items, most)


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
