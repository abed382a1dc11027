"""What the shape of a text tells: code, formulas, numbers, transcripts. No pattern here repeats within a repetition,
so the time of each is linear in the text, whatever the text.
"""

import re

CODE_LINE = re.compile(
    r"^[ \t>$]{0,40}(?:"
    r"(?:async )?def \w+ ?\(|class \w+ ?[(:{]|import [\w{*\"]|from [\w.]+ import|#include|#!/|using [\w.]+;|@\w+(?:\(|$)"
    r"|(?:public|private|protected|static|final|export|async|abstract) \w|function ?\w* ?\(|(?:const|let|var) \w+ ?[=:]"
    r"|return\b[^\n]*;|(?:if|for|while|switch|foreach) ?\(|else ?\{|elif |except\b|try:|fn \w|func \w|package \w|struct \w"
    r"|select\b[^\n]+\bfrom\b|insert into|create table|update \w+ set|<[a-z!/][^\n>]{0,80}>|print ?\(|console\.|system\.out"
    r"|\w{1,40} ?= ?(?:new |\[|\{|\w{1,40}[.(])|(?:npm|pip|git|docker|sudo|apt|curl) \w|[})\]]+[;,)]*$"
    r")|[;{]$",
    re.MULTILINE | re.IGNORECASE,
)
CODE_IN_LINE = re.compile(r"\w\(\)|\w\.\w{1,40}\(|[!=]=|=>|&&|\|\||\w::\w|</\w|\bdef \w{1,40}\(|\w\+\+;|-> ?\w{1,40}:|\w_\w{1,40}\(")
STACK_TRACE = re.compile(
    r"Traceback \(most recent|\b[A-Z]\w{2,40}(?:Error|Exception)\b|^\s{0,20}at [\w.$<>]{1,200}\(|\berror\[E\d|error: |fatal: "
    r"|undefined reference|segmentation fault|core dumped|npm ERR!|panic: |exit code \d",
    re.MULTILINE,
)
FORMULA = re.compile(
    r"\\(?:frac|sqrt|sum|int|lim|begin|cdot|times|left|leq?|geq?|neq|alpha|beta|pi|theta|lambda|math[a-z]{2}|text|angle)\b"
    r"|\$[^$\n]{0,60}[\\^_=][^$\n]{0,60}\$|[∑∫√≤≥≠∞∂∀∃∠△°²³]|\b[a-z]\^|\b[a-zA-Z] ?= ?-?[\d(a-z]|\b[fgh]\([a-z\d]\)"
    r"|\d ?[+*×÷=^] ?-?[\d(a-z]|\d [-/−] \d|\d\^|[a-z)] ?[+\-*/=] ?\d"
)
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
AGENT_LINE = re.compile(
    r"^[ \t#*]{0,8}(?:thought|action|action input|observation|act|tool|function|tool_call|final answer|assistant \(tool\)) ?\d{0,3}\*{0,2}:"
    r"|<tool_?call|<function|<invoke|\"tool_calls\"|\"function\": ?\{|\"arguments\": ?",
    re.MULTILINE | re.IGNORECASE,
)
LISTED = re.compile(r"^[ \t]{0,8}(?:\d{1,2}[.)]|[-*•]) ", re.MULTILINE)
CONSTRAINT = re.compile(r"\b(?:must|exactly|at least|at most|without|only|ensure|no more than|constraints?|requirements?)\b", re.IGNORECASE)


def count(pattern: re.Pattern[str], text: str, *, most: int) -> int:
    """How often the pattern is found, counted no further than `most`."""
    found = 0
    for _ in pattern.finditer(text):
        found += 1
        if found == most:
            break
    return found
