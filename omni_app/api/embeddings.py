"""`POST /v1/embeddings`: OpenAI's wire format in front of the same gateway."""

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.auth import Doorkeeper
from omni_app.api.chat import answer_headers, deadline_s
from omni_app.api.completions import in_openai_style, omni_body
from omni_app.api.embeddings_schema import parse_embeddings
from omni_app.api.json_body import read_json_object
from omni_app.api.responses import json_response, request_id
from omni_app.gateway.embedder import Embedder
from omni_app.gateway.types import EMBEDDING_TASK, Answer
from omni_app.providers.embeddings import unpacked
from omni_app.services import Services

FEW = 16
"""So many vectors are written at once; more in a thread, one by one, so that other requests go on meanwhile."""


def routes(services: Services) -> list[Route]:
    """The one endpoint."""
    door = Doorkeeper(services)
    embedder = Embedder(services.gateway, services.database)

    async def embeddings(request: Request) -> Response:
        caller = await door.admit(request)
        body = await read_json_object(request, max_bytes=services.settings.max_body_bytes)
        known = services.gateway.embedders(caller)
        asked = parse_embeddings(body, deployments=known, key_kind=caller.kind, timeout_s=deadline_s(request))
        answer = await embedder.embed(caller, asked.request, request_id=request_id(request))
        write = partial(written, answer.vectors, as_base64=asked.as_base64)
        vectors = write() if len(answer.vectors) <= FEW else await asyncio.to_thread(write)
        return json_response(embeddings_body(answer, vectors), headers=answer_headers(answer))

    return [Route("/v1/embeddings", in_openai_style(embeddings), methods=["POST"])]


def written(vectors: Sequence[bytes], *, as_base64: bool) -> list[str | orjson.Fragment]:
    """Each vector in the form that was asked for, as JSON already where it is a list of numbers."""
    if as_base64:
        return [b64encode(one).decode() for one in vectors]
    return [orjson.Fragment(orjson.dumps(unpacked(one))) for one in vectors]


def embeddings_body(answer: Answer, vectors: Sequence[str | orjson.Fragment]) -> dict[str, Any]:
    """OpenAI's list of embeddings, in the order of the inputs."""
    tokens = answer.usage.input
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(vectors)],
        "model": answer.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "omni": omni_body(answer) | {"task": EMBEDDING_TASK},
    }
