"""Chunks that are alike but for their text are read as they would be one by one."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.providers import openai_answers
from omni_app.providers.alike import MOST_TRIES, Alike
from omni_app.providers.base import ProviderFault
from omni_app.providers.gathering import Gatherings
from omni_app.providers.openai_answers import event_object, read_event
from tests.cases import cases
from tests.providers.asking import ask


def chunk(text: Any, *, choice: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    said = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None} | (choice or {})
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "choices": [said], "usage": None} | more


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ['"', "\\", '"content":"x"', "\n"]
)
ODD = st.one_of(
    st.builds(chunk, st.none() | st.integers(-9, 9) | st.lists(TEXTS, max_size=2)),
    st.builds(lambda text: chunk(text, choice={"finish_reason": "stop"}), TEXTS),
    st.builds(lambda text: chunk(text, choice={"index": 1}), TEXTS),
    st.builds(lambda text: chunk(text, choice={"logprobs": {"content": [{"token": text}]}}), TEXTS),
    st.builds(lambda text: chunk(text, choice={"delta": {"content": text, "reasoning": text}}), TEXTS),
    st.builds(lambda text: chunk(text, choice={"delta": {"content": text, "refusal": None}}), TEXTS),
    st.builds(lambda text: chunk(text, usage={"prompt_tokens": 3, "completion_tokens": 2}), TEXTS),
    st.builds(lambda text, other: {"content": other} | chunk(text), TEXTS, TEXTS),
    st.builds(lambda text: chunk(text, error={"message": text}), TEXTS),
)


def compact(value: Any) -> bytes:
    return orjson.dumps(value)


def spaced(value: Any) -> bytes:
    return orjson.dumps(value).replace(b'"content":', b'"content": ')


EVENTS = st.lists(
    st.builds(lambda write, value: write(value), st.sampled_from([compact, spaced]), st.builds(chunk, TEXTS) | ODD)
    | st.binary(max_size=8)
    | st.just(b"[DONE]"),
    max_size=12,
)


class OneByOne(Alike):
    """Remembers nothing."""

    def text_of(self, data: bytes) -> str:
        return ""


def told(events: list[bytes], kind: type[Alike]) -> tuple[Any, ...]:
    """What each event says, and what has been gathered."""
    gatherings = Gatherings(ask(params={"n": 2}), alike=kind())
    said: list[Any] = []
    for event in events:
        try:
            said.append(read_event(event, gatherings))
        except ProviderFault as fault:
            said.append((fault.kind, fault.detail))
    return said, [(one.text, one.finish_reason) for one in gatherings.each], gatherings.usage


@cases(300)
@given(EVENTS)
def test_it_is_what_would_be_read_of_each_chunk_by_itself(events: list[bytes]) -> None:
    assert told(events, Alike) == told(events, OneByOne)


def test_of_chunks_that_are_alike_one_is_read_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def noting(data: bytes) -> dict[str, Any]:
        read.append(data)
        return event_object(data)

    monkeypatch.setattr(openai_answers, "event_object", noting)
    words = ["one", ' "two"', " \\three\n", " – vier"]
    said, ((text, *_), _), _ = told([compact(chunk(word)) for word in words], Alike)
    assert text == "".join(words) and [one[0].text for one in said] == words
    assert read == [compact(chunk("one"))]


def test_where_each_chunk_has_something_of_its_own_it_is_given_up_soon() -> None:
    one = Alike()
    for number in range(MOST_TRIES + 2):
        one.remember(compact(chunk("word", padding=number)), chunk("word", padding=number))
    assert one.text_of(compact(chunk("word", padding=MOST_TRIES - 1))) == "word"
    assert one.text_of(compact(chunk("word", padding=MOST_TRIES))) == ""
