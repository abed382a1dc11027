"""Where a request ends: nobody gets a second one in by telling it in two ways. Raw bytes to the whole product's server.

A proxy in front may read the same bytes otherwise; what it takes for a body must never be a request here.
"""

import asyncio

import pytest

from tests.security.raw_client import Heard, say, say_in_pieces

SMUGGLED = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
"""What would be answered 200, if it were taken for a request of its own."""
LENGTH = str(len(SMUGGLED)).encode()
SECOND_S = 1.0


def head(*headers: bytes, line: bytes = b"POST /v1/chat HTTP/1.1") -> bytes:
    return b"\r\n".join([line, b"Host: x", *headers, b"", b""])


CHUNKED = b"Transfer-Encoding: chunked"
END = b"0\r\n\r\n"

TWO_WAYS = {
    "a length and chunks (CL.TE)": head(b"Content-Length: 39", CHUNKED) + END + SMUGGLED,
    "chunks and a length (TE.CL)": head(CHUNKED, b"Content-Length: 4") + b"22\r\n" + SMUGGLED + b"\r\n" + END,
    "two lengths": head(b"Content-Length: 0", b"Content-Length: " + LENGTH) + SMUGGLED,
    "a list of lengths": head(b"Content-Length: 0, " + LENGTH) + SMUGGLED,
    "a length with a sign": head(b"Content-Length: +0") + SMUGGLED,
    "a negative length": head(b"Content-Length: -1") + SMUGGLED,
    "a hexadecimal length": head(b"Content-Length: 0x0") + SMUGGLED,
    "a length beyond 64 bits": head(b"Content-Length: 99999999999999999999999") + SMUGGLED,
    "a space before the colon": head(b"Content-Length : 0") + SMUGGLED,
    "a tab before the colon": head(b"Content-Length\t: " + LENGTH) + SMUGGLED,
    "chunked with a space": head(b"Transfer-Encoding : chunked") + END + SMUGGLED,
    "an unknown coding": head(b"Transfer-Encoding: xchunked") + END + SMUGGLED,
    "a coding after chunked": head(b"Transfer-Encoding: chunked, identity") + END + SMUGGLED,
    "identity and a length": head(b"Transfer-Encoding: identity", b"Content-Length: " + LENGTH) + SMUGGLED,
    "chunked told twice": head(CHUNKED, b"Transfer-Encoding: identity") + END + SMUGGLED,
    "chunked on a folded line": head(b"Transfer-Encoding:\r\n chunked") + END + SMUGGLED,
    "chunked behind a control character": head(b"Transfer-Encoding: \x0bchunked") + END + SMUGGLED,
    "chunked in HTTP/1.0": head(CHUNKED, b"Connection: keep-alive", line=b"POST /v1/chat HTTP/1.0") + END + SMUGGLED,
    "a folded line": head(b"X-A: a\r\n b", line=b"GET /health HTTP/1.1") + SMUGGLED,
    "a line that ends with CR": head(b"X-A: a\rX-B: b", line=b"GET /health HTTP/1.1") + SMUGGLED,
    "a space in a name": head(b"X A: b", line=b"GET /health HTTP/1.1") + SMUGGLED,
    "a space before the first name": b"GET /health HTTP/1.1\r\n Host: x\r\n\r\n" + SMUGGLED,
    "a line without a colon": head(b"nothing", line=b"GET /health HTTP/1.1") + SMUGGLED,
    "an empty name": head(b": b", line=b"GET /health HTTP/1.1") + SMUGGLED,
    "NUL in a value": head(b"X-A: a\0b", line=b"GET /health HTTP/1.1") + SMUGGLED,
    "NUL in a name": head(b"X\0A: b", line=b"GET /health HTTP/1.1") + SMUGGLED,
    "a space in the target": head(line=b"GET /health x HTTP/1.1") + SMUGGLED,
    "a version that is none": head(line=b"GET /health HTTP/2.0") + SMUGGLED,
    "no version": b"GET /health\r\n\r\n" + SMUGGLED,
    "another protocol's greeting": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}
CHUNKS = {
    "a size that is no number": b"zz\r\n{}\r\n" + END,
    "a negative size": b"-2\r\n{}\r\n" + END,
    "a size with 0x": b"0x2\r\n{}\r\n" + END,
    "a size beyond 64 bits": b"10000000000000002\r\n{}\r\n" + END,
    "a chunk without its end": b"2\r\n{}xx" + END,
    "sizes that end with LF": b"2\n{}\n0\n\n",
    "LF in an extension": b"2;\nxx\r\n{}\r\n" + END,
    "an extension of 100 kB": b"2;a=" + b"b" * 100_000 + b"\r\n{}\r\n" + END,
}


