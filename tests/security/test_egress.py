"""We call the configured providers and nobody else, whatever a request says: a canary listens, and hears nothing."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import Running, run, settings_for
from tests.product import free_port
from tests.security.wires import reached
from tests.servers.gemini import KEY as GEMINI_KEY
from tests.servers.gemini import Gemini
from tests.servers.raw_http import Call, Connection, RawServer, json_answer
from tests.servers.upstream import KEY, Upstream

MODELS = ("openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash")
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)
HELLO = [{"role": "user", "content": "Hello!"}]

NAMES = (
    "api_base", "apiBase", "api-base", "API_BASE", "base_url", "baseUrl", "baseURL", "base-url", "api_url", "apiUrl",
    "url", "uri", "endpoint", "endpoint_url", "host", "hostname", "server", "origin", "target", "destination",
    "upstream", "upstream_url", "proxy", "proxies", "http_proxy", "https_proxy", "proxy_url", "forward_to", "redirect",
    "callback", "callback_url", "webhook", "webhook_url", "success_callback", "failure_callback", "langfuse_host",
    "openai_base_url", "OPENAI_BASE_URL", "openai_api_base", "anthropic_base_url", "gemini_api_base", "azure_endpoint",
    "aws_bedrock_runtime_endpoint", "vertex_api_base", "custom_host", "custom_llm_provider", "model_info", "deployment",
    "client", "transport", "http_client", "router", "routes", "provider", "user_config", "config", "default_headers",
    "extra_headers", "headers", "extra_query", "extra_body", "litellm_params", "model_list", "fallbacks",
    "litellm_metadata", "mcp_servers", "tool_resources", "data_sources",
)  # fmt: skip
"""What gateways, SDKs and LiteLLM call the place that a request goes to."""
HEADERS = (
    "Host", "Forwarded", "X-Forwarded-Host", "X-Forwarded-Server", "X-Original-Host", "X-Host", "X-Rewrite-Url",
    "X-Original-Url", "X-Proxy-Url", "Destination", "X-Base-Url", "X-Api-Base", "X-Upstream", "X-Target-Url",
    "x-portkey-custom-host", "x-portkey-config", "helicone-target-url", "x-openai-base-url", "x-omni-base-url",
    "x-litellm-api-base", "cf-aig-custom-provider", "Referer",
)  # fmt: skip
"""Headers that point other gateways elsewhere."""


@dataclass
class Stage:
    """A product with three providers behind three wires, a live key, and a canary that counts who comes."""

    product: Running
    key: str
    openai: Upstream
    anthropic: Upstream
    gemini: Gemini
    canary: RawServer

    @property
    def places(self) -> set[tuple[str, int]]:
        """Where a call may go."""
        servers = (self.openai._server, self.anthropic._server, self.gemini._server)
        return {("127.0.0.1", one.port) for one in servers}

    @property
    def spellings(self) -> list[str]:
        """The canary's address, as people write it who want to get past a check."""
        hosts = ("127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "127.0.0.1.invalid")
        plain = [f"http://{host}:{self.canary.port}/v1" for host in hosts]
        odd = [f"//127.0.0.1:{self.canary.port}", f"http://api.openai.com@127.0.0.1:{self.canary.port}#/v1"]
        return [*plain, *odd, f"https://127.0.0.1:{self.canary.port}", "http://169.254.169.254/latest/meta-data/"]

    @property
    def calls(self) -> list[Call]:
        return [*self.openai.calls, *self.anthropic.calls, *self.gemini.calls]

    async def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return await self.product.client.post(path, json=body, headers={"X-API-Key": self.key, **headers})

    def heard(self) -> str:
        """All that the providers were sent."""
        return " ".join(f"{one.path} {one.query} {dict(one.headers)} {one.raw!r}" for one in self.calls)


@asynccontextmanager
async def staged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async def sing(call: Call, connection: Connection) -> None:
        await connection.answer(json_answer({"choices": [{"message": {"role": "assistant", "content": "tweet"}}]}))

    canary = RawServer(sing)
    await canary.start()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    async with Upstream() as openai, Upstream() as anthropic, Gemini() as gemini:
        settings = settings_for(
            folder, openai_api_key=KEY, openai_base_url=openai.openai_url,
            anthropic_api_key=KEY, anthropic_base_url=anthropic.anthropic_url,
            gemini_api_key=GEMINI_KEY, gemini_base_url=gemini.url, rate_limit_max=100_000,
        )  # fmt: skip
        async for running in run(settings):
            yield Stage(running, await running.new_key("live"), openai, anthropic, gemini, canary)
    await canary.stop()


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async with staged(tmp_path, monkeypatch) as stage:
        with reached() as places:
            yield stage
        assert stage.canary.connections == 0
        assert places - stage.places == set()
        assert places, "nothing was called at all"


def tolerant(model: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A good request for each route of another maker's format: fields that are unknown to us are left out there."""
    yield "/v1/chat/completions", {"model": model, "messages": HELLO}
    yield "/v1/messages", {"model": model, "max_tokens": 20, "messages": HELLO}
    yield "/v1/responses", {"model": model, "input": HELLO}
    yield "/v1/embeddings", {"model": "openai/text-embedding-3-small", "input": "hello"}


STRICT = ("/v1/chat", "/v1/agent-step", "/v1/router/debug")


def twisted(body: dict[str, Any], overrides: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The overrides at the top, nested where clients nest things, and in a message."""
    yield {**overrides, **body}
    for place in ("metadata", "extra_body", "litellm_params"):
        yield {**body, place: overrides}
    if "messages" in body:
        yield {**body, "messages": [{**overrides, **HELLO[0]}]}


def shapes(place: str) -> tuple[Any, ...]:
    """A value that such a field may have."""
    inner = {"api_base": place, "base_url": place, "url": place}
    return place, inner, [{"model": "auto", "litellm_params": inner}]


@pytest.mark.parametrize("model", MODELS)
async def test_no_field_leads_a_call_elsewhere(stage: Stage, model: str) -> None:
    for index, place in enumerate(stage.spellings):
        value = shapes(place)[index % 3]
        for path, body in tolerant(model):
            for body_with in twisted(body, dict.fromkeys(NAMES, value)):
                answer = await stage.post(path, body_with)
                assert answer.status_code in (200, 400), (path, answer.text)
                assert "tweet" not in answer.text
    assert_nothing_was_passed_on(stage)


async def test_no_field_by_itself_leads_a_call_elsewhere(stage: Stage) -> None:
    for index, name in enumerate(NAMES):
        place = stage.spellings[index % len(stage.spellings)]
        for path, body in tolerant(MODELS[index % 2]):
            answer = await stage.post(path, {**body, name: shapes(place)[index % 3]})
            assert answer.status_code in (200, 400), (name, answer.text)
    assert_nothing_was_passed_on(stage)


@pytest.mark.parametrize("path", STRICT)
async def test_our_own_routes_refuse_such_a_field_by_name(stage: Stage, path: str) -> None:
    for name in NAMES:
        for value in shapes(stage.spellings[0]):
            answer = await stage.post(path, {"messages": HELLO, name: value})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)
    for place in stage.spellings:
        answer = await stage.post(path, {"messages": HELLO, "metadata": dict.fromkeys(NAMES, place)})
        assert answer.status_code in (200, 400), answer.text
    assert (await stage.post("/v1/chat", {"messages": HELLO})).status_code == 200
    assert_nothing_was_passed_on(stage)


def assert_nothing_was_passed_on(stage: Stage) -> None:
    """The providers were called, and were told nothing of another place either."""
    assert stage.calls
    assert str(stage.canary.port) not in stage.heard() and "169.254" not in stage.heard()


@pytest.mark.parametrize("model", MODELS)
async def test_no_header_leads_a_call_elsewhere(stage: Stage, model: str) -> None:
    body = {"model": model, "messages": HELLO}
    for index, place in enumerate(stage.spellings):
        values = {name: place.partition("//")[2] if "Host" in name else place for name in HEADERS}
        name = HEADERS[index % len(HEADERS)]
        for headers in (values, {name: values[name]}):
            answer = await stage.post("/v1/chat/completions", body, **headers)
            assert answer.status_code == 200, answer.text
    assert_nothing_was_passed_on(stage)


@pytest.mark.parametrize("model", MODELS)
async def test_no_name_of_a_model_leads_a_call_elsewhere(stage: Stage, model: str) -> None:
    for place in stage.spellings:
        for name in (place, f"{model}@{place}", f"{model}#{place}", f"openai/{place}", f"{model}/../../{place}"):
            for path, body in tolerant(name):
                answer = await stage.post(path, {**body, "model": name})
                assert answer.status_code in (400, 404), answer.text
    assert (await stage.post("/v1/chat/completions", {"model": model, "messages": HELLO})).status_code == 200
    assert_nothing_was_passed_on(stage)


@pytest.mark.parametrize("model", MODELS)
async def test_a_picture_is_never_fetched_by_us(stage: Stage, model: str) -> None:
    """Its address goes on to a provider that takes addresses, or is refused, as for Gemini."""
    ours = f"https://localhost:{stage.canary.port}"
    places = [*stage.spellings, f"{ours}/a.png", f"{ours}/picture", "https://pictures.invalid/a", "file:///etc/passwd"]
    for place in [*places, PIXEL]:
        part = {"type": "image_url", "image_url": {"url": place}}
        content = [{"type": "text", "text": "What is this?"}, part]
        answer = await stage.post(
            "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": content}]}
        )
        taken = place.startswith("data:") or (place.startswith("https:") and not model.startswith("gemini"))
        assert (answer.status_code == 200) == taken, (place, answer.text)
        image = {"type": "image", "source": {"type": "url", "url": place}}
        await stage.post(
            "/v1/messages", {"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": [image]}]}
        )
        seen = {"role": "user", "content": [{"type": "input_image", "image_url": place}]}
        answer = await stage.post("/v1/responses", {"model": model, "input": [seen]})
        assert (answer.status_code == 200) == taken, (place, answer.text)


async def test_no_redirect_of_a_provider_is_followed(stage: Stage) -> None:
    for server in (stage.openai, stage.anthropic, stage.gemini):
        server.fault, server.redirect_to = "redirect", f"http://127.0.0.1:{stage.canary.port}/v1"
    for model in MODELS:
        for options in ({}, {"stream": True}):
            answer = await stage.post("/v1/chat/completions", {"model": model, "messages": HELLO, **options})
            assert "tweet" not in answer.text


async def test_each_provider_is_sent_its_own_key_and_no_other(stage: Stage) -> None:
    for model in MODELS:
        await stage.post("/v1/chat/completions", {"model": model, "messages": HELLO})
    assert stage.openai.calls and stage.anthropic.calls and stage.gemini.calls
    assert stage.key not in stage.heard()
    assert GEMINI_KEY not in json.dumps([dict(one.headers) for one in (*stage.openai.calls, *stage.anthropic.calls)])
    assert KEY not in json.dumps([dict(one.headers) for one in stage.gemini.calls])


async def test_without_a_provider_nobody_is_called(tmp_path: Path) -> None:
    async for running in run(settings_for(tmp_path)):
        live = await running.new_key("live")
        with reached() as places:
            for path, body in (*tolerant("auto"), *((path, {"messages": HELLO}) for path in STRICT)):
                for key in (live, running.key):
                    for body_with in (body, {**body, "api_base": f"http://127.0.0.1:{free_port()}"}):
                        await running.client.post(path, json=body_with, headers={"X-API-Key": key})
        assert places == set()
