"""The built product in a real Chromium. Whatever the browser complains about fails the test that saw it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    WebSocket,
    expect,
    sync_playwright,
)

from tests.product import running_product
from tests.system import chromium

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PASSWORD = "teal-otter-maps-42-winter"
PATIENCE_MS = 20_000
"""The machine does other work meanwhile."""
expect.set_options(timeout=PATIENCE_MS)
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@dataclass
class Watcher:
    """Collects what a browser would tell its developer, and everything that went over the socket."""

    address: str
    complaints: list[str] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> Page:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        page.on("request", self._request)
        page.on("websocket", self._socket)
        return page

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console {message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.address, "data:")):
            self.complaints.append(f"asked another host: {request.url}")

    def _socket(self, socket: WebSocket) -> None:
        for event in ("framesent", "framereceived"):
            socket.on(event, lambda payload: self.frames.append(str(payload)))


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    quick = {"LOCAL_MODEL": "off", "SANDBOX_SPEED": "0", "TRUSTED_PROXIES": "127.0.0.1"}
    with running_product(tmp_path_factory.mktemp("product"), environment=quick) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Of the module, not of the session: Playwright's loop must be gone before asyncio tests run.
    path: Path | None = chromium()
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


_elsewhere = count(1)


def from_elsewhere() -> dict[str, str]:
    """As a proxy would say it: people of different addresses. From one, thirty sign up in five minutes at most."""
    return {"X-Forwarded-For": f"198.51.100.{next(_elsewhere) % 250}"}


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(
        viewport=DESK,  # type: ignore[arg-type]
        color_scheme="light",
        locale="en-GB",
        timezone_id="Asia/Tokyo",
        extra_http_headers=from_elsewhere(),
    )
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def watcher(address: str) -> Iterator[Watcher]:
    watcher = Watcher(address)
    yield watcher
    assert watcher.complaints == []


@pytest.fixture
def page(context: BrowserContext, watcher: Watcher) -> Page:
    return watcher.watch(context.new_page())


def open_page(page: Page, url: str) -> None:
    """Goes there and waits until the page lives."""
    page.goto(url)
    page.wait_for_selector("[data-alive]", state="attached")


def sign_up(page: Page, address: str, email: str) -> str:
    """A new account through the form; gives the key that the first-run page shows."""
    open_page(page, f"{address}/signup/")
    page.fill("#email", email)
    page.fill("#password", PASSWORD)
    page.click("button:has-text('Create account')")
    page.wait_for_url("**/start/")
    page.wait_for_selector("[data-key-box]:not([hidden])")
    return page.inner_text("#new-key")
