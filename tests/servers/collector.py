"""A collector of OTLP over HTTP in JSON: a real server that takes only what OpenTelemetry's own messages allow.

They are those of the package `opentelemetry-proto`. The encoding is protobuf's JSON, but ids are hex, not base64
(https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).
"""

import base64
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

ID_BYTES = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


@dataclass
class Span:
    """One span as the collector understood it."""

    trace_id: str
    span_id: str
    parent: str
    name: str
    kind: int
    starts_ns: int
    ends_ns: int
    facts: dict[str, str | int]
    failed: bool
    service: str


@dataclass
class Line:
    """One log record as the collector understood it."""

    text: str
    at_ns: int
    severity: str
    facts: dict[str, str | int]
    service: str


@dataclass
class Collector:
    """What came. While `status` is not 200 it takes nothing. `answer`: what it says to who sent what it took."""

    address: str = ""
    status: int = 200
    answer: bytes = b"{}"
    spans: list[Span] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    tries: int = 0
    """At logs, whatever became of them."""
    headers: list[dict[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def take_logs(self, body: bytes) -> None:
        """Raises `ParseError` as `take` does."""
        sent = ParseDict(json.loads(body, object_hook=with_ids), ExportLogsServiceRequest())
        for resource in sent.resource_logs:
            service = str(facts_of(resource.resource.attributes)["service.name"])
            self.lines += [line_of(one, service) for scope in resource.scope_logs for one in scope.log_records]

    def take(self, body: bytes) -> None:
        """Raises `ParseError` for a field or a value that the messages do not have, `ValueError` for a wrong id."""
        sent = ParseDict(json.loads(body, object_hook=with_ids), ExportTraceServiceRequest())
        for resource in sent.resource_spans:
            service = facts_of(resource.resource.attributes)["service.name"]
            self.spans += [span_of(one, str(service)) for scope in resource.scope_spans for one in scope.spans]


def with_ids(one: dict[str, Any]) -> dict[str, Any]:
    """An object with its ids as protobuf's JSON has bytes."""
    for name in one.keys() & ID_BYTES.keys():
        raw = bytes.fromhex(one[name])
        if len(raw) != ID_BYTES[name]:
            raise ValueError(f"{name}: {one[name]}")
        one[name] = base64.b64encode(raw).decode()
    return one


def span_of(one: SpanMessage, service: str) -> Span:
    return Span(
        one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex(), one.name, one.kind, one.start_time_unix_nano,
        one.end_time_unix_nano, facts_of(one.attributes), one.status.code == Status.STATUS_CODE_ERROR, service,
    )  # fmt: skip


def line_of(one: LogRecord, service: str) -> Line:
    severity = f"{one.severity_text} {one.severity_number}"
    return Line(one.body.string_value, one.time_unix_nano, severity, facts_of(one.attributes), service)


def facts_of(attributes: Iterable[KeyValue]) -> dict[str, str | int]:
    """Key -> value. Raises `ValueError` for a key that stands there twice."""
    found: dict[str, str | int] = {}
    for one in attributes:
        if one.key in found:
            raise ValueError(f"twice: {one.key}")
        found[one.key] = getattr(one.value, str(one.value.WhichOneof("value")))
    return found


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """A collector on a port of this machine, a free one unless it is said."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                take = {"/v1/traces": collector.take, "/v1/logs": collector.take_logs}[self.path]
                collector.tries += self.path == "/v1/logs"
                assert self.headers["Content-Type"] == "application/json"
                if collector.status == 200:
                    take(body)
                    collector.bodies.append(body)
                    collector.headers.append({key.lower(): value for key, value in self.headers.items()})
            except (AssertionError, KeyError, ValueError, ParseError) as error:
                collector.problems.append(repr(error))
            self.send_response(400 if collector.problems else collector.status)
            self.send_header("Content-Length", str(len(collector.answer)))
            self.end_headers()
            self.wfile.write(collector.answer)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    collector.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
