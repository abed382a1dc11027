"""The playground's code samples: run as they stand against a real server, and they ask what the page asks."""

import ast
import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.api.app import create_api
from omni_app.ui.code_samples import literal, samples, shell_word
from omni_app.ui.drafts import AUTO, Draft
from tests.api.conftest import Running, run, settings_for
from tests.servers.asgi import serving

NASTY = 'It\'s "quoted" <key> {x} $HOME `id` \\ 100% </script>\n\u2028 “ü” 🦊 !'
DRAFTS = {
    "plain": Draft(prompt="Write a Python sort."),
    "nasty": Draft(prompt=NASTY, system=NASTY),
    "every option": Draft(
        prompt="Hello", system="Be brief.", priority="best", latency_pref="fast", max_cost="0.5", max_tokens="40"
    ),
    "broken": Draft(prompt="Hello", broken=True),
}
MODELS = {"auto": [AUTO], "compared": [AUTO, "sandbox/coder", "sandbox/swift"]}


@pytest.fixture
async def product(tmp_path: Path) -> AsyncIterator[Running]:
    async for running in run(settings_for(tmp_path)):
        yield running


async def output(program: list[str], folder: Path) -> str:
    """What the program prints. Fails when it fails."""
    process = await asyncio.create_subprocess_exec(
        *program,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONIOENCODING": "utf-8"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaints = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, complaints.decode()
    return said.decode()


def programs(draft: Draft, models: list[str], *, origin: str, key: str) -> dict[str, str]:
    """Each sample with a key in its place."""
    rows = samples(draft.body(), models, origin=origin)
    return {row["kind"]: row["before"] + key + row["after"] for row in rows}


@pytest.mark.parametrize("models", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("draft", DRAFTS.values(), ids=DRAFTS)
@pytest.mark.parametrize("kind", ["curl", "openai", "javascript"])
async def test_a_sample_runs_as_it_stands(
    product: Running, tmp_path: Path, kind: str, draft: Draft, models: list[str]
) -> None:
    if kind == "javascript" and not shutil.which("node"):
        pytest.skip("node is not installed")
    if draft.broken and kind == "openai" and len(models) > 1:
        return  # a fixed model without a fallback raises, as it should
    async with serving(create_api(product.services)) as url:
        code = programs(draft, models, origin=url, key=product.key)[kind]
        file = tmp_path / {"curl": "sample.sh", "openai": "sample.py", "javascript": "sample.mjs"}[kind]
        file.write_text(code)
        program = {"curl": ["sh", "-eu"], "openai": [sys.executable], "javascript": ["node"]}[kind]
        said = await output([*program, str(file)], tmp_path)
    assert "sandbox/" in said
    assert draft.broken or said.count("simulated answer of sandbox/") == len(models)


@pytest.mark.parametrize("draft", DRAFTS.values(), ids=DRAFTS)
async def test_the_body_is_what_the_page_asks(product: Running, draft: Draft) -> None:
    answer = await product.post("/v1/chat/completions", {"model": AUTO, **draft.body()})
    assert answer.status_code == 200
    asked = draft.request(AUTO, deployments=product.services.gateway.registry.serving("test"), kind="test")
    assert asked.endpoint == "playground"
    assert (asked.priority, asked.latency_pref, asked.max_tokens) == (
        draft.priority, draft.latency_pref, int(draft.max_tokens) if draft.max_tokens else None,
    )  # fmt: skip
    assert asked.messages[-1]["content"] == draft.prompt
    assert asked.sandbox_fail == ("error" if draft.broken else "")


@given(st.text())
def test_any_text_is_the_same_in_json_in_python_and_in_a_shell(text: str) -> None:
    body = [{"role": "user", "content": text.encode("utf-8", "replace").decode()}]
    assert json.loads(literal(body, 4)) == body
    assert len(literal(body).splitlines()) == 3, "a line's end inside a text"
    assert ast.literal_eval(literal(body, 4)) == body
    word = shell_word(text)
    assert word.replace("'\\''", "").count("'") == 2


def test_the_key_is_in_no_sample() -> None:
    for row in samples(Draft(prompt="<key>").body(), [AUTO], origin="http://here"):
        assert row["before"].endswith(("Bearer ", 'api_key="'))
        assert "<key>" not in row["before"]
