"""Every command and program in README and docs/API.md, run as it stands against a real server."""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from omni_app.api.app import create_api
from tests.api.conftest import Running, run, settings_for
from tests.servers.asgi import serving

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(sh|python|javascript)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_HERE = ("make ", "keys create", "docker", "alembic ", "DATABASE_URL", "backup")
"""What other tests run: starting the product, making keys on the command line, migrating."""
DEFAULT_URL = "http://127.0.0.1:8000"


def snippets(name: str) -> list[tuple[str, str]]:
    """The (language, code) blocks of a page, but for those that other tests run."""
    blocks = BLOCK.findall((ROOT / name).read_text())
    return [(language, code) for language, code in blocks if not any(word in code for word in NOT_HERE)]


CASES = [(name, *block) for name in ("README.md", "docs/API.md") for block in snippets(name)]

NAMES = [f"{page}-{index}-{language}" for index, (page, language, _) in enumerate(CASES)]


@pytest.fixture
async def product(tmp_path: Path) -> AsyncIterator[Running]:
    async for running in run(settings_for(tmp_path)):
        yield running


@pytest.mark.parametrize(("language", "code"), [case[1:] for case in CASES], ids=NAMES)
async def test_a_snippet_runs(product: Running, tmp_path: Path, language: str, code: str) -> None:
    if language == "javascript" and not shutil.which("node"):
        pytest.skip("node is not installed")
    async with serving(create_api(product.services)) as url:
        code = code.replace(DEFAULT_URL, url).replace("export OMNI_KEY=omr_test_…\n", "")
        program = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}.get(language)
        if program is None:
            script = tmp_path / "snippet.mjs"
            script.write_text(code)
            program, code = ["node"], str(script)
        environment = {"PATH": os.environ["PATH"], "OMNI_URL": url, "OMNI_KEY": product.key}
        process = await asyncio.create_subprocess_exec(
            *program,
            code,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, output.decode()
    if "export" not in code:
        assert output.strip(), "a snippet that shows nothing"


def test_the_pages_hold_snippets() -> None:
    assert len(CASES) >= 10
