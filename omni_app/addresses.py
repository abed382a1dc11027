"""What an address says of the way to it: whether that leads off this machine, and whether it is closed to others."""

import os
import re
from collections.abc import Container
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from omni_app import authorities

OUR_NAMES = frozenset({"localhost", "localhost.localdomain"})
OVER_TLS = frozenset({"https", "rediss", "smtps"})
BECOMES_TLS = "smtp"
"""The mailer insists on STARTTLS before it says anything."""
SECURE = {"redis": "rediss"}
"""What a scheme is called over TLS, where that is not https."""
UNCHECKED = {"ssl_cert_reqs": ("none", "optional"), "ssl_check_hostname": ("false", "0", "no", "off")}
"""How a Redis client is told to take any certificate."""
VERIFIED = "verify-full"
PORT = re.compile(r":\d*$")


def is_this_machine(host: str) -> bool:
    """Whether a name or address is this machine's own, whatever a resolver says. An empty one is not."""
    if host.lower() in OUR_NAMES:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def clear_problem(url: str, plain_hosts: Container[str]) -> str:
    """What is wrong with the way to a service; empty when others cannot read along. `plain_hosts` may be plain."""
    parts = urlsplit(url)
    host, asked = parts.hostname or "", parse_qsl(parts.query)
    if parts.scheme == "unix" or is_this_machine(host) or host in plain_hosts:
        return ""
    if unchecked := [name for name, value in asked if value.lower() in UNCHECKED.get(name, ())]:
        return f"takes any certificate: leave {unchecked[0]} out, or list {host} in PLAIN_HOSTS"
    if parts.scheme in OVER_TLS or parts.scheme == BECOMES_TLS:
        return ""
    secure = SECURE.get(parts.scheme, "https")
    return f"would be spoken with in the clear: begin it with {secure}://, or list {host or 'its host'} in PLAIN_HOSTS"


def postgres_problem(url: str, plain_hosts: Container[str]) -> str:
    """The same for Postgres, where TLS is a word of the query; without one `verified` says it."""
    sslmode = dict(parse_qsl(urlsplit(url).query)).get("sslmode", VERIFIED)
    if sslmode == VERIFIED or not (far := _far_hosts(url, plain_hosts)):
        return ""
    return (
        f"does not check whom it speaks with: sslmode={VERIFIED} in place of {sslmode}, or list {far[0]} in PLAIN_HOSTS"
    )


def verified(url: str, plain_hosts: Container[str]) -> str:
    """A Postgres URL that insists on TLS and a checked certificate towards other machines, unless it says otherwise."""
    asked = parse_qsl(urlsplit(url).query)
    names = dict(asked)
    if not _far_hosts(url, plain_hosts) or names.get("sslmode", VERIFIED) != VERIFIED:
        return url
    more = {"sslmode": VERIFIED}
    if names.get("sslrootcert", "system") == "system" and "PGSSLROOTCERT" not in os.environ:
        more["sslrootcert"] = authorities.file()  # psycopg's own OpenSSL does not know where this system keeps them
    return f"{url.partition('?')[0]}?{urlencode([*(pair for pair in asked if pair[0] not in more), *more.items()])}"


def _far_hosts(url: str, plain_hosts: Container[str]) -> list[str]:
    """Those of a Postgres URL that are on other machines, and may not be plain."""
    parts = urlsplit(url)
    said = [value for name, value in parse_qsl(parts.query) if name in ("host", "hostaddr")]
    hosts = ",".join([unquote(parts.netloc.rpartition("@")[2]), *said]).split(",")
    bare = [(PORT.sub("", one) if one.count(":") < 2 or "]" in one else one).strip("[]").lower() for one in hosts]
    return [one for one in bare if one and one[0] not in "/@" and not is_this_machine(one) and one not in plain_hosts]
