"""From a stranger to a saving, in a real browser: sign up, key, first request, Overview, fallback, revoke."""

import re
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import PASSWORD, Watcher, open_page, sign_up

pytestmark = pytest.mark.e2e
QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}


REACHES_S = 3.0
"""A change of a key or a policy reaches every worker within half a second; a loaded machine takes longer."""


def chat(address: str, key: str) -> httpx.Response:
    return httpx.post(f"{address}/v1/chat", headers={"Authorization": f"Bearer {key}"}, json=QUESTION, timeout=30)


def exact(answer: httpx.Response, name: str) -> str:
    """An amount of an answer, to its last digit, as the pages give it."""
    found = re.search(rf'"{name}":(-?[\d.]+)', answer.text)
    assert found
    return f"${found[1]}"


def test_the_whole_way_from_sign_up_to_a_revoked_key(page: Page, address: str, watcher: Watcher) -> None:
    key = sign_up(page, address, "journey@example.com")
    assert key.startswith("omr_test_")
    assert key in page.inner_text("#code-curl")
    assert page.evaluate("document.cookie") == ""

    # The pasted request is noticed without a reload.
    page.evaluate("window.notReloaded = true")
    page.wait_for_selector(".waiting")
    answer = chat(address, key)
    assert answer.status_code == 200
    first = page.wait_for_selector("#first-request")
    assert first is not None
    assert answer.json()["model_used"] in first.inner_text()
    assert page.evaluate("window.notReloaded") is True

    # Overview, `/v1/usage` and the answer agree to the last digit.
    page.click("text=Open the overview")
    page.wait_for_selector("h1:has-text('Overview')")
    spend = page.locator(".stat:has-text('Spend') data")
    expect(spend).to_have_attribute("value", exact(answer, "cost"))
    usage = httpx.get(f"{address}/v1/usage", headers={"Authorization": f"Bearer {key}"}, timeout=10)
    expect(page.locator(".stat:has-text('Saved') data")).to_have_attribute("value", exact(usage, "estimated_savings"))
    expect(page.locator("main")).to_contain_text(answer.json()["model_used"])
    expect(page.locator(".notice[data-tone=sim]")).to_contain_text("simulated")

    # The request's own page.
    page.click("tbody a")
    expect(page.locator("h1")).to_have_text("Request")
    expect(page.locator("main")).to_contain_text(answer.json()["request_id"])
    expect(page.locator("main")).to_contain_text("Chosen for")

    # Revoked here, refused there.
    page.click("nav[aria-label=Pages] >> text=Keys")
    page.click("tbody >> text=Revoke")
    page.click("text=Revoke it")
    expect(page.locator("main")).to_contain_text("is revoked")
    deadline_s = time.monotonic() + 2
    while chat(address, key).status_code != 401:
        assert time.monotonic() < deadline_s, "a revoked key still works after two seconds"
        time.sleep(0.1)

    assert not [frame for frame in watcher.frames if key in frame], "the key went over the socket"


def test_a_key_made_on_the_keys_page_is_shown_once_and_works(page: Page, address: str) -> None:
    sign_up(page, address, "keys@example.com")
    open_page(page, f"{address}/keys/")
    page.fill("#key-name", "<b>Billing</b> service")
    page.click("text=Make key")
    page.wait_for_selector("[data-key-box]:not([hidden])")
    key = page.inner_text("#new-key")
    expect(page.locator("tbody")).to_contain_text("<b>Billing</b> service")
    assert chat(address, key).status_code == 200
    page.click("text=I have saved it")
    expect(page.locator("[data-key-box]")).to_be_hidden()
    page.reload()
    page.wait_for_selector("tbody tr")
    assert key not in page.content()


def test_the_session_token_never_reaches_the_page(
    page: Page, context: BrowserContext, address: str, watcher: Watcher
) -> None:
    sign_up(page, address, "token@example.com")
    [token] = [cookie["value"] for cookie in context.cookies() if cookie["name"] == "omr_session"]
    open_page(page, f"{address}/overview/")
    page.wait_for_selector(".stats")
    received = [frame for frame in watcher.frames if token in frame]
    assert received == []
    assert token not in page.content()


def test_the_test_request_button_is_enough(page: Page, address: str) -> None:
    sign_up(page, address, "button@example.com")
    page.click("text=Send a test request for me")
    page.wait_for_selector("#first-request")
    expect(page.locator(".answer")).not_to_be_empty()


