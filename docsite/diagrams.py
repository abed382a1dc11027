"""Diagrams: their texts (Mermaid) stand in the pages, their pictures beside them: the site needs no program to draw.

`python -m docsite.diagrams` draws those that are new or were changed, in Chromium, and removes those that no page has
any more. It takes Mermaid from npm, at the version below and with its checksum; nothing else needs it.
"""

import asyncio
import base64
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "docs/images/diagrams"
BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r"^\s*accTitle: (.+)$", re.MULTILINE)
NOT_SHOWN = re.compile(r' data-[\w-]+="[^"]*"')
FINER = re.compile(r"(\d+\.\d)\d+")
MERMAID = "mermaid@12.3.0"
SHA512 = "4113TdXeLAsMruJ79OpFL5O8+LTFXhQqZ260rF3tgUmiNAtRm4Uume04I+65PRN6yZ69J4f8rVYWW8zRk65UYw=="
LOOK = {
    "startOnLoad": False,
    "theme": "neutral",
    "htmlLabels": False,
    "flowchart": {"htmlLabels": False},
    "fontFamily": "sans-serif",
}


def picture_of(text: str) -> tuple[str, str]:
    """A diagram's title, and the path of its picture, named by its text: an old picture is never taken for it."""
    title = TITLE.search(text)
    if title is None:
        raise ValueError(f"a diagram without accTitle: {text[:60]!r}")
    return title[1], f"{FOLDER}/{hashlib.sha256(text.encode()).hexdigest()[:16]}.svg"


def diagrams() -> dict[str, str]:
    """The path of each picture -> the text that it is drawn from."""
    texts = [block for page in sorted(ROOT.glob("docs/**/*.md")) for block in BLOCK.findall(page.read_text())]
    return {picture_of(text)[1]: text for text in texts}


def mermaid(folder: Path) -> Path:
    """The program that draws, fetched and checked."""
    subprocess.run(["npm", "pack", "--silent", MERMAID], cwd=folder, check=True, stdout=subprocess.DEVNULL)  # noqa: S607
    (package,) = folder.glob("mermaid-*.tgz")
    found = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    if found != SHA512:
        raise SystemExit(f"{MERMAID} is not what it was: sha512-{found}")
    with tarfile.open(package) as packed:
        packed.extract("package/dist/mermaid.min.js", folder, filter="data")
    return folder / "package/dist/mermaid.min.js"


async def draw(wanted: dict[str, str], program: Path) -> None:
    """Writes the pictures."""
    from playwright.async_api import async_playwright

    from tests.system import chromium

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = await browser.new_page()
        await page.add_script_tag(path=program)
        await page.evaluate("look => mermaid.initialize(look)", LOOK)
        for number, (path, text) in enumerate(wanted.items()):
            drawn = await page.evaluate("([id, text]) => mermaid.render(id, text)", [f"diagram{number}", text])
            (ROOT / path).write_text(tidied(drawn["svg"]) + "\n")
        await browser.close()


def tidied(svg: str) -> str:
    """A picture with a size of its own, and without what only Mermaid's program reads."""
    width, height = re.findall(r'viewBox="\S+ \S+ (\S+) (\S+)"', svg)[0]
    sized = svg.replace('width="100%"', f'width="{float(width):.0f}" height="{float(height):.0f}"', 1)
    return FINER.sub(r"\1", NOT_SHOWN.sub("", sized))


def main() -> int:
    """Draws what is missing, removes what is not shown."""
    shown = diagrams()
    folder = ROOT / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        if old.relative_to(ROOT).as_posix() not in shown:
            old.unlink()
    missing = {path: text for path, text in shown.items() if not (ROOT / path).exists()}
    if missing:
        with tempfile.TemporaryDirectory() as temporary:
            asyncio.run(draw(missing, mermaid(Path(temporary))))
    sys.stdout.write(f"{len(shown)} diagrams, {len(missing)} drawn\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
