"""The playground in a real browser, with models that take their time: streams, stop, fallback, code, kept drafts."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import DESK, PASSWORD, PHONE, Watcher, open_page, sign_up
from tests.e2e.test_looks import CONTRAST, PICTURES
from tests.product import running_product

pytestmark = pytest.mark.e2e
PROMPT = "Write a Python function that merges two sorted lists, with type hints."


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A product of its own, whose simulated models need half the time that they state."""
    unhurried = {"LOCAL_MODEL": "off", "SANDBOX_SPEED": "0.5"}
    with running_product(tmp_path_factory.mktemp("unhurried"), environment=unhurried) as url:
        yield url


def open_playground(page: Page, address: str, email: str) -> None:
    sign_up(page, address, email)
    open_page(page, f"{address}/playground/")
    page.wait_for_selector(".columns")


def add(page: Page, model: str) -> None:
    page.select_option("#model", model)
    page.click("button:has-text('Add')")
    page.wait_for_selector(f".column[aria-label='{model}']")
    expect(page.locator("#model")).to_have_value("")


def log_in(page: Page, email: str) -> None:
    page.fill("#email", email)
    page.fill("#password", PASSWORD)
    page.click("button:has-text('Log in')")


def test_answers_stream_beside_each_other_and_stop(page: Page, address: str) -> None:
    open_playground(page, address, "stream@example.com")
    add(page, "sandbox/premium")
    expect(page).to_have_url(f"{address}/playground/?mode=test&models=sandbox/premium")
    page.fill("#prompt", PROMPT)
    expect(page.locator(".ranked li").first).to_have_attribute("data-chosen", "yes")
    page.keyboard.press("Control+Enter")
    auto, premium = page.locator(".column[aria-label=Auto]"), page.locator(".column[aria-label='sandbox/premium']")

    # Words come one after the other, in both columns.
    lengths: list[int] = []
    for _ in range(3):
        page.wait_for_function(
            "(before) => (document.querySelector('.column .answer')?.textContent.length || 0) > before",
            arg=lengths[-1] if lengths else 0,
        )
        lengths.append(len(auto.locator(".answer").inner_text()))
    assert lengths == sorted(set(lengths))
    expect(auto).to_have_attribute("aria-busy", "true")
    expect(premium).to_have_attribute("aria-busy", "true")

    # One column answers to its end, the other one is stopped: its call is cancelled, and the ledger says so.
    expect(auto.locator(".badge").first).to_have_text("answered")
    expect(auto).to_contain_text("First word")
    premium.get_by_role("button", name="Stop").click()
    expect(premium.locator(".badge").first).to_have_text("stopped")
    expect(page.locator("button[type=submit]:has-text('Send')")).to_be_enabled()
    expect(page.locator("#answers [role=status]")).to_contain_text("2 of 2 finished")
    premium.locator("text=Open this request").click()
    expect(page.locator("h1")).to_have_text("Request")
    expect(page.locator("main")).to_contain_text("the client went away")


def test_everything_is_stopped_at_once(page: Page, address: str) -> None:
    open_playground(page, address, "stop@example.com")
    add(page, "sandbox/premium")
    page.fill("#prompt", PROMPT)
    page.click("button:has-text('Send')")
    page.wait_for_selector(".column .answer")
    page.click("text=Stop all")
    expect(page.locator(".column .badge[data-tone=warn]")).to_have_count(2)
    expect(page.locator("button:has-text('Stop all')")).to_have_count(0)


def test_a_broken_primary_is_rescued_by_the_chain_and_a_fixed_model_is_not(page: Page, address: str) -> None:
    open_playground(page, address, "rescue@example.com")
    add(page, "sandbox/swift")
    page.fill("#prompt", PROMPT)
    page.check("#broken")
    page.click("button:has-text('Send')")
    auto, fixed = page.locator(".column[aria-label=Auto]"), page.locator(".column[aria-label='sandbox/swift']")
    # The failed step is there before the rescue is.
    expect(auto.locator(".steps li").first).to_have_attribute("data-ok", "no")
    expect(auto.locator(".steps li").nth(1)).to_have_attribute("data-ok", "yes")
    expect(auto).to_contain_text("a fallback answered")
    expect(fixed).to_contain_text("one fixed model has no fallback")


def test_the_code_is_the_request_and_holds_the_key_only_in_this_page(
    page: Page, address: str, watcher: Watcher
) -> None:
    key = sign_up(page, address, "code@example.com")
    page.click("nav[aria-label=Pages] >> text=Playground")
    page.wait_for_selector(".columns")
    page.fill("#prompt", "<b>bold</b> & it's 5 o'clock")
    page.select_option("#priority", "cheap")
    page.click("button:has-text('View code')")
    expect(page.locator("#code-curl")).to_contain_text("<b>bold</b> & it'\\''s 5 o'\\''clock")
    expect(page.locator("#code-curl")).to_contain_text('"omni": {"priority": "cheap"}')
    expect(page.locator("#code-curl")).to_contain_text(f"Authorization: Bearer {key}")
    page.click("label:has-text('Python')")
    expect(page.locator("#code-openai")).to_be_visible()
    page.check("#broken")
    expect(page.locator("#code-openai")).to_contain_text('metadata={"sandbox_fail": "error"}')
    assert not [frame for frame in watcher.frames if key in frame], "the key went over the socket"
    page.reload()
    page.wait_for_selector("#code-curl", state="attached")
    expect(page.locator("#code-curl")).to_contain_text("Bearer YOUR_API_KEY")


