"""Takes a picture of every page, wide and narrow, light and dark: `make screenshots`.

Starts the product with an empty data directory, signs up, sends a few requests with a test key, and visits the pages.
Prints what a page wrote to the browser's console, and fails when there was an error.
"""

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from tests import system
from tests.product import ROOT, running_product

FOLDER = ROOT / "test-results" / "screenshots"
PUBLIC_PAGES = ("/", "/signup/", "/login/", "/docs")
OWN_PAGES = ("/start/", "/overview/", "/usage/", "/models/", "/requests/", "/playground/", "/keys/")
SIZES = {"wide": (1280, 800), "narrow": (390, 844)}
SCHEMES = ("light", "dark")
PROMPTS = (
    "What is the capital of France?",
    "Write a Python function that merges two sorted lists.",
    "Translate to German: the cheapest model that is good enough.",
    "Summarize: a router picks a model for each request, and falls back to another one when a provider fails.",
)


def main() -> int:
    """Exit status 1 when a page had an error, 2 when there is no browser."""
    chromium = system.chromium()
    if chromium is None:
        print("no Chromium was found: install one, then try again", file=sys.stderr)
        return 2
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as data_dir,
        running_product(Path(data_dir)) as base_url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        problems = photograph_all(browser, base_url)
        browser.close()
    print(f"{len(list(FOLDER.glob('*.png')))} pictures in {FOLDER.relative_to(ROOT)}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def photograph_all(browser: Browser, base_url: str) -> list[str]:
    """Pictures of all pages; gives what the browser complained about."""
    page = browser.new_page()
    problems = listen(page)
    photograph(page, base_url, PUBLIC_PAGES)
    sign_up(page, base_url)
    send_requests(page, base_url)
    photograph(page, base_url, OWN_PAGES)
    return problems


def listen(page: Page) -> list[str]:
    """Collects the page's errors from now on."""
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
    page.on("console", lambda said: problems.append(f"{page.url}: {said.text}") if said.type == "error" else None)
    return problems


def sign_up(page: Page, base_url: str) -> None:
    """A new account; afterwards the page is signed in."""
    page.goto(f"{base_url}/signup/")
    page.fill("#email", "pictures@example.com")
    page.fill("#password", "a few words in a row")
    page.click("button[type=submit]")
    page.wait_for_url("**/start/**")


def send_requests(page: Page, base_url: str) -> None:
    """Some traffic, so that the pages have something to show."""
    made = page.request.post(
        f"{base_url}/auth/keys", data={"name": "pictures", "kind": "test"}, headers={"Origin": base_url}
    ).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    for prompt in PROMPTS:
        body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 60}
        httpx.post(f"{base_url}/v1/chat", json=body, headers=headers, timeout=120).raise_for_status()


def photograph(page: Page, base_url: str, paths: Iterable[str]) -> None:
    """One picture for each path, size and colour scheme."""
    for path in paths:
        for size_name, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a Literal that a tuple widens
                page.goto(f"{base_url}{path}")
                page.wait_for_load_state("networkidle")
                page.wait_for_timeout(300)
                name = path.strip("/") or "landing"
                page.screenshot(path=FOLDER / f"{name}-{size_name}-{scheme}.png", full_page=True)


if __name__ == "__main__":
    sys.exit(main())