def test_the_playground_previews_answers_and_falls_back(page: Page, address: str) -> None:
    sign_up(page, address, "play@example.com")
    open_page(page, f"{address}/playground/")
    page.fill("#prompt", "Write a Python function that merges two sorted lists.")
    expect(page.locator(".ranked li").first).to_have_attribute("data-chosen", "yes")
    expect(page.locator(".badge").first).to_contain_text("Coding")
    page.check("#broken")
    page.click("button:has-text('Send')")
    page.wait_for_selector(".answer")
    steps = page.locator(".steps li")
    expect(steps.nth(0)).to_have_attribute("data-ok", "no")
    expect(steps.nth(1)).to_have_attribute("data-ok", "yes")
    expect(page.locator("main")).to_contain_text("a fallback answered")
    page.click("text=Open this request")
    expect(page.locator("main")).to_contain_text("rescued")


def test_anybody_can_try_the_routing_on_the_landing_page(page: Page, address: str) -> None:
    open_page(page, address)
    page.fill("#prompt", "Translate to German: good morning")
    expect(page.locator(".card .badge").first).to_contain_text("Translation")
    page.click("button:has-text('Code')")
    expect(page.locator("#prompt")).to_have_value(
        "Write a Python function that merges two sorted lists, with type hints and tests."
    )
    expect(page.locator(".card .badge").first).to_contain_text("Coding")


def test_a_refused_form_says_why_and_keeps_what_was_typed(page: Page, address: str) -> None:
    open_page(page, f"{address}/signup/")
    page.fill("#email", "typed@example.com")
    page.fill("#org_name", "Typed team")
    page.fill("#password", "password1234")
    page.click("button:has-text('Create account')")
    expect(page.locator("[role=alert]")).to_contain_text("12 to 128 characters")
    expect(page.locator("#email")).to_have_value("typed@example.com")
    expect(page.locator("#org_name")).to_have_value("Typed team")
    assert page.input_value("#password") == ""
    assert "typed" not in page.url


def test_logging_out_ends_every_open_tab(page: Page, context: BrowserContext, address: str, watcher: Watcher) -> None:
    sign_up(page, address, "tabs@example.com")
    other = watcher.watch(context.new_page())
    open_page(other, f"{address}/overview/")
    other.wait_for_selector(".stats")
    page.click("text=Log out")
    page.wait_for_url(f"{address}/")
    other.click("text=24 h")
    other.wait_for_url("**/login/**")
    expect(other.locator("[role=alert]")).to_contain_text("session has ended")
    other.fill("#email", "tabs@example.com")
    other.fill("#password", PASSWORD)
    other.click("button:has-text('Log in')")
    other.wait_for_url("**/overview/?range=24h&mode=test")  # the address that was asked for


def test_the_address_of_a_view_can_be_shared_and_reloaded(page: Page, address: str) -> None:
    sign_up(page, address, "share@example.com")
    open_page(page, f"{address}/overview/?mode=live&range=30d")
    for _ in range(2):
        expect(page.locator(".switch a:has-text('Live')")).to_have_attribute("aria-current", "true")
        expect(page.locator(".switch a:has-text('30 days')")).to_have_attribute("aria-current", "true")
        page.reload()


def test_times_are_the_reader_s_own_with_utc_on_hover(page: Page, address: str) -> None:
    key = sign_up(page, address, "time@example.com")
    chat(address, key)
    page.wait_for_selector("#first-request")
    shown = page.locator("#first-request time")
    utc = shown.get_attribute("datetime") or ""
    expect(shown).to_have_attribute("title", utc.replace("T", " ").replace("Z", " UTC"))
    tokyo_hour = (int(utc[11:13]) + 9) % 24
    expect(shown).to_contain_text(f"{tokyo_hour:02d}:{utc[14:16]}")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_the_socket_refuses_other_origins(address: str, origin: str) -> None:
    assert "101" in _handshake(address, address).split("\r\n")[0]
    assert "101" not in _handshake(address, origin).split("\r\n")[0]


def _handshake(address: str, origin: str) -> str:
    parts = urlsplit(address)
    request = (
        f"GET /_event/?EIO=4&transport=websocket&token=x HTTP/1.1\r\nHost: {parts.netloc}\r\nOrigin: {origin}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with socket.create_connection((parts.hostname, parts.port or 80), timeout=10) as connection:
        connection.sendall(request.encode())
        return connection.recv(4096).decode(errors="replace")