def test_a_wrong_figure_is_told_beside_its_field_and_nothing_is_lost(page: Page, address: str) -> None:
    open_playground(page, address, "wrong@example.com")
    page.fill("#prompt", PROMPT)
    page.click("summary:has-text('More options')")
    page.fill("#max_cost", "a lot")
    page.click("button:has-text('Send')")
    expect(page.locator("#max_cost-problem")).to_contain_text("US dollars")
    expect(page.locator("#max_cost")).to_have_attribute("aria-invalid", "true")
    page.click("summary:has-text('More options')")
    expect(page.locator("#max_cost")).to_be_hidden()
    expect(page.locator("#playground-form")).to_contain_text("is not right yet")
    page.click("summary:has-text('More options')")
    assert (page.input_value("#prompt"), page.input_value("#max_cost")) == (PROMPT, "a lot")
    page.fill("#max_cost", "0.01")
    expect(page.locator("#max_cost-problem")).to_be_empty()
    page.click("button:has-text('Send')")
    expect(page.locator(".column .badge").first).to_have_text("answered")


def test_what_was_typed_outlives_a_reload_and_the_session_and_is_nobody_else_s(
    page: Page, context: BrowserContext, address: str, watcher: Watcher
) -> None:
    open_playground(page, address, "draft@example.com")
    page.fill("#prompt", PROMPT)
    page.wait_for_function("sessionStorage.getItem('omni-draft:/playground/#prompt')")
    page.reload()
    expect(page.locator("#prompt")).to_have_value(PROMPT)
    expect(page.locator(".badge").first).to_contain_text("Coding")

    # The session ends elsewhere; the next event leads to the log-in, and back to the draft.
    other = watcher.watch(context.new_page())
    open_page(other, f"{address}/overview/")
    other.click("text=Log out")
    other.wait_for_url(f"{address}/")
    page.select_option("#priority", "cheap")
    page.wait_for_url("**/login/**")
    log_in(page, "draft@example.com")
    page.wait_for_url("**/playground/")
    expect(page.locator("#prompt")).to_have_value(PROMPT)

    # The same tab, another person; then the first one again, after logging out.
    context.clear_cookies()
    sign_up(page, address, "nosy@example.com")
    page.click("nav[aria-label=Pages] >> text=Playground")
    page.wait_for_selector(".columns")
    page.wait_for_timeout(300)
    assert page.input_value("#prompt") == ""
    page.click("text=Log out")
    page.wait_for_url(f"{address}/")
    assert page.evaluate("Object.keys(sessionStorage).filter((name) => name.startsWith('omni-draft:'))") == []


def test_the_page_can_be_read_with_everything_on_it(page: Page, address: str) -> None:
    open_playground(page, address, "full@example.com")
    for model in ("sandbox/swift", "sandbox/coder"):
        add(page, model)
    page.fill("#prompt", PROMPT)
    page.click("summary:has-text('More options')")
    page.click("button:has-text('View code')")
    page.check("#broken")
    page.click("button:has-text('Send')")
    expect(page.locator(".column .badge[data-tone=bad]")).to_have_count(2)
    expect(page.locator(".column .badge[data-tone=warn]")).to_have_count(1)
    page.fill("#max_tokens", "0")
    expect(page.locator("#max_tokens-problem")).to_contain_text("Must be between 1")
    for size in (DESK, PHONE):
        for scheme in ("light", "dark"):
            page.set_viewport_size(size)  # type: ignore[arg-type]
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=PICTURES / f"playground-full-{size['width']}-{scheme}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            assert page.evaluate(CONTRAST) == []


def test_a_picture_is_shown_from_this_page_alone(page: Page, address: str) -> None:
    open_playground(page, address, "picture@example.com")
    page.fill("#prompt", "Draw a picture of a red fox in the snow.")
    page.click("button:has-text('Send')")
    picture = page.locator(".column img")
    expect(picture).to_be_visible()
    assert picture.evaluate("(image) => image.complete && image.naturalWidth > 0")


def test_four_columns_fit_a_phone(page: Page, address: str) -> None:
    open_playground(page, address, "phone@example.com")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    for model in ("sandbox/swift", "sandbox/coder", "sandbox/balanced"):
        add(page, model)
    expect(page.locator("#model")).to_be_disabled()
    page.fill("#prompt", PROMPT)
    page.click("button:has-text('Send')")
    expect(page.locator(".column[aria-busy=true]")).to_have_count(0, timeout=20_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.get_by_role("button", name="Remove sandbox/coder").click()
    expect(page.locator(".column")).to_have_count(3)
    expect(page).to_have_url(f"{address}/playground/?mode=test&models=sandbox/swift,sandbox/balanced")
