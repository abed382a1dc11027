"""The site as built, held against its promises: links and anchors lead somewhere, nothing is asked of another host."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

LOADED = {
    "script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src",
    "object": "data", "embed": "src", "form": "action",
}  # fmt: skip
"""Elements that make a browser ask for something by themselves -> the attribute that says for what."""
NOT_LOADED = {"canonical", "prev", "next", "alternate", "edit"}
"""Values of a link element's `rel` that are only told."""
IN_STYLES = re.compile(r"url\(\s*['\"]?((?:https?:)?//[^)'\"]+)|@import\s+['\"]((?:https?:)?//[^'\"]+)")
HERE = "http://site.invalid/"


class Page(HTMLParser):
    """What one page loads, links to, and can be linked at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in LOADED and LOADED[tag] in given and given.get("rel", "") not in NOT_LOADED:
            self.loaded.append(given[LOADED[tag]])
        self.loaded += [one[0] or one[1] for one in IN_STYLES.findall(given.get("style", ""))]


def problems(site: Path) -> list[str]:
    """Everything that is wrong with the site in this folder, a sentence each."""
    pages = {path.relative_to(site).as_posix(): Page(path.read_text()) for path in site.glob("**/*.html")}
    found = [problem for name, page in pages.items() for problem in of_page(site, pages, name, page)]
    for style in site.glob("**/*.css"):
        found += [f"{style.relative_to(site)}: loads {a or b}" for a, b in IN_STYLES.findall(style.read_text())]
    return found


def of_page(site: Path, pages: dict[str, Page], name: str, page: Page) -> Iterator[str]:
    """What is wrong with one page."""
    for address in page.loaded:
        if address.startswith("data:"):
            continue
        if not urljoin(HERE + name, address).startswith(HERE):
            yield f"{name}: loads {address}"
        elif file_of(site, name, address) is None:
            yield f"{name}: {address} is not there"
    for address in page.links:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue
        file = file_of(site, name, address) if parts.path else site / name
        if file is None:
            yield f"{name}: {address} is not there"
            continue
        target = pages.get(file.relative_to(site).as_posix())
        if parts.fragment and target and unquote(parts.fragment) not in target.anchors:
            yield f"{name}: {address} has no such anchor"


def file_of(site: Path, name: str, address: str) -> Path | None:
    """The file that an address on a page means."""
    path = unquote(urlsplit(urljoin(HERE + name, address)).path).lstrip("/")
    file = site / path
    if file.is_dir():
        file /= "index.html"
    return file if file.is_file() else None
