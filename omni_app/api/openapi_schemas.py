"""The shapes of the OpenAPI document: what goes in, what comes out, and small makers of JSON schemas."""

from typing import Any, get_args

from omni_app.gateway.types import SANDBOX_FAULTS
from omni_app.routing.change import ChangeKind
from omni_app.routing.types import LatencyPref, Priority, Task

Schema = dict[str, Any]


def object_of(
    properties: Schema, *, required: tuple[str, ...] = (), closed: bool = False, description: str = ""
) -> Schema:
    """An object with these properties; `closed`: and no others."""
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    if closed:
        schema["additionalProperties"] = False
    if description:
        schema["description"] = description
    return schema


def ref(name: str) -> Schema:
    """A reference to one of the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(items: Schema, description: str = "") -> Schema:
    """A list of these."""
    return {"type": "array", "items": items} | ({"description": description} if description else {})


def described(kind: str | list[str], description: str, **more: Any) -> Schema:
    """A plain type with its description."""
    return {"type": kind, "description": description, **more}


MONEY = described("number", "US dollars, exact, at most twelve decimals")
TOKENS = object_of({"input": {"type": "integer"}, "output": {"type": "integer"}}, required=("input", "output"))

MESSAGE = object_of(
    {
        "role": {"enum": ["assistant", "developer", "system", "tool", "user"]},
        "content": {
            "anyOf": [
                {"type": "string"},
                {"type": "null"},
                list_of(ref("ContentPart"), "Text and images; images only from the user"),
            ]
        },
        "name": {"type": "string"},
        "tool_calls": list_of({"type": "object"}, "What the assistant called, in OpenAI's shape"),
        "tool_call_id": described("string", "Which call a message of role tool answers"),
    },
    required=("role",),
    closed=True,
)

CONTENT_PART: Schema = {
    "oneOf": [
        object_of({"type": {"const": "text"}, "text": {"type": "string"}}, required=("type", "text")),
        object_of(
            {
                "type": {"const": "image_url"},
                "image_url": object_of({"url": described("string", "data:image/… or https://")}, required=("url",)),
            },
            required=("type", "image_url"),
        ),
    ]
}

CHAT_PROPERTIES: Schema = {
    "messages": list_of(ref("Message")) | {"minItems": 1},
    "priority": {"enum": [p.value for p in Priority], "default": "balanced", "description": "Price against quality"},
    "latency_pref": {"enum": [p.value for p in LatencyPref], "default": "normal"},
    "max_cost": described("number", "A hard promise in US dollars: the request never costs more", exclusiveMinimum=0),
    "max_tokens": described("integer", "The longest answer, in tokens", minimum=1, maximum=1_000_000),
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "seed": {"type": "integer"},
    "stop": {"anyOf": [{"type": "string"}, list_of({"type": "string"}) | {"minItems": 1, "maxItems": 4}]},
    "tools": list_of({"type": "object"}, "OpenAI's function tools") | {"maxItems": 128},
    "tool_choice": {"anyOf": [{"enum": ["auto", "none", "required"]}, {"type": "object"}]},
    "response_format": described("object", "text, json_object or json_schema, as OpenAI's"),
    "metadata": described(
        "object",
        "Your own keys. With a test key, `sandbox_fail` makes the sandbox fail at the first model "
        f"({', '.join(SANDBOX_FAULTS)}), or at every model with the prefix `all:`",
        maxProperties=64,
    ),
    "stream": described(
        "boolean", "Answer as server-sent events: `delta`, then `done` with the whole answer, or `error`"
    ),
}

CHAT_REQUEST = object_of(CHAT_PROPERTIES, required=("messages",), closed=True)
AGENT_STEP_REQUEST = object_of(
    CHAT_PROPERTIES
    | {
        "session_id": described(
            "string", "Your agent run: its steps are routed with what each model's prompt cache holds of it"
        ),
        "step_id": described("string", "This step; echoed and recorded"),
    },
    required=("messages",),
    closed=True,
)

CHAT_ANSWER_PROPERTIES: Schema = {
    "output": described("string", "The model's reply"),
    "model_used": described("string", "provider/model_name"),
    "provider": {"type": "string"},
    "cost": MONEY,
    "billed": described("number", "US dollars, exact: cost with the installation's markup; missing without one"),
    "latency_ms": described("integer", "Our side of the round trip"),
    "savings_estimate": described(
        ["number", "null"], "The premium model's cost for the same tokens minus cost; negative when this cost more"
    ),
    "premium_model": described(["string", "null"], "What the saving is measured against"),
    "task_type": {"enum": [task.value for task in Task]},
    "tokens": TOKENS,
    "attempts": list_of(
        object_of(
            {
                "model": {"type": "string"},
                "outcome": described("string", "ok, or what went wrong"),
                "latency_ms": {"type": "integer"},
                "byok": described("boolean", "true when the team's own provider key was used; missing otherwise"),
            }
        )
    ),
    "finish_reason": {"type": "string"},
    "tool_calls": list_of({"type": "object"}),
    "images": list_of({"type": "object"}, "`{b64_json}` or `{url}`, for task image"),
    "simulated": described("boolean", "True when a sandbox model answered: nothing in it is real"),
    "warnings": list_of({"type": "string"}, "What had to be dropped or clamped"),
    "request_id": {"type": "string"},
    "decision_id": {"type": "string"},
}
CHAT_ANSWER = object_of(
    CHAT_ANSWER_PROPERTIES, required=("output", "model_used", "provider", "cost", "task_type", "tokens", "request_id")
)
SESSION = object_of(
    {
        "home": described("string", "The model that the session has stayed with until now"),
        "stays": described("boolean", "Whether the step goes to it, or in its absence to the one that answered last"),
        "cached_tokens": described("integer", "Tokens of the prompt that the selected model may read from its cache"),
        "saves": described(["number", "null"], "US dollars that staying, or leaving, is expected to save in this step"),
        "reason": described(["string", "null"], "The same in words"),
    },
    required=("home", "stays", "cached_tokens", "saves", "reason"),
)
SESSION_OR_NULL: Schema = {
    "anyOf": [{"type": "null"}, ref("Session")],
    "description": "What the agent session had to do with the choice; null outside of one and for its first step",
}
AGENT_STEP_ANSWER = object_of(
    CHAT_ANSWER_PROPERTIES
    | {
        "session_id": {"type": ["string", "null"]},
        "step_id": {"type": ["string", "null"]},
        "session": SESSION_OR_NULL,
    }
)

DECISION = object_of(
    {
        "task_type": {"enum": [task.value for task in Task]},
        "task_scores": described("object", "A probability for each task"),
        "considered_models": list_of(
            object_of(
                {
                    "model": {"type": "string"},
                    "score": {"type": "number"},
                    "terms": object_of({name: {"type": "number"} for name in ("cost", "latency", "task", "quality")}),
                    "ratings": object_of({"task": ref("Rating"), "overall": ref("Rating")}),
                    "price": described("object", "US dollars per million tokens, and per image"),
                    "expected": described("object", "Tokens and images that the expected cost is of"),
                    "expected_cost": MONEY,
                    "worst_cost": MONEY,
                    "latency_ms": described("number", "To the whole answer, as expected for a request of this size"),
                    "eligible": {"type": "boolean"},
                    "excluded_by": {"type": ["string", "null"]},
                    "held_back": described(
                        ["string", "null"], "Why it stands behind the others: rated below what is asked for"
                    ),
                }
            )
        ),
        "selected_model": {"type": ["string", "null"]},
        "fallback_chain": list_of({"type": "string"}),
        "reason": {"type": "string"},
        "chosen_by": {"enum": ["score", "lowest_cost", "highest_rating", "name", "session"]},
        "margin": described(["number", "null"], "The score's lead over the runner-up; null when a rule chose"),
        "fragile": described("boolean", "The margin is below the policy's"),
        "what_would_change_it": list_of({"type": "string"}),
        "changes": list_of(
            object_of(
                {
                    "kind": {"enum": list(get_args(ChangeKind))},
                    "model": {"type": "string"},
                    "value": {"type": ["number", "null"]},
                    "text": {"type": "string"},
                }
            ),
            "The same with exact figures: a cost weight, a factor of a price, US dollars",
        ),
        "session": SESSION_OR_NULL,
        "weights": {"type": "object"},
        "references": described("object", "Floor and ceiling of the logarithmic scales, and the rules' figures"),
        "policy_version": {"type": "string"},
        "registry_version": {"type": "string"},
        "snapshot_id": {"type": "string"},
        "warnings": list_of({"type": "string"}),
    }
)


def usage_group(name: str) -> Schema:
    """One of the tables of the usage report."""
    return list_of(
        object_of(
            {
                name: {"type": "string"},
                "requests": {"type": "integer"},
                "cost": MONEY,
                "billed": described("number", "US dollars, exact: cost with the installation's markup"),
                "savings": MONEY,
                "tokens": TOKENS,
                "avg_latency_ms": {"type": ["integer", "null"]},
            }
        )
    )


BAND = {
    "low": described("number", "The saving if the other model had written as little as `output_ratio` says"),
    "high": described("number", "The saving if it had written as much"),
}

USAGE = object_of(
    {
        "from": {"type": "string", "format": "date-time"},
        "to": {"type": "string", "format": "date-time"},
        "mode": {"enum": ["live", "test"]},
        "total_requests": {"type": "integer"},
        "successful_requests": {"type": "integer"},
        "total_cost": MONEY,
        "total_billed": described("number", "US dollars, exact: total_cost with the installation's markup"),
        "premium_cost": MONEY,
        "premium_models": list_of({"type": "string"}),
        "estimated_savings": described(
            "number", "premium_cost, at the prices of each request's moment, minus total_cost; negative is a loss"
        ),
        "savings_band": object_of(
            BAND
            | {
                "output_ratio": described("array", "Output tokens of the other model to ours: lowest, highest")
                | {"items": {"type": "number"}, "minItems": 2, "maxItems": 2},
                "source": described("string", "Where the ratio was measured"),
            }
        ),
        "comparisons": list_of(
            object_of(
                {
                    "model": described("string", "One of those that the org chose; left out where this mode has none"),
                    "price_version": {"type": "string"},
                    "cost": described("number", "US dollars for the same tokens at today's price, exact"),
                    "savings": described("number", "cost minus total_cost; negative is a loss"),
                    "savings_band": object_of(BAND),
                }
            )
        ),
        "overhead": object_of(
            {
                "failed_attempts_cost": described(
                    "number", "Of attempts that did not give the whole answer; part of total_cost"
                ),
                "routed_requests": described("integer", "Requests whose routing was timed"),
                "routing_ms": described(["number", "null"], "From arrival to decision, their mean"),
            }
        ),
        "tokens": TOKENS,
        "by_model": usage_group("model"),
        "by_task": usage_group("task"),
        "by_day": usage_group("day"),
    }
)

RATING = object_of(
    {
        "percentile": described("number", "Among all models of the measure, 0 to 1"),
        "rated": described("boolean", "False: no public figure, a prior from the price band"),
        "measure": {"type": "string"},
        "value": {"type": ["number", "null"]},
        "date": {"type": ["string", "null"]},
    }
)

LATENCY_FIGURES = {
    "average_ms": described("integer", "To the whole answer, each call counted as at most four medians"),
    "p50_ms": {"type": ["integer", "null"]},
    "p95_ms": described(["integer", "null"], "From 20 measurements on"),
    "first_token_ms": described(["integer", "null"], "Median of streams"),
    "first_token_p95_ms": {"type": ["integer", "null"]},
    "measurements": described("integer", "How many answers it stands on, older ones counting less"),
}

LATENCY = object_of(
    {
        "measured": described("boolean", "False: average_ms is an assumption, there are too few measurements"),
        **LATENCY_FIGURES,
        "by_size": described("object", "The same figures by size class, where there are enough")
        | {"additionalProperties": object_of(LATENCY_FIGURES)},
    }
)

MODEL = object_of(
    {
        "id": {"type": "string"},
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
        "provider": {"type": "string"},
        "model_name": {"type": "string"},
        "cost_input": described(["number", "null"], "US dollars per million tokens; null for auto and its kind"),
        "cost_output": described(["number", "null"], "US dollars per million tokens"),
        "cost_per_image": {"type": ["number", "null"]},
        "price_source": {"type": "string"},
        "avg_latency": described(["integer", "null"], "Milliseconds; an assumption until latency.measured"),
        "latency": {"anyOf": [{"type": "null"}, ref("Latency")]},
        "strengths": list_of({"type": "string"}),
        "supports_functions": {"type": "boolean"},
        "supports_vision": {"type": "boolean"},
        "max_tokens": {"type": ["integer", "null"]},
        "context_window": {"type": ["integer", "null"]},
        "vector_size": described(["integer", "null"], "Numbers of an embedding; null: it makes none"),
        "quality_rating": {"anyOf": [{"type": "null"}, ref("Rating")]},
        "quality_by_task": {"type": "object", "additionalProperties": ref("Rating")},
        "quality_by_subtask": {"type": "object", "additionalProperties": ref("Rating")},
        "simulated": {"type": "boolean"},
        "deprecated": {"type": "boolean"},
        "deprecation_date": {"type": ["string", "null"]},
        "replacement": {
            "type": ["string", "null"],
            "description": "Of a model that ends: one that can do the same, is about as good and stays longer.",
        },
        "available": {"type": "boolean"},
    }
)

ERROR = object_of(
    {
        "error": object_of(
            {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "param": described("string", "The field at fault"),
            },
            required=("code", "message"),
        ),
        "request_id": {"type": "string"},
    },
    required=("error", "request_id"),
)

OPENAI_ERROR = object_of(
    {
        "error": object_of(
            {
                "message": {"type": "string"},
                "type": described("string", "As OpenAI names it"),
                "param": described(["string", "null"], "The field at fault"),
                "code": {"type": "string"},
            },
            required=("code", "message"),
        ),
        "request_id": {"type": "string"},
    },
    required=("error", "request_id"),
)

ANTHROPIC_ERROR = object_of(
    {
        "type": {"const": "error"},
        "error": object_of(
            {
                "type": described("string", "As Anthropic names it"),
                "message": {"type": "string"},
                "code": {"type": "string"},
            },
            required=("type", "message", "code"),
        ),
        "request_id": {"type": "string"},
    },
    required=("type", "error", "request_id"),
)

EMBEDDINGS_REQUEST = object_of(
    {
        "input": {
            "anyOf": [
                {"type": "string", "minLength": 1},
                list_of({"type": "string"}) | {"minItems": 1, "maxItems": 2048},
                list_of({"type": "integer"}) | {"minItems": 1},
                list_of(list_of({"type": "integer"})) | {"minItems": 1, "maxItems": 2048},
            ],
            "description": "A text, texts, or their tokens",
        },
        "model": described("string", "auto (the org's own, chosen once by cost), an id, or a model at any provider"),
        "encoding_format": {"enum": ["float", "base64"], "default": "float"},
        "dimensions": described("integer", "Fewer numbers, where the model can", minimum=1),
        "omni": described("object", "max_cost, session_id, step_id"),
    },
    required=("input",),
    description="OpenAI's fields; those that are not known are ignored",
)

COMPONENTS: Schema = {
    "Message": MESSAGE,
    "ContentPart": CONTENT_PART,
    "ChatRequest": CHAT_REQUEST,
    "AgentStepRequest": AGENT_STEP_REQUEST,
    "ChatAnswer": CHAT_ANSWER,
    "AgentStepAnswer": AGENT_STEP_ANSWER,
    "Session": SESSION,
    "Decision": DECISION,
    "EmbeddingsRequest": EMBEDDINGS_REQUEST,
    "Usage": USAGE,
    "Rating": RATING,
    "Latency": LATENCY,
    "Model": MODEL,
    "Error": ERROR,
    "OpenAIError": OPENAI_ERROR,
    "AnthropicError": ANTHROPIC_ERROR,
}
"""Everything that `ref` may name."""
