"""What stays in a browser: of everything that a person types or is shown once, nothing but what is sealed."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.codes import code_of
from tests.e2e.conftest import PATIENCE_MS, Watcher, open_page
from tests.e2e.test_settings import set_up_factor
from tests.product import running_product
from tests.servers.smtp import MailServer, mail_server
from tests.test_command_line import omni

pytestmark = pytest.mark.e2e
EMAIL, TEAM, GUEST = "canary-of-a-mailbox@example.com", "Canary of a team", "canary-of-a-guest@example.com"
LOST = "canary-of-what-is-lost@example.com"
FIRST, SECOND, OTHER = "canary teal otter 42", "canary quite another lamp 77", "canary of what is wrong 13"
PROMPT, SYSTEM = "Canary of a prompt: write a haiku.", "Canary of instructions."
AMOUNT, TOKENS = "0.0271828", "31415"
ADDRESSES = count(1)

DUMP = """async () => {
  const records = [];
  for (const { name } of await indexedDB.databases()) {
    const database = await new Promise((done, fail) => {
      const asked = indexedDB.open(name);
      asked.onsuccess = () => done(asked.result);
      asked.onerror = () => fail(asked.error);
    });
    for (const store of database.objectStoreNames) {
      const rows = database.transaction(store).objectStore(store);
      for (const asked of [rows.getAll(), rows.getAllKeys()]) {
        records.push(await new Promise((done) => { asked.onsuccess = () => done(asked.result); }));
      }
    }
    database.close();
  }
  const caught = [];
  for (const name of await caches.keys()) {
    caught.push(name, ...(await (await caches.open(name)).keys()).map((one) => one.url));
  }
  return JSON.stringify([{ ...localStorage }, { ...sessionStorage }, records, document.cookie, caught]);
}"""
WRITES = """{
  const keep = Storage.prototype.setItem;
  Storage.prototype.setItem = function (name, value) {
    window.toldStored(`${name} ${value}`);
    return keep.call(this, name, value);
  };
}"""
"""Tells of what is stored for a moment too."""


@dataclass
class Storage:
    """What a context's pages store, and what must not be there."""

    context: BrowserContext
    canaries: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """From an address of its own: tries at passwords are counted by address."""
        self.context.set_extra_http_headers({"X-Forwarded-For": f"203.0.113.{next(ADDRESSES)}"})
        self.context.expose_binding("toldStored", lambda _source, text: self.written.append(text))
        self.context.add_init_script(WRITES)

    def found(self, page: Page) -> list[str]:
        """The canaries in any storage, as they are or in hexadecimal digits, and in any cookie of the browser."""
        cookies = [f"{one.get('name')}={one.get('value')}" for one in self.context.cookies()]
        kept = "\n".join([page.evaluate(DUMP), *cookies, *self.written])
        return [one for one in self.canaries if one in kept or one.encode().hex() in kept]

    def check(self, page: Page) -> None:
        assert self.canaries and self.found(page) == []


