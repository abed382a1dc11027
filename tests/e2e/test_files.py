"""What the built product gives out besides its pages: nothing of the machine, no list, no history, no echo."""

import socket
from urllib.parse import urlsplit

import pytest

OUTSIDE = (
    "/../pyproject.toml", "/../../omni_app/settings.py", "/%2e%2e/pyproject.toml", "/..%2fpyproject.toml",
    "/%252e%252e/pyproject.toml", "/assets/../../../pyproject.toml", "/assets/..%2f..%2f..%2fpyproject.toml",
    "/assets/..%5c..%5cpyproject.toml", "//etc/passwd", "/assets//etc/passwd", "/%2fetc%2fpasswd", "/assets/%00",
    "/data/omni.db", "/omni.db", "/secret_key", "/serve.log", "/spool", "/metrics/0",
)  # fmt: skip
HISTORY = ("/.git/config", "/.git/HEAD", "/.git/", "/.svn/entries", "/.hg/", "/.env", "/.web/", "/rxconfig.py")
FOLDERS = ("/assets", "/assets/", "/assets/./", "/_upload/", "/static/", "/omni_app/")
TELLING = ("[project]", "[core]", "ref: refs", "root:x:0", "class Settings", "SQLite format", "Index of", "<pre>")


def asked(address: str, target: str, *, method: str = "GET", more: str = "") -> tuple[int, dict[str, str], str]:
    """Status, headers and body, of a request whose target goes over the wire as it stands here."""
    host, port = urlsplit(address).hostname, urlsplit(address).port
    with socket.create_connection((host, port), timeout=20) as wire:
        wire.sendall(f"{method} {target} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n{more}\r\n".encode())
        came = b"".join(iter(lambda: wire.recv(65_536), b"")).decode("utf-8", "replace")
    head, _, body = came.partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return int(first.split()[1]), {name.lower(): value for name, _, value in pairs}, body


@pytest.mark.parametrize("target", [*OUTSIDE, *HISTORY, *FOLDERS])
def test_no_address_leads_to_a_file_of_the_machine_or_to_a_list(address: str, target: str) -> None:
    status, headers, body = asked(address, target)
    assert status in (303, 307, 400, 404), (status, body[:200])
    assert not [word for word in TELLING if word in body]
    assert urlsplit(headers.get("location", "/")).netloc in ("", urlsplit(address).netloc)


@pytest.mark.parametrize("path", ["/", "/login/", "/overview/", "/omni.css", "/v1/models", "/_event/", "/docs"])
def test_nobody_is_told_back_what_a_trace_said(address: str, path: str) -> None:
    status, _, body = asked(address, path, method="TRACE", more="X-Echo: said-by-me\r\nCookie: omr_session=abc\r\n")
    assert status >= 400
    assert "said-by-me" not in body and "omr_session=abc" not in body


def test_every_page_and_file_says_what_it_is_and_in_which_characters(address: str) -> None:
    kinds = {
        "/": "text/html; charset=utf-8",
        "/login/": "text/html; charset=utf-8",
        "/omni.css": "text/css; charset=utf-8",
        "/omni.js": "text/javascript; charset=utf-8",
        "/favicon.svg": "image/svg+xml",
        "/docs": "text/html; charset=utf-8",
        "/openapi.json": "application/json",
    }
    for path, kind in kinds.items():
        status, headers, _ = asked(address, path)
        assert (status, headers["content-type"]) == (200, kind), path
