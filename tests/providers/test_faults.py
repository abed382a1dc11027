"""Every fault that a provider can play, over both wires: which kind it is, and that it is met once and in time."""

import asyncio
import copy
import json
import time
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_app.providers.anthropic_answers import read_event, read_message
from omni_app.providers.base import FaultKind, ProviderFault
from omni_app.providers.faults import as_documented, fault_of
from omni_app.providers.gathering import Gathering, Gatherings
from omni_app.providers.openai_answers import read_chunk, read_completion
from omni_app.providers.openai_wire import OpenAIWire
from omni_app.providers.transport import Reply, Transport
from tests.providers.asking import ask, eventually, fault_met, stream_fault, streamed, wire, within
from tests.providers.conftest import BOTH_CLIENTS
from tests.providers.golden import ANTHROPIC, OPENAI_STYLE
from tests.servers.bad_manners import BAD_MANNERS
from tests.servers.upstream import HOLLOW, KEY, MID_STREAM, REFUSALS, TEXT, USAGES, Upstream

WIRES = pytest.mark.parametrize("kind", ["openai", "anthropic"])
K = FaultKind
CONNECTION = {
    "close": K.CONNECTION_LOST,
    "rst": K.CONNECTION_LOST,
    "hang": K.FIRST_BYTE_TIMEOUT,
    "drip_head": K.FIRST_BYTE_TIMEOUT,
    "stall": K.INTERRUPTED,
    "cut": K.CONNECTION_LOST,
    "cut_rst": K.CONNECTION_LOST,
    "cut_unannounced": K.MALFORMED,
    "cut_chunked": K.CONNECTION_LOST,
    "huge": K.TOO_LARGE,
    "gzip_bomb": K.TOO_LARGE,
    "not_gzip": K.CONNECTION_LOST,
    "not_http": K.CONNECTION_LOST,
    "html": K.MALFORMED,
    "empty": K.EMPTY,
    "blank": K.EMPTY,
    "garbage": K.MALFORMED,
    "bad_utf8": K.MALFORMED,
    "not_an_object": K.MALFORMED,
    "null": K.MALFORMED,
    "deep": K.MALFORMED,
    "redirect": K.REDIRECT,
    "error_200": K.SERVER_ERROR,
    "no_choices": K.MALFORMED,
    "empty_choices": K.EMPTY,
    "null_content": K.EMPTY,
}
TOLD = {
    "400": K.BAD_REQUEST,
    "401": K.AUTHENTICATION,
    "401_echo": K.AUTHENTICATION,
    "402": K.AUTHENTICATION,
    "403": K.AUTHENTICATION,
    "404": K.MODEL_NOT_FOUND,
    "408": K.FIRST_BYTE_TIMEOUT,
    "413": K.CONTEXT_LENGTH,
    "422": K.BAD_REQUEST,
    "429": K.RATE_LIMITED,
    "429_retry_after": K.RATE_LIMITED,
    "quota": K.RATE_LIMITED,
    "no_credit": K.AUTHENTICATION,
    "500": K.SERVER_ERROR,
    "502": K.SERVER_ERROR,
    "503": K.SERVER_ERROR,
    "504": K.SERVER_ERROR,
    "529": K.SERVER_ERROR,
    "context_length": K.CONTEXT_LENGTH,
    "context_length_words": K.CONTEXT_LENGTH,
    "context_length_xai": K.CONTEXT_LENGTH,
    "context_length_both": K.CONTEXT_LENGTH,
    "unsupported_parameter": K.UNSUPPORTED_PARAMETER,
    "content_policy": K.CONTENT_POLICY,
}
WELL_IN_THE_END = {"drip", "stale", "close_after"}
"""Bad manners that a first call survives; they have tests of their own."""


def test_every_fault_that_the_server_can_play_is_in_the_tables() -> None:
    assert set(BAD_MANNERS) | set(HOLLOW) | {"redirect"} == set(CONNECTION) | WELL_IN_THE_END
    assert set(REFUSALS) == set(TOLD)


@BOTH_CLIENTS
@WIRES
@pytest.mark.parametrize(("fault", "expected"), [*CONNECTION.items(), *TOLD.items()])
async def test_each_fault_is_its_kind_and_is_met_once(
    kind: str, fault: str, expected: FaultKind, transport: Transport
) -> None:
    async with Upstream(fault=fault) as upstream:
        met = await fault_met(wire(kind, upstream, transport), ask())
    assert met.kind is expected
    assert len(upstream.calls) == 1
    assert KEY not in met.detail and KEY[3:] not in met.detail
    assert met.detail == " ".join(met.detail.split()) != ""


