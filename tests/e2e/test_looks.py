"""Every page at two widths, light and dark: no sideways scrolling, readable contrast, reachable by keyboard.

The pictures go to `test-results/pages`, to be looked at.
"""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.e2e import pages
from tests.e2e.conftest import DESK, PHONE, Watcher, open_page, sign_up
from tests.e2e.pages import APP_PAGES, MISSING, picture_name

pytestmark = pytest.mark.e2e
PICTURES = Path(__file__).resolve().parent.parent.parent / "test-results" / "pages"
OPEN_PAGES = tuple(path for path in pages.OPEN_PAGES if path != MISSING)
PROMPTS = ("Write a Python sort.", "Translate to German: good morning", "Prove that 2+2=4.", "Hello! How are you?")

CONTRAST = """
() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = rgb(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility({ opacityProperty: true }) || element.closest(".pulse, option")) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(rgb(style.color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) {
      poor.push(`${ratio.toFixed(2)} ${element.tagName} ${element.textContent.trim().slice(0, 40)}`);
    }
  }
  return poor;
}
"""
"""Texts whose contrast is below WCAG's AA."""


@pytest.fixture(scope="module")
def signed_in(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    key = sign_up(page, address, "looks@example.com")
    for prompt in PROMPTS:
        body = {"messages": [{"role": "user", "content": prompt}], "metadata": {"sandbox_fail": "error"}}
        httpx.post(f"{address}/v1/chat", headers={"Authorization": f"Bearer {key}"}, json=body, timeout=30)
    yield page
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("path", [*OPEN_PAGES, *APP_PAGES])
def test_the_page_fits_and_can_be_read(
    signed_in: Page, address: str, watcher: Watcher, path: str, size: dict[str, int], scheme: str
) -> None:
    page = watcher.watch(signed_in)
    page.set_viewport_size(size)  # type: ignore[arg-type]
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    open_page(page, address + path)
    page.wait_for_function("!document.querySelector('.skeleton')")
    page.screenshot(path=PICTURES / f"{picture_name(path)}-{size['width']}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("path", [*OPEN_PAGES, *APP_PAGES])
def test_the_page_can_be_walked_by_keyboard(signed_in: Page, address: str, path: str) -> None:
    signed_in.set_viewport_size(DESK)  # type: ignore[arg-type]
    open_page(signed_in, address + path)
    signed_in.keyboard.press("Tab")
    assert signed_in.evaluate("document.activeElement.textContent") == "Skip to the content"
    seen = set()
    for _ in range(12):
        signed_in.keyboard.press("Tab")
        seen.add(signed_in.evaluate("document.activeElement.outerHTML.slice(0, 120)"))
        outline = signed_in.evaluate(
            "(() => { const one = document.activeElement; const style = getComputedStyle(one);"
            " return one === document.body || style.outlineStyle !== 'none' || !!one.closest('.tabs'); })()"
        )
        assert outline, "the focus cannot be seen"
    assert len(seen) > 5


@pytest.mark.parametrize("path", [*OPEN_PAGES, *APP_PAGES])
def test_every_control_has_a_name_and_every_page_one_heading(signed_in: Page, address: str, path: str) -> None:
    open_page(signed_in, address + path)
    signed_in.wait_for_function("!document.querySelector('.skeleton')")
    nameless = signed_in.evaluate(
        """() => [...document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea, summary")]
          .filter((one) => one.checkVisibility() && !(one.getAttribute("aria-label") || one.textContent.trim()
            || (one.labels && one.labels.length)))
          .map((one) => one.outerHTML.slice(0, 120))"""
    )
    assert nameless == []
    assert signed_in.evaluate("document.querySelectorAll('h1').length") == 1
    assert signed_in.evaluate("document.documentElement.lang") == "en"
    assert signed_in.title()


def test_the_theme_button_stays_as_chosen(signed_in: Page, address: str) -> None:
    signed_in.set_viewport_size(DESK)  # type: ignore[arg-type]
    signed_in.emulate_media(color_scheme="light")
    open_page(signed_in, f"{address}/")
    signed_in.click("[aria-label^='Switch between']")
    assert "dark" in signed_in.evaluate("document.documentElement.className")
    signed_in.reload()
    assert "dark" in signed_in.evaluate("document.documentElement.className")
    signed_in.evaluate("localStorage.removeItem('theme')")
