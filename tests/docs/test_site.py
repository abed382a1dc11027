"""The site of docs/: it builds strictly, asks nobody else for anything, and says what the server says."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from docsite import __main__ as docsite
from docsite.assemble import ROOT, SITE, LeadsNowhere, linked, pages, place
from docsite.check import problems
from docsite.reference import reference
from omni_app.api.openapi import document
from tests.system import chromium

FIGURES, BENCHMARKS = ROOT / "docs/GUARANTEES.md", ROOT / "docs/benchmarks.md"


@pytest.fixture(scope="module")
def site() -> Path:
    assert docsite.main() == 0
    return SITE


def test_every_page_of_the_repository_is_in_the_site(site: Path) -> None:
    for name in pages():
        assert (site / place(name).removesuffix(".md") / "index.html").exists() or name == "README.md", name
    assert "One endpoint for every language model" in (site / "index.html").read_text()
    assert len(list(site.glob("decisions/*/index.html"))) == len(list(ROOT.glob("docs/decisions/*.md")))


def test_a_link_that_leads_nowhere_is_told() -> None:
    text, targets = linked(
        "docs/API.md", "[a](../README.md#x), [b](decisions/0001-record-decisions.md), [c](https://x.invalid)"
    )
    assert text == "[a](index.md#x), [b](decisions/0001-record-decisions.md), [c](https://x.invalid)"
    assert targets == {"README.md", "docs/decisions/0001-record-decisions.md"}
    with pytest.raises(LeadsNowhere, match=r"docs/API\.md: GONE\.md"):
        linked("docs/API.md", "[a](GONE.md)")


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ('<img src="https://cdn.invalid/a.png">', "index.html: loads https://cdn.invalid/a.png"),
        ('<script src="//cdn.invalid/a.js"></script>', "index.html: loads //cdn.invalid/a.js"),
        ('<p style="background: url(https://cdn.invalid/a.png)">', "index.html: loads https://cdn.invalid/a.png"),
        ('<a href="gone/">x</a>', "index.html: gone/ is not there"),
        ('<a href="#gone">x</a>', "index.html: #gone has no such anchor"),
        ('<a id="here" href="#here">x</a><a href="https://elsewhere.invalid">y</a>', ""),
    ],
)
def test_what_is_wrong_with_a_page_is_told(tmp_path: Path, page: str, problem: str) -> None:
    (tmp_path / "index.html").write_text(page)
    assert problems(tmp_path) == ([problem] if problem else [])


def test_a_style_from_another_host_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@import 'https://fonts.invalid/x.css';")
    assert problems(tmp_path) == ["a.css: loads https://fonts.invalid/x.css"]


def test_the_reference_has_every_route_field_and_status() -> None:
    text, stated = reference(document()), document()
    for path, operations in stated["paths"].items():
        for method, operation in operations.items():
            section = text.split(f"### `{method.upper()} {path}`\n")[1].split("\n### ")[0]
            for status in operation["responses"]:
                assert f"| {status} |" in section or f"**Answer ({status})**" in section, (path, status)
            for parameter in operation.get("parameters", ()):
                assert f"`{parameter['name']}`" in section
    for name, schema in stated["components"]["schemas"].items():
        section = text.split(f"\n### {name}\n")[1].split("\n### ")[0]
        assert all(f"`{field}`" in section for field in schema.get("properties", ())), name


def test_each_figure_of_the_guarantees_stands_on_the_page_that_is_named() -> None:
    held = FIGURES.read_text().partition("## Held")[2].partition("## Measured")[0]
    rows = re.findall(r"^\| .+? \| (.+?) \| \[\w+\]\(([\w.]+)#[\w-]+\) \|$", held, re.MULTILINE)
    assert len(rows) > 10
    for figure, page in rows:
        words = " ".join((ROOT / "docs" / page).read_text().split())
        assert figure in words, f"docs/GUARANTEES.md says what docs/{page} does not say (any more): {figure}"


def test_what_is_measured_without_a_promise_stands_on_the_page_that_is_named() -> None:
    measured = FIGURES.read_text().partition("## Measured")[2].partition("## Does not hold")[0]
    rows = re.findall(r"^\| .+?\? \| (.+) \| \[\w+\]\(([\w.]+)#?[\w-]*\) \|$", measured, re.MULTILINE)
    assert len(rows) == 4
    for figures, page in rows:
        text = (ROOT / "docs" / page).read_text()
        missing = [
            one for one in re.findall(r"\d[\d.,]*\d", figures) if not re.search(rf"(?<!\d){re.escape(one)}(?!\d)", text)
        ]
        assert missing == [], f"docs/GUARANTEES.md says what docs/{page} does not say (any more)"
    one, two = (
        int(cpu.replace(",", ""))
        for cpu in re.findall(r"Postgres, \d workers? \| [^|]+\| [^|]+\| [^|]+\| ([\d,]+) \|", BENCHMARKS.read_text())
    )
    assert two <= 1.1 * one, "docs/GUARANTEES.md says of a second worker what docs/benchmarks.md does not (any more)"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    handler = partial(Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


def test_a_browser_asks_no_other_host_and_complains_of_nothing(site: Path) -> None:
    """Every kind of page, the search, and a diagram."""
    path = chromium()
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    asked: list[str] = []
    complaints: list[str] = []
    with served(site) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("response", lambda one: complaints.append(f"{one.status}: {one.url}") if one.status >= 400 else None)
        page.on("console", lambda one: complaints.append(one.text) if one.type in ("error", "warning") else None)
        for name in ("", "quickstart/", "concepts/", "reference/", "decisions/0001-record-decisions/"):
            assert page.goto(url + name, wait_until="load")
        page.goto(url + "concepts/")
        drawn = page.locator("img[src$='.svg']").first
        assert drawn.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
        search = page.locator("input[name='query']")
        search.click()
        page.locator(".md-search-result__meta", has_text="Type to start searching").wait_for(state="attached")
        search.press_sequentially("pepper")
        page.locator(".md-search-result__link").first.wait_for(state="attached")
        browser.close()
    assert {address for address in asked if not address.startswith((url, "data:", "blob:"))} == set()
    assert len(asked) > 20
    assert complaints == []
