"""The OpenAPI 3.1 document of the API. Tests hold it to the routes and to the fields that the parser accepts."""

from typing import Any

from omni_app.gateway.types import SANDBOX_FAULTS
from omni_app.routing.types import LatencyPref, Priority, Task

VERSION = "0.1.0"

Schema = dict[str, Any]


def _object(
    properties: Schema, *, required: tuple[str, ...] = (), closed: bool = False, description: str = ""
) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    if closed:
        schema["additionalProperties"] = False
    if description:
        schema["description"] = description
    return schema


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: Schema, description: str = "") -> Schema:
    return {"type": "array", "items": items} | ({"description": description} if description else {})


def _described(kind: str | list[str], description: str, **more: Any) -> Schema:
    return {"type": kind, "description": description, **more}


MONEY = _described("number", "US dollars, exact, at most twelve decimals")
TOKENS = _object({"input": {"type": "integer"}, "output": {"type": "integer"}}, required=("input", "output"))

MESSAGE = _object(
    {
        "role": {"enum": ["assistant", "developer", "system", "tool", "user"]},
        "content": {
            "anyOf": [
                {"type": "string"},
                {"type": "null"},
                _list(_ref("ContentPart"), "Text and images; images only from the user"),
            ]
        },
        "name": {"type": "string"},
        "tool_calls": _list({"type": "object"}, "What the assistant called, in OpenAI's shape"),
        "tool_call_id": _described("string", "Which call a message of role tool answers"),
    },
    required=("role",),
    closed=True,
)

CONTENT_PART: Schema = {
    "oneOf": [
        _object({"type": {"const": "text"}, "text": {"type": "string"}}, required=("type", "text")),
        _object(
            {
                "type": {"const": "image_url"},
                "image_url": _object({"url": _described("string", "data:image/… or https://")}, required=("url",)),
            },
            required=("type", "image_url"),
        ),
    ]
}

CHAT_PROPERTIES: Schema = {
    "messages": _list(_ref("Message")) | {"minItems": 1},
    "priority": {"enum": [p.value for p in Priority], "default": "balanced", "description": "Price against quality"},
    "latency_pref": {"enum": [p.value for p in LatencyPref], "default": "normal"},
    "max_cost": _described("number", "A hard promise in US dollars: the request never costs more", exclusiveMinimum=0),
    "max_tokens": _described("integer", "The longest answer, in tokens", minimum=1, maximum=1_000_000),
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "seed": {"type": "integer"},
    "stop": {"anyOf": [{"type": "string"}, _list({"type": "string"}) | {"minItems": 1, "maxItems": 4}]},
    "tools": _list({"type": "object"}, "OpenAI's function tools") | {"maxItems": 128},
    "tool_choice": {"anyOf": [{"enum": ["auto", "none", "required"]}, {"type": "object"}]},
    "response_format": _described("object", "text, json_object or json_schema, as OpenAI's"),
    "metadata": _described(
        "object",
        "Your own keys. With a test key, `sandbox_fail` makes the sandbox fail at the first model "
        f"({', '.join(SANDBOX_FAULTS)}), or at every model with the prefix `all:`",
        maxProperties=64,
    ),
    "stream": _described(
        "boolean", "Answer as server-sent events: `delta`, then `done` with the whole answer, or `error`"
    ),
}

CHAT_REQUEST = _object(CHAT_PROPERTIES, required=("messages",), closed=True)
AGENT_STEP_REQUEST = _object(
    CHAT_PROPERTIES
    | {
        "session_id": _described("string", "Your agent run; echoed and recorded"),
        "step_id": _described("string", "This step; echoed and recorded"),
    },
    required=("messages",),
    closed=True,
)

CHAT_ANSWER_PROPERTIES: Schema = {
    "output": _described("string", "The model's reply"),
    "model_used": _described("string", "provider/model_name"),
    "provider": {"type": "string"},
    "cost": MONEY,
    "latency_ms": _described("integer", "Our side of the round trip"),
    "savings_estimate": _described(
        ["number", "null"], "The premium model's cost for the same tokens minus cost; negative when this cost more"
    ),
    "premium_model": _described(["string", "null"], "What the saving is measured against"),
    "task_type": {"enum": [task.value for task in Task]},
    "tokens": TOKENS,
    "attempts": _list(
        _object(
            {
                "model": {"type": "string"},
                "outcome": _described("string", "ok, or what went wrong"),
                "latency_ms": {"type": "integer"},
            }
        )
    ),
    "finish_reason": {"type": "string"},
    "tool_calls": _list({"type": "object"}),
    "images": _list({"type": "object"}, "`{b64_json}` or `{url}`, for task image"),
    "simulated": _described("boolean", "True when a sandbox model answered: nothing in it is real"),
    "warnings": _list({"type": "string"}, "What had to be dropped or clamped"),
    "request_id": {"type": "string"},
    "decision_id": {"type": "string"},
}
CHAT_ANSWER = _object(
    CHAT_ANSWER_PROPERTIES, required=("output", "model_used", "provider", "cost", "task_type", "tokens", "request_id")
)
AGENT_STEP_ANSWER = _object(
    CHAT_ANSWER_PROPERTIES | {"session_id": {"type": ["string", "null"]}, "step_id": {"type": ["string", "null"]}}
)

