"""What stands in front of the built pages: headers, caching, the guard, and the address that moves with the page."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from omni_app.settings import Settings
from omni_app.ui.front import Front, Site, content_security_policy, portable, read_site
from omni_app.ui.site import GUARDED

HTML = """<html><head><script>let a = 1;</script><script src="/x.js"></script><style>b{}</style></head></html>"""
BUILT = "var e={PING:`http://127.0.0.1:8377/ping`,EVENT:`ws://127.0.0.1:8377/_event`,TEST_MODE:!1};export{e as t};"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text(HTML)
    (tmp_path / "assets" / "reflex-env-abc.js").write_text(BUILT)
    return tmp_path


def client(site: Site, settings: Settings) -> httpx.AsyncClient:
    async def page(request: Any) -> PlainTextResponse:
        return PlainTextResponse("page", 404 if "missing" in request.url.path else 200)

    app = Starlette(routes=[Route("/{path:path}", page)])
    front = Front(app, site=site, settings=settings, guarded=GUARDED)
    return httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://127.0.0.1:8000")


def test_the_built_address_becomes_the_page_s_own() -> None:
    moved = portable(BUILT)
    assert "8377" not in moved
    assert 'EVENT:(hereWs+"/_event")' in moved
    assert 'PING:(here+"/ping")' in moved


def test_the_policy_names_each_inline_piece_and_allows_no_evaluation(built: Path) -> None:
    policy = content_security_policy(read_site(built), Settings(public_url="https://omni.example"))
    assert policy.count("'sha256-") == 2
    assert "unsafe" not in policy
    assert "wss://omni.example" in policy
    for rule in (
        "default-src 'none'",
        "object-src 'none'",
        "frame-ancestors 'none'",
        "form-action 'self'",
        "base-uri 'none'",
    ):
        assert rule in policy


async def test_every_page_carries_the_security_headers(built: Path) -> None:
    async with client(read_site(built), Settings()) as browser:
        for path in ("/", "/login/", "/missing", "/assets/a.js", "/keys/", "/assets/reflex-env-abc.js"):
            headers = (await browser.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "same-origin"
            assert "script-src 'self'" in headers["content-security-policy"]
            assert "strict-transport-security" not in headers


async def test_https_is_remembered(built: Path) -> None:
    async with client(read_site(built), Settings(public_url="https://omni.example")) as browser:
        assert "max-age" in (await browser.get("/")).headers["strict-transport-security"]


@pytest.mark.parametrize(
    ("path", "caching"),
    [
        ("/assets/a-abc.js", "public, max-age=31536000, immutable"),
        ("/omni.css?v=123", "public, max-age=31536000, immutable"),
        ("/omni.css", "no-cache"),
        ("/", "no-cache"),
        ("/assets/missing.js", "no-cache"),
    ],
)
async def test_only_files_whose_address_changes_with_them_are_kept(built: Path, path: str, caching: str) -> None:
    async with client(read_site(built), Settings()) as browser:
        assert (await browser.get(path)).headers["cache-control"] == caching


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("end", ["/", ""])
async def test_a_stranger_is_sent_to_the_log_in(built: Path, path: str, end: str) -> None:
    async with client(read_site(built), Settings()) as browser:
        answer = await browser.get(path.rstrip("/") + end)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login/?next=%2F")
        browser.cookies.set("omr_session", "anything")
        assert (await browser.get(path)).status_code == 200


async def test_public_pages_need_no_cookie(built: Path) -> None:
    async with client(read_site(built), Settings()) as browser:
        for path in ("/", "/login/", "/signup/", "/omni.css", "/startle", "/keys-of-others"):
            assert (await browser.get(path)).status_code == 200


async def test_without_a_build_nothing_breaks(tmp_path: Path) -> None:
    async with client(read_site(tmp_path), Settings()) as browser:
        assert (await browser.get("/")).status_code == 200
