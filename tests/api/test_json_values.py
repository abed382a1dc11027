"""The count of a body's values, against a parser's: whatever the pieces are that it comes in."""

import json
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.api import json_values
from omni_app.api.json_values import MOST_PIECES, ValueCount


def pieces_of(value: Any) -> int:
    """Strings and separators, as a parser sees them: keys are strings, and each member but the first has a comma."""
    if isinstance(value, str):
        return 1
    if isinstance(value, dict):
        return 1 + max(0, len(value) - 1) + sum(1 + pieces_of(one) for one in value.values())
    if isinstance(value, list):
        return 1 + max(0, len(value) - 1) + sum(map(pieces_of, value))
    return 0


def refused(body: bytes, cuts: list[int]) -> bool:
    count, places = ValueCount(), [0, *sorted(cuts), len(body)]
    return True in [count.too_many(body[start:end]) for start, end in pairwise(places)]


TEXTS = st.text(st.sampled_from('a",[]{}\\\n: é'), max_size=12)
VALUES = st.recursive(
    TEXTS | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=30,
)


@given(value=VALUES, data=st.data())
def test_it_counts_what_a_parser_finds_wherever_the_body_is_cut(value: Any, data: st.DataObject) -> None:
    body = json.dumps(value).encode()
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=6))
    limit, wanted = json_values.MOST_PIECES, pieces_of(value)
    try:
        for most in {max(0, wanted - 1), wanted}:
            json_values.MOST_PIECES = most
            # A quick count that is too low to look closer cannot hide a body that has too many: it counts more.
            assert refused(body, cuts) == (wanted > most and len(body) > most)
    finally:
        json_values.MOST_PIECES = limit


@pytest.mark.parametrize("name", ["a long text", "a table in a text", "two thousand messages", "many tools"])
def test_what_people_send_passes(name: str) -> None:
    words = 'It was, she said, a "fine" day; {they} [all] thought so. ' * 20_000
    parameters = {f"p{number}": {"type": "string"} for number in range(50)}
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    bodies: dict[str, Any] = {
        "a long text": {"messages": [{"role": "user", "content": words}]},
        "a table in a text": {"messages": [{"role": "user", "content": "1,2,3\n" * 500_000}]},
        "two thousand messages": {"messages": [{"role": "user", "content": "Hello, you!"}] * 2_000},
        "many tools": {"messages": [{"role": "user", "content": "Hi"}], "tools": [tool] * 128},
    }
    body = json.dumps(bodies[name]).encode()
    assert not refused(body, [random.Random(1).randrange(len(body)) for _ in range(9)])


def test_what_nobody_sends_is_refused_long_before_its_end() -> None:
    body = b'{"messages": [' + b'{"role":"user","content":""},' * 300_000
    count, came = ValueCount(), 0
    while not count.too_many(body[came : came + 32_768]):
        came += 32_768
    assert came < 10 * MOST_PIECES
