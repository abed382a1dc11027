"""`POST /v1/embeddings`: OpenAI's wire format in front of the same gateway."""

from base64 import b64encode
from typing import Any

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


def routes(services: Services) -> list[Route]:
    """The one endpoint."""
    door = Doorkeeper(services.keys, services.gateway)
    embedder = Embedder(services.gateway, services.database)

    async def embeddings(request: Request) -> Response:
        caller = await door.admit(request)
        body = await read_json_object(request, max_bytes=services.settings.max_body_bytes)
        known = services.gateway.embedders(caller)
        asked = parse_embeddings(body, deployments=known, key_kind=caller.kind, timeout_s=deadline_s(request))
        answer = await embedder.embed(caller, asked.request, request_id=request_id(request))
        return json_response(embeddings_body(answer, as_base64=asked.as_base64), headers=answer_headers(answer))

    return [Route("/v1/embeddings", in_openai_style(embeddings), methods=["POST"])]


def embeddings_body(answer: Answer, *, as_base64: bool) -> dict[str, Any]:
    """OpenAI's list of embeddings, in the order of the inputs."""
    written = [b64encode(one).decode() if as_base64 else unpacked(one) for one in answer.vectors]
    tokens = answer.usage.input
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(written)],
        "model": answer.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "omni": omni_body(answer) | {"task": EMBEDDING_TASK},
    }
