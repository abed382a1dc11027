"""`GET /v1/models` and `GET /v1/models/{id}`: the registry, in the list shape that OpenAI's clients read."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.auth import Doorkeeper
from omni_app.api.openai_schema import AUTO
from omni_app.api.query import query_values
from omni_app.api.responses import json_response, money
from omni_app.errors import NotFound
from omni_app.gateway.latency import Measured
from omni_app.gateway.types import Caller
from omni_app.registry.replacement import replacement
from omni_app.routing.types import Deployment, Rating, SizeClass
from omni_app.services import Services

TOKENS_PER_PRICE = 1_000_000
CREATED = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp())
"""OpenAI's clients want a number here; it is the day our registry's format began, and means nothing else."""

CHOSEN = tuple(name for name in AUTO if name != "auto:balanced")
"""The ways to have a model chosen that are listed; `auto:balanced` is `auto`."""
UNTOLD = (
    "cost_input",
    "cost_output",
    "cost_per_image",
    "avg_latency",
    "latency",
    "max_tokens",
    "vector_size",
    "quality_rating",
    "deprecation_date",
    "replacement",
)
"""What depends on the model that is chosen."""


def routes(services: Services) -> list[Route]:
    """The list and the single model."""
    door = Doorkeeper(services)

    def listed(caller: Caller) -> list[Deployment]:
        return [*services.gateway.visible(caller), *services.gateway.embedders(caller)]

    def body(deployment: Deployment, caller: Caller) -> dict[str, Any]:
        reason = services.gateway.unavailable(caller).get(deployment.id, "")
        instead = replacement(services.gateway.registry, deployment) if deployment.deprecated_on else None
        told = model_body(deployment, latency_of(deployment), available=not reason)
        return told | {"replacement": instead.id if instead else None}

    def latency_of(deployment: Deployment) -> dict[str, Any]:
        gateway = services.gateway
        whole, by_size = gateway.latencies.of_model(deployment.id, now_s=gateway.clock())
        return latency_body(deployment, whole, by_size)

    def routed(caller: Caller) -> list[dict[str, Any]]:
        shut = services.gateway.unavailable(caller)
        able = [one for one in services.gateway.visible(caller) if one.id not in shut]
        return [auto_body(name, able) for name in CHOSEN]

    async def list_models(request: Request) -> Response:
        caller = await door.admit(request)
        provider = query_values(request, known=("provider",)).get("provider")
        found = [body(one, caller) for one in listed(caller) if provider in (None, one.provider)]
        routes = [] if provider else routed(caller)
        return json_response({"object": "list", "data": [*routes, *found]})

    async def one_model(request: Request) -> Response:
        caller = await door.admit(request)
        query_values(request, known=())
        model_id = request.path_params["id"]
        for one in routed(caller):
            if one["id"] == model_id:
                return json_response(one)
        for deployment in listed(caller):
            if deployment.id == model_id:
                return json_response(body(deployment, caller))
        raise NotFound(f"no model {model_id[:100]!r} for this key; GET /v1/models lists them", param="model")

    return [
        Route("/v1/models", list_models, methods=["GET"]),
        Route("/v1/models/{id:path}", one_model, methods=["GET"]),
    ]


def model_body(deployment: Deployment, latency: dict[str, Any], *, available: bool) -> dict[str, Any]:
    """One registry entry: OpenAI's fields, then ours; `latency` as `latency_body` gives it."""
    price = deployment.price
    return {
        "id": deployment.id,
        "object": "model",
        "created": CREATED,
        "owned_by": deployment.provider,
        "provider": deployment.provider,
        "model_name": deployment.model_name,
        "cost_input": money(price.input * TOKENS_PER_PRICE),
        "cost_output": money(price.output * TOKENS_PER_PRICE),
        "cost_per_image": money(price.image) if price.image else None,
        "price_source": deployment.price_source,
        "avg_latency": latency["average_ms"],
        "latency": latency,
        "strengths": list(deployment.strengths),
        "supports_functions": deployment.supports_functions,
        "supports_vision": deployment.supports_vision,
        "max_tokens": deployment.max_output_tokens,
        "context_window": deployment.context_window,
        "vector_size": deployment.vector_size or None,
        "quality_rating": rating_body(deployment.overall),
        "quality_by_task": {task.value: rating_body(rating) for task, rating in deployment.ratings.items()},
        "quality_by_subtask": {name: rating_body(rating) for name, rating in deployment.subtask_ratings.items()},
        "simulated": deployment.simulated,
        "deprecated": deployment.deprecated_on is not None,
        "deprecation_date": deployment.deprecated_on.isoformat() if deployment.deprecated_on else None,
        "available": available,
    }


def latency_body(
    deployment: Deployment, measured: Measured | None, by_size: Mapping[SizeClass, Measured]
) -> dict[str, Any]:
    """How long it takes, in ms: as measured over all sizes where there is enough, else its prior."""
    if measured is None or not measured.total.enough:
        nothing = dict.fromkeys(("p50_ms", "p95_ms", "first_token_ms", "first_token_p95_ms"))
        measurements = round(measured.total.weight) if measured else 0
        body = {"average_ms": deployment.prior_latency_ms} | nothing | {"measurements": measurements}
    else:
        body = measured_body(measured)
    sizes = {size.value: measured_body(told) for size, told in sorted(by_size.items()) if told.total.enough}
    return {"measured": measured is not None and measured.total.enough} | body | {"by_size": sizes}


def measured_body(measured: Measured) -> dict[str, Any]:
    """The figures of enough measurements, in ms; those of the first token only where there are enough streams."""
    total = measured.total
    first = measured.first_token if measured.first_token and measured.first_token.enough else None
    return {
        "average_ms": round(total.average_ms),
        "p50_ms": round(total.p50_ms),
        "p95_ms": _whole(total.p95_ms),
        "first_token_ms": _whole(first.p50_ms if first else None),
        "first_token_p95_ms": _whole(first.p95_ms if first else None),
        "measurements": round(total.weight),
    }


def _whole(figure: float | None) -> int | None:
    return None if figure is None else round(figure)


def auto_body(name: str, deployments: Collection[Deployment]) -> dict[str, Any]:
    """A way to have the model chosen (`auto`, `auto:cheap`, …), for clients that let people pick from the list.

    `deployments` are those that can be called now. What depends on the model that is chosen is null.
    """
    return dict.fromkeys(UNTOLD) | {
        "id": name,
        "object": "model",
        "created": CREATED,
        "owned_by": "omni",
        "provider": "omni",
        "model_name": name,
        "price_source": "that of the model that is chosen",
        "strengths": [],
        "quality_by_task": {},
        "quality_by_subtask": {},
        "supports_functions": any(one.supports_functions for one in deployments),
        "supports_vision": any(one.supports_vision for one in deployments),
        "context_window": max((one.context_window for one in deployments), default=None),
        "simulated": False,
        "deprecated": False,
        "available": bool(deployments),
    }


def rating_body(rating: Rating) -> dict[str, Any]:
    """A rating with its source; `rated` is false when it is only a prior from the price band."""
    return {
        "percentile": round(rating.percentile, 4),
        "rated": not rating.prior,
        "measure": rating.measure,
        "value": rating.value,
        "date": rating.date or None,
    }
