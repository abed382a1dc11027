"""How many values a JSON text holds, counted as it comes: what has too many is refused before it is whole.

Each value is an object in memory: 9 MB of empty messages become 90 MB (measured), and a second of work for nobody.
"""

import re

MOST_PIECES = 60_000
"""Strings, and separators between them, of one body. Stated: 2,000 messages, the most there may be, have 20,000."""
MOST_STRINGS = 30_000
"""Of them. They are told from their quotes alone, which takes a tenth of the time."""
DENSE_BYTES = 40
"""Where a separator or a quote comes every so many bytes or oftener, they are looked at; prose has one in 80."""
LOOK_BYTES = 16_384
"""What is looked at closely in one go."""
STRING = re.compile(rb'"[^"]*+"')
"""A string without escapes; in it nothing is counted."""


class ValueCount:
    """Of one body. Pieces of it go in one after the other; nothing is kept of them but what the counting needs."""

    __slots__ = ("_all_quotes", "_all_separators", "_bytes", "_fresh", "_held", "_in_string", "_quotes",
                 "_separators", "_strings", "_unread")  # fmt: skip

    def __init__(self) -> None:
        self._bytes = self._quotes = self._separators = 0
        self._all_quotes = self._all_separators = 0
        """In strings too."""
        self._strings = 0.0
        """Where an escape is cut in two by the pieces, one half too many or too few."""
        self._fresh: list[bytes] = []
        """Pieces of the body that were not looked at yet."""
        self._unread: list[bytes] = []
        """Those that were counted quickly alone."""
        self._held = b""
        """A backslash at the end of a piece: what it escapes comes with the next one."""
        self._in_string = False

    def too_many(self, part: bytes) -> bool:
        """Whether with this piece there are too many. Exact only where a quick count leaves it open: in most bodies
        there are not so many separators and quotes at all, in or outside of strings.
        """
        self._bytes += len(part)
        self._fresh.append(part)
        if self._bytes <= MOST_PIECES:
            return False  # a shorter body cannot hold them
        for one in self._fresh:
            quotes = one.count(b'"')
            self._all_quotes += quotes
            self._all_separators += _separators(one)
            self._strings += (quotes - _escaped(one)) / 2
        self._unread += self._fresh
        self._fresh.clear()
        if self._all_separators + self._all_quotes <= max(MOST_PIECES, self._bytes // DENSE_BYTES):
            return False
        if self._strings > MOST_STRINGS:
            return True
        if self._all_separators + self._strings <= MOST_PIECES:
            return False
        unread, self._unread = self._unread, []
        return any(self._beyond(one) for one in unread)

    def _beyond(self, part: bytes) -> bool:
        """Reads a piece until there are too many: looking closely takes ten times as long as a quick count."""
        for start in range(0, len(part), LOOK_BYTES):
            self._read(part[start : start + LOOK_BYTES])
            if self._quotes // 2 + self._separators > MOST_PIECES:
                return True
        return False

    def _read(self, part: bytes) -> None:
        text = self._held + part
        ending = len(text) - len(text.rstrip(b"\\"))
        self._held = b"\\" if ending % 2 else b""
        plain = text[: len(text) - len(self._held)].replace(rb"\\", b"").replace(rb"\"", b"")
        self._quotes += plain.count(b'"')
        if self._in_string:
            _, quote, plain = plain.partition(b'"')
            self._in_string = not quote
        outside, quote, _ = STRING.sub(b"", plain).partition(b'"')
        self._in_string = self._in_string or bool(quote)
        self._separators += _separators(outside)


def _escaped(text: bytes) -> int:
    """Quotes that end no string."""
    return text.replace(rb"\\", b"").count(rb"\"") if b"\\" in text else 0


def _separators(text: bytes) -> int:
    return text.count(b",") + text.count(b"{") + text.count(b"[")
