"""Embeddings in OpenAI's wire format: what is sent, how the answer is read; and vectors as bytes.

A vector is kept as 32-bit floats, little-endian: that is what OpenAI's base64 form holds, and what its SDKs read.
"""

import binascii
import sys
from array import array
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from omni_app.providers.base import Completion, FaultKind, ProviderFault, ProviderRequest, Usage
from omni_app.providers.faults import as_documented
from omni_app.providers.usage import sane_tokens
from omni_app.routing.tokens import expected_tokens

MAX_ANSWER_BYTES = 67_108_864
"""2,048 vectors of 3,072 numbers are 34 MB in base64."""
BYTES_PER_NUMBER = 4


def packed(numbers: Iterable[float]) -> bytes:
    """A vector as bytes."""
    floats = array("f", numbers)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tobytes()


def unpacked(vector: bytes) -> list[float]:
    """The numbers of a vector."""
    floats = array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tolist()


def embedding_body(request: ProviderRequest, *, encoding: str) -> dict[str, Any]:
    """The JSON to send; `encoding` empty = the provider's own default."""
    deployment = request.deployment
    body: dict[str, Any] = {
        "model": deployment.upstream_model or deployment.model_name,
        "input": request.params["input"],
    }
    if encoding:
        body["encoding_format"] = encoding
    if "dimensions" in request.params:
        body["dimensions"] = request.params["dimensions"]
    return body


def read_embeddings(value: Mapping[str, Any], request: ProviderRequest) -> Completion:
    """The vectors of a 200, in the order of the inputs.

    Raises `ProviderFault` when one is missing or has another size than the model's vectors: such vectors must never
    get beside the right ones.
    """
    inputs = request.params["input"]
    usage = read_embedding_usage(value.get("usage"), inputs)
    with as_documented:
        entries = sorted(value["data"], key=lambda entry: entry["index"])
        vectors = tuple(read_vector(entry["embedding"]) for entry in entries)
        numbered = [entry["index"] for entry in entries] == list(range(len(inputs)))
    if not numbered:
        raise ProviderFault(FaultKind.MALFORMED, f"{len(inputs)} vectors were asked for, not these", usage=usage)
    wanted = request.params.get("dimensions", request.deployment.vector_size)
    if any(len(vector) != wanted * BYTES_PER_NUMBER for vector in vectors):
        told = f"the vectors do not have {wanted} numbers: this is not the model that it is named"
        raise ProviderFault(FaultKind.MALFORMED, told, usage=usage)
    return Completion(text="", usage=usage, vectors=vectors)


def read_vector(value: Any) -> bytes:
    """A vector in base64 or as a list. Raises `ValueError` or `TypeError` when it is neither."""
    if isinstance(value, str):
        try:
            return b64decode(value, validate=True)
        except binascii.Error as error:
            raise ValueError("not base64") from error
    return packed(value)


def read_embedding_usage(value: Any, inputs: Sequence[str | Sequence[int]]) -> Usage:
    """Tokens as billed; our own count, marked, when the provider gives none or an absurd one."""
    told = value.get("prompt_tokens") if isinstance(value, dict) else None
    tokens = sane_tokens(told)
    return Usage(tokens, 0) if tokens else Usage(counted_inputs(inputs), 0, estimated=True)


def counted_inputs(inputs: Sequence[str | Sequence[int]]) -> int:
    """Our own estimate of the tokens of all inputs."""
    return sum(expected_tokens(one) if isinstance(one, str) else len(one) for one in inputs)
