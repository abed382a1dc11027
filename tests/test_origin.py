"""Which browsers may speak to us, and whose address counts."""

from pathlib import Path

import pytest

from omni_app.origin import allowed_origins, client_address, cross_site_reason, session_cookie
from omni_app.settings import Settings

HERE = Settings(port=8123)
PUBLIC = Settings(public_url="https://omni.example/", port=8123)


def test_the_public_origin_and_loopback_are_allowed_and_nothing_else() -> None:
    assert allowed_origins(HERE) == ("http://127.0.0.1:8123", "http://localhost:8123")
    assert allowed_origins(PUBLIC) == ("https://omni.example", "http://127.0.0.1:8123", "http://localhost:8123")


def test_over_our_own_tls_loopback_is_https_too() -> None:
    secure = Settings(public_url="https://omni.example", port=8123, tls_cert_file=Path("/c"), tls_key_file=Path("/k"))
    assert allowed_origins(secure) == ("https://omni.example", "https://127.0.0.1:8123", "https://localhost:8123")


def test_the_cookie_is_bound_to_the_host_on_https() -> None:
    assert session_cookie(HERE) == "omr_session"
    assert session_cookie(PUBLIC) == "__Host-omr_session"


def test_the_refusal_says_how_to_open_the_page() -> None:
    reason = cross_site_reason({"origin": "http://10.0.0.7:8123", "sec-fetch-site": "same-origin"}, HERE)
    assert "http://127.0.0.1:8123" in reason and "PUBLIC_URL" in reason


def test_our_own_page_is_not_refused() -> None:
    assert cross_site_reason({"origin": "http://localhost:8123", "sec-fetch-site": "same-origin"}, HERE) == ""
    assert cross_site_reason({"origin": "https://omni.example"}, PUBLIC) == ""


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "address"),
    [
        ("", "203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.2", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.2", ["6.6.6.6, 198.51.100.1, 10.1.1.1"], "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.2", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.2", ["not an address"], "10.0.0.2"),
        ("10.0.0.0/8", "10.0.0.2", ["1" * 50_000], "10.0.0.2"),
        ("10.0.0.0/8, 192.0.2.1", "192.0.2.1", ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.2", [], "10.0.0.2"),
        ("::1", "::1", ["2001:db8::5"], "2001:db8::/64"),
        ("", "2001:db8::5", [], "2001:db8::/64"),
        ("", "2001:db8::ffff:1", [], "2001:db8::/64"),
        ("", "2001:db8:0:1::5", [], "2001:db8:0:1::/64"),
        ("", "::ffff:198.51.100.1", [], "198.51.100.1"),
        ("10.0.0.0/8", "", [], ""),
    ],
)
def test_the_address_comes_from_trusted_proxies_only(
    trusted: str, peer: str, forwarded: list[str], address: str
) -> None:
    assert client_address(peer, forwarded, Settings(trusted_proxies=trusted)) == address
