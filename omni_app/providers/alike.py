"""Chunks of a stream that are alike but for their text, as nearly all of a stream in OpenAI's format are.

What stands around the text of a chunk that was read in full is remembered, byte for byte. Of a chunk that has the same
around its text only the text is parsed: the rest says again what it said before. On the path of every streamed word.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

NAME = b'"content":'
CONTENT = re.compile(rb'"content":\s*("(?:[^"\\]|\\.)*")')
TEXT_ALONE = frozenset({"role", "content"})
MOST_TRIES = 3
"""Chunks in a row that are remembered in vain: some providers put something else into each."""


class Alike:
    """Of one stream: the bytes before the text and those behind it."""

    __slots__ = ("_after", "_before", "_tries")

    def __init__(self) -> None:
        self._before = self._after = b""
        self._tries = 0

    def text_of(self, data: bytes) -> str:
        """The text of a chunk that is like the last one remembered; "" when it is not, or has none."""
        before, after = self._before, self._after
        if not before or not data.startswith(before) or not data.endswith(after):
            return ""
        try:
            text = orjson.loads(data[len(before) : len(data) - len(after)])
        except orjson.JSONDecodeError:
            return ""
        if not isinstance(text, str):
            return ""
        self._tries = 0
        return text

    def remember(self, data: bytes, chunk: Mapping[str, Any]) -> None:
        """To be told of each chunk that was read in full, with what it was parsed to: one that is text alone stands for
        those that come.
        """
        if self._tries < MOST_TRIES and _is_text_alone(chunk) and data.count(NAME) == 1:
            self._tries += 1
            if found := CONTENT.search(data):
                self._before, self._after = data[: found.start(1)], data[found.end(1) :]


def _is_text_alone(chunk: Mapping[str, Any]) -> bool:
    """Whether it adds text to the first choice and says nothing else."""
    choices = chunk.get("choices")
    if chunk.get("usage") is not None or "x_groq" in chunk or not isinstance(choices, list) or len(choices) != 1:
        return False
    (choice,) = choices
    said_more = choice.get("index") or choice.get("logprobs") is not None or choice.get("finish_reason") is not None
    delta = choice.get("delta")
    if said_more or not isinstance(delta, dict) or not delta.get("content"):
        return False
    return all(value is None or name in TEXT_ALONE for name, value in delta.items())
