"""Lays the pages out as the site's builder takes them: one folder, links among them, pictures for diagrams' texts.

What is in the repository stays readable there (`docs/API.md`, `../CHANGELOG.md`, diagrams as text); the copy in
`build/docs` is what the site is made of.
"""

import re
import shutil
from pathlib import Path
from posixpath import normpath, relpath
from typing import Any

import yaml

from docsite.diagrams import BLOCK, picture_of
from docsite.reference import reference
from omni_app.api.openapi import document

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
LAID_OUT, SITE, CONFIGURATION = BUILD / "docs", BUILD / "site", BUILD / "mkdocs.yml"

BESIDE_DOCS = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "reporting.md",
    "plan.md": "plan.md",
    "LICENSE": "licence.txt",
    "omni_app/routing/reading/learned_words.md": "model-card.md",
}
"""Pages that stand outside of `docs/` -> their place in the site."""
LINK = re.compile(r"(?<!\\)\]\((?!https?://|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


class LeadsNowhere(Exception):
    """A link of a page that leads to no file of the repository."""


def place(source: str) -> str:
    """Where a file of the repository is in the site: pages in lower case, files of other folders under their path."""
    if source in BESIDE_DOCS:
        return BESIDE_DOCS[source]
    inside = source.removeprefix("docs/")
    return inside.lower() if source.startswith("docs/") else source


def linked(source: str, text: str) -> tuple[str, set[str]]:
    """A page with its links as the site has them, and the files of the repository that it links to.

    Raises `LeadsNowhere`.
    """
    targets: set[str] = set()

    def moved(link: re.Match[str]) -> str:
        target = normpath(f"{Path(source).parent.as_posix()}/{link[1]}")
        if not (ROOT / target).is_file():
            raise LeadsNowhere(f"{source}: {link[1]}")
        targets.add(target)
        return f"]({relpath(place(target), Path(place(source)).parent.as_posix())}{link[2] or ''})"

    parts = FENCE.split(text)
    return "".join(part if part.startswith("```") else LINK.sub(moved, part) for part in parts), targets


def drawn(source: str, text: str) -> str:
    """A page with each diagram's text replaced by its picture; its title is what those who do not see it are told."""

    def picture(block: re.Match[str]) -> str:
        title, path = picture_of(block[1])
        return f"![{title}]({relpath(place(path), Path(place(source)).parent.as_posix())})"

    return BLOCK.sub(picture, text)


def pages() -> list[str]:
    """Every page, as a path from the root of the repository."""
    ours = [name for name in BESIDE_DOCS if name.endswith(".md")]
    return [*ours, *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md"))]


def lay_out(folder: Path) -> None:
    """Writes every page, what they link to, and the reference into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    files: set[str] = set()
    for source in pages():
        text, targets = linked(source, (ROOT / source).read_text())
        files |= {*targets, *(picture_of(block[1])[1] for block in BLOCK.finditer(text))}
        write(folder / place(source), drawn(source, text))
    for source in files - {*pages()}:
        write(folder / place(source), (ROOT / source).read_bytes())
    write(folder / "reference.md", reference(document()))
    write(folder / "site.css", (ROOT / "docsite/site.css").read_bytes())


def write(path: Path, content: str | bytes) -> None:
    """Writes a file, and the folder that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def decisions() -> list[dict[str, str]]:
    """The decisions as entries of the navigation, by number."""
    return [
        {path.read_text().partition("\n")[0].removeprefix("# "): place(path.relative_to(ROOT).as_posix())}
        for path in sorted(ROOT.glob("docs/decisions/*.md"))
    ]


def configuration() -> dict[str, Any]:
    """`mkdocs.yml`, with its paths and the list of decisions filled in."""
    stated: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    nav = [{"Decisions": decisions()} if entry == {"Decisions": "decisions/"} else entry for entry in stated["nav"]]
    return stated | {"nav": nav, "docs_dir": str(LAID_OUT), "site_dir": str(SITE)}
