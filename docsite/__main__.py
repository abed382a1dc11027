"""`python -m docsite`: lays the pages out, builds the site strictly, and holds it against its promises."""

import os
import shutil
import subprocess
import sys

import yaml

from docsite.assemble import CONFIGURATION, LAID_OUT, ROOT, SITE, LeadsNowhere, configuration, lay_out
from docsite.check import problems
from docsite.diagrams import diagrams


def main() -> int:
    """0 when the site is there and all of it holds."""
    undrawn = [path for path in diagrams() if not (ROOT / path).exists()]
    if undrawn:
        return told([f"{len(undrawn)} diagrams have no picture: make diagrams"])
    try:
        lay_out(LAID_OUT)
    except LeadsNowhere as error:
        return told([f"a link leads nowhere: {error}"])
    CONFIGURATION.write_text(yaml.safe_dump(configuration(), sort_keys=False, allow_unicode=True))
    shutil.rmtree(SITE, ignore_errors=True)
    return told(built() or problems(SITE))


def built() -> list[str]:
    """Builds the site; gives what the builder complained of. (With `--quiet` a warning fails no strict build.)"""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "-f", CONFIGURATION],
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return [ran.stdout + ran.stderr] if ran.returncode else []


def told(wrong: list[str]) -> int:
    """Prints what is wrong, or where the site is."""
    for problem in wrong or [f"The site is in {SITE.relative_to(ROOT)}: {len(list(SITE.glob('**/*.html')))} pages."]:
        print(problem, file=sys.stderr if wrong else sys.stdout)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
