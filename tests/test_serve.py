"""What counts as a change of the pages' sources."""

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
