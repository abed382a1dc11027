"""The OpenAPI 3.1 document of the API. Tests hold it to the routes and to the fields that the parser accepts."""

from collections.abc import Mapping

from omni_app.api.openapi_schemas import COMPONENTS, Schema, described, list_of, object_of, ref
from omni_app.api.scopes import ROUTES
from omni_app.storage.scopes import Scope
from omni_app.version import VERSION

ERRORS = {
    "400": "invalid_request: a field is wrong; the message names it",
    "401": "invalid_api_key: no key, or not a valid one",
    "402": "budget_exceeded",
    "403": "permission_denied: the key's scopes do not allow it; the message names the scope",
    "404": "not_found",
    "408": "invalid_request: the body came too slowly",
    "409": "conflict: the first request with this Idempotency-Key is still being served; with Retry-After",
    "413": "invalid_request: the body is too large",
    "422": "idempotency_mismatch: this Idempotency-Key came with another request before",
    "429": "rate_limited, with Retry-After and x-ratelimit-*",
    "500": "internal_error",
    "502": "provider_error: the whole fallback chain failed; says what each attempt met",
    "503": "unavailable, with Retry-After",
    "504": "provider_error: the whole chain timed out",
}

STREAMED = ("/v1/chat", "/v1/agent-step", "/v1/chat/completions", "/v1/responses", "/v1/messages")
"""Where `stream` may be true: then the answer is server-sent events."""
ERROR_SHAPES = {
    "/v1/chat/completions": "OpenAIError",
    "/v1/responses": "OpenAIError",
    "/v1/images/generations": "OpenAIError",
    "/v1/embeddings": "OpenAIError",
    "/v1/messages": "AnthropicError",
}
"""Routes in another maker's format tell errors as its SDKs read them."""

OMNI = described("object", "priority, latency_pref, max_cost, session_id, step_id")


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _operation(
    summary: str,
    answer: Schema,
    *,
    errors: Mapping[str, str],
    body: Schema | None = None,
    parameters: tuple[Schema, ...] = (),
    secured: bool = True,
    media_type: str = "application/json",
) -> Schema:
    operation: Schema = {
        "summary": summary,
        "responses": {"200": {"description": "OK", "content": {media_type: {"schema": answer}}}}
        | {status: {"description": text, "content": _json(ref("Error"))} for status, text in sorted(errors.items())},
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _json(body)}
    if parameters:
        operation["parameters"] = list(parameters)
    if not secured:
        operation["security"] = []
    return operation


def _wants(operation: Schema, scope: Scope) -> None:
    """The scope that a key needs for it, as OpenAPI 3.1 names roles of schemes that are not OAuth's."""
    operation["security"] = [{"bearer": [scope.value]}, {"apiKey": [scope.value]}]
    operation["description"] = f"Wants a key with the scope `{scope.value}`, or one without set scopes."
    operation["responses"]["403"] = {"description": ERRORS["403"], "content": _json(ref("Error"))}


def _query(name: str, description: str, schema: Schema | None = None) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema or {"type": "string"}}


def _errors(*statuses: str) -> dict[str, str]:
    return {status: ERRORS[status] for status in statuses}


COMMON = _errors("400", "401", "429", "500", "503")
POSTED = COMMON | _errors("408", "409", "413", "422")
CHATTING = {
    **POSTED,
    **_errors("402", "502", "504"),
    "422": "no_eligible_model: nothing can do this within its limits; says which limit excluded which models. Or "
    + ERRORS["422"],
    "503": "unavailable, or provider_error: every model that could answer has just failed; both with Retry-After",
}
COMPATIBLE = CHATTING | _errors("404")
"""Of a route in another maker's format, where a model may be named."""
LIKE_OPENAI = COMPATIBLE | {"400": ERRORS["400"] + ". Or context_length_exceeded: the prompt fits no model"}
REPEATED: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Your own name for this request: sent again within 24 hours it gets the same answer, charged once",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
BROKEN = "Server-sent events. A stream that breaks off ends with an error event: stream_interrupted"


