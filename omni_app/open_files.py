"""How many files this process may have open. Each connection is one: a caller's, and a provider's for its request.

With none left a server cannot take connections, and nobody learns why; so requests are refused before that.
"""

import resource

ENOUGH = 65_536
OWN = 256
"""For what is no request's: database, spool, packages, the server's own. A worker uses some 30 (measured)."""


def raise_limit() -> int:
    """Raises the soft limit as far as the hard one allows, to `ENOUGH`; gives what it is now.

    The soft limit is 1,024 on most systems for the sake of programs that use `select()`; others are meant to raise it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return ENOUGH
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def room_for_requests(limit: int) -> int:
    """How many requests may be in flight with `limit` files: two each, and as many callers that have nothing to ask."""
    return max(1, (limit - OWN) // 3)


def room_for_connections(limit: int, *, in_flight: int) -> int:
    """How many callers may be connected when `in_flight` of them have a request under way."""
    return max(1, limit - OWN - in_flight)
