"""Log lines at a collector: all of them, once, as they were written, and with no secret in them."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from omni_app.observe import log_sender
from omni_app.observe.log_sender import BATCH, MOST_WAITING, LogSender
from omni_app.redaction import REMOVED, install
from omni_app.storage.keys import generate_key
from tests.api.conftest import HELLO, Running, run, settings_for
from tests.product import free_port
from tests.security.cast import FROM_OUR_PAGE, PASSWORD
from tests.servers.collector import Collector, Line, collecting

CANARY = "canary-in-the-prompt"
FORM = {"email": "ada@example.com", "password": PASSWORD, "org_name": "Blue"}


@asynccontextmanager
async def watched(folder: Path, collector: Collector, **more: Any) -> AsyncIterator[Running]:
    settings = settings_for(
        folder,
        log_security="on",
        log_requests="on",
        otel_exporter_otlp_endpoint=collector.address,
        otel_exporter_otlp_headers="x-secret=s",
        otel_service_name="router",
        otel_traces_sampler_arg=0.0,
        **more,
    )
    async for running in run(settings):
        yield running


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test waits for tenths of a second."""
    monkeypatch.setattr(log_sender, "SEND_S", 0.05)
    monkeypatch.setattr(log_sender, "LONGEST_PAUSE_S", 0.2)


@pytest.fixture
def collector() -> Any:
    with collecting() as found:
        yield found