def refused(heard: Heard) -> bool:
    """At most one request was seen, it was not served, and nothing further will be read."""
    return heard.closed and len(heard.statuses) <= 1 and 200 not in heard.statuses


async def every(address: str, cases: dict[str, bytes]) -> dict[str, Heard]:
    heard = await asyncio.gather(*(say(address, data, within_s=5 * SECOND_S) for data in cases.values()))
    return dict(zip(cases, heard, strict=True))


async def test_a_request_whose_end_is_told_in_two_ways_is_never_two(whole_product: str) -> None:
    found = await every(whole_product, TWO_WAYS)
    assert {name: (one.statuses, one.closed) for name, one in found.items() if not refused(one)} == {}


@pytest.mark.parametrize("key", ["X-API-Key: {key}", "X-Nothing: {key}"], ids=["read to its end", "refused unread"])
async def test_a_broken_chunk_ends_the_connection(whole_product: str, key: str, test_key: str) -> None:
    who = key.format(key=test_key).encode()
    cases = {name: head(CHUNKED, who) + body + SMUGGLED for name, body in CHUNKS.items()}
    found = await every(whole_product, cases)
    assert {name: (one.statuses, one.closed) for name, one in found.items() if not refused(one)} == {}


async def test_with_chunks_and_a_length_it_is_the_chunks_and_the_connection_ends(
    whole_product: str, test_key: str
) -> None:
    who = f"X-API-Key: {test_key}".encode()
    heard = await say(whole_product, head(who, b"Content-Length: 39", CHUNKED) + END + SMUGGLED, within_s=5 * SECOND_S)
    assert refused(heard), heard.data


async def test_the_body_of_a_refused_request_is_not_read_as_another(whole_product: str) -> None:
    for length in (LENGTH, b"20000000"):
        heard = await say(whole_product, head(b"Content-Length: " + length) + SMUGGLED, within_s=SECOND_S)
        assert heard.statuses == [401]


WISHES = {
    "HTTP/2": (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAAB"),
    "a websocket": (b"Connection: upgrade", b"Upgrade: websocket"),
    "anything": (b"Connection: upgrade", b"Upgrade: x"),
}


async def test_behind_a_wish_for_another_protocol_the_body_is_still_no_request(
    whole_product: str, test_key: str
) -> None:
    """Read to its end and refused unread, in one piece with its head and in one of its own."""
    size = b"%x" % len(SMUGGLED)
    framed = {b"Content-Length: " + LENGTH: SMUGGLED, CHUNKED: size + b"\r\n" + SMUGGLED + b"\r\n" + END}
    asked = [
        (head(who, *wish, length), body, name)
        for name, wish in WISHES.items()
        for length, body in framed.items()
        for who in (f"X-API-Key: {test_key}".encode(), b"X-Nothing: a")
    ]
    heard = await asyncio.gather(
        *(say_in_pieces(whole_product, one, body, within_s=SECOND_S) for one, body, _ in asked),
        *(say_in_pieces(whole_product, one + body, within_s=SECOND_S) for one, body, _ in asked),
    )
    assert [one.statuses for one in heard] == [[400], [401]] * (len(asked) // 2) * 2


async def test_a_tunnel_is_refused_and_what_goes_through_it_is_no_request(whole_product: str) -> None:
    tunnel = head(b"Content-Length: " + LENGTH, line=b"CONNECT x:443 HTTP/1.1")
    for pieces in ([tunnel, SMUGGLED], [tunnel + SMUGGLED]):
        heard = await say_in_pieces(whole_product, *pieces, within_s=5 * SECOND_S)
        assert (heard.statuses, heard.closed) == ([405], True)


async def test_two_whole_requests_are_two(whole_product: str) -> None:
    """So the tests above can fail. LF alone ends no line, as RFC 9112 (2.2) leaves open."""
    assert (await say(whole_product, SMUGGLED * 2, within_s=SECOND_S)).statuses == [200, 200]
    alone = await say(whole_product, b"GET /health HTTP/1.1\nHost: x\n\n", within_s=SECOND_S)
    assert (alone.statuses, alone.closed) == ([400], True)
