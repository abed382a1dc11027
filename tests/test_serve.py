"""What counts as a change of the pages' sources, and what a worker loads."""

import subprocess
import sys
from pathlib import Path

import pytest

from omni_app.serve import _content


@pytest.mark.parametrize(
    ("name", "other", "same"),
    [
        ("package.json", '{"b":{"c":2},\n  "a":1}', True),
        ("package.json", '{"a": 1, "b": {"c": 3}}', False),
        ("bun.lock", '{"b":{"c":2},\n  "a":1}', False),
    ],
)
def test_the_build_s_own_list_may_be_spaced_otherwise_and_nothing_else(
    tmp_path: Path, name: str, other: str, *, same: bool
) -> None:
    first, second = tmp_path / "first" / name, tmp_path / "second" / name
    for path, text in ((first, '{"a": 1, "b": {"c": 2}}'), (second, other)):
        path.parent.mkdir()
        path.write_text(text)
    assert (_content(first) == _content(second)) is same


def test_a_worker_of_the_api_loads_nothing_that_programs_do_not_need() -> None:
    """What each of these takes, with what it loads: httpx 8 MB, passlib 1, segno 1; LiteLLM 200."""
    seldom = {"alembic", "cryptography", "httpx", "litellm", "passlib", "reflex", "rich", "segno", "upstash_redis"}
    said = subprocess.run(
        [sys.executable, "-c", "import sys, omni_app.server.__main__, omni_app.asgi; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "uvicorn" in said.stdout
    assert not seldom & set(said.stdout.split())
