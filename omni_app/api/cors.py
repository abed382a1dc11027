"""The one other origin whose pages may call `/v1`: what browsers ask for and obey, never with credentials."""

import re
from collections.abc import Mapping

from starlette.types import Scope

Headers = list[tuple[bytes, bytes]]

EXPOSED = (
    *("x-request-id", "retry-after", "x-should-retry", "idempotent-replayed", "x-omni-model", "x-omni-fallbacks"),
    *("x-omni-cost-usd", "x-omni-billed-usd", "x-omni-overhead-ms", "x-ratelimit-mode", "x-ratelimit-limit"),
    *("x-ratelimit-remaining", "x-ratelimit-reset", "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens"),
    "x-ratelimit-reset-tokens",
)
"""What a page may read of an answer: every header that docs/API.md tells of."""
EXPOSES = b"access-control-expose-headers", ", ".join(EXPOSED).encode()
NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name (RFC 9110)."""


def answer_headers(scope: Scope, origin: bytes) -> Headers:
    """What any answer says when the allowed origin is `origin`; nothing without one."""
    if not origin:
        return []
    vary = (b"vary", b"Origin")
    if _asked(scope).get(b"origin") != origin:
        return [vary]
    return [vary, (b"access-control-allow-origin", origin), EXPOSES]


def preflight_headers(scope: Scope, origin: bytes) -> Headers:
    """What the answer to a preflight says: the page may send the headers that its client wants to.

    No list of ours: SDKs send a dozen of their own, which differ by version and tell the server nothing.
    """
    asked = _asked(scope)
    if not origin or asked.get(b"origin") != origin:
        return answer_headers(scope, origin)
    names = (name.strip() for name in asked.get(b"access-control-request-headers", b"").split(b","))
    return [
        (b"vary", b"Origin, Access-Control-Request-Headers"),
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", b", ".join(name for name in names if NAME.fullmatch(name))),
        (b"access-control-max-age", b"600"),
    ]


def _asked(scope: Scope) -> Mapping[bytes, bytes]:
    return dict(scope["headers"])