@dataclass(frozen=True, slots=True)
class Mailing:
    """A product that sends mail, and what its operator's command line needs."""

    address: str
    server: MailServer
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Where its mails go, and its own address."""
        return mail_to(self.server) | {"PORT": self.address.rpartition(":")[2]}


def mail_to(server: MailServer) -> dict[str, str]:
    return {"SMTP_URL": server.url, "MAIL_FROM": "router@example.com"}


@pytest.fixture(scope="module")
def mailing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailing]:
    folder = tmp_path_factory.mktemp("mailing")
    with mail_server() as server:
        environment = {"LOCAL_MODEL": "off", "SANDBOX_SPEED": "0", "TRUSTED_PROXIES": "127.0.0.1", **mail_to(server)}
        with running_product(folder, environment=environment) as url:
            yield Mailing(url, server, folder)


@pytest.fixture
def address(mailing: Mailing) -> str:
    return mailing.address


@pytest.fixture
def storage(context: BrowserContext) -> Storage:
    storage = Storage(context)
    storage.watch()
    return storage


def link_in_mail(server: MailServer, *, to: str, kind: str) -> str:
    """Of the newest mail to somebody; it comes after the answer of the page."""
    deadline_s = time.monotonic() + PATIENCE_MS / 1_000
    while time.monotonic() < deadline_s:
        texts = [mail.get_content() for mail in reversed(server.mails) if mail["To"] == to]
        if found := re.search(rf"http://\S+#{kind}=\S+", "\n".join(texts)):
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"no mail for {kind}")


def send(page: Page, **fields: str) -> None:
    """Fills the form of the page and sends it."""
    for name, value in fields.items():
        page.fill(f"#{name}", value)
    page.click("main form button[type=submit]")


def wait_for_draft(page: Page, field_id: str) -> str:
    """Until it is kept; gives what is kept."""
    name = f"omni-draft:/playground/#{field_id}"
    page.wait_for_function("(name) => sessionStorage.getItem(name)", arg=name)
    return str(page.evaluate("(name) => sessionStorage.getItem(name)", name))


def confirmed(page: Page, mailing: Mailing, storage: Storage, *, email: str) -> None:
    """An account, by the forms and the link of the mail, with a mistake in each."""
    storage.canaries += [email, TEAM, FIRST, OTHER, "short-canary"]
    open_page(page, f"{mailing.address}/signup/")
    send(page, email=email, org_name=TEAM, password="short-canary")
    expect(page.locator("[role=alert]")).to_contain_text("12 to 128 characters")
    assert (page.input_value("#email"), page.input_value("#org_name")) == (email, TEAM), "nothing is lost"
    assert page.input_value("#password") == ""
    storage.check(page)
    send(page, password=FIRST)
    expect(page.locator("[role=status]")).to_contain_text("Look into your mail")
    storage.check(page)
    link = link_in_mail(mailing.server, to=email, kind="confirm")
    storage.canaries.append(link.partition("=")[2])
    open_page(page, link)
    send(page, password=OTHER)
    expect(page.locator("[role=alert]")).to_contain_text("not the password that you chose")
    storage.check(page)
    send(page, password=FIRST)
    page.wait_for_url("**/start/")
    page.wait_for_selector("[data-key-box]:not([hidden])")
    storage.canaries.append(page.inner_text("#new-key"))
    storage.check(page)


def test_what_is_typed_and_shown_on_the_way_into_an_account_stays_in_no_storage(
    page: Page, storage: Storage, mailing: Mailing
) -> None:
    address, server = mailing.address, mailing.server
    storage.canaries.append(SECOND)
    confirmed(page, mailing, storage, email=EMAIL)

    open_page(page, f"{address}/settings/")
    storage.canaries.append(secret := set_up_factor(page, FIRST))
    storage.canaries += page.inner_text("#recovery-codes").split()
    page.fill("#password-now", OTHER)
    page.fill("#new-password", SECOND)
    page.click("text=Change password")
    page.wait_for_url("**/settings/?said=wrong")
    storage.check(page)
    page.click("text=Log out >> nth=0")
    page.wait_for_url(f"{address}/")

    open_page(page, f"{address}/forgot/")
    send(page, email="canary")
    send(page, email=EMAIL)
    expect(page.locator("[role=status]")).to_contain_text("If there is an account")
    storage.check(page)
    link = link_in_mail(server, to=EMAIL, kind="reset")
    storage.canaries.append(link.partition("=")[2])
    open_page(page, link)
    send(page, new_password="short-canary")
    expect(page.locator("[role=alert]")).to_contain_text("Choose another password")
    storage.check(page)
    send(page, new_password=SECOND)
    page.wait_for_url("**/login/?error=reset_done")

    send(page, email=EMAIL, password=OTHER)
    expect(page.locator("[role=alert]")).to_contain_text("do not belong together")
    assert page.input_value("#email") == EMAIL
    storage.check(page)
    send(page, password=SECOND)
    page.wait_for_url("**/login-code/")
    page.wait_for_selector("[data-alive]", state="attached")
    storage.canaries.append("777 canary 777")
    send(page, code="777 canary 777")
    expect(page.locator("[role=alert]")).to_contain_text("That code is wrong")
    storage.check(page)
    send(page, code=code_of(secret, later=1))
    page.wait_for_url("**/overview/")
    storage.check(page)


def test_the_way_to_take_a_lost_factor_off_leaves_nothing_in_a_storage(
    page: Page, storage: Storage, watcher: Watcher, mailing: Mailing
) -> None:
    confirmed(page, mailing, storage, email=LOST)
    open_page(page, f"{mailing.address}/settings/")
    storage.canaries.append(secret := set_up_factor(page, FIRST))
    allowed = omni(mailing.folder, "users", "reset-second-factor", LOST, **mailing.environment)
    assert allowed.returncode == 0, allowed.stderr
    link = link_in_mail(mailing.server, to=LOST, kind="lost-factor")
    storage.canaries.append(token := link.partition("=")[2])
    open_page(page, link)
    assert page.url == f"{mailing.address}/lost-factor/"
    send(page, password=OTHER)
    expect(page.locator("[role=alert]")).to_contain_text("not the password of the account")
    storage.check(page)
    send(page, password=FIRST)
    page.wait_for_url("**/login/?error=factor_off")
    expect(page.locator("[role=status]")).to_contain_text("Your second factor is off")
    send(page, email=LOST, password=FIRST)
    page.wait_for_url("**/overview/")
    storage.check(page)
    assert not [frame for frame in watcher.frames for one in (token, secret) if one in frame], "went over the socket"


def test_a_draft_is_sealed_under_a_key_that_is_in_no_storage(page: Page, storage: Storage, mailing: Mailing) -> None:
    address = mailing.address
    storage.canaries += [PROMPT, SYSTEM, AMOUNT, TOKENS]
    confirmed(page, mailing, storage, email="canary-of-drafts@example.com")
    with page.expect_response("**/auth/draft-key") as answered:
        open_page(page, f"{address}/playground/")
    storage.canaries.append(answered.value.json()["key"])
    page.click("summary:has-text('More options')")
    typed = {"prompt": PROMPT, "system": SYSTEM, "max_cost": AMOUNT, "max_tokens": TOKENS}
    for name, text in typed.items():
        page.fill(f"#{name}", text)
    first = {name: wait_for_draft(page, name) for name in typed}
    storage.check(page)
    page.fill("#prompt", "")
    page.wait_for_function("sessionStorage.getItem('omni-draft:/playground/#prompt') === null")
    page.fill("#prompt", PROMPT)
    assert wait_for_draft(page, "prompt") != first["prompt"], "sealed anew, with another nonce"
    page.reload()
    for name, text in typed.items():
        expect(page.locator(f"#{name}")).to_have_value(text)
    storage.check(page)

    # What is kept for one field opens as no other's.
    page.evaluate("""() => {
      const at = (name) => `omni-draft:/playground/#${name}`;
      sessionStorage.setItem(at("system"), sessionStorage.getItem(at("prompt")));
    }""")
    page.reload()
    expect(page.locator("#prompt")).to_have_value(PROMPT)
    assert page.input_value("#system") == ""


def test_without_cryptography_a_draft_lives_as_long_as_its_page(page: Page, storage: Storage, mailing: Mailing) -> None:
    """As on http with another host than this machine's."""
    address = mailing.address
    storage.canaries.append(PROMPT)
    confirmed(page, mailing, storage, email="canary-of-no-crypto@example.com")
    storage.context.add_init_script("Object.defineProperty(crypto, 'subtle', { value: undefined });")
    open_page(page, f"{address}/playground/")
    page.fill("#prompt", PROMPT)
    expect(page.locator(".badge").first).to_be_visible()
    page.wait_for_timeout(300)
    storage.check(page)
    assert page.input_value("#prompt") == PROMPT and not [one for one in storage.written if "draft" in one]
    page.reload()
    page.wait_for_selector(".columns")
    page.wait_for_timeout(300)
    assert page.input_value("#prompt") == ""


