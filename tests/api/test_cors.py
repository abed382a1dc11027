"""`CORS_ORIGIN`: a page of that origin calls `/v1` as the JavaScript SDKs do, in a real browser; no other page can."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from omni_app.api.app import create_api
from omni_app.api.cors import EXPOSED
from tests.api.conftest import Running, run, settings_for
from tests.product import free_port
from tests.servers.asgi import serving
from tests.system import chromium

CODE = [{"role": "user", "content": "Write a Python function that reverses a linked list."}]
STAINLESS = {
    "x-stainless-arch": "unknown",
    "x-stainless-lang": "js",
    "x-stainless-os": "Unknown",
    "x-stainless-package-version": "6.49.0",
    "x-stainless-retry-count": "0",
    "x-stainless-runtime": "browser:chrome",
    "x-stainless-runtime-version": "140.0.0",
    "x-stainless-timeout": "600",
}
"""What both SDKs send from a browser with each request."""
AS_OPENAI = {"path": "/v1/chat/completions", "headers": STAINLESS, "key": "authorization"}
AS_ANTHROPIC = {
    "path": "/v1/messages",
    "headers": STAINLESS
    | {
        "anthropic-beta": "a-beta",
        "anthropic-dangerous-direct-browser-access": "true",
        "anthropic-version": "2023-06-01",
    },
    "key": "x-api-key",
}
SEND = """async ([url, headers, body]) => {
  try {
    const answer = await fetch(url, {
      method: "POST", headers: {...headers, "content-type": "application/json"}, body: JSON.stringify(body)
    })
    return {status: answer.status, headers: [...answer.headers.keys()], text: await answer.text()}
  } catch (error) {
    return {refused: String(error)}
  }
}"""


@pytest.fixture
async def origin() -> AsyncIterator[str]:
    """A page of another origin."""

    async def page(_: Request) -> Response:
        return HTMLResponse("<!doctype html><title>An app</title>")

    async with serving(Starlette(routes=[Route("/", page)]), port=free_port()) as url:
        yield url


@pytest.fixture
async def product(tmp_path: Path, origin: str) -> AsyncIterator[Running]:
    settings = settings_for(tmp_path, cors_origin=origin, markup_percent=10, rate_limit_tokens=1_000_000)
    async for running in run(settings):
        yield running


@pytest.fixture
async def url(product: Running) -> AsyncIterator[str]:
    async with serving(create_api(product.services)) as url:
        yield url


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    path = chromium()
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        await browser.close()


async def sent(browser: Browser, *, page_of: str, url: str, client: dict[str, Any], key: str, **more: Any) -> Any:
    """What a page makes of its request, sent as the client does."""
    page = await browser.new_page()
    await page.goto(page_of)
    credentials = {"authorization": f"Bearer {key}"} if client["key"] == "authorization" else {client["key"]: key}
    headers = {**client["headers"], **credentials, **more.pop("headers", {})}
    body = {"model": "auto", "max_tokens": 50, "messages": CODE, **more}
    return await page.evaluate(SEND, [url + client["path"], headers, body])


@pytest.mark.parametrize("client", [AS_OPENAI, AS_ANTHROPIC])
async def test_a_page_of_the_origin_calls_as_the_sdks_do(
    product: Running, url: str, origin: str, browser: Browser, client: dict[str, Any]
) -> None:
    there: Any = {"page_of": origin, "url": url, "client": client}
    plain = await sent(browser, **there, key=product.key)
    assert plain.get("status") == 200, plain
    streamed = await sent(browser, **there, key=product.key, stream=True)
    assert streamed["status"] == 200 and "data: " in streamed["text"]
    refused = await sent(browser, **there, key="nonsense")
    assert refused["status"] == 401 and "x-request-id" in refused["headers"]


async def test_a_page_reads_every_header_that_is_ours(
    product: Running, url: str, origin: str, browser: Browser
) -> None:
    there: Any = {"page_of": origin, "url": url, "client": AS_OPENAI, "key": product.key}
    once = {"idempotency-key": "once"}
    answers = [await sent(browser, **there, headers=once) for _ in range(2)]
    answers.append(await sent(browser, **there, metadata={"sandbox_fail": "all:error"}))
    assert [answer["status"] for answer in answers] == [200, 200, 502]
    read = {name for answer in answers for name in answer["headers"]}
    assert read - {"cache-control", "content-length", "content-type"} == {*EXPOSED} - {"retry-after"}


async def test_a_page_of_another_origin_is_refused(product: Running, url: str, origin: str, browser: Browser) -> None:
    elsewhere = origin.replace("127.0.0.1", "localhost")
    for client in (AS_OPENAI, AS_ANTHROPIC):
        answer = await sent(browser, page_of=elsewhere, url=url, client=client, key=product.key)
        assert answer == {"refused": "TypeError: Failed to fetch"}


async def test_only_names_of_headers_are_allowed_back(product: Running, origin: str) -> None:
    asked = 'x-stainless-os, bad name, x-api-key,, x"quoted", authorization'
    answer = await product.client.options(
        "/v1/chat", headers={"Origin": origin, "Access-Control-Request-Headers": asked}
    )
    assert answer.headers["access-control-allow-headers"] == "x-stainless-os, x-api-key, authorization"
    assert answer.headers["vary"] == "Origin, Access-Control-Request-Headers"
    stranger = await product.client.options(
        "/v1/chat", headers={"Origin": "https://evil.example", "Access-Control-Request-Headers": asked}
    )
    assert not [name for name in stranger.headers if name.startswith("access-control")]