@BOTH_CLIENTS
@WIRES
@pytest.mark.parametrize(("fault", "seconds"), [("429_retry_after", 7), ("503", 3), ("429", None)])
async def test_how_long_to_wait_is_read(kind: str, fault: str, seconds: float | None, transport: Transport) -> None:
    async with Upstream(fault=fault) as upstream:
        met = await fault_met(wire(kind, upstream, transport), ask())
    assert met.retry_after_s == seconds
    assert met.http_status == REFUSALS[fault].status


@BOTH_CLIENTS
@WIRES
async def test_the_providers_words_about_the_request_reach_the_caller(kind: str, transport: Transport) -> None:
    async with Upstream(fault="400") as upstream:
        met = await fault_met(wire(kind, upstream, transport), ask())
    assert met.detail == REFUSALS["400"].message


@BOTH_CLIENTS
@WIRES
async def test_a_wrong_key_is_told_without_the_key(kind: str, transport: Transport) -> None:
    async with Upstream(key="sk-another") as upstream:
        provider = replace(wire(kind, upstream, transport), api_key=KEY)
        met = await fault_met(provider, ask())
    assert met.kind is K.AUTHENTICATION
    assert met.detail == "Incorrect API key provided: [removed]"


@BOTH_CLIENTS
@WIRES
@pytest.mark.parametrize("fault", USAGES)
async def test_token_counts_that_nobody_should_believe_are_replaced_by_ours(
    kind: str, fault: str, transport: Transport
) -> None:
    async with Upstream(fault=fault) as upstream:
        answer = await wire(kind, upstream, transport).complete(ask())
    assert answer.text == TEXT
    assert answer.usage.estimated
    assert 0 < answer.usage.input < 50 and 0 < answer.usage.output < 50


@pytest.mark.parametrize(
    ("param", "kind"),
    [
        ("messages[17].content", K.CONTEXT_LENGTH),
        ("messages[0].content[1].text", K.CONTEXT_LENGTH),
        ("messages[1].tool_calls[0].id", K.UNSUPPORTED_PARAMETER),
        ("user", K.UNSUPPORTED_PARAMETER),
        (None, K.UNSUPPORTED_PARAMETER),
    ],
)
def test_a_text_above_its_length_says_nothing_of_the_window_unless_it_is_a_message_s(
    param: str | None, kind: FaultKind
) -> None:
    told = f"Invalid '{param}': string too long. Expected a string with maximum length 64, but got 140 instead."
    error = {"message": told, "type": "invalid_request_error", "param": param, "code": "string_above_max_length"}
    fault = fault_of(Reply(400, {}, json.dumps({"error": error}).encode()))
    assert (fault.kind, fault.detail) == (kind, told)


# ------------------------------------------------------------------------------------------------------ deadlines


@BOTH_CLIENTS
@WIRES
@pytest.mark.parametrize("fault", ["hang", "drip", "drip_head", "stall"])
async def test_the_whole_deadline_holds_within_150_ms(kind: str, fault: str, transport: Transport) -> None:
    async def seconds_taken() -> float:
        started_s = time.monotonic()
        met = await fault_met(provider, within(ask(), first_byte_s=0.3, between_chunks_s=30, total_s=0.3))
        assert met.kind in (K.TOTAL_TIMEOUT, K.FIRST_BYTE_TIMEOUT)
        return time.monotonic() - started_s

    async with Upstream(fault=fault) as upstream:
        provider = wire(kind, upstream, transport)
        best_s = min([await seconds_taken() for _ in range(2)])
    assert 0.29 <= best_s <= 0.45


@BOTH_CLIENTS
async def test_a_slow_drip_within_the_deadline_is_an_answer(transport: Transport) -> None:
    async with Upstream(fault="drip", answer={"choices": [{"message": {"content": "Hi"}}]}) as upstream:
        answer = await wire("openai", upstream, transport).complete(within(ask(), total_s=20))
    assert answer.text == "Hi"


@BOTH_CLIENTS
@WIRES
async def test_a_cancelled_call_closes_its_connection(kind: str, transport: Transport) -> None:
    async with Upstream(fault="hang") as upstream:
        provider = wire(kind, upstream, transport)
        call = asyncio.create_task(provider.complete(within(ask(), first_byte_s=30, total_s=30)))
        await eventually(lambda: bool(upstream.calls))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await eventually(lambda: not upstream.open_connections)


# ------------------------------------------------------------------------------------------ sizes, redirects, reuse