def test_an_invitation_waits_for_the_log_in_outside_of_every_storage(
    page: Page, storage: Storage, watcher: Watcher, mailing: Mailing
) -> None:
    address = mailing.address
    confirmed(page, mailing, storage, email="canary-of-a-host@example.com")
    open_page(page, f"{address}/settings/")
    page.click("text=Make a link")
    page.wait_for_selector("[data-invite-box]:not([hidden])")
    link = page.inner_text("#invite-link")
    storage.canaries.append(token := link.partition("=")[2])
    storage.check(page)
    page.click("text=Log out >> nth=0")
    page.wait_for_url(f"{address}/")

    confirmed(page, mailing, storage, email=GUEST)
    page.click("text=Log out >> nth=0")
    page.wait_for_url(f"{address}/")
    open_page(page, link)
    assert page.url == f"{address}/join/"
    storage.check(page)
    page.click("main a:text-is('Log in')")
    page.wait_for_selector("#email")
    send(page, email=GUEST, password=OTHER)
    expect(page.locator("[role=alert]")).to_contain_text("do not belong together")
    storage.check(page)
    send(page, password=FIRST)
    page.wait_for_url("**/join/")
    page.wait_for_selector("[data-link-secret]", state="attached")
    assert page.input_value("[data-link-secret]") == "", "the page has no secret: the cookie has"
    storage.check(page)
    page.click("button:has-text('Join the team')")
    page.wait_for_url("**/overview/")
    storage.check(page)
    assert not [frame for frame in watcher.frames if token in frame], "the invitation went over the socket"


PLANTS = {
    "localStorage": "localStorage.setItem('a', 'canary')",
    "its names": "localStorage.setItem('canary', '')",
    "sessionStorage": "sessionStorage.a = 'canary'",
    "sealed for nobody": "sessionStorage.a = '63616e617279'",
    "a cookie": "document.cookie = 'a=canary'",
    "indexedDB": """new Promise((done) => {
      const asked = indexedDB.open("planted");
      asked.onupgradeneeded = () => asked.result.createObjectStore("s").put({ deep: ["canary"] }, 1);
      asked.onsuccess = () => { asked.result.close(); done(); };
    })""",
}


@pytest.mark.parametrize("plant", PLANTS)
def test_whatever_is_kept_anywhere_is_found(page: Page, storage: Storage, address: str, plant: str) -> None:
    storage.canaries.append("canary")
    open_page(page, f"{address}/login/")
    storage.check(page)
    page.evaluate(PLANTS[plant])
    assert storage.found(page) == ["canary"]


def test_what_is_stored_for_a_moment_is_found_too(page: Page, storage: Storage, address: str) -> None:
    storage.canaries.append("canary")
    open_page(page, f"{address}/login/")
    page.evaluate("sessionStorage.setItem('a', 'canary'); sessionStorage.clear()")
    assert storage.found(page) == ["canary"]
