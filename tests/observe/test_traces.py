"""Traces, as a collector understands them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes

from omni_app.observe.observer import Seen
from omni_app.observe.traces import MOST_WAITING, PROVIDER_NAMES, Tracer
from omni_app.settings import PROVIDER_KEY_VARIABLES
from tests.api.conftest import Running, run, settings_for
from tests.servers.collector import Collector, Span, collecting

CANARY = "canary-in-the-prompt"
ASK = {"messages": [{"role": "user", "content": CANARY}]}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
async def traced(tmp_path: Path) -> AsyncIterator[tuple[Running, Collector]]:
    with collecting() as collector:
        settings = settings_for(
            tmp_path,
            otel_exporter_otlp_endpoint=collector.address,
            otel_exporter_otlp_headers="x-team=acme%20inc,x-secret=s",
            otel_service_name="router",
        )
        async for running in run(settings):
            yield running, collector


async def eventually(happened: Callable[[], bool]) -> None:
    """Returns when it has happened, or after ten seconds."""
    until_s = time.monotonic() + 10
    while not happened() and time.monotonic() < until_s:  # noqa: ASYNC110 another thread's doing
        await asyncio.sleep(0.05)


async def spans(running: Running, collector: Collector, *, count: int) -> list[Span]:
    """All spans, once that many have come."""
    await eventually(lambda: len(collector.spans) >= count or bool(collector.problems))
    assert not collector.problems
    assert len(collector.spans) == count
    return collector.spans


async def test_a_request_is_a_span_and_each_attempt_one_below_it(traced: tuple[Running, Collector]) -> None:
    running, collector = traced
    headers = {"Authorization": f"Bearer {running.key}", "traceparent": f"00-{TRACE}-{PARENT}-01"}
    body = ASK | {"metadata": {"sandbox_fail": "error"}}
    answer = await running.client.post("/v1/chat", json=body, headers=headers)
    root, failed, served = await spans(running, collector, count=3)

    assert (root.trace_id, root.parent, root.name, root.kind) == (TRACE, PARENT, "POST /v1/chat", 2)
    assert root.facts["omni.request_id"] == answer.headers["x-request-id"]
    assert (root.facts["http.response.status_code"], root.failed, root.service) == (200, False, "router")
    for attempt in (failed, served):
        assert (attempt.trace_id, attempt.parent, attempt.kind) == (TRACE, root.span_id, 3)
        assert attempt.facts["gen_ai.operation.name"] == "chat"
        assert attempt.facts["gen_ai.provider.name"] == "sandbox"
        assert attempt.name == f"chat {attempt.facts['gen_ai.request.model']}"
        assert root.starts_ns - 5_000_000 <= attempt.starts_ns <= attempt.ends_ns <= root.ends_ns + 5_000_000
    assert (failed.failed, failed.facts["error.type"]) == (True, "server_error")
    assert (served.failed, served.facts.get("error.type")) == (False, None)
    assert served.facts["gen_ai.usage.output_tokens"] == answer.json()["tokens"]["output"]
    assert (collector.headers[0]["x-team"], collector.headers[0]["x-secret"]) == ("acme inc", "s")
    sent = b"".join(collector.bodies).decode()
    assert CANARY not in sent and running.key not in sent


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        (f"00-{TRACE}-{PARENT}-00", True),
        (f"01-{TRACE}-{PARENT}-01", True),
        (f"cc-{TRACE}-{PARENT}-01-what-a-later-version-adds", True),
        (f"00-{TRACE}-{PARENT}-01-more", False),
        (f"ff-{TRACE}-{PARENT}-01", False),
        (f"00-{'0' * 32}-{PARENT}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{PARENT}-01", False),
        (f"00-{TRACE}-{PARENT}", False),
    ],
)
async def test_a_trace_goes_on_where_the_caller_s_header_is_one(
    traced: tuple[Running, Collector], header: str, *, taken: bool
) -> None:
    running, collector = traced
    await running.client.post(
        "/v1/chat", json=ASK, headers={"Authorization": f"Bearer {running.key}", "traceparent": header}
    )
    root, _ = await spans(running, collector, count=2)
    assert (root.trace_id == TRACE, root.parent == PARENT) == (taken, taken)
    assert int(root.trace_id, 16)


async def test_names_are_those_of_the_conventions(traced: tuple[Running, Collector]) -> None:
    """Of OpenTelemetry's own list, for each kind of request; what is ours begins with `omni.`."""
    running, collector = traced
    for path, body in (
        ("/v1/chat", ASK | {"metadata": {"sandbox_fail": "error"}}),
        ("/v1/embeddings", {"model": "auto", "input": CANARY}),
        ("/v1/images/generations", {"prompt": CANARY}),
    ):
        assert (await running.post(path, body)).status_code == 200
    found = await spans(running, collector, count=7)
    used = {name for span in found for name in span.facts if not name.startswith("omni.")}
    named = {
        value
        for module in (gen_ai_attributes, http_attributes, error_attributes)
        for constant, value in vars(module).items()
        if constant.isupper()
    }
    assert {"gen_ai.request.model", "http.route", "error.type"} <= used <= named
    attempts = [span for span in found if span.kind == SpanMessage.SPAN_KIND_CLIENT]
    operations = {str(span.facts["gen_ai.operation.name"]) for span in attempts}
    assert operations == {"chat", "embeddings", "generate_content"}
    assert operations <= {one.value for one in gen_ai_attributes.GenAiOperationNameValues}
    for span in attempts:
        assert span.name == f"{span.facts['gen_ai.operation.name']} {span.facts['gen_ai.request.model']}"


