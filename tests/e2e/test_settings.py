"""A team in a real browser: an invitation, a second person, a new password, and the end of it."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.codes import code_of
from tests.e2e.conftest import DESK, PASSWORD, Watcher, from_elsewhere, open_page, sign_up
from tests.e2e.test_journey import chat
from tests.e2e.test_keys import until

pytestmark = pytest.mark.e2e
NEW = "a quite different lamp 77"


def test_from_an_invitation_to_the_end_of_the_team(
    page: Page, browser: Browser, address: str, watcher: Watcher
) -> None:
    key = sign_up(page, address, "owner@example.com")
    open_page(page, f"{address}/settings/")
    page.click("text=Make a link")
    page.wait_for_selector("[data-invite-box]:not([hidden])")
    link = page.inner_text("#invite-link")
    token = link.partition("#join=")[2]
    assert link.startswith(f"{address}/join/#join=") and "#" not in page.url and token

    # The second person signs up through the link and lands in the team.
    guest = watcher.watch(browser.new_context(viewport=DESK, extra_http_headers=from_elsewhere()).new_page())  # type: ignore[arg-type]
    guest.set_default_timeout(20_000)
    open_page(guest, link)
    guest.click("a:text-is('Create an account')")
    guest.wait_for_selector("#email")
    guest.fill("#email", "guest@example.com")
    guest.fill("#password", PASSWORD)
    guest.click("button:has-text('Create account')")
    guest.wait_for_url("**/join/")
    guest.click("button:has-text('Join the team')")
    guest.wait_for_url("**/overview/")
    expect(guest.locator(".who strong").first).to_have_text("owner's team")
    open_page(guest, f"{address}/settings/")
    expect(guest.locator("#team-name")).to_be_disabled()

    page.reload()
    expect(page.locator("main")).to_contain_text("guest@example.com")
    page.fill("#password-now", PASSWORD)
    page.fill("#new-password", NEW)
    page.click("text=Change password")
    expect(page.locator("main")).to_contain_text("Your password is changed")

    assert chat(address, key).status_code == 200
    page.click("text=Delete this team and its data")
    page.fill("#delete-name", "owner's team")
    page.fill("#password-for-delete", NEW)
    page.click("button:has-text('Delete the team')")
    page.wait_for_url("**/login/**")
    expect(page.locator("main")).to_contain_text("The team is deleted")
    until(address, key, 401)
    assert not [frame for frame in watcher.frames if token in frame], "the invitation went over the socket"
    guest.context.close()


def test_an_address_with_its_query_comes_back_after_the_log_in(page: Page, address: str) -> None:
    sign_up(page, address, "return@example.com")
    page.context.clear_cookies()
    page.goto(f"{address}/requests/?mode=test&task=coding")
    page.wait_for_url("**/login/**")
    page.wait_for_selector("[data-alive]", state="attached")
    page.fill("#email", "return@example.com")
    page.fill("#password", PASSWORD)
    page.click("button:has-text('Log in')")
    page.wait_for_url("**/requests/?mode=test&task=coding")


def test_a_provider_key_of_ones_own_is_entered_exchanged_and_deleted_and_never_seen_again(
    page: Page, address: str, watcher: Watcher
) -> None:
    first, second = "gsk_a-key-of-the-teams-own-4711", "gsk_the-one-that-takes-its-place-0815"
    sign_up(page, address, "byok@example.com")
    open_page(page, f"{address}/settings/")
    card = page.locator(".card", has_text="Provider keys of your own")
    for secret in (first, second):
        card.locator("#key-provider").select_option("groq")
        card.locator("#provider-key").fill(secret)
        card.locator("text=Keep this key").click()
        expect(card.locator("code")).to_have_text(f"…{secret[-4:]}")
        expect(card).to_contain_text("in use")
        expect(card.locator("#provider-key")).to_have_value("")
    for secret in (first, second):
        assert secret not in page.content() and secret not in page.url
        assert not [frame for frame in watcher.frames if secret in frame], "it went over the socket"
    card.locator("text=Delete").click()
    expect(card.locator("code")).to_have_count(0)


def set_up_factor(page: Page, password: str = PASSWORD) -> str:
    """Through the form of the open page; gives the secret."""
    page.fill("#factor-password", password)
    page.click("button:text-is('Set up')")
    page.wait_for_selector("[data-factor-confirm]:not([hidden])")
    expect(page.locator("[data-factor-qr]")).to_have_js_property("complete", True)
    secret = page.inner_text("#factor-secret").replace(" ", "")
    page.fill("#factor-code", code_of(secret))
    page.click("button:text-is('Turn on')")
    page.wait_for_selector("[data-factor-recovery-box]:not([hidden])")
    return secret


def test_a_second_factor_is_set_up_asked_for_and_a_browser_logged_out_from_another(
    page: Page, browser: Browser, address: str, watcher: Watcher
) -> None:
    sign_up(page, address, "factor@example.com")
    open_page(page, f"{address}/settings/")
    secret = set_up_factor(page)
    codes = page.inner_text("#recovery-codes").split()
    expect(page.locator("main")).to_contain_text("Recovery codes left: 10")
    secrets = [secret, *codes, PASSWORD]
    assert not [frame for frame in watcher.frames for one in secrets if one in frame], "a secret went over the socket"

    # Another browser: the password alone is not enough, a recovery code is.
    second = watcher.watch(browser.new_context(viewport=DESK, extra_http_headers=from_elsewhere()).new_page())  # type: ignore[arg-type]
    second.set_default_timeout(20_000)
    open_page(second, f"{address}/login/")
    second.fill("#email", "factor@example.com")
    second.fill("#password", PASSWORD)
    second.click("main button:has-text('Log in')")
    second.wait_for_url("**/login-code/**")
    open_page(second, f"{address}/overview/")
    second.wait_for_url("**/login/**")
    open_page(second, f"{address}/login-code/")
    second.fill("#code", codes[0])
    second.click("main button:has-text('Log in')")
    second.wait_for_url("**/overview/")

    # The first one sees it, and logs it out.
    page.reload()
    expect(page.locator("main")).to_contain_text("Recovery codes left: 9")
    page.click("tr:not(:has-text('this one')) >> button:text-is('Log out')")
    expect(page.locator("main")).to_contain_text("That browser is logged out.")
    second.reload()
    second.wait_for_url("**/login/**")


def test_a_team_asks_for_a_second_factor_and_its_member_is_led_to_set_it_up(
    page: Page, browser: Browser, address: str, watcher: Watcher
) -> None:
    sign_up(page, address, "asking@example.com")
    open_page(page, f"{address}/settings/")
    page.select_option("#asks-factor", "yes")
    expect(page.locator("main")).to_contain_text("Set up a second factor of your own first")
    expect(page.locator("#asks-factor")).to_have_value("no")
    page.click("text=Make a link")
    page.wait_for_selector("[data-invite-box]:not([hidden])")
    link = page.inner_text("#invite-link")

    guest = watcher.watch(browser.new_context(viewport=DESK, extra_http_headers=from_elsewhere()).new_page())  # type: ignore[arg-type]
    guest.set_default_timeout(20_000)
    sign_up(guest, address, "asked@example.com")
    open_page(guest, link)
    guest.click("button:has-text('Join the team')")
    guest.wait_for_url("**/overview/")
    open_page(guest, f"{address}/settings/")
    expect(guest.locator("main")).to_contain_text("asking@example.com")

    # The owner asks; the member's open tab loses the team at its next event, and so does every page.
    set_up_factor(page)
    page.select_option("#asks-factor", "yes")
    expect(page.locator("main")).to_contain_text("sees nothing of the team until they set one up")
    expect(page.locator("tr", has_text="asked@example.com")).to_contain_text("no second factor")
    notice = "«asking's team» asks for a second factor. Set it up to go on."
    guest.click("tr:has-text('asked@example.com') >> button:text-is('Leave')")
    expect(guest.locator("main")).to_contain_text(notice)
    expect(guest.locator("main")).not_to_contain_text("asking@example.com")
    open_page(guest, f"{address}/keys/")
    guest.wait_for_url("**/settings/")
    expect(guest.locator("main")).to_contain_text(notice)
    expect(guest.locator("#team-name")).to_have_count(0)

    # Once it is set up they go on, with their recovery codes still on the page.
    set_up_factor(guest)
    expect(guest.locator("main")).not_to_contain_text(notice)
    expect(guest.locator("main")).to_contain_text("asking@example.com")
    expect(guest.locator("[data-factor-recovery-box]")).to_be_visible()
    assert guest.inner_text("#recovery-codes").split()
    open_page(guest, f"{address}/keys/")
    expect(guest.locator("h1")).to_have_text("API keys")
    expect(guest.locator("main")).to_contain_text("First key")
    guest.context.close()


def test_the_secret_of_a_mail_s_link_leaves_the_address_before_the_page_tells_it(
    page: Page, address: str, watcher: Watcher
) -> None:
    secret = "a-secret-of-a-link-" + "x" * 400
    for kind in ("confirm", "reset"):
        open_page(page, f"{address}/{kind}/#{kind}={secret}")
        expect(page.locator("[data-link-secret]")).to_have_value(secret)
        assert page.url == f"{address}/{kind}/"
    page.fill("#new_password", NEW)
    page.click("text=Change it")
    page.wait_for_url("**/reset/?error=stale")
    expect(page.locator("main")).to_contain_text("This link does not work")
    assert not [frame for frame in watcher.frames if secret in frame]
