"""Whose address it is: what is said to this machine itself nobody on the way can read."""

from ipaddress import ip_address

OUR_NAMES = frozenset({"localhost", "localhost.localdomain"})


def is_this_machine(host: str) -> bool:
    """Whether a name or address is this machine's own, whatever a resolver says. An empty one is not."""
    if host.lower() in OUR_NAMES:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
