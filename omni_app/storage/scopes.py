"""Scopes: what an API key may be used for. A key without any set may be used for all of it."""

from collections.abc import Iterable
from enum import StrEnum

from omni_app.errors import InvalidRequest


class Scope(StrEnum):
    """One use of a key. Which route wants which one stands in `omni_app.api.scopes`."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    IMAGES = "images"
    MODELS = "models"
    USAGE = "usage"
    DEBUG = "debug"


MEANS: dict[Scope, str] = {
    Scope.CHAT: "conversations, agent steps and messages",
    Scope.EMBEDDINGS: "embeddings",
    Scope.IMAGES: "image generation",
    Scope.MODELS: "the list of models",
    Scope.USAGE: "figures and the export of requests",
    Scope.DEBUG: "what the router would choose",
}
"""In words, for people."""


def checked_scopes(names: Iterable[object]) -> frozenset[Scope]:
    """The scopes of these names. Raises `InvalidRequest` for one that there is not, and for none at all."""
    scopes = frozenset(map(_scope, names))
    if not scopes:
        raise InvalidRequest("scopes: name at least one, or leave them out to allow all", param="scopes")
    return scopes


def _scope(name: object) -> Scope:
    if isinstance(name, str) and name in Scope.__members__.values():
        return Scope(name)
    raise InvalidRequest(f"scopes: each must be one of {', '.join(Scope)}", param="scopes")


def stored_scopes(names: Iterable[str] | None) -> frozenset[Scope] | None:
    """What a row says. A name that this version does not know, of a later one, allows nothing here."""
    return None if names is None else frozenset(Scope(one) for one in names if one in Scope.__members__.values())


def in_words(scopes: frozenset[Scope] | None) -> str:
    """Short, for lists: `all`, or their names in one order."""
    return "all" if scopes is None else ", ".join(one for one in Scope if one in scopes) or "none"
