"""The first page's snippets: each runs as it stands, with nothing but the key and the address put in."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from omni_app.api.app import create_api
from omni_app.ui.components import snippets
from tests.api.conftest import Running, run, settings_for
from tests.servers.asgi import serving

PROGRAMS = {
    "curl": (snippets.CURL, "snippet.sh", ["sh", "-eu"]),
    "python": (snippets.PYTHON, "snippet.py", [sys.executable]),
    "openai": (snippets.OPENAI, "snippet.py", [sys.executable]),
    "javascript": (snippets.JAVASCRIPT, "snippet.mjs", ["node"]),
}


@pytest.fixture
async def product(tmp_path: Path) -> AsyncIterator[Running]:
    async for running in run(settings_for(tmp_path)):
        yield running


@pytest.mark.parametrize("kind", PROGRAMS)
async def test_a_snippet_of_the_first_page_runs_as_it_stands(product: Running, tmp_path: Path, kind: str) -> None:
    code, name, program = PROGRAMS[kind]
    if not shutil.which(program[0]):
        pytest.skip(f"{program[0]} is not installed")
    async with serving(create_api(product.services)) as url:
        (tmp_path / name).write_text(code.replace("<origin>", url).replace("<key>", product.key))
        process = await asyncio.create_subprocess_exec(
            *program,
            name,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complaints = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, complaints.decode()
    assert "sandbox/" in said.decode()
