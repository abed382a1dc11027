"""axe-core finds nothing on any page: signed out and in, empty and with data, wide and narrow, light and dark.

Then once more with everything unfolded. Beside it what axe does not look at: reflow, layout shift, first paint.
"""

import os
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.conftest import DESK, PHONE, open_page, sign_up
from tests.e2e.pages import APP_PAGES, NEEDS_A_REQUEST, OPEN_PAGES, PAGES

pytestmark = pytest.mark.e2e
AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
"""Evaluated over the browser's debugging protocol, which the page's content security policy does not concern."""
RUN = """
async () => {
  const found = await axe.run(document, {resultTypes: ["violations"]});
  return found.violations.flatMap((rule) => rule.nodes.map((node) =>
    `${rule.id}: ${node.target.join(" ")} ${node.html.slice(0, 160)} | ${(node.any[0] || node.all[0] || node.none[0]
      || {message: rule.help}).message}`));
}
"""
UNFOLD = """
() => {
  const folded = [...document.querySelectorAll("details:not([open])")].filter((one) => one.checkVisibility());
  for (const one of folded) one.open = true;
  const dialog = document.querySelector("dialog:not([open])");
  if (dialog) dialog.showModal();
  return folded.length + (dialog ? 1 : 0);
}
"""
SHIFTS = """
() => {
  window.shifts = [];
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) {
      if (!one.hadRecentInput) window.shifts.push([one.value, one.sources.map((it) =>
        it.node && (it.node.outerHTML || it.node.textContent || "").slice(0, 80))]);
    }
  }).observe({type: "layout-shift", buffered: true});
}
"""
EVERY_LOOK = [(size, scheme) for size in (DESK, PHONE) for scheme in ("light", "dark")]
LOOKS = EVERY_LOOK if os.environ.get("EVERY_LOOK") else [(DESK, "light"), (PHONE, "dark")]
"""`make e2e` looks at both widths in light and dark; `make test` at two of the four."""
REFLOW = {"width": 320, "height": 640}
"""WCAG 1.4.10: 1280 pixels at 400 %."""
MOST_SHIFT = 0.1
FIRST_PAINT_MS = 1_000
PROMPTS = ("Write a Python sort.", "Translate to German: good morning", "Prove that 2+2=4.", "Hello! How are you?")


@pytest.fixture(scope="module")
def visitors(browser: Browser, address: str) -> Iterator[dict[str, Page]]:
    """Three readers: a stranger, one who has just signed up, and one with requests (some failed over, one refused)."""
    contexts = {name: browser.new_context() for name in ("stranger", "newcomer", "user")}
    pages = {name: context.new_page() for name, context in contexts.items()}
    sign_up(pages["newcomer"], address, "axe-new@example.com")
    key = sign_up(pages["user"], address, "axe@example.com")
    for fault in ({}, {"sandbox_fail": "error"}, {"sandbox_fail": "all:error"}):
        for prompt in PROMPTS:
            body = {"messages": [{"role": "user", "content": prompt}], "metadata": fault}
            httpx.post(f"{address}/v1/chat", headers={"Authorization": f"Bearer {key}"}, json=body, timeout=30)
    yield pages
    for context in contexts.values():
        context.close()


def settle(page: Page, url: str) -> None:
    """Opens the page and waits until it has its data."""
    open_page(page, url)
    page.wait_for_function("!document.querySelector('.skeleton')")


def address_of(page: Page, address: str, path: str) -> str:
    """The page's full address; a request's page gets the newest request of its reader."""
    if path != NEEDS_A_REQUEST:
        return address + path
    settle(page, f"{address}/requests/")
    link = page.locator("main tbody a").first
    return address + (str(link.get_attribute("href")) if link.count() else path)


def violations(page: Page) -> list[str]:
    """What axe finds, one line a place, in each of the looks."""
    page.evaluate(AXE)
    found: dict[str, Any] = {}
    for size, scheme in LOOKS:
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        page.wait_for_timeout(50)
        for line in page.evaluate(RUN):
            found.setdefault(line, f"{size['width']} {scheme}: {line}")
    return list(found.values())