@BOTH_CLIENTS
@pytest.mark.parametrize("fault", ["huge", "gzip_bomb"])
async def test_an_endless_answer_costs_less_than_32_mib(fault: str, transport: Transport) -> None:
    async with Upstream(fault=fault) as upstream:
        provider = wire("openai", upstream, transport)
        await fault_met(provider, ask())
        tracemalloc.start()
        try:
            await fault_met(provider, ask())
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak_bytes < 32 * 2**20


@BOTH_CLIENTS
@WIRES
async def test_a_redirect_is_not_followed(kind: str, transport: Transport) -> None:
    async with Upstream() as canary, Upstream(fault="redirect", redirect_to=canary.openai_url) as upstream:
        met = await fault_met(wire(kind, upstream, transport), ask())
    assert met.kind is K.REDIRECT
    assert canary.connections == 0


@BOTH_CLIENTS
async def test_connections_are_kept_and_used_again(transport: Transport) -> None:
    async with Upstream() as upstream:
        for _ in range(5):
            await wire("openai", upstream, transport).complete(ask())
        assert upstream.connections == 1


@BOTH_CLIENTS
async def test_a_kept_connection_that_was_closed_in_the_meantime_is_noticed(transport: Transport) -> None:
    async with Upstream(fault="close_after") as upstream:
        for _ in range(5):
            await wire("openai", upstream, transport).complete(ask())
            await asyncio.sleep(0.02)
        assert upstream.connections == 5


@BOTH_CLIENTS
async def test_a_connection_that_breaks_as_the_request_goes_out_is_a_fault_and_nothing_is_sent_twice(
    transport: Transport,
) -> None:
    async with Upstream(fault="stale") as upstream:
        provider = wire("openai", upstream, transport)
        assert (await provider.complete(ask())).text == TEXT
        assert (await fault_met(provider, ask())).kind is K.CONNECTION_LOST
        assert len(upstream.calls) == 2
        assert (await provider.complete(ask())).text == TEXT


# -------------------------------------------------------------------------------------------------------- streams


@BOTH_CLIENTS
@WIRES
@pytest.mark.parametrize("fault", [fault for fault in MID_STREAM if fault.startswith("mid_")])
async def test_a_stream_that_breaks_is_interrupted_and_what_came_is_counted(
    kind: str, fault: str, transport: Transport
) -> None:
    async with Upstream(fault=fault) as upstream:
        with pytest.raises(ProviderFault) as met:
            await streamed(wire(kind, upstream, transport), ask())
    assert met.value.kind is K.INTERRUPTED
    assert met.value.usage is not None
    assert met.value.usage.estimated and met.value.usage.output > 0
    assert len(upstream.calls) == 1


@BOTH_CLIENTS
@WIRES
@pytest.mark.parametrize("fault", ["close", "rst", "hang", "html", "empty", "redirect", "error_200", *TOLD])
async def test_a_stream_that_never_begins_is_the_same_fault_as_a_plain_call(
    kind: str, fault: str, transport: Transport
) -> None:
    async with Upstream(fault=fault) as upstream:
        with pytest.raises(ProviderFault) as met:
            await streamed(wire(kind, upstream, transport), ask())
    silent = {"html": K.INTERRUPTED, "empty": K.INTERRUPTED}
    assert met.value.kind is (CONNECTION | TOLD | silent)[fault]
    assert met.value.usage is None
    assert len(upstream.calls) == 1


@BOTH_CLIENTS
@WIRES
async def test_what_stands_around_the_words_of_a_stream_is_no_part_of_its_size(kind: str, transport: Transport) -> None:
    transport.max_answer_bytes = 2_000
    async with Upstream(text="so " * 50) as upstream:
        deltas, whole = await streamed(wire(kind, upstream, transport), ask())
    assert whole.text == "so " * 50 and len(deltas) >= 50


@BOTH_CLIENTS
@WIRES
@pytest.mark.parametrize(("word", "count", "most"), [("s" * 50 + " ", 100, 2_000), ("so ", 500, 32_000)])
async def test_neither_an_endless_answer_nor_an_endless_stream_is_read_to_its_end(
    word: str, count: int, most: int, kind: str, transport: Transport
) -> None:
    transport.max_answer_bytes = 2_000
    async with Upstream(text=word * count) as upstream:
        fault = await stream_fault(wire(kind, upstream, transport), ask())
    assert (fault.kind, fault.detail) == (K.INTERRUPTED, f"the answer is over {most} bytes")
    assert fault.usage is not None and fault.usage.output > 0


