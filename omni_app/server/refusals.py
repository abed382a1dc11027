"""What an app may say of a request by its head alone: `app.refusal`, where it has one."""

from collections.abc import Callable

from starlette.types import Scope

Refusals = Callable[[Scope], bytes]
"""A whole answer in HTTP/1.1, after which its connection goes on; empty to let the request in."""


def never(scope: Scope) -> bytes:
    """Of an app that hears everybody."""
    del scope
    return b""
