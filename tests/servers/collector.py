"""A collector of OTLP over HTTP in its JSON encoding: a real server that takes only what the encoding allows.

The fields and their JSON forms are those of `opentelemetry/proto/trace/v1/trace.proto` under the rules of
https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

HEX = re.compile(r"[0-9a-f]+")
SPAN_FIELDS = {
    "traceId", "spanId", "parentSpanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "attributes", "status",
}  # fmt: skip


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
class Collector:
    """What came. While `status` is not 200 it takes nothing."""

    address: str = ""
    status: int = 200
    spans: list[Span] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        (resource,) = json.loads(body)["resourceSpans"]
        service = facts_of(resource["resource"]["attributes"])["service.name"]
        for scope in resource["scopeSpans"]:
            self.spans += [span_of(one, str(service)) for one in scope["spans"]]


def span_of(one: dict[str, Any], service: str) -> Span:
    """Raises `AssertionError` for what the encoding does not allow."""
    assert one.keys() <= SPAN_FIELDS, one.keys() - SPAN_FIELDS
    parent = one.get("parentSpanId", "")
    for text, length in ((one["traceId"], 32), (one["spanId"], 16), (parent, 16 if parent else 0)):
        assert len(text) == length and (HEX.fullmatch(text) or not text), text
    assert isinstance(one["startTimeUnixNano"], str) and isinstance(one["endTimeUnixNano"], str)
    assert one["kind"] in range(1, 6)
    return Span(
        one["traceId"], one["spanId"], parent, one["name"], one["kind"], int(one["startTimeUnixNano"]),
        int(one["endTimeUnixNano"]), facts_of(one["attributes"]), one["status"].get("code", 0) == 2, service,
    )  # fmt: skip


def facts_of(attributes: list[dict[str, Any]]) -> dict[str, str | int]:
    """Key -> value. Raises `AssertionError` for what the encoding does not allow."""
    found: dict[str, str | int] = {}
    for one in attributes:
        ((kind, value),) = one["value"].items()
        assert kind in {"stringValue", "intValue"} and isinstance(value, str), one
        assert one["key"] not in found, one
        found[one["key"]] = int(value) if kind == "intValue" else value
    return found


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port of this machine."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json"
                if collector.status == 200:
                    collector.take(body)
                    collector.bodies.append(body)
                    collector.headers.append({key.lower(): value for key, value in self.headers.items()})
            except (AssertionError, KeyError, ValueError) as error:
                collector.problems.append(repr(error))
            self.send_response(400 if collector.problems else collector.status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
