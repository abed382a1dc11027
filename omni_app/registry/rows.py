"""A deployment as a plain row: in models.json and in the `models` table. Money is whole pico-dollars."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from omni_app.routing.types import SUBTASKS, Deployment, Price, Rating, Task

Row = Mapping[str, Any]
"""JSON values only; the keys are the fields of `Deployment`."""


def to_row(deployment: Deployment) -> dict[str, Any]:
    """The row of a deployment, keys in the order of `Deployment`'s fields, tasks in alphabetical order."""
    price = deployment.price
    return {
        "id": deployment.id,
        "provider": deployment.provider,
        "model_name": deployment.model_name,
        "price": {
            "input": price.input,
            "output": price.output,
            "cached_input": price.cached_input,
            "cache_write": price.cache_write,
            "image": price.image,
        },
        "context_window": deployment.context_window,
        "max_output_tokens": deployment.max_output_tokens,
        "ratings": {task.value: rating_row(deployment.ratings[task]) for task in sorted(deployment.ratings)},
        "subtask_ratings": {name: rating_row(one) for name, one in sorted(deployment.subtask_ratings.items())},
        "overall": rating_row(deployment.overall),
        "prior_latency_ms": deployment.prior_latency_ms,
        "upstream_model": deployment.upstream_model,
        "strengths": list(deployment.strengths),
        "supports_functions": deployment.supports_functions,
        "supports_vision": deployment.supports_vision,
        "supports_response_schema": deployment.supports_response_schema,
        "makes_images": deployment.makes_images,
        "sees_temperature": deployment.sees_temperature,
        "simulated": deployment.simulated,
        "tasks": None if deployment.tasks is None else sorted(deployment.tasks),
        "deprecated_on": deployment.deprecated_on.isoformat() if deployment.deprecated_on else None,
        "price_source": deployment.price_source,
        "price_version": deployment.price_version,
        "vector_size": deployment.vector_size,
        "shortens_vectors": deployment.shortens_vectors,
        "refuses": list(deployment.refuses),
    }


def rating_row(rating: Rating) -> dict[str, Any]:
    """The row of a rating."""
    return {
        "percentile": rating.percentile,
        "measure": rating.measure,
        "value": rating.value,
        "date": rating.date,
        "prior": rating.prior,
    }


def from_row(row: Row) -> Deployment:
    """The deployment of a row.

    Raises `KeyError`, `TypeError` or `ValueError` when the row is not one that `to_row` could have made, so that a
    slip of an operator's hand never becomes a price. What a row of an earlier version lacks is taken as its default.
    """
    tasks, ends = row["tasks"], row["deprecated_on"]
    if not row["max_output_tokens"] and not row.get("vector_size", 0):
        raise ValueError("a model that writes nothing must make embeddings")
    if row["makes_images"] and not row["price"]["image"]:
        raise ValueError("makes images, but has no price per image")  # its images would cost nothing
    return Deployment(
        id=_text(row["id"]),
        provider=_text(row["provider"]),
        model_name=_text(row["model_name"]),
        price=price_of(row["price"]),
        context_window=_whole(row["context_window"]),
        max_output_tokens=_whole(row["max_output_tokens"]),
        ratings={Task(task): _rating(rating) for task, rating in row["ratings"].items()},
        subtask_ratings={_subtask(name): _rating(rating) for name, rating in row.get("subtask_ratings", {}).items()},
        overall=_rating(row["overall"]),
        prior_latency_ms=_whole(row["prior_latency_ms"]),
        upstream_model=_text(row["upstream_model"]),
        strengths=tuple(_text(strength) for strength in row["strengths"]),
        supports_functions=_flag(row["supports_functions"]),
        supports_vision=_flag(row["supports_vision"]),
        supports_response_schema=_flag(row["supports_response_schema"]),
        makes_images=_flag(row["makes_images"]),
        sees_temperature=_flag(row["sees_temperature"]),
        simulated=_flag(row["simulated"]),
        tasks=None if tasks is None else frozenset(Task(task) for task in tasks),
        deprecated_on=date.fromisoformat(ends) if ends else None,
        price_source=_text(row["price_source"]),
        price_version=_text(row["price_version"]),
        vector_size=_whole(row.get("vector_size", 0)),
        shortens_vectors=_flag(row.get("shortens_vectors", False)),
        refuses=tuple(_text(name) for name in row.get("refuses", ())),
    )


def price_of(row: Row) -> Price:
    """The price of a row's `price`. Raises as `from_row` does."""
    cached, write = row["cached_input"], row["cache_write"]
    return Price(
        input=_whole(row["input"]),
        output=_whole(row["output"]),
        cached_input=None if cached is None else _whole(cached),
        cache_write=None if write is None else _whole(write),
        image=_whole(row["image"]),
    )


def _rating(row: Row) -> Rating:
    percentile, value = row["percentile"], row["value"]
    if not 0 <= percentile <= 1:
        raise ValueError(f"a percentile is between 0 and 1, not {percentile}")
    return Rating(
        percentile=float(percentile),
        measure=_text(row["measure"]),
        value=None if value is None else float(value),
        date=_text(row["date"]),
        prior=_flag(row["prior"]),
    )


def _subtask(name: str) -> str:
    if name not in SUBTASKS:
        raise ValueError(f"not a sub-task: {name!r}")
    return name


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"expected a whole number of 0 or more, not {value!r}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, not {value!r}")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, not {value!r}")
    return value
