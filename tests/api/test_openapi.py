"""The OpenAPI document says what the server does: every route, every field, every answer."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.routing import Route

from omni_app.api import (
    account,
    chat,
    completions,
    documents,
    embeddings,
    health,
    messages,
    models,
    openai_responses,
    request_export,
    router_debug,
    usage,
)
from omni_app.api.chat_schema import AGENT_STEP_FIELDS, CHAT_FIELDS
from omni_app.api.openapi import document
from omni_app.errors import OmniError, StreamInterrupted
from omni_app.storage.accounts import SecondFactorWanted
from tests.api.conftest import HELLO, Running
from tests.product import ROOT

API = (chat, completions, embeddings, messages, openai_responses, usage, models, request_export, router_debug, health)
UNLISTED = (account, documents)
"""The web app's own forms, and the document itself. A module may serve a page of the web app beside `/v1`."""


def resolved(schema: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = spec["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def answer_schema(spec: dict[str, Any], path: str, method: str) -> dict[str, Any]:
    answer = spec["paths"][path][method]["responses"]["200"]
    return resolved(answer["content"]["application/json"]["schema"], spec)


async def test_every_route_is_in_the_document_and_nothing_else(product: Running) -> None:
    served = {
        (route.path.replace("{id:path}", "{id}"), method.lower())
        for module in API
        for route in module.routes(product.services)
        if isinstance(route, Route) and not route.path.startswith("/auth/")
        for method in (route.methods or set()) - {"HEAD"}
    }
    spec = document()
    assert served == {(path, method) for path, methods in spec["paths"].items() for method in methods}


def test_the_documents_fields_are_the_parsers() -> None:
    schemas = document()["components"]["schemas"]
    assert schemas["ChatRequest"]["properties"].keys() == CHAT_FIELDS.keys()
    assert schemas["AgentStepRequest"]["properties"].keys() == AGENT_STEP_FIELDS.keys()
    assert schemas["ChatRequest"]["additionalProperties"] is False


async def test_answers_have_exactly_the_documented_fields(product: Running) -> None:
    spec = document()
    chat_answer = (await product.post("/v1/chat", HELLO)).json()
    documented = answer_schema(spec, "/v1/chat", "post")["properties"].keys()
    assert chat_answer.keys() <= documented and documented - chat_answer.keys() == {"tool_calls", "images", "billed"}
    for path, method, answer in (
        ("/v1/router/debug", "post", await product.post("/v1/router/debug", HELLO)),
        ("/v1/agent-step", "post", await product.post("/v1/agent-step", HELLO)),
        ("/v1/usage", "get", await product.get("/v1/usage")),
        ("/v1/models/{id}", "get", await product.get("/v1/models/sandbox/premium")),
    ):
        properties = answer_schema(spec, path, method)["properties"].keys()
        assert answer.json().keys() <= properties, path
        assert properties - answer.json().keys() <= {"tool_calls", "images", "billed"}, path


async def test_the_page_for_people_names_every_path(product: Running) -> None:
    page = (await product.client.get("/docs")).text
    assert all(path in page for path in document()["paths"])
    assert "<script" not in page


def family(error: type[OmniError]) -> Iterator[type[OmniError]]:
    yield error
    for one in error.__subclasses__():
        yield from family(one)


def test_the_table_of_errors_is_whole() -> None:
    """Every error that a caller may see, with its status, stands in docs/API.md."""
    _, _, table = (ROOT / "docs" / "API.md").read_text().partition("\n## Errors\n")
    rows = re.findall(r"^\| (\w+) \| (.+?) \|", table, re.MULTILINE)
    told = {(status, code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    assert SecondFactorWanted in family(OmniError)
    ours = {("event" if error is StreamInterrupted else str(error.status), error.code) for error in family(OmniError)}
    assert ours <= told
    assert told - ours == {
        ("400", "context_length_exceeded"),
        ("408", "invalid_request"),
        ("503", "provider_error"),
        ("504", "provider_error"),
    }


def test_the_document_names_every_code() -> None:
    """But for those of no route of its own, or of the pages' routes alone."""
    text = str(document()["paths"])
    codes = {error.code for error in family(OmniError)} | {"context_length_exceeded"}
    assert {code for code in codes if code not in text} == {"method_not_allowed", "second_factor_wanted"}


POSTS: dict[str, dict[str, Any]] = {
    "/v1/chat": HELLO,
    "/v1/agent-step": HELLO,
    "/v1/chat/completions": HELLO,
    "/v1/responses": {"input": "Hello!"},
    "/v1/messages": HELLO | {"max_tokens": 20},
    "/v1/images/generations": {"prompt": "A fox"},
    "/v1/embeddings": {"input": "Hello!"},
    "/v1/router/debug": HELLO,
}


def test_every_post_may_be_sent_again() -> None:
    posts = {path: methods["post"] for path, methods in document()["paths"].items() if "post" in methods}
    assert posts.keys() == POSTS.keys()
    for operation in posts.values():
        assert "Idempotency-Key" in [parameter["name"] for parameter in operation["parameters"]]
        assert operation["responses"]["409"]["description"].startswith("conflict")


@pytest.mark.parametrize("path", POSTS)
async def test_a_key_of_another_request_is_refused_as_documented(product: Running, path: str) -> None:
    headers = {"Authorization": f"Bearer {product.key}", "Idempotency-Key": "once"}
    first = await product.client.post(path, json=POSTS[path], headers=headers)
    other = await product.client.post(path, json=POSTS[path] | {"metadata": {"n": 2}}, headers=headers)
    assert (first.status_code, other.status_code) == (200, 422)
    answer = document()["paths"][path]["post"]["responses"]["422"]
    assert other.json()["error"]["code"] in answer["description"]
    schema = resolved(answer["content"]["application/json"]["schema"], document())
    assert other.json().keys() <= schema["properties"].keys()
