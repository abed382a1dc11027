"""Whether a streamed answer goes on beyond the `max_tokens` that its provider was told.

Most providers tell no tokens while a stream runs, so two signs stand for them. A piece of an answer is made of one
token or more: one piece more than there may be tokens is certain. Providers that send many tokens in a piece are found
out by the estimate: of 1,924 texts (English, Python, JSON, shell) it was above OpenAI's count of cl100k tokens in 15,
and by 3 % at the most, once whitespace in a row counts as one character; scripts whose tokens have several characters
come to a third more. So an honest answer is not cut, and a dishonest one soon is.
"""

import re
from dataclasses import dataclass

from omni_app.routing.tokens import token_hundredths

WHITESPACE = re.compile(r"\s{2,}")
"""Tokenizers take it together; indented code would seem twice as long."""
MARGIN_PERCENT = 50
FEW_TOKENS = 16
"""Beside the margin: of a short answer the estimate says little."""


@dataclass(slots=True)
class Meter:
    """One answer's. `limit`: the most tokens that it may have."""

    limit: int
    pieces: int = 0
    """Tokens that are certain: a piece has one or more, and a provider may tell of more."""
    hundredths: int = 0
    """Estimated tokens, in hundredths."""

    def add(self, text: str) -> None:
        """More of the answer has come, or of the thoughts before it."""
        self.pieces += 1
        self.hundredths += token_hundredths(WHITESPACE.sub(" ", text))

    def tell(self, tokens: int) -> None:
        """The provider counts so many so far, what it does not show included."""
        self.pieces = max(self.pieces, tokens)

    @property
    def is_over(self) -> bool:
        """Whether more has come than the provider was to write."""
        most = (100 + MARGIN_PERCENT) * self.limit + 100 * FEW_TOKENS
        return self.pieces > self.limit or self.hundredths > most