DECISION = _object(
    {
        "task_type": {"enum": [task.value for task in Task]},
        "task_scores": _described("object", "A probability for each task"),
        "considered_models": _list(
            _object(
                {
                    "model": {"type": "string"},
                    "score": {"type": "number"},
                    "terms": _object({name: {"type": "number"} for name in ("cost", "latency", "task", "quality")}),
                    "expected_cost": MONEY,
                    "worst_cost": MONEY,
                    "latency_ms": {"type": "number"},
                    "eligible": {"type": "boolean"},
                    "excluded_by": {"type": ["string", "null"]},
                }
            )
        ),
        "selected_model": {"type": ["string", "null"]},
        "fallback_chain": _list({"type": "string"}),
        "reason": {"type": "string"},
        "what_would_change_it": _list({"type": "string"}),
        "weights": {"type": "object"},
        "policy_version": {"type": "string"},
        "registry_version": {"type": "string"},
        "snapshot_id": {"type": "string"},
        "warnings": _list({"type": "string"}),
    }
)


def _usage_group(name: str) -> Schema:
    return _list(
        _object(
            {
                name: {"type": "string"},
                "requests": {"type": "integer"},
                "cost": MONEY,
                "savings": MONEY,
                "tokens": TOKENS,
                "avg_latency_ms": {"type": ["integer", "null"]},
            }
        )
    )


USAGE = _object(
    {
        "from": {"type": "string", "format": "date-time"},
        "to": {"type": "string", "format": "date-time"},
        "mode": {"enum": ["live", "test"]},
        "total_requests": {"type": "integer"},
        "successful_requests": {"type": "integer"},
        "total_cost": MONEY,
        "premium_cost": MONEY,
        "estimated_savings": MONEY,
        "tokens": TOKENS,
        "by_model": _usage_group("model"),
        "by_task": _usage_group("task"),
        "by_day": _usage_group("day"),
    }
)

RATING = _object(
    {
        "percentile": _described("number", "Among all models of the measure, 0 to 1"),
        "rated": _described("boolean", "False: no public figure, a prior from the price band"),
        "measure": {"type": "string"},
        "value": {"type": ["number", "null"]},
        "date": {"type": ["string", "null"]},
    }
)

MODEL = _object(
    {
        "id": {"type": "string"},
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
        "provider": {"type": "string"},
        "model_name": {"type": "string"},
        "cost_input": _described("number", "US dollars per million tokens"),
        "cost_output": _described("number", "US dollars per million tokens"),
        "cost_per_image": {"type": ["number", "null"]},
        "price_source": {"type": "string"},
        "avg_latency": _described("integer", "Milliseconds; an assumption until it is measured"),
        "strengths": _list({"type": "string"}),
        "supports_functions": {"type": "boolean"},
        "supports_vision": {"type": "boolean"},
        "max_tokens": {"type": "integer"},
        "context_window": {"type": "integer"},
        "quality_rating": _ref("Rating"),
        "quality_by_task": {"type": "object", "additionalProperties": _ref("Rating")},
        "simulated": {"type": "boolean"},
        "deprecated": {"type": "boolean"},
        "deprecation_date": {"type": ["string", "null"]},
        "available": {"type": "boolean"},
    }
)

ERROR = _object(
    {
        "error": _object(
            {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "param": _described("string", "The field at fault"),
            },
            required=("code", "message"),
        ),
        "request_id": {"type": "string"},
    },
    required=("error", "request_id"),
)

ERRORS = {
    "400": "invalid_request: a field is wrong; the message names it",
    "401": "invalid_api_key: no key, or not a valid one",
    "402": "budget_exceeded",
    "404": "not_found",
    "405": "method_not_allowed",
    "413": "invalid_request: the body is too large",
    "422": "no_eligible_model: nothing can do this within its limits; says which limit excluded which models",
    "429": "rate_limited, with Retry-After and x-ratelimit-*",
    "500": "internal_error",
    "502": "provider_error: the whole fallback chain failed; says what each attempt met",
    "503": "unavailable, with Retry-After",
    "504": "provider_error: the whole chain timed out",
}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _operation(
    summary: str,
    answer: Schema,
    *,
    errors: tuple[str, ...],
    body: Schema | None = None,
    parameters: tuple[Schema, ...] = (),
    secured: bool = True,
) -> Schema:
    operation: Schema = {
        "summary": summary,
        "responses": {"200": {"description": "OK", "content": _json(answer)}}
        | {status: {"description": ERRORS[status], "content": _json(_ref("Error"))} for status in errors},
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _json(body)}
    if parameters:
        operation["parameters"] = list(parameters)
    if not secured:
        operation["security"] = []
    return operation


