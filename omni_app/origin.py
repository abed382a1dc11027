"""What a browser may do here: which origins are ours, what the session cookie is called, whose address counts.

Read by both doors (the `/auth` routes and the pages), so it lives below them.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache

from omni_app.settings import Settings

SESSION_MAX_AGE_S = 7 * 24 * 3600
"""A session ends after this time at the latest; the cookie goes with it."""
LOOPBACK_NAMES = ("127.0.0.1", "localhost")
SUBSCRIBER_BITS = 64
"""What an IPv6 provider gives one customer at the least (RFC 6177)."""
LONGEST_ADDRESS = 45
"""Characters: IPv6 around IPv4, written out."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def allowed_origins(settings: Settings) -> tuple[str, ...]:
    """The exact origins our own pages are opened at: the public one, and loopback by its two names."""
    own = "https" if settings.tls_cert_file else "http"
    names = (settings.origin, *(f"{own}://{name}:{settings.port}" for name in LOOPBACK_NAMES))
    return tuple(dict.fromkeys(names))


def is_https(settings: Settings) -> bool:
    """Whether browsers reach us over TLS."""
    return settings.origin.startswith("https://")


def transport_security(settings: Settings) -> dict[str, str]:
    """On https: browsers come back over TLS alone for a year, to our host and its subdomains (RFC 6797)."""
    subdomains = "; includeSubDomains" if settings.hsts_subdomains == "on" else ""
    return {"strict-transport-security": f"max-age=31536000{subdomains}"} if is_https(settings) else {}


def session_cookie(settings: Settings) -> str:
    """The cookie's name; on https the `__Host-` prefix makes browsers insist on Secure and on this very host."""
    return "__Host-omr_session" if is_https(settings) else "omr_session"


def device_cookie(settings: Settings) -> str:
    """The name of the cookie by which a browser that was logged in before is known again."""
    return "__Host-omr_device" if is_https(settings) else "omr_device"


def half_cookie(settings: Settings) -> str:
    """The name of the cookie of a log-in that still lacks its second factor."""
    return "__Host-omr_half" if is_https(settings) else "omr_half"


def invitation_cookie(settings: Settings) -> str:
    """The name of the cookie in which an invitation waits for its reader's log-in."""
    return "__Host-omr_invitation" if is_https(settings) else "omr_invitation"


def cross_site_reason(headers: Mapping[str, str], settings: Settings) -> str:
    """Empty when a state-changing request comes from our own page, else what is wrong, for the person who sent it.

    `headers` by lower-case name. A request without `Origin` and `Sec-Fetch-Site` does not come from a browser's form.
    """
    origin, site = headers.get("origin", ""), headers.get("sec-fetch-site", "")
    if site not in ("", "same-origin"):
        return "this request came from another site"
    if origin and origin not in allowed_origins(settings):
        return (
            f"this page was opened at {origin[:200]}, but the server is {settings.origin}: open that, or set PUBLIC_URL"
        )
    if not origin and not site:
        return "an Origin header is required"
    return ""


def client_address(peer: str, forwarded_for: Sequence[str], settings: Settings) -> str:
    """Whom limits count: the peer, or what a trusted proxy says about whom it speaks for.

    Walks `X-Forwarded-For` from its end, past `TRUSTED_PROXIES` (addresses or networks, comma-separated). Of IPv6 the
    network counts, since one line has 2^64 addresses.
    """
    hops = [hop.strip() for line in forwarded_for for hop in line.split(",") if hop.strip()]
    address = peer
    while hops and _is_trusted(address, settings.trusted_proxies):
        address = hops.pop()
    parsed = _parsed(address) or _parsed(peer)
    return peer if parsed is None else _subscriber(parsed)


def _parsed(text: str) -> Address | None:
    return _read(text) if len(text) <= LONGEST_ADDRESS else None


# Remembered: sockets are refused by their address, and reading one took longer than all the rest of a refusal.


@lru_cache(maxsize=1_024)
def _read(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


@lru_cache(maxsize=1_024)
def _subscriber(address: Address) -> str:
    """One name for all addresses that one line is given: an IPv4 address, or the first 64 bits of an IPv6 one."""
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, SUBSCRIBER_BITS), strict=False))


@lru_cache(maxsize=16)
def _networks(trusted_proxies: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(one.strip(), strict=False) for one in trusted_proxies.split(",") if one.strip())


def _is_trusted(address: str, trusted_proxies: str) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in _networks(trusted_proxies))
