"""Keys in a real browser: a budget that refuses, a switch that stops, a rotation with both secrets alive."""

import re
import time
from datetime import UTC, datetime

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Watcher, open_page, sign_up
from tests.e2e.test_journey import REACHES_S, chat

pytestmark = pytest.mark.e2e


def open_first_key(page: Page, address: str) -> None:
    """Its own page, through the list."""
    open_page(page, f"{address}/keys/")
    page.click("tbody >> text=First key")
    page.wait_for_selector("#set-name")


def test_a_budget_refuses_and_a_disabled_key_stops_and_comes_back(page: Page, address: str) -> None:
    key = sign_up(page, address, "budget@example.com")
    assert chat(address, key).status_code == 200
    open_first_key(page, address)
    page.fill("#key-amount", "0.000000000001")
    page.click("text=Set the budget")
    expect(page.locator(".meter, [role=meter], .bar").first).to_be_visible()
    expect(page.locator("main")).to_contain_text("left")
    refused = until(address, key, 402)
    assert "budget" in refused.json()["error"]["message"]
    page.fill("#key-amount", "")
    page.click("text=Set the budget")
    expect(page.locator("main")).to_contain_text("No budget.")
    until(address, key, 200)
    page.click("button:text-is('Disable')")
    until(address, key, 401)
    page.click("button:text-is('Enable')")
    until(address, key, 200)


def test_a_rotated_key_keeps_its_name_and_both_secrets_work_in_the_grace(
    page: Page, address: str, watcher: Watcher
) -> None:
    old = sign_up(page, address, "rotate@example.com")
    open_first_key(page, address)
    page.click("text=Make a new secret")
    page.wait_for_selector("[data-key-box]:not([hidden])")
    new = page.inner_text("#new-key")
    assert re.fullmatch(r"omr_test_\w{38}", new) and new != old
    assert chat(address, old).status_code == chat(address, new).status_code == 200
    assert not [frame for frame in watcher.frames if new in frame], "the new secret went over the socket"


def test_a_question_comes_into_view_with_the_focus_each_time(page: Page, address: str) -> None:
    sign_up(page, address, "chosen@example.com")
    page.set_viewport_size({"width": 390, "height": 500})
    open_page(page, f"{address}/keys/")
    for name in ("Second key", "Third key"):
        page.fill("#key-name", name)
        page.click("text=Make key")
        page.click("[data-key-done]")
    for name in ("First key", "Second key"):  # the second one is asked in place of the first
        page.click(f"tr:has-text('{name}') >> button:has-text('Revoke')")
        question = page.get_by_role("alertdialog").filter(has_text=name)
        expect(question).to_be_focused()
        expect(question).to_be_in_viewport()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Revoke it")).to_be_focused()


def test_a_time_is_shown_with_its_year(page: Page, address: str) -> None:
    key = sign_up(page, address, "year@example.com")
    assert chat(address, key).status_code == 200
    open_page(page, f"{address}/requests/")
    shown = page.locator("tbody time[title]").first
    expect(shown).to_have_text(re.compile(rf"^\d+ \w+ {datetime.now(UTC).year}, \d\d:\d\d:\d\d$"))


def until(address: str, key: str, status: int) -> httpx.Response:
    """The first answer with this status; changes reach every worker within half a second."""
    until_s = time.monotonic() + REACHES_S
    answer = chat(address, key)
    while answer.status_code != status and time.monotonic() < until_s:
        time.sleep(0.1)
        answer = chat(address, key)
    assert answer.status_code == status, f"still {answer.status_code}: {answer.text}"
    return answer


def test_a_key_that_is_made_for_one_use_is_refused_elsewhere_until_its_page_says_otherwise(
    page: Page, address: str
) -> None:
    sign_up(page, address, "scopes@example.com")
    open_page(page, f"{address}/keys/")
    page.fill("#key-name", "Sheet")
    page.click("summary:text-is('May be used for')")
    page.check("[data-key-form] input[value=usage]")
    page.click("text=Make key")
    page.wait_for_selector("[data-key-box]:not([hidden])")
    key = page.inner_text("#new-key")
    assert chat(address, key).status_code == 403
    page.click("tbody >> text=Sheet")
    page.wait_for_selector("#set-name")
    page.click("summary:has-text('May be used for: usage')")
    expect(page.locator("[name=scope-usage]")).to_be_checked()
    page.check("[name=scope-chat]")
    page.click("button:text-is('Save')")
    expect(page.locator("main")).to_contain_text("May be used for: chat, usage")
    until(address, key, 200)