def test_every_page_is_looked_at() -> None:
    assert {*OPEN_PAGES, *APP_PAGES} >= set(PAGES)
    assert len(PAGES) >= 12


@pytest.mark.parametrize("path", OPEN_PAGES)
def test_axe_finds_nothing_for_a_stranger(visitors: dict[str, Page], address: str, path: str) -> None:
    settle(visitors["stranger"], address + path)
    assert violations(visitors["stranger"]) == []


@pytest.mark.parametrize("reader", ["newcomer", "user"])
@pytest.mark.parametrize("path", [*APP_PAGES, "/"])
def test_axe_finds_nothing_behind_the_log_in(visitors: dict[str, Page], address: str, path: str, reader: str) -> None:
    page = visitors[reader]
    settle(page, address_of(page, address, path))
    assert violations(page) == []


@pytest.mark.parametrize("path", [*OPEN_PAGES, *APP_PAGES])
def test_axe_finds_nothing_in_what_is_unfolded(visitors: dict[str, Page], address: str, path: str) -> None:
    page = visitors["user"]
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    settle(page, address_of(page, address, path))
    page.evaluate(UNFOLD)
    assert violations(page) == []


def test_axe_finds_nothing_in_an_estimate(visitors: dict[str, Page], address: str) -> None:
    page = visitors["stranger"]
    settle(page, f"{address}/")
    page.click("[data-estimate-example]")
    page.wait_for_selector("[data-notes]")
    assert violations(page) == []


def test_axe_would_find_something(visitors: dict[str, Page], address: str) -> None:
    """The rules run: a page that is spoilt is told so."""
    page = visitors["stranger"]
    settle(page, f"{address}/")
    page.evaluate("document.documentElement.removeAttribute('lang')")
    page.evaluate("document.querySelector('.lead').style.color = '#ccc'")
    found = "\n".join(violations(page))
    assert "color-contrast" in found
    assert "html-has-lang" in found


@pytest.mark.parametrize("width", [PHONE, REFLOW], ids=["phone", "reflow"])
@pytest.mark.parametrize("path", [*OPEN_PAGES, *APP_PAGES])
def test_nothing_is_cut_off_at_the_side(
    visitors: dict[str, Page], address: str, path: str, width: dict[str, int]
) -> None:
    page = visitors["user"]
    page.set_viewport_size(width)  # type: ignore[arg-type]
    settle(page, address_of(page, address, path))
    assert page.evaluate("document.documentElement.scrollWidth") <= width["width"]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("path", ["/", "/overview/"])
def test_nothing_jumps_while_a_page_loads(
    visitors: dict[str, Page], address: str, path: str, size: dict[str, int]
) -> None:
    page = visitors["user"].context.new_page()
    page.set_viewport_size(size)  # type: ignore[arg-type]
    page.add_init_script(f"({SHIFTS})()")
    settle(page, address + path)
    page.wait_for_timeout(500)
    shifts = page.evaluate("window.shifts")
    paint_ms = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    page.close()
    print(f"{path} {size['width']}: first paint {paint_ms:.0f} ms, shift {sum(one[0] for one in shifts):.4f}")  # noqa: T201 the figure, with -s
    assert sum(value for value, _ in shifts) < MOST_SHIFT, shifts
    assert paint_ms < FIRST_PAINT_MS


@pytest.mark.parametrize("path", OPEN_PAGES)
def test_the_focus_can_be_seen_wherever_it_is(visitors: dict[str, Page], address: str, path: str) -> None:
    page = visitors["stranger"]
    page.set_viewport_size(DESK)  # type: ignore[arg-type]
    settle(page, address + path)
    for _ in range(40):
        page.keyboard.press("Tab")
        state = page.evaluate(
            "(() => { const one = document.activeElement; const style = getComputedStyle(one);"
            " return [one === document.body, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,"
            " one.outerHTML.slice(0, 120)]; })()"
        )
        if state[0]:
            break
        assert state[1], f"the focus cannot be seen: {state[2]}"
