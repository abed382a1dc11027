"""One line a request: whole, and without what was said."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from omni_app.observe.request_log import RequestLog
from tests.api.conftest import HELLO, Running, run, settings_for

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/OBSERVE.md"
CANARY = "canary-in-the-prompt"
ASK = {"messages": [{"role": "user", "content": CANARY}], "metadata": {"note": CANARY}}


@pytest.fixture
async def logged(tmp_path: Path) -> AsyncIterator[tuple[Running, list[bytes]]]:
    async for running in run(settings_for(tmp_path, log_requests="on")):
        written: list[bytes] = []
        (log,) = running.services.observer.reporters
        assert isinstance(log, RequestLog)
        log._write = written.append
        yield running, written


async def lines(running: Running, written: list[bytes]) -> list[dict[str, Any]]:
    (log,) = running.services.observer.reporters
    assert isinstance(log, RequestLog)
    await log.flush()
    return [orjson.loads(line) for line in b"".join(written).splitlines()]


async def test_each_request_has_one_line_that_says_what_happened_and_not_what_was_said(
    logged: tuple[Running, list[bytes]],
) -> None:
    running, written = logged
    served = await running.post("/v1/chat", ASK)
    streamed = await running.post("/v1/chat", ASK | {"stream": True})
    rescued = await running.post("/v1/chat", ASK | {"metadata": {"sandbox_fail": "error"}})
    failed = await running.post("/v1/chat", ASK | {"metadata": {"sandbox_fail": "all:error"}})
    refused = await running.post("/v1/chat", {CANARY: 1})
    stranger = await running.post("/v1/chat", ASK, key=f"omr_test_{CANARY}")
    lost = await running.get(f"/v1/{CANARY}")
    answers = [served, streamed, rescued, failed, refused, stranger, lost]
    found = await lines(running, written)
    assert [one["request_id"] for one in found] == [one.headers["x-request-id"] for one in answers]
    assert [one["status"] for one in found] == [200, 200, 200, 502, 400, 401, 404]
    assert [one.get("error") for one in found[:5]] == [None, None, None, "provider_error", None]
    assert found[0]["model"] == served.json()["model_used"]
    assert found[0]["tokens_output"] == served.json()["tokens"]["output"]
    assert found[0]["cost_usd"] == served.json()["cost"]
    assert found[1]["first_token_ms"] is not None
    assert [one["outcome"] for one in found[2]["attempts"]] == ["server_error", "ok"]
    blocks = re.findall(r"^```json\n(\{\"time\".*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    example = [block for block in blocks if '"event":"request"' in block]
    assert [orjson.loads(one).keys() for one in example] == [found[0].keys()], "docs/OBSERVE.md shows a line as it is"
    for one in found[:4]:
        assert one["gateway_ms"] == one["provider_ms"] + one["overhead_ms"]
        assert one["org_id"] == str(running.org_id)
    assert found[6]["route"] == "other"
    text = b"".join(written).decode()
    assert CANARY not in text
    assert running.key not in text


async def test_a_request_of_the_playground_has_a_line_too(logged: tuple[Running, list[bytes]]) -> None:
    running, written = logged
    from omni_app.api.chat_schema import CHAT_FIELDS, parse_chat
    from omni_app.gateway.types import Caller

    caller = Caller.with_key(await running.services.keys.authenticate(running.key))
    request = parse_chat(HELLO, fields=CHAT_FIELDS, endpoint="playground", key_kind="test", timeout_s=None)
    answer = await running.services.gateway.chat(caller, request)
    (one,) = await lines(running, written)
    assert (one["request_id"], one["endpoint"], one["status"]) == (answer.request_id, "playground", None)


async def test_a_reader_that_stopped_reading_costs_lines_and_no_request(
    logged: tuple[Running, list[bytes]],
) -> None:
    running, _ = logged
    (log,) = running.services.observer.reporters
    assert isinstance(log, RequestLog)
    reading, writing = os.pipe()
    os.close(reading)

    def write(lines: bytes) -> None:
        os.write(writing, lines)

    log._write = write
    assert (await running.post("/v1/chat", ASK)).status_code == 200
    await log.flush()
    assert log.dropped == 1
    os.close(writing)