def _query(name: str, description: str, schema: Schema | None = None) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema or {"type": "string"}}


COMMON = ("400", "401", "429", "500", "503")
CHATTING = ("400", "401", "402", "413", "422", "429", "500", "502", "503", "504")


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
                _ref("ChatAnswer"),
                body=_ref("ChatRequest"),
                parameters=(deadline,),
                errors=CHATTING,
            )
        },
        "/v1/agent-step": {
            "post": _operation(
                "Answer one step of an agent; each step is routed by what it needs",
                _ref("AgentStepAnswer"),
                body=_ref("AgentStepRequest"),
                parameters=(deadline,),
                errors=CHATTING,
            )
        },
        "/v1/chat/completions": {
            "post": _operation(
                "OpenAI's chat completions, plain and streamed: `model` is auto, auto:cheap, an id, or a list of ids",
                _described("object", "OpenAI's `chat.completion`, with our figures in the object `omni`"),
                body=_object(
                    {
                        "model": _described(
                            ["string", "array"],
                            "auto, auto:cheap|fast|best|quality, an id, or ids",
                            items={"type": "string"},
                        ),
                        "messages": _list({"type": "object"}) | {"minItems": 1},
                        "stream": {"type": "boolean"},
                        "omni": _described("object", "priority, latency_pref, max_cost, session_id, step_id"),
                    },
                    required=("messages",),
                    description="OpenAI's fields; those that are not known are ignored",
                ),
                parameters=(deadline,),
                errors=(*CHATTING, "404"),
            )
        },
        "/v1/images/generations": {
            "post": _operation(
                "OpenAI's image generation, by a configured model that makes images",
                _described("object", "`created`, `data` with `b64_json` or `url`, `omni`"),
                body=_object({"prompt": {"type": "string"}, "model": {"type": "string"}}, required=("prompt",)),
                parameters=(deadline,),
                errors=(*CHATTING, "404"),
            )
        },
        "/v1/messages": {
            "post": _operation(
                "Anthropic's messages, plain and streamed, routed like any other request",
                _described("object", "Anthropic's `message`, with our figures in the object `omni`"),
                body=_object(
                    {
                        "model": _described("string", "As for chat completions"),
                        "max_tokens": {"type": "integer", "minimum": 1},
                        "messages": _list({"type": "object"}) | {"minItems": 1},
                        "stream": {"type": "boolean"},
                    },
                    required=("messages", "max_tokens"),
                    description="Anthropic's fields; those that are not known are ignored",
                ),
                parameters=(deadline,),
                errors=(*CHATTING, "404"),
            )
        },
        "/v1/router/debug": {
            "post": _operation(
                "What /v1/chat would choose now, and why; calls no provider",
                _ref("Decision"),
                body={"anyOf": [_ref("ChatRequest"), _ref("AgentStepRequest")]},
                parameters=(deadline,),
                errors=(*COMMON, "413"),
            )
        },
        "/v1/usage": {
            "get": _operation(
                "Requests, cost and savings of your org",
                _ref("Usage"),
                parameters=(
                    _query("from", "ISO date or timestamp, inclusive, UTC; default: 30 days before `to`"),
                    _query("to", "ISO date or timestamp, exclusive, UTC; default: now"),
                    _query("mode", "Default: the key's own", {"enum": ["live", "test"]}),
                ),
                errors=COMMON,
            )
        },
        "/v1/models": {
            "get": _operation(
                "The models that this key can be routed to, with prices and ratings",
                _object({"object": {"const": "list"}, "data": _list(_ref("Model"))}, required=("object", "data")),
                parameters=(_query("provider", "Only this provider's"),),
                errors=COMMON,
            )
        },
        "/v1/models/{id}": {
            "get": _operation(
                "One model",
                _ref("Model"),
                parameters=({"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},),
                errors=(*COMMON, "404"),
            )
        },
        "/health": {"get": _operation("Are we alive", {"type": "object"}, errors=(), secured=False)},
        "/ready": {
            "get": _operation("Can we serve, dependency by dependency", {"type": "object"}, errors=(), secured=False)
        },
    }
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
            "schemas": {
                "Message": MESSAGE,
                "ContentPart": CONTENT_PART,
                "ChatRequest": CHAT_REQUEST,
                "AgentStepRequest": AGENT_STEP_REQUEST,
                "ChatAnswer": CHAT_ANSWER,
                "AgentStepAnswer": AGENT_STEP_ANSWER,
                "Decision": DECISION,
                "Usage": USAGE,
                "Rating": RATING,
                "Model": MODEL,
                "Error": ERROR,
            },
        },
    }
