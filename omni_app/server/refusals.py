"""What an app may say of a request by its head alone: `app.refusals`, where it has one."""

from collections.abc import Callable
from typing import Final, Protocol

from starlette.types import Scope

LET_IN: Final = "let_in"
"""In a websocket's `state`: its app has been asked by its head alone, and did not refuse it."""


class Refusals(Protocol):
    """Asked before anything is made of a request."""

    @property
    def crowded(self) -> Callable[[], bool]:
        """Tells whether some requests are refused now: then it is worth asking. Costs next to nothing."""
        ...

    def refusal(self, scope: Scope) -> bytes:
        """A whole answer in HTTP/1.1, after which its connection goes on; empty to let the request in.

        Asked once of each websocket, whose connection ends with the answer.
        """
        ...

    def let_in(self, scope: Scope) -> None:
        """Told of each request that the app is going to be called for."""
        ...


class EverybodyIsLetIn:
    """Of an app without refusals."""

    def crowded(self) -> bool:
        return False

    def refusal(self, scope: Scope) -> bytes:
        del scope
        return b""

    def let_in(self, scope: Scope) -> None:
        del scope
