"""The sandbox: simulated, and saying so; the same answer to the same question."""

import json
import time
import zlib
from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.providers.base import FaultKind
from omni_app.providers.placeholder import SIZE, placeholder_png
from omni_app.providers.sandbox import FAULTS, Sandbox, delay_s, instance
from tests.providers.asking import HELLO, TOOL_TALK, WEATHER_TOOL, ask, fault_met, model, streamed

SANDBOX = Sandbox(speed=0)
CHAT = model("sandbox/general")


async def test_the_same_question_gets_the_same_answer_tokens_and_delay() -> None:
    first, second = [await SANDBOX.complete(ask(deployment=CHAT)) for _ in range(2)]
    other = await SANDBOX.complete(ask([{"role": "user", "content": "Else?"}], deployment=CHAT))
    assert first == second != other
    assert delay_s(ask(deployment=CHAT)) == delay_s(ask(deployment=CHAT))


async def test_every_answer_says_that_it_is_simulated() -> None:
    plain = await SANDBOX.complete(ask(deployment=CHAT))
    picture = await SANDBOX.complete(ask(deployment=model("sandbox/painter", makes_images=True)))
    data = await SANDBOX.complete(ask(params={"response_format": {"type": "json_object"}}, deployment=CHAT))
    assert "[simulated answer of sandbox/general]" in plain.text and "Say hello." in plain.text
    assert "simulated" in picture.text
    assert json.loads(data.text)["simulated"] is True
    assert SANDBOX.simulated


async def test_tokens_are_counted_and_not_marked_as_guessed() -> None:
    usage = (await SANDBOX.complete(ask(deployment=CHAT))).usage
    assert usage.input > 0 and usage.output > 0 and not usage.estimated


@pytest.mark.parametrize("limit", [1, 5, 10, 1000])
async def test_max_tokens_cuts_the_answer(limit: int) -> None:
    answer = await SANDBOX.complete(ask(params={"max_tokens": limit}, deployment=CHAT))
    whole = await SANDBOX.complete(ask(deployment=CHAT))
    assert answer.usage.output <= limit
    assert whole.text.startswith(answer.text)
    assert answer.finish_reason == ("stop" if answer.text == whole.text else "length")
    assert (limit < 20) == (answer.finish_reason == "length")


@pytest.mark.parametrize(
    ("choice", "calls"),
    [("auto", "get_weather"), ("none", ""), ({"type": "function", "function": {"name": "other"}}, "other")],
)
async def test_a_tool_is_called_with_arguments_that_fit(choice: Any, calls: str) -> None:
    other = {"type": "function", "function": {"name": "other"}}
    params = {"tools": [WEATHER_TOOL, other], "tool_choice": choice}
    answer = await SANDBOX.complete(ask(params=params, deployment=CHAT))
    if not calls:
        assert answer.tool_calls == () and answer.text
        return
    (call,) = answer.tool_calls
    assert (answer.text, answer.finish_reason, call["function"]["name"]) == ("", "tool_calls", calls)
    assert json.loads(call["function"]["arguments"]).keys() == ({"city"} if calls == "get_weather" else set())


async def test_after_a_tools_result_there_are_words() -> None:
    answer = await SANDBOX.complete(ask(TOOL_TALK, {"tools": [WEATHER_TOOL]}, deployment=CHAT))
    assert answer.text and not answer.tool_calls


async def test_json_by_a_schema_fits_the_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "minimum": 18},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2},
            "kind": {"const": "person"},
            "nick": {"type": ["null", "string"]},
            "size": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
        "required": ["name", "age", "tags", "kind", "nick", "size"],
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "p", "schema": schema}}
    answer = await SANDBOX.complete(ask(params={"response_format": wanted}, deployment=CHAT))
    assert json.loads(answer.text) == {
        "name": "simulated", "age": 18, "tags": ["a", "a"], "kind": "person", "nick": None, "size": 1.0
    }  # fmt: skip


SCHEMAS = st.recursive(
    st.none() | st.booleans() | st.text(max_size=8) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "required", "items", "enum", "anyOf", "minItems", "minimum", "const", "$ref"]
            ),
            inner | st.sampled_from(["object", "array", "string", "integer"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(SCHEMAS)
def test_no_schema_breaks_it(schema: Any) -> None:
    json.dumps(instance(schema))


def test_nested_arrays_do_not_multiply() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(12):
        schema = {"type": "array", "minItems": 1_000, "items": schema}
    assert len(json.dumps(instance(schema))) < 10_000


async def test_a_stream_is_the_same_answer_word_by_word() -> None:
    deltas, whole = await streamed(SANDBOX, ask(deployment=CHAT))
    assert "".join(delta.text for delta in deltas) == whole.text
    assert whole == await SANDBOX.complete(ask(deployment=CHAT))
    called, _ = await streamed(SANDBOX, ask(params={"tools": [WEATHER_TOOL]}, deployment=CHAT))
    assert [delta.tool_call is not None for delta in called] == [True]


@pytest.mark.parametrize("name", FAULTS)
async def test_faults_are_played_on_demand(name: str) -> None:
    met = await fault_met(SANDBOX, replace(ask(deployment=CHAT), sandbox_fail=name))
    assert met.kind is FAULTS[name][0]
    assert "[simulated]" in met.detail


async def test_the_delay_is_the_models_stated_one_and_ends_at_the_deadline() -> None:
    slow = replace(CHAT, prior_latency_ms=10_000)
    request = ask(HELLO, deployment=slow)
    started_s = time.monotonic()
    met = await fault_met(Sandbox(speed=1), replace(request, timeouts=replace(request.timeouts, total_s=0.1)))
    assert met.kind is FaultKind.TOTAL_TIMEOUT
    assert time.monotonic() - started_s < 0.5
    started_s = time.monotonic()
    await Sandbox(speed=1).complete(ask(deployment=model("sandbox/general")))
    assert 0.08 <= time.monotonic() - started_s <= 0.3


def test_the_placeholder_is_a_picture_with_ink_on_it() -> None:
    png = b64decode(placeholder_png("SANDBOX IMAGE"))
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks = chunks_of(png)
    assert [name for name, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    assert chunks[0][1][:8] == SIZE.to_bytes(4) * 2
    pixels = zlib.decompress(chunks[1][1])
    assert len(pixels) == SIZE * (1 + 3 * SIZE)
    colours = {
        pixels[at : at + 3]
        for row in range(SIZE)
        for at in range(row * (1 + 3 * SIZE) + 1, (row + 1) * (1 + 3 * SIZE), 3)
    }
    assert len(colours) == 2


def chunks_of(png: bytes) -> list[tuple[bytes, bytes]]:
    """A PNG's chunks, their checksums verified."""
    chunks, at = [], 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4])
        name, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert zlib.crc32(name + data) == int.from_bytes(png[at + 8 + size : at + 12 + size])
        chunks.append((name, data))
        at += 12 + size
    return chunks
