"""`make screenshots`: a picture of every page, as it looks after two weeks of use, into `docs/images/`.

The two weeks are made here: real requests with a test key to the simulated models, whose times are then spread over
the days before. The pages say that the figures are those of test keys.
"""

import asyncio
import json
import random
import shutil
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import delete, select, update
from sqlmodel import col

from omni_app.storage.database import Database
from omni_app.storage.ledger import RequestRecord, insert_records
from omni_app.storage.tables import AttemptRow, LatencyRollup, RequestRow, RoutingLog, UsageRollup
from tests.e2e.conftest import ARGUMENTS, DESK, PHONE, open_page, sign_up
from tests.e2e.pages import NEEDS_A_REQUEST, PAGES, picture_name
from tests.product import ROOT, running_product
from tests.system import chromium

IMAGES = ROOT / "docs" / "images"
PROMPTS = ROOT / "assets" / "estimate-example.jsonl"
ENVIRONMENT = {"LOCAL_MODEL": "off", "RATE_LIMIT_MAX": "5000"}
ROUNDS = 10
"""How often each prompt is asked."""
DAYS = 12.5
"""So that the last seven days can be compared with those before."""
MOST_BYTES = 3_000_000
LOOKS = (("", DESK, "light"), ("-dark", DESK, "dark"), ("-phone", PHONE, "light"))
DARK_PAGES = frozenset({"/overview/"})
"""Shown in the dark too; more would only make the folder larger."""
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
    for old in IMAGES.glob("*.png"):
        old.unlink()
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
    """The pages of a stranger, then those of somebody with two weeks of requests."""
    page = browser.new_context(locale="en-GB", timezone_id="Europe/Zurich").new_page()
    for path in BEFORE[:-2]:
        show(page, address, path)
    key = sign_up(page, address, "ada@example.com")
    page.click("text=Send a test request")
    page.wait_for_selector("#first-request")
    page.click("text=I have saved it")
    shoot(page, "/start/")
    use_for_two_weeks(address, key, database)
    for path in PAGES:
        if path not in BEFORE:
            show(page, address, path)


def show(page: Page, address: str, path: str) -> None:
    """Opens a page, does on it what makes it worth looking at, and takes its pictures."""
    url = address + path
    if path == NEEDS_A_REQUEST:
        open_page(page, f"{address}/requests/?mode=test&outcome=rescued")
        page.wait_for_selector("main tbody a")
        url = address + str(page.locator("main tbody a").first.get_attribute("href"))
    open_page(page, url)
    page.wait_for_function("!document.querySelector('.skeleton')")
    if path in ACTS:
        ACTS[path](page)
    shoot(page, path)


def estimate(page: Page) -> None:
    """What the example file would have cost."""
    page.set_viewport_size(DESK)  # type: ignore[arg-type]
    page.click("[data-estimate-example]")
    page.wait_for_selector("[data-notes]")
    (IMAGES / "estimator.png").write_bytes(smaller(page.locator(".estimate").screenshot()))
    page.reload()
    page.wait_for_selector(".ranked")


def play(page: Page) -> None:
    """A prompt and its answers side by side."""
    open_page(page, f"{page.url}?models=sandbox/swift,sandbox/premium")
    page.wait_for_selector(".column >> nth=2")
    page.fill("#prompt", PLAYGROUND_PROMPT)
    page.click("button:has-text('Send')")
    page.wait_for_selector(".column >> nth=2 >> .badge:has-text('answered')", timeout=60_000)


def try_policy(page: Page) -> None:
    """What other weights would have done."""
    page.click("button:has-text('Cheapest')")
    page.wait_for_selector("button[aria-pressed=true]:has-text('Cheapest')")
    page.wait_for_timeout(2_000)


ACTS: Mapping[str, Callable[[Page], None]] = {"/": estimate, "/playground/": play, "/policy/": try_policy}
"""What is done on a page before its picture is taken."""


def shoot(page: Page, path: str) -> None:
    """The pictures of the page that is open: its first screen."""
    for suffix, size, scheme in LOOKS:
        if suffix == "-dark" and path not in DARK_PAGES:
            continue
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        page.wait_for_timeout(200)
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(100)
        picture = IMAGES / f"{picture_name(path)}{suffix}.png"
        picture.write_bytes(smaller(page.screenshot()))


def use_for_two_weeks(address: str, key: str, database: Path) -> None:
    """Asks every prompt several times, a few of them while the first model fails; then moves the times apart."""
    asked = [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()]
    bodies = []
    for number, one in enumerate(asked * ROUNDS):
        body = {"messages": one.get("body", one)["messages"], "priority": ("balanced", "cheap", "balanced")[number % 3]}
        if number % 17 == 5:
            body["metadata"] = {"sandbox_fail": "all:error" if number % 68 == 5 else "error"}
        bodies.append(body)
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=address, headers=headers, timeout=60) as client, ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda body: client.post("/v1/chat", json=body), bodies))
        wait_until_recorded(client, len(bodies))
        # In a thread: the event loop of this one belongs to Playwright.
        pool.submit(asyncio.run, spread_over_two_weeks(f"sqlite:///{database}")).result()


def wait_until_recorded(client: httpx.Client, count: int) -> None:
    """Returns when the ledger holds them all; asking counts as nothing."""
    for _ in range(100):
        if client.get("/v1/usage").json()["total_requests"] > count:
            return
        time.sleep(0.2)


async def spread_over_two_weeks(url: str) -> None:
    """Moves every request, with all that belongs to it, into the two weeks before: more by day than by night."""
    database = Database(url)
    async with database.session() as session:
        rows = (await session.scalars(select(RequestRow).order_by(col(RequestRow.created_at).desc()))).all()
        moved = [moved_back(row, minutes) for row, minutes in zip(rows, minutes_ago(len(rows)), strict=True)]
        for table in (RequestRow, UsageRollup, LatencyRollup):
            await session.execute(delete(table))
        await insert_records(session, moved)
        for record in moved:
            for part in (AttemptRow, RoutingLog):
                of_it = update(part).where(col(part.request_id) == record.request_id)
                await session.execute(of_it.values(created_at=record.created_at))
        await session.commit()
    await database.close()


def moved_back(row: RequestRow, minutes: float) -> RequestRecord:
    """The same request, that many minutes earlier."""
    names = [one.name for one in fields(RequestRecord) if one.name not in ("routing", "created_at")]
    values = {name: getattr(row, name) for name in names}
    return RequestRecord(**values, created_at=row.created_at - timedelta(minutes=minutes))


def minutes_ago(count: int) -> Iterator[float]:
    """Rising times in the last days, the same in every run."""
    chance = random.Random(7)
    times: list[float] = []
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
