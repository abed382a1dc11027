"""The OpenAPI document says what the server does: every route, every field, every answer."""

from typing import Any

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
from tests.api.conftest import HELLO, Running

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
