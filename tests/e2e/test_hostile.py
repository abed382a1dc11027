"""Whatever anybody wrote, a page shows it as text: nothing runs, nothing is fetched, nothing leads away.

First by the ways that people and providers have; then with every text of the database replaced.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import BrowserContext, Dialog, Page, expect

from tests.e2e.conftest import PASSWORD, Watcher, open_page
from tests.e2e.hostile import HOSTILE, MARK, NOTICE, assert_only_text, in_background, shown, spoil
from tests.e2e.pages import PAGES
from tests.e2e.test_landing import file, line
from tests.product import running_product
from tests.servers.upstream import KEY, Upstream

pytestmark = pytest.mark.e2e
MODEL = "openai/gpt-4.1-mini"
FORMULAS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A product with hostile text wherever text can come from, and the cookie of whoever wrote it."""

    address: str
    database: Path
    cookie: str
    provider: Upstream
    requests: tuple[str, ...]


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoilt]:
    folder = tmp_path_factory.mktemp("spoilt")
    with in_background(Upstream(text=" ".join(HOSTILE))) as provider:
        environment = {"LOCAL_MODEL": "off", "SANDBOX_SPEED": "0", "OPENAI_API_KEY": KEY}
        environment["OPENAI_BASE_URL"] = provider.openai_url
        with running_product(folder, environment=environment) as address:
            cookie, requests = written_everywhere(address, provider)
            yield Spoilt(address, folder / "omni.db", cookie, provider, requests)


def written_everywhere(address: str, provider: Upstream) -> tuple[str, tuple[str, ...]]:
    """By the ways that there are: account, keys, prompts, answers, errors; gives the cookie and the requests' ids."""
    texts, ids = cycle(HOSTILE), []
    ours = {"Origin": address, "Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=address, headers=ours, timeout=30) as client:
        account = {"email": "ada@example.com", "password": PASSWORD, "org_name": HOSTILE[0][:60]}
        client.post("/auth/signup", data=account)
        named = zip(HOSTILE[:8], cycle(("live", "test")), strict=False)
        made = [client.post("/auth/keys", json={"name": said[:60], "kind": kind}) for said, kind in named]
        keys = [one.json()["key"] for one in made[:2]]
        assert [one.status_code for one in made].count(201) > 4, [one.text for one in made]
        client.post("/auth/provider-keys", data={"provider": "mistral", "key": "x" + HOSTILE[1]})
        client.post("/auth/invitations", data={"role": "member"})
        cookie = client.cookies["omr_session"]
        client.cookies.clear()
        for said in HOSTILE:
            for key, model in ((keys[0], MODEL), (keys[1], "auto"), (keys[0], said)):
                provider.answer = {"error": {"message": said}} if said in HOSTILE[::4] else None
                asked = [{"role": "system", "content": next(texts)}, {"role": "user", "content": said}]
                body = {
                    "model": model, "messages": asked,
                    "metadata": {"note": said}, "user": said, "omni": {"session_id": said[:60], "step_id": said[:60]},
                }  # fmt: skip
                headers = {"X-API-Key": key, "User-Agent": next(texts).replace("\u202e", "")}
                answer = client.post("/v1/chat/completions", json=body, headers=headers)
                ids.append(answer.headers["x-request-id"])
    provider.answer = None
    return cookie, tuple(ids)


@pytest.fixture
def watcher(spoilt: Spoilt) -> Iterator[Watcher]:
    watcher = Watcher(spoilt.address)
    yield watcher
    assert watcher.complaints == []


@pytest.fixture
def page(context: BrowserContext, watcher: Watcher, spoilt: Spoilt) -> Iterator[Page]:
    context.add_cookies([{"name": "omr_session", "value": spoilt.cookie, "url": spoilt.address}])
    context.add_init_script(NOTICE)
    page = watcher.watch(context.new_page())
    dialogs: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    yield page
    assert dialogs == []


def every_page(page: Page, spoilt: Spoilt) -> int:
    """Opens every page, with the views that show more; gives how much hostile text was to be read."""
    ids = spoilt.requests[:: len(spoilt.requests) // 5]
    paths = [*PAGES, "/overview/?mode=test", "/usage/?mode=test", "/requests/?mode=test", "/models/?mode=live"]
    paths += [f"/request/?id={one}" for one in ids]
    seen = 0
    for path in paths:
        if path == "/no-such-page/":
            continue  # answered 404, which a browser complains of; it shows nothing of anybody
        open_page(page, spoilt.address + path)
        page.wait_for_function("!document.querySelector('.skeleton')")
        assert_only_text(page)
        seen += shown(page)
    return seen


@pytest.mark.parametrize("planted", [f"<b {MARK}></b>", "<a href=' JavaScript:x'>x</a>", "<img src=//evil.invalid/p>"])
def test_what_should_not_be_there_is_noticed(context: BrowserContext, planted: str) -> None:
    """So the tests below can fail."""
    page = context.new_page()
    page.set_content(f"<script>window.violations = []</script>{planted}")
    with pytest.raises(AssertionError):
        assert_only_text(page)


def test_what_was_sent_by_the_ways_that_there_are_is_text_on_every_page(page: Page, spoilt: Spoilt) -> None:
    assert every_page(page, spoilt) > 20


def test_the_playground_shows_a_hostile_prompt_and_answer_as_text(page: Page, spoilt: Spoilt) -> None:
    open_page(page, f"{spoilt.address}/playground/?mode=live&models={MODEL}")
    page.fill("#prompt", " ".join(HOSTILE))
    page.click("button[type=submit]:has-text('Send')")
    column = page.locator(f".column[aria-label='{MODEL}']")
    expect(column.locator(".badge").first).to_have_text("answered")
    expect(column).to_contain_text("<script data-injected>")
    for tab in page.locator("[role=tab]").all():
        tab.click()
    assert_only_text(page)


def test_the_estimator_shows_a_hostile_file_as_text(page: Page, spoilt: Spoilt) -> None:
    open_page(page, f"{spoilt.address}/")
    lines = [line(said, said) for said in HOSTILE]
    page.set_input_files("#estimate-file", file(f"{HOSTILE[1]}.jsonl".replace("/", "_"), "\n".join([*lines, line()])))
    expect(page.locator("[data-left-out]")).to_contain_text("<script")
    assert_only_text(page)


def test_a_hostile_address_is_text(page: Page, spoilt: Spoilt) -> None:
    for path in (
        "/requests/",
        "/request/",
        "/usage/",
        "/keys/",
        "/policy/",
        "/playground/",
        "/login/",
        "/models/",
        "/join/",
    ):
        for said in HOSTILE[:4]:
            query = "&".join(
                f"{name}={quote(said)}"
                for name in ("id", "key", "q", "model", "models", "mode", "error", "session", "next")
            )
            open_page(page, f"{spoilt.address}{path}?{query}#{quote(said)}")
            assert_only_text(page)


def test_with_every_text_of_the_database_replaced_pages_and_exports_stay_harmless(page: Page, spoilt: Spoilt) -> None:
    assert spoil(spoilt.database) > 200
    assert every_page(page, spoilt) > 100
    for name in ("requests", "usage"):
        answer = httpx.get(f"{spoilt.address}/auth/{name}.csv", cookies={"omr_session": spoilt.cookie}, timeout=30)
        rows = list(csv.reader(io.StringIO(answer.raise_for_status().text)))
        assert len(rows) > 1
        assert [cell for row in rows for cell in row if cell.startswith(FORMULAS) and not cell[1:2].isdigit()] == []