@BOTH_CLIENTS
async def test_a_line_without_an_end_is_not_held(transport: Transport) -> None:
    transport.max_answer_bytes = 100_000
    async with Upstream(fault="huge") as upstream:
        fault = await stream_fault(wire("openai", upstream, transport), ask())
    assert (fault.kind, fault.detail) == (K.TOO_LARGE, "the answer is over 100000 bytes")


# ------------------------------------------------------------------------------------- answers of any other shape

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [deeper for key, one in inner for deeper in places(one, (*path, key))]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    copied = copy.deepcopy(value)
    inside = copied
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = new
    return copied


OPENAI_PLACES = [(golden.body, path) for golden in OPENAI_STYLE for path in places(golden.body)]
ANTHROPIC_PLACES = [(golden.body, path) for golden in ANTHROPIC for path in places(golden.body)]
CHUNKS: list[dict[str, Any]] = [
    {
        "choices": [
            {
                "delta": {
                    "content": "a",
                    "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}],
                },
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 1}},
    },
    {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}}]},
]
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"usage": {"input_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "f"}},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "a"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(OPENAI_PLACES), JSON_VALUES)
def test_an_openai_answer_of_any_shape_is_an_answer_or_a_fault(place: tuple[Any, Any], new: Any) -> None:
    body = json.dumps(changed(*place, new)).encode()
    try:
        answer = read_completion(Reply(200, {}, body), ask())
    except ProviderFault:
        return
    assert type(answer.text) is str
    assert answer.usage.input > 0 and answer.usage.output >= 0


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ANTHROPIC_PLACES), JSON_VALUES)
def test_an_anthropic_answer_of_any_shape_is_an_answer_or_a_fault(place: tuple[Any, Any], new: Any) -> None:
    try:
        answer = read_message(changed(*place, new), ask())
    except ProviderFault:
        return
    assert type(answer.text) is str
    assert answer.usage.input > 0 and answer.usage.output >= 0


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([(chunk, path) for chunk in CHUNKS for path in places(chunk)]), JSON_VALUES)
def test_an_openai_chunk_of_any_shape_is_read_or_a_fault(place: tuple[Any, Any], new: Any) -> None:
    gathering = Gatherings(ask())
    try:
        with as_documented:
            list(read_chunk(CHUNKS[0], gathering))
            list(read_chunk(changed(*place, new), gathering))
        gathering.completion()
    except ProviderFault:
        return


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([(index, path) for index, event in enumerate(EVENTS) for path in places(event)]), JSON_VALUES)
def test_anthropic_events_of_any_shape_are_read_or_a_fault(place: tuple[int, Any], new: Any) -> None:
    index, path = place
    gathering, usage, calls = Gathering(ask()), {}, {}  # type: ignore[var-annotated]
    events = [*EVENTS[:index], changed(EVENTS[index], path, new), *EVENTS[index + 1 :]]
    try:
        with as_documented:
            for event in events:
                list(read_event(event, gathering, usage, calls))
        gathering.completion()
    except ProviderFault:
        return


@BOTH_CLIENTS
async def test_mistrals_errors_are_told_in_its_own_shape(transport: Transport) -> None:
    shape = {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "param": None, "code": "1500"}
    async with Upstream(answer=shape) as upstream:
        met = await fault_met(wire("openai", upstream, transport), ask())
    assert met.detail == "Invalid model: x"


@BOTH_CLIENTS
async def test_nobody_there_is_refused_at_once(transport: Transport) -> None:
    async with Upstream() as gone:
        url = gone.openai_url
    started_s = time.monotonic()
    met = await fault_met(OpenAIWire("openai", url, "k", "K", transport), ask())
    assert met.kind is K.REFUSED
    assert time.monotonic() - started_s < 0.5


@BOTH_CLIENTS
@pytest.mark.parametrize(
    "url", ["http://nobody.invalid/v1", "https://127.0.0.1:{port}/v1", "http://127.0.0.1:99999/v1"]
)
async def test_an_address_that_cannot_work_is_a_fault_and_not_a_crash(url: str, transport: Transport) -> None:
    async with Upstream() as upstream:
        port = upstream.openai_url.rsplit(":", 1)[1].removesuffix("/v1")
        met = await fault_met(OpenAIWire("openai", url.format(port=port), "k", "K", transport), ask())
    assert met.kind in (K.REFUSED, K.CONNECTION_LOST, K.CONNECT_TIMEOUT, K.FIRST_BYTE_TIMEOUT)
    assert upstream.calls == []
