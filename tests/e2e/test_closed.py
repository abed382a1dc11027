"""A server that sends no mail and takes no sign-ups: the page says what to do, and that is true."""

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.e2e.conftest import PASSWORD, Watcher, open_page
from tests.product import running_product
from tests.test_command_line import omni

pytestmark = pytest.mark.e2e
EMAIL = "first@example.com"


def test_where_nobody_signs_up_by_themselves_the_page_says_so_and_the_command_line_makes_an_account(
    context: BrowserContext, tmp_path: Path
) -> None:
    closed = {"LOCAL_MODEL": "off", "SANDBOX_SPEED": "0", "SIGN_UP_WITHOUT_MAIL": "off"}
    with running_product(tmp_path, environment=closed) as server:
        watcher = Watcher(server)
        page = watcher.watch(context.new_page())
        open_page(page, f"{server}/signup/")
        expect(page.locator("#sign-up-closed")).to_contain_text("users create EMAIL")
        expect(page.locator("#sign-up-closed")).to_contain_text("SIGN_UP_WITHOUT_MAIL=on")
        expect(page.locator("form[action='/auth/signup']")).to_have_count(0)
        made = omni(tmp_path, "users", "create", EMAIL, stdin=f"{PASSWORD}\n{PASSWORD}\n")
        assert made.returncode == 0, made.stderr
        page.click("main a:text-is('Log in')")
        page.wait_for_selector("#password")
        page.fill("#email", EMAIL)
        page.fill("#password", PASSWORD)
        page.click("main button:has-text('Log in')")
        page.wait_for_url("**/overview/")
        expect(page.locator(".who strong").first).to_have_text("first's team")
        assert watcher.complaints == []
