"""Whole numbers beyond 64 bits, which JSON allows and schemas of contracts hold: they go through, on every route."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from omni_app.storage import org_settings
from omni_app.storage.prompts import read_prompt
from tests.api.conftest import Running
from tests.api.test_real_wires import Live, live

BIG = 2**256 - 1
SCHEMA = {"type": "object", "properties": {"wei": {"type": "integer", "maximum": BIG}}, "required": ["wei"]}
TOOL = {"type": "function", "function": {"name": "send", "parameters": SCHEMA}}
ASKED = [{"role": "user", "content": "Send some wei."}]
CALLED = [
    *ASKED,
    {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "send", "input": {"wei": BIG}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "sent"}]},
]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat": {"messages": ASKED, "tools": [TOOL]},
    "/v1/chat/completions": {"model": "auto", "messages": ASKED, "tools": [TOOL]},
    "/v1/responses": {
        "model": "auto", "input": ASKED, "tools": [{"type": "function", "name": "send", "parameters": SCHEMA}],
    },
    "/v1/messages": {
        "model": "auto", "max_tokens": 100, "messages": CALLED, "tools": [{"name": "send", "input_schema": SCHEMA}],
    },
}  # fmt: skip
MODELS = {"openai": "openai/gpt-5.4", "anthropic": "anthropic/claude-sonnet-4-6"}


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path) as product:
        yield product


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("path", BODIES)
async def test_every_route_answers_and_its_row_ends(product: Running, path: str, *, stream: bool) -> None:
    answer = await product.post(path, BODIES[path] | {"stream": stream})
    assert answer.status_code == 200, answer.text
    assert "error" not in answer.text or '"error":null' in answer.text
    if path == "/v1/responses":
        assert str(BIG) in answer.text, "the tools are repeated as they came"
    assert not product.services.spool._admitted, "its last line is written"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("provider", MODELS)
async def test_a_provider_gets_the_number_as_it_came(two: Live, provider: str, *, stream: bool) -> None:
    body = BODIES["/v1/chat/completions"] | {"model": MODELS[provider], "stream": stream}
    answer = await two.post("/v1/chat/completions", body)
    assert answer.status_code == 200, answer.text
    (tool,) = getattr(two, provider).last_body["tools"]
    parameters = tool["function"]["parameters"] if provider == "openai" else tool["input_schema"]
    assert parameters == SCHEMA


async def test_a_kept_prompt_holds_the_number(product: Running) -> None:
    services = product.services
    async with services.database.session() as session:
        await org_settings.set_prompt_days(session, org_id=product.org_id, days=7)
        await session.commit()
    await services.keys.poll()
    answer = await product.post("/v1/chat", BODIES["/v1/chat"])
    assert answer.status_code == 200, answer.text
    assert services.gateway.prompts is not None
    await services.gateway.prompts.flush()
    async with services.database.session() as session:
        kept = await read_prompt(
            session, org_id=product.org_id, request_id=answer.json()["request_id"], sealer=services.sealer
        )
    assert kept is not None and kept.params["tools"] == [TOOL]
