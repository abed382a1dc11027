"""Every block of code in every document is run against a real server, read by its reader, or listed with a reason."""

import asyncio
import json
import os
import re
import shlex
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from docsite.assemble import pages
from omni_app.__main__ import parser
from omni_app.api.app import create_api
from omni_app.settings import Settings
from tests.api.conftest import Running, run, settings_for
from tests.migrated import migrate
from tests.servers.asgi import serving

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
DEFAULT_URL = "http://127.0.0.1:8000"
PROGRAMS = ("sh", "python", "javascript")
READ = ("json", "yaml", "dotenv", "sql", "postgresql", "mermaid")

ELSEWHERE = {
    "make run": "every test in a browser starts `python -m omni_app serve`; the installation is what CI begins with",
    "make test": "this is it",
    "make install-dev ": "what CI begins with",
    "make evaluate ": "tests/evaluate, on files of its own",
    "python -m omni_app evaluate ": "tests/evaluate; the files are public ones that are not in the repository",
    "pytest ": "a part of this run",
    '.venv/bin/python -m omni_app backup "/backups': "tests/storage/test_backup.py",
    "pg_dump ": "tests/storage/test_backup.py",
    "pg_restore ": "tests/storage/test_backup.py",
    ".venv/bin/python -m omni_app migrate\n": "tests/storage/test_backup.py",
    "mkdir -p /opt/": "NOT RUN: takes a machine with systemd; it reads the unit in tests/test_checkers.py",
    "systemd-run --pty": "NOT RUN: takes the machine that the unit runs on",
    "docker ": "NOT RUN: takes a Docker daemon; the Dockerfile is read by hadolint (tests/test_checkers.py)",
    "fly ": "NOT RUN: takes an account; fly.toml is held to the code (tests/test_deploy.py)",
    "kubectl ": "NOT RUN: takes a cluster; the manifests are held to Kubernetes' schemas (tests/test_checkers.py)",
}
"""How a block begins -> who runs it, or why nobody can."""


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    code: str

    @property
    def elsewhere(self) -> str:
        """Why it is not run here; empty when it is."""
        return next((reason for beginning, reason in ELSEWHERE.items() if self.code.startswith(beginning)), "")


def blocks() -> list[Block]:
    found = []
    for page in pages():
        for block in FENCE.finditer((ROOT / page).read_text()):
            code = re.sub(rf"^{block['indent']}", "", block["code"], flags=re.MULTILINE)
            found.append(Block(page, block["language"], code))
    return found


BLOCKS = blocks()
RUN = list({one.code: one for one in reversed(BLOCKS) if one.language in PROGRAMS and not one.elsewhere}.values())
"""What stands on two pages runs once."""
NAMES = [f"{one.page}-{index}-{one.language}" for index, one in enumerate(RUN)]


@pytest.fixture
async def product(tmp_path: Path) -> AsyncIterator[Running]:
    async for running in run(settings_for(tmp_path)):
        yield running


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with a `curl` that ends with an error when the answer is one, whatever a snippet asks of it."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "curl").write_text(f'#!/bin/sh\nexec {shutil.which("curl")} --fail --silent "$@"\n')
    (folder / "curl").chmod(0o755)
    return folder


@pytest.mark.parametrize("block", RUN, ids=NAMES)
async def test_a_snippet_runs(product: Running, tmp_path: Path, programs: Path, block: Block) -> None:
    if block.language == "javascript" and not shutil.which("node"):
        pytest.skip("node is not installed")
    async with serving(create_api(product.services)) as url:
        code = block.code.replace(DEFAULT_URL, url).replace("export OMNI_KEY=omr_test_…\n", "")
        script = tmp_path / "snippet.mjs"
        script.write_text(code)
        program = {
            "sh": ["bash", "-euo", "pipefail", "-c", code],
            "python": [sys.executable, "-c", code],
            "javascript": ["node", str(script)],
        }[block.language]
        process = await asyncio.create_subprocess_exec(
            *program,
            cwd=ROOT,
            env={
                "PATH": f"{programs}:{os.environ['PATH']}",
                "OMNI_URL": url,
                "OMNI_KEY": product.key,
                "OMNI_DATA_DIR": str(tmp_path),
                "LOCAL_MODEL": "off",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, output.decode()
    if not all(line.startswith("export ") for line in code.splitlines()):
        assert output.strip(), "a snippet that shows nothing"


def test_every_block_says_what_it_is_and_what_is_not_run_here_has_its_reason() -> None:
    assert len(RUN) > 20
    unknown = [(one.page, one.language, one.code[:40]) for one in BLOCKS if one.language not in (*PROGRAMS, *READ)]
    assert unknown == []
    used = {beginning for beginning in ELSEWHERE for one in BLOCKS if one.code.startswith(beginning)}
    assert used == ELSEWHERE.keys(), "a reason for a block that is no more"
    named = {path for reason in ELSEWHERE.values() for path in re.findall(r"tests/[\w/.]+\w", reason)}
    assert all((ROOT / path).exists() for path in named)


def test_no_command_stands_in_an_indented_block() -> None:
    """Those have no language, and nothing would run them."""
    for page in pages():
        text = FENCE.sub("", (ROOT / page).read_text())
        assert re.findall(r"(?:^|\n\n)    \S.*", text) == [], page


@pytest.mark.parametrize("block", [one for one in BLOCKS if one.language == "json"], ids=lambda one: one.page)
def test_an_example_is_json(block: Block) -> None:
    rest = block.code.strip()
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        assert isinstance(value, dict)
        rest = rest[end:].strip()


@pytest.mark.parametrize("block", [one for one in BLOCKS if one.language == "yaml"], ids=lambda one: one.page)
def test_an_example_is_yaml(block: Block) -> None:
    assert yaml.safe_load(block.code)


def test_what_is_set_in_a_file_of_variables_is_a_setting_or_asked_for_by_compose() -> None:
    asked_for = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "compose.yaml").read_text()))
    lines = [line for one in BLOCKS if one.language == "dotenv" for line in one.code.splitlines()]
    names = {line.partition("=")[0] for line in lines if not line.startswith("#")}
    assert len(names) > 5
    assert {name for name in names if name.lower() not in Settings.model_fields} <= asked_for


def test_a_statement_is_one_that_the_schema_takes(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path}/omni.db")
    statements = [one.code for one in BLOCKS if one.language == "sql"]
    assert statements
    with closing(sqlite3.connect(tmp_path / "omni.db")) as database:
        for one in statements:
            database.executescript(one)


def test_every_command_of_ours_that_a_document_names_is_one() -> None:
    """`python -m omni_app WORDS` in a text or a block: its words are commands that the command line has."""
    found = set()
    for page in pages():
        for line in re.findall(r"python -m omni_app ([^`|\n]+)", (ROOT / page).read_text()):
            words = [word for word in re.split(r"[\s,.;:)]", line) if word]
            taken = 1 + (words[0] in {"keys", "users", "ledger", "providers", "catalog"})
            found.add((page, " ".join(words[:taken])))
    assert len(found) > 20
    for page, command in sorted(found):
        with pytest.raises(SystemExit) as ended:
            parser().parse_args([*shlex.split(command), "--help"])
        assert ended.value.code == 0, f"{page}: python -m omni_app {command}"