async def eventually(happened: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 10
    while not happened() and time.monotonic() < until_s:  # noqa: ASYNC110 another thread's doing
        await asyncio.sleep(0.02)
    assert happened()


def of(collector: Collector, log: str) -> list[Line]:
    assert not collector.problems
    return [one for one in collector.lines if one.facts["log"] == log]


async def test_what_is_written_to_standard_output_is_sent_as_it_is(
    tmp_path: Path, collector: Collector, capfd: pytest.CaptureFixture[str]
) -> None:
    async with watched(tmp_path, collector) as running:
        assert (await running.client.post("/auth/signup", data=FORM, headers=FROM_OUR_PAGE)).status_code == 303
        wrong = generate_key("live")
        refused = await running.post("/v1/chat", HELLO, key=wrong)
        body = {"messages": [{"role": "user", "content": CANARY}]}
        asked = await running.post("/v1/chat", body)
        await eventually(lambda: len(of(collector, "security")) >= 2 and len(of(collector, "requests")) >= 3)
    written = capfd.readouterr().out.splitlines()
    security, requests = of(collector, "security"), of(collector, "requests")
    assert sorted(one.text for one in (*security, *requests)) == sorted(written)
    assert [(one.facts["event.name"], one.severity) for one in security] == [
        ("sign_up", "INFO 9"),
        ("key_refused", "WARNING 13"),
    ]
    assert security[1].facts["omni.request_id"] == refused.headers["x-request-id"]
    assert asked.headers["x-request-id"] in {one.facts["omni.request_id"] for one in requests}
    for one in (*security, *requests):
        at = datetime.fromisoformat(orjson.loads(one.text)["time"])
        assert datetime.fromtimestamp(one.at_ns / 1e9, UTC) == at and one.service == "router"
    assert {one["x-secret"] for one in collector.headers} == {"s"}
    sent = b"".join(collector.bodies).decode()
    for secret in (CANARY, running.key, wrong, PASSWORD, FORM["email"]):
        assert secret not in sent


async def test_events_of_security_survive_a_collector_that_is_away(tmp_path: Path, collector: Collector) -> None:
    async with watched(tmp_path, collector) as running:
        collector.status = 503
        for _ in range(3):
            await running.client.post("/auth/login", data=FORM, headers=FROM_OUR_PAGE)
        await eventually(lambda: collector.tries >= 3)
        assert of(collector, "security") == []
        collector.status = 200
        await eventually(lambda: len(of(collector, "security")) >= 3)
    assert len({one.text for one in of(collector, "security")}) == len(of(collector, "security")) == 3, "each once"


async def test_one_that_is_not_there_yet_is_sent_what_it_missed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    async with watched(tmp_path, Collector(f"http://127.0.0.1:{port}")) as running:
        await running.client.post("/auth/login", data=FORM, headers=FROM_OUR_PAGE)
        await eventually(lambda: "(ConnectError)" in caplog.text)
        with collecting(port) as collector:
            await eventually(lambda: len(of(collector, "security")) == 1)


async def test_the_last_lines_are_sent_when_the_server_stops(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sender, "SEND_S", 60)
    async with watched(tmp_path, collector) as running:
        await running.client.post("/auth/login", data=FORM, headers=FROM_OUR_PAGE)
        assert collector.tries == 0
    assert [one.facts["event.name"] for one in of(collector, "security")] == ["log_in"]


async def test_a_collector_that_takes_nothing_holds_up_no_request_and_no_stop(
    tmp_path: Path, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.status = 500
    async with watched(tmp_path, collector) as running:
        assert (await running.post("/v1/chat", HELLO)).status_code == 200
        await eventually(lambda: collector.tries >= 3)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 5
    said = [one.message for one in caplog.records if one.name == log_sender.__name__]
    assert said[0] == "the log collector does not take lines (HTTP 500)" and len(said) == 2, "said once, and at the end"
    assert said[1].endswith("lines of the logs were not sent to the collector")


@pytest.mark.parametrize(
    ("status", "answer", "lost"),
    [
        (400, b"{}", 3),
        (413, b"{}", 3),
        (200, b'{"partialSuccess":{"rejectedLogRecords":"2"}}', 2),
        (200, b"no json", 0),
    ],
)
async def test_what_it_calls_malformed_is_given_up_and_counted(
    collector: Collector, status: int, answer: bytes, lost: int
) -> None:
    collector.status, collector.answer = status, answer
    sender = LogSender(collector.address, headers={}, service="router")
    sender.security.put(b'{"event":"log_in"}\n' * 3)
    await sender.finish()
    assert collector.tries == 1 and not sender.security.lines
    assert {labels[0]: count for _, labels, count in sender.samples()}["security"] == lost


async def test_messages_of_standard_error_are_sent_cleaned(tmp_path: Path, collector: Collector) -> None:
    install()
    key = generate_key("live")
    async with watched(tmp_path, collector):
        await asyncio.sleep(0)
        try:
            raise ValueError(key)
        except ValueError:
            logging.getLogger("some.where").exception("it broke with %s", key)
        logging.getLogger("some.where").info("nobody asked")
        await eventually(lambda: len(of(collector, "messages")) == 1)
    (line,) = of(collector, "messages")
    told = orjson.loads(line.text)
    assert (told["logger"], told["message"], line.severity) == ("some.where", f"it broke with {REMOVED}", "ERROR 17")
    assert f"ValueError: {REMOVED}" in told["traceback"] and key not in line.text
    logging.getLogger("some.where").error("afterwards")
    assert not [one for one in logging.getLogger().handlers if type(one).__module__ == log_sender.__name__]


async def test_more_than_there_is_room_for_is_counted_and_security_comes_first(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sender, "LAST_TRIES_S", 60.0)
    sender = LogSender(collector.address, headers={}, service="router")
    sender.requests.put(b'{"event":"request"}\n' * (MOST_WAITING + 7))
    sender.security.put(b'{"event":"log_in"}\n' * (BATCH + 1))
    await sender.finish()
    assert len(sender.requests.lines) == 0 and sender.requests.dropped == 7 and sender.security.dropped == 0
    assert [one.facts["log"] for one in collector.lines[: BATCH + 2]] == ["security"] * (BATCH + 1) + ["requests"]


async def test_where_it_is_not_wanted_nothing_is_sent(tmp_path: Path, collector: Collector) -> None:
    async with watched(tmp_path, collector, otel_logs_exporter="none") as running:
        assert running.services.log_sender is None
        await running.client.post("/auth/login", data=FORM, headers=FROM_OUR_PAGE)
        await asyncio.sleep(0.3)
    assert collector.tries == 0


async def test_no_line_is_kept_here(tmp_path: Path, collector: Collector) -> None:
    """In no file of the server's: who breaks in later finds none, and can change none."""
    async with watched(tmp_path, collector) as running:
        refused = await running.client.post("/auth/login", data=FORM, headers=FROM_OUR_PAGE)
        await eventually(lambda: len(of(collector, "security")) == 1)
        account = orjson.loads(of(collector, "security")[0].text)["account"].encode()
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        held = b"".join(path.read_bytes() for path in files)
        opened = {str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.exists()}
    assert files and account not in held and b'"security"' not in held
    assert refused.headers["x-request-id"].encode() not in held
    assert not [name for name in opened if name.startswith(str(tmp_path)) and name.endswith((".log", ".jsonl"))]
