"""`make screenshots`: a picture of every page, as it looks after a week of use, into `docs/images/`.

The week is made here: real requests with a test key to the simulated models, whose times are then spread over the days
before. The pages say that the figures are those of test keys.
"""

import json
import random
import shutil
import sqlite3
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.conftest import ARGUMENTS, DESK, PHONE, open_page, sign_up
from tests.e2e.pages import NEEDS_A_REQUEST, PAGES, VIEWS, picture_name
from tests.product import ROOT, running_product
from tests.system import chromium

IMAGES = ROOT / "docs" / "images"
PROMPTS = ROOT / "assets" / "estimate-example.jsonl"
ENVIRONMENT = {"LOCAL_MODEL": "off", "RATE_LIMIT_MAX": "5000"}
ROUNDS = 7
"""How often each prompt is asked."""
DAYS = 6.8
TALLEST = 1_500
"""A page is shown down to here; the phone's only as far as its screen."""
MOST_BYTES = 3_000_000
LOOKS = (("", DESK, "light"), ("-dark", DESK, "dark"), ("-phone", PHONE, "light"))
DARK_PAGES = frozenset({"/", "/overview/", "/request/"})
"""Shown in the dark too; the others would only make the folder larger."""
BEFORE = ("/", "/signup/", "/login/", "/start/", "/no-such-page/")
"""Pages of a stranger, then the first page behind the log-in, then one that needs no picture."""
PLAYGROUND_PROMPT = "Write a Python function that merges two sorted lists, with type hints."


def main() -> int:
    """Writes the pictures; 1 when there is no browser, or when they are too large together."""
    path = chromium()
    if path is None:
        print("Chromium is not installed: apt-get install chromium", file=sys.stderr)  # noqa: T201 a program
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="omni-pictures-"))
    try:
        with running_product(data, environment=ENVIRONMENT) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
            take_pictures(browser, address, data / "omni.db")
            browser.close()
    finally:
        shutil.rmtree(data)
    total = sum(one.stat().st_size for one in IMAGES.glob("*.png"))
    print(f"{len(list(IMAGES.glob('*.png')))} pictures, {total / 1e6:.1f} MB, in {IMAGES.relative_to(ROOT)}")  # noqa: T201
    return int(total > MOST_BYTES)


def take_pictures(browser: Browser, address: str, database: Path) -> None:
    """The pages of a stranger, then those of somebody with a week of requests."""
    page = browser.new_context(locale="en-GB", timezone_id="Europe/Zurich").new_page()
    for path in BEFORE[:-2]:
        show(page, address, path)
    key = sign_up(page, address, "ada@example.com")
    page.click("text=Send a test request")
    page.wait_for_selector("#first-request")
    shoot(page, "/start/")
    use_for_a_week(address, key, database)
    for path in (*PAGES, *VIEWS):
        if path not in BEFORE:
            show(page, address, path)


def show(page: Page, address: str, path: str) -> None:
    """Opens a page, does on it what makes it worth looking at, and takes its pictures."""
    url = address + path
    if path == NEEDS_A_REQUEST:
        open_page(page, f"{address}/requests/")
        page.wait_for_selector("main tbody a")
        rescued = page.locator("main tbody tr", has_text="rescued").or_(page.locator("main tbody tr")).first
        url = address + str(rescued.locator("a").first.get_attribute("href"))
    open_page(page, url)
    page.wait_for_function("!document.querySelector('.skeleton')")
    if path == "/playground/":
        play(page)
    shoot(page, path)


def play(page: Page) -> None:
    """A prompt and its answers side by side."""
    page.fill("#prompt", PLAYGROUND_PROMPT)
    page.click("button:has-text('Send')")
    page.wait_for_selector(".column .badge:has-text('answered')", timeout=30_000)


def shoot(page: Page, path: str) -> None:
    """The pictures of the page that is open."""
    for suffix, size, scheme in LOOKS:
        if suffix == "-dark" and path not in DARK_PAGES:
            continue
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        page.wait_for_timeout(200)
        full = page.evaluate("document.documentElement.scrollHeight")
        height = size["height"] if suffix == "-phone" else min(TALLEST, max(size["height"], full))
        page.set_viewport_size({"width": size["width"], "height": height})
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(100)
        picture = IMAGES / f"{picture_name(path)}{suffix}.png"
        picture.write_bytes(smaller(page.screenshot()))


def use_for_a_week(address: str, key: str, database: Path) -> None:
    """Asks every prompt several times, a few of them while the first model fails; then moves the times apart."""
    asked = [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()]
    bodies = []
    for number, one in enumerate(asked * ROUNDS):
        body = {"messages": one.get("body", one)["messages"], "priority": ("balanced", "cheap", "balanced")[number % 3]}
        if number % 17 == 5:
            body["metadata"] = {"sandbox_fail": "all:error" if number % 68 == 5 else "error"}
        bodies.append(body)
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda body: client.post("/v1/chat", json=body), bodies))
        wait_until_recorded(client, len(bodies))
    spread_over_the_week(database)


def wait_until_recorded(client: httpx.Client, count: int) -> None:
    """Returns when the ledger holds them all; asking counts as nothing."""
    for _ in range(100):
        if client.get("/v1/usage").json()["total_requests"] > count:
            return
        time.sleep(0.2)


def spread_over_the_week(database: Path) -> None:
    """Moves every request, with all that belongs to it, into the week before: more by day than by night."""
    with sqlite3.connect(database, timeout=30) as connection:
        found = connection.execute("SELECT request_id, created_at FROM requests ORDER BY created_at").fetchall()
        for (request_id, _), minutes in zip(found, reversed(list(minutes_ago(len(found)))), strict=True):
            for table in ("requests", "attempts", "routing_logs"):
                rows = connection.execute(
                    f"SELECT rowid, created_at FROM {table} WHERE request_id = ?",
                    (request_id,),
                ).fetchall()
                for rowid, moment in rows:
                    moved = (datetime.fromisoformat(moment) - timedelta(minutes=minutes)).isoformat(" ", "microseconds")
                    connection.execute(f"UPDATE {table} SET created_at = ? WHERE rowid = ?", (moved, rowid))
    connection.close()


def minutes_ago(count: int) -> Iterator[float]:
    """Rising times in the last days, the same in every run."""
    chance = random.Random(7)
    times = []
    while len(times) < count:
        minutes = chance.random() * DAYS * 24 * 60
        by_day = abs((minutes / 1440) % 1 - 0.5) > 0.18
        if by_day or chance.random() < 0.25:
            times.append(minutes)
    yield from sorted(times)


def smaller(png: bytes) -> bytes:
    """The same picture with its data packed as tightly as deflate can, and nothing but the picture in it."""
    header, data, place = b"", b"", 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        kind, content = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        header, data = (content, data) if kind == b"IHDR" else (header, data + content if kind == b"IDAT" else data)
        place += 12 + length
    packed = zlib.compress(zlib.decompress(data), 9)
    chunks = ((b"IHDR", header), (b"IDAT", packed if len(packed) < len(data) else data), (b"IEND", b""))
    return png[:8] + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


if __name__ == "__main__":
    sys.exit(main())
