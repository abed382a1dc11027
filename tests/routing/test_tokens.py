import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.routing.tokens import (
    IMAGE_TOKENS_BOUND,
    PER_REQUEST_TOKENS,
    TOOLS_TOKENS,
    byte_count,
    estimate_tokens,
    expected_tokens,
)

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}

# Counted with tiktoken 0.14 (o200k_base; cl100k_base in brackets where it differs much).
COUNTED = {
    "What is the capital of France?": 7,
    "The committee approved the budget for the new tram line after a long debate about its costs.": 18,
    "def add(a, b):\n    return a + b\n": 12,
    "请用简单的语言解释神经网络是如何工作的，并从日常生活中举三个例子。": 23,  # (33)
    "ニューラルネットワークの仕組みを簡単な言葉で説明し、日常生活から三つの例を挙げてください。": 35,  # (52)
    "Пожалуйста, объясните простыми словами, как работает нейронная сеть.": 18,  # (31)
    "신경망이 어떻게 작동하는지 쉬운 말로 설명해 주시고 일상생활에서 세 가지 예를 들어 주세요.": 29,  # (46)
}


@pytest.mark.parametrize(("text", "counted"), COUNTED.items())
def test_the_estimate_is_near_a_real_tokenizer(text: str, counted: int) -> None:
    assert counted * 0.7 <= expected_tokens(text) <= counted * 1.7


@given(st.text())
def test_the_bound_of_a_message_is_never_below_its_bytes(text: str) -> None:
    expected, bound = estimate_tokens([{"role": "user", "content": text}], ())
    assert bound >= len(text.encode("utf-8", "surrogatepass")) + PER_REQUEST_TOKENS
    assert 0 < expected <= bound


@given(st.lists(st.text(max_size=40), max_size=5), st.text(max_size=40))
def test_one_more_message_never_lowers_estimate_or_bound(texts: list[str], more: str) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    before = estimate_tokens(messages, ())
    after = estimate_tokens([*messages, {"role": "assistant", "content": more}], ())
    assert after[0] > before[0] and after[1] > before[1]


def test_every_string_a_model_may_read_is_counted() -> None:
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "' + "x" * 500 + '"}'},
    }
    parts = [{"type": "text", "text": "y" * 300}, {"type": "file", "file": {"file_data": "z" * 200}}]
    _, bound = estimate_tokens([{"role": "assistant", "content": parts, "tool_calls": [call]}], ())
    assert bound >= 1000


def test_an_image_counts_a_stated_bound_whatever_its_data() -> None:
    def image(data: str) -> list[dict[str, object]]:
        return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": data}}]}]

    small, large = estimate_tokens(image("data:x"), ()), estimate_tokens(image("data:" + "A" * 100_000), ())
    assert small == large
    assert small[1] >= IMAGE_TOKENS_BOUND


def test_tools_and_response_formats_count_with_what_providers_add() -> None:
    plain = estimate_tokens([], ())
    with_tools = estimate_tokens([], [WEATHER])
    with_schema = estimate_tokens([], (), response_format={"type": "json_schema", "json_schema": {"name": "a" * 100}})
    assert with_tools[1] >= plain[1] + TOOLS_TOKENS + len(json.dumps([WEATHER]))
    assert with_tools[0] > plain[0]
    assert with_schema[1] > plain[1] + 100


def test_a_lone_surrogate_is_counted_and_not_an_error() -> None:
    assert byte_count("\ud800") == 3
    assert estimate_tokens([{"role": "user", "content": "\ud800"}], [{"name": "\ud800"}])[1] > 0


def test_ten_megabytes_of_any_script_are_estimated_in_a_moment() -> None:
    for text in ("word " * 2_000_000, "字" * 3_000_000, "é " * 3_000_000):
        started = time.perf_counter()
        expected, bound = estimate_tokens([{"role": "user", "content": text}], ())
        assert 0 < expected <= bound
        assert time.perf_counter() - started < 1.0