def test_a_provider_has_the_name_that_the_conventions_give_it() -> None:
    known = {one.value for one in gen_ai_attributes.GenAiProviderNameValues}
    names = {PROVIDER_NAMES.get(name, name) for name in (*PROVIDER_KEY_VARIABLES, "local", "sandbox")}
    assert names - known == {"local", "openrouter", "sandbox"}, "the conventions have no name for these"


async def test_a_collector_that_takes_nothing_costs_spans_and_no_request(traced: tuple[Running, Collector]) -> None:
    running, collector = traced
    collector.status = 503
    assert (await running.post("/v1/chat", ASK)).status_code == 200
    (tracer,) = running.services.observer.reporters
    assert isinstance(tracer, Tracer)
    await eventually(lambda: tracer.dropped > 0)
    assert tracer.dropped == 1
    collector.status = 200
    assert (await running.post("/v1/chat", ASK)).status_code == 200
    assert {span.kind for span in await spans(running, collector, count=2)} == {2, 3}


def tracer_of(ratio: float) -> Tracer:
    return Tracer("http://127.0.0.1:1", headers={}, ratio=ratio, service="router")


def test_a_part_of_the_traces_is_sent_and_a_trace_is_sent_whole_or_not_at_all() -> None:
    kept = {ratio: tracer_of(ratio) for ratio in (0.0, 0.25, 1.0)}
    for tracer in kept.values():
        for _ in range(4_000):
            tracer.hear(Seen("GET", "/v1/models"))
    counts = {ratio: len(tracer._waiting) for ratio, tracer in kept.items()}
    assert counts[0.0] == 0
    assert 800 < counts[0.25] < 1_200
    assert counts[1.0] == 4_000
    one, other = tracer_of(0.5), tracer_of(0.5)
    for number in range(1, 51):
        given = Seen("GET", "/", f"00-{number * 0x0107_0503_0209_0B0D:032x}-{PARENT}-01")
        one.hear(given)
        other.hear(given)
    assert [trace for _, trace, _ in one._waiting] == [trace for _, trace, _ in other._waiting]
    assert 10 < len(one._waiting) < 40


def test_a_queue_that_is_full_grows_no_more() -> None:
    tracer = tracer_of(1.0)
    for _ in range(MOST_WAITING + 3):
        tracer.hear(Seen("GET", "/"))
    assert (len(tracer._waiting), tracer.dropped) == (MOST_WAITING, 3)
