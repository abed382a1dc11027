"""A request's head as bytes: written again for who parses it anew, and read without a parser where it is plain."""

from omni_app.server.exchange import Headers

WISH = frozenset({b"upgrade", b"http2-settings"})
"""Headers, and words in `connection`, that ask for another protocol."""


def written(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """The whole head."""
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode())]
    return b"\r\n".join([*lines, *(b"%b: %b" % pair for pair in headers), b"", b""])


def without_wish(headers: Headers) -> Headers:
    """What is left when the wish for another protocol is let pass, as a server may (RFC 9110, 7.8)."""
    kept = [(name, _without_words(value) if name == b"connection" else value) for name, value in headers]
    return [(name, value) for name, value in kept if name not in WISH]


def _without_words(value: bytes) -> bytes:
    return b", ".join(word for one in value.split(b",") if (word := one.strip()).lower() not in WISH)


def whole_post(data: bytes) -> str:
    """The path of a POST whose head and body are these bytes exactly; empty when that is not plain to see."""
    end = data.find(b"\r\n\r\n")
    line, mark, head = data[: max(0, end)].partition(b"\r\n")
    head = mark + head.lower()
    method, _, rest = line.partition(b" ")
    path, _, version = rest.partition(b" ")
    if method != b"POST" or version != b"HTTP/1.1" or not path.isascii() or head.count(b"content-length") != 1:
        return ""
    if any(word in head for word in (b"transfer-encoding", b"expect", b"upgrade", b"close")):
        return ""
    length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0].strip()
    return path.decode("ascii") if length.isdigit() and int(length) == len(data) - end - 4 else ""
