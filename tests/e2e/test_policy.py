"""A policy in a real browser: tried on past requests, saved, obeyed by the next request, and taken back."""

import time

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import open_page, sign_up
from tests.e2e.test_journey import REACHES_S, chat

pytestmark = pytest.mark.e2e


def model_of(address: str, key: str) -> str:
    answer = chat(address, key)
    assert answer.status_code == 200
    return str(answer.json()["model_used"])


def test_from_what_if_to_another_choice_and_back(page: Page, address: str) -> None:
    key = sign_up(page, address, "policy@example.com")
    before = {model_of(address, key) for _ in range(3)}
    assert len(before) == 1
    wait_for_rows(address, key, 3)

    open_page(page, f"{address}/policy/?mode=test")
    flips = page.locator(".stat", has_text="Decisions that flip")
    expect(flips).to_contain_text("0")
    expect(page.locator("main")).to_contain_text("come out exactly as they were")
    page.click("button:text-is('Best quality')")
    expect(flips.locator(".figure")).to_have_text("3")

    page.fill("textarea[name=note], input[name=note]", "Quality <i>first</i>")
    page.click("button:has-text('Save for the whole team')")
    expect(page.locator("table", has_text="Quality <i>first</i>").first).to_be_visible()
    after = next_model(address, key, other_than=before)
    assert after not in before

    page.reload()
    page.wait_for_selector("[data-alive]", state="attached")
    expect(page.locator("main")).to_contain_text("come out exactly as they were")
    page.click("button:has-text('Back to the default')")
    assert next_model(address, key, other_than={after}) in before


def next_model(address: str, key: str, *, other_than: set[str]) -> str:
    """Who answers once the change has reached the worker: within half a second."""
    until_s = time.monotonic() + REACHES_S
    found = model_of(address, key)
    while found in other_than and time.monotonic() < until_s:
        time.sleep(0.1)
        found = model_of(address, key)
    assert found not in other_than
    return found


def wait_for_rows(address: str, key: str, count: int) -> None:
    """The ledger takes its rows in batches, a moment after the answers."""
    deadline_s = time.monotonic() + 10
    while True:
        usage = httpx.get(f"{address}/v1/usage", headers={"Authorization": f"Bearer {key}"}, timeout=10).json()
        if usage["total_requests"] >= count:
            return
        assert time.monotonic() < deadline_s, usage
        time.sleep(0.05)