def document() -> Schema:
    """The whole document."""
    deadline = {
        "name": "x-omni-timeout-ms",
        "in": "header",
        "description": "Your own deadline for the whole request, in milliseconds",
        "schema": {"type": "integer", "minimum": 1, "maximum": 3_600_000},
    }
    paths: Schema = {
        "/v1/chat": {
            "post": _operation(
                "Answer a conversation with the model that gives the best result for the price",
                ref("ChatAnswer"),
                body=ref("ChatRequest"),
                parameters=(deadline, REPEATED),
                errors=CHATTING,
            )
        },
        "/v1/agent-step": {
            "post": _operation(
                "Answer one step of an agent; routed by what it needs, and by what switching models would cost",
                ref("AgentStepAnswer"),
                body=ref("AgentStepRequest"),
                parameters=(deadline, REPEATED),
                errors=CHATTING,
            )
        },
        "/v1/chat/completions": {
            "post": _operation(
                "OpenAI's chat completions, plain and streamed: `model` is auto, auto:cheap, an id, or a list of ids",
                described("object", "OpenAI's `chat.completion`, with our figures in the object `omni`"),
                body=object_of(
                    {
                        "model": described(
                            ["string", "array"],
                            "auto, auto:cheap|fast|best|quality, an id, or ids",
                            items={"type": "string"},
                        ),
                        "messages": list_of({"type": "object"}) | {"minItems": 1},
                        "n": described("integer", "How many answers", minimum=1, maximum=8, default=1),
                        "stream": {"type": "boolean"},
                        "omni": OMNI,
                    },
                    required=("messages",),
                    description="OpenAI's fields; those that are not known are ignored",
                ),
                parameters=(deadline, REPEATED),
                errors=LIKE_OPENAI,
            )
        },
        "/v1/responses": {
            "post": _operation(
                "OpenAI's responses, plain and streamed; nothing is stored, so the conversation comes whole each time",
                described("object", "OpenAI's `response`, with our figures in the object `omni`"),
                body=object_of(
                    {
                        "model": described("string", "As for chat completions"),
                        "input": described(["string", "array"], "A text, or messages, calls and their outputs"),
                        "instructions": described("string", "Stands before the input, as the system's message"),
                        "max_output_tokens": {"type": "integer", "minimum": 1},
                        "tools": list_of({"type": "object"}, "Functions"),
                        "text": described("object", "`format`: text, json_object, or a JSON schema to keep to"),
                        "reasoning": described("object", "`effort`"),
                        "stream": {"type": "boolean"},
                        "omni": OMNI,
                    },
                    required=("input",),
                    description="OpenAI's fields; those that are not known are ignored",
                ),
                parameters=(deadline, REPEATED),
                errors=LIKE_OPENAI,
            )
        },
        "/v1/images/generations": {
            "post": _operation(
                "OpenAI's image generation, by a configured model that makes images",
                described("object", "`created`, `data` with `b64_json` or `url`, `omni`"),
                body=object_of(
                    {"prompt": {"type": "string"}, "model": {"type": "string"}, "omni": OMNI}, required=("prompt",)
                ),
                parameters=(deadline, REPEATED),
                errors=LIKE_OPENAI,
            )
        },
        "/v1/embeddings": {
            "post": _operation(
                "OpenAI's embeddings; the model never changes by itself, and fallback stays with it",
                described("object", "`object`, `data` with `embedding` and `index`, `model`, `usage`, `omni`"),
                body=ref("EmbeddingsRequest"),
                parameters=(deadline, REPEATED),
                errors=LIKE_OPENAI,
            )
        },
        "/v1/messages": {
            "post": _operation(
                "Anthropic's messages, plain and streamed, routed like any other request",
                described("object", "Anthropic's `message`, with our figures in the object `omni`"),
                body=object_of(
                    {
                        "model": described("string", "As for chat completions"),
                        "max_tokens": {"type": "integer", "minimum": 1},
                        "messages": list_of({"type": "object"}) | {"minItems": 1},
                        "output_config": described("object", "`format`: a JSON schema to keep to; `effort`"),
                        "stream": {"type": "boolean"},
                        "omni": OMNI,
                    },
                    required=("messages", "max_tokens"),
                    description="Anthropic's fields; those that are not known are ignored",
                ),
                parameters=(deadline, REPEATED),
                errors=COMPATIBLE,
            )
        },
        "/v1/router/debug": {
            "post": _operation(
                "What /v1/chat would choose now, and why; calls no provider",
                ref("Decision"),
                body={"anyOf": [ref("ChatRequest"), ref("AgentStepRequest")]},
                parameters=(deadline, REPEATED),
                errors=POSTED,
            )
        },
        "/v1/usage": {
            "get": _operation(
                "Requests, cost and savings of your org",
                ref("Usage"),
                parameters=(
                    _query("from", "ISO date or timestamp, inclusive, UTC; default: 30 days before `to`"),
                    _query("to", "ISO date or timestamp, exclusive, UTC; default: now"),
                    _query("mode", "Default: the key's own", {"enum": ["live", "test"]}),
                ),
                errors=COMMON,
            )
        },
        "/v1/requests.csv": {
            "get": _operation(
                "Your org's requests one by one, newest first, with what is needed to compute each cost again",
                described("string", "CSV with a line of headings; money and prices are whole pico-dollars"),
                media_type="text/csv",
                parameters=(
                    _query("mode", "Default: the key's own", {"enum": ["live", "test"]}),
                    _query("from", "ISO date or timestamp, inclusive, UTC; default: the oldest that is kept"),
                    _query("to", "ISO date or timestamp, exclusive, UTC; default: the newest"),
                    _query("task", "Only this task's"),
                    _query("model", "Only what this model answered"),
                    _query("key", "Only this key's, by its id", {"type": "string", "format": "uuid"}),
                    _query("outcome", "Only these", {"enum": ["answered", "rescued", "failed"]}),
                    _query("session", "Only this agent session's"),
                    _query("id", "Only ids that begin so"),
                ),
                errors=COMMON,
            )
        },
        "/v1/models": {
            "get": _operation(
                "The models that this key can be routed to, with prices and ratings",
                object_of({"object": {"const": "list"}, "data": list_of(ref("Model"))}, required=("object", "data")),
                parameters=(_query("provider", "Only this provider's"),),
                errors=COMMON,
            )
        },
        "/v1/models/{id}": {
            "get": _operation(
                "One model",
                ref("Model"),
                parameters=({"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},),
                errors=COMMON | _errors("404"),
            )
        },
        "/health": {"get": _operation("Are we alive", {"type": "object"}, errors={}, secured=False)},
        "/ready": {
            "get": _operation("Can we serve, dependency by dependency", {"type": "object"}, errors={}, secured=False)
        },
    }
    for route, scope in ROUTES.items():
        for operation in paths[route.replace("{id:path}", "{id}")].values():
            _wants(operation, scope)
    for route in STREAMED:
        paths[route]["post"]["responses"]["200"]["content"]["text/event-stream"] = {
            "schema": described("string", BROKEN)
        }
    for route, shape in ERROR_SHAPES.items():
        for status in paths[route]["post"]["responses"].keys() - {"200"}:
            paths[route]["post"]["responses"][status]["content"] = _json(ref(shape))
    paths["/ready"]["get"]["responses"]["503"] = {"description": "Not ready", "content": _json({"type": "object"})}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Omni-Model Router",
            "version": VERSION,
            "description": "One endpoint for every model: the task is detected, the best model for the price chosen.",
        },
        "security": [{"bearer": []}, {"apiKey": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
            "schemas": COMPONENTS,
        },
    }
