"""What the savings estimator reads: lines of requests in OpenAI's chat form, and rows of OpenAI's usage exports.

A line that cannot be read raises `InvalidRequest`. Its message names fields and never holds what they contain.

Usage rows come from the activity export of OpenAI's dashboard (`completions_usage_….csv`) or from the results of
`GET /v1/organization/usage/completions`; both have the same names: `model`, `num_model_requests`, `input_tokens`,
`output_tokens`, `input_cached_tokens`, `batch`. The CSV writes counts as `59200.0`, and a day without use as a row
without a model.
"""

import csv
from collections.abc import Mapping
from typing import Any

import jiter

from omni_app.api.checks import check_object, check_whole, wrong
from omni_app.api.openai_schema import parse_completions
from omni_app.errors import InvalidRequest
from omni_app.gateway.estimate import Asked, Billed
from omni_app.gateway.types import ChatRequest
from omni_app.providers.base import Usage
from omni_app.routing.types import Priority, Task

READ_FIELDS = frozenset({"messages", "tools", "response_format", "max_tokens", "max_completion_tokens"})
"""What of a request steers the choice; the rest is not looked at."""
CHAT_PATH = "/v1/chat/completions"
MOST_TOKENS = 10**15
MOST_OF_ONE = 10_000_000
MAX_NAME = 100
BATCH = "made by OpenAI's Batch API at half price, which an answer at once cannot have"
AUDIO = "counts audio tokens, which have prices of their own"


def read_request(text: str, priority: Priority) -> Asked:
    """A line of JSON: a chat completion's body, alone, in a line of the Batch API, or beside its answer."""
    line = _json_object(text)
    body = line
    if "messages" not in line and "body" in line:
        if line.get("url", CHAT_PATH) != CHAT_PATH:
            raise wrong("url", f"only requests to {CHAT_PATH} are taken")
        body = check_object(line["body"], "body")
    elif "messages" not in line and "request" in line:
        body = check_object(line["request"], "request")
    asked = parse_completions(
        {name: value for name, value in body.items() if name in READ_FIELDS},
        deployments=(),
        key_kind="live",
        timeout_s=None,
    ).request
    request = ChatRequest(
        messages=asked.messages,
        endpoint="estimate",
        priority=priority,
        max_tokens=asked.max_tokens,
        params=asked.params,
    )
    return Asked(model_name(body.get("model")), request, _billed_usage(line, body))


def read_usage(row: Mapping[str, Any], tasks: tuple[Task, ...]) -> tuple[Billed, str] | None:
    """A row of a usage export, and why it cannot be compared (empty when it can); None for a time without use."""
    model, requests = model_name(row.get("model")), _count(row, "num_model_requests", required=False)
    if not model and not requests and not row.get("input_tokens"):
        return None
    if not model:
        raise wrong("model", "missing: export the usage grouped by model")
    if not requests:
        raise wrong("num_model_requests", "missing or 0")
    tokens_in, tokens_out = _count(row, "input_tokens"), _count(row, "output_tokens")
    cached = min(tokens_in, _count(row, "input_cached_tokens", required=False))
    billed = Billed(model, requests, Usage(tokens_in, tokens_out, cached_input=cached), tasks)
    if str(row.get("batch", "")).lower() == "true":
        return billed, BATCH
    audio = _count(row, "input_audio_tokens", required=False) + _count(row, "output_audio_tokens", required=False)
    return billed, AUDIO if audio else ""


def read_usage_json(text: str) -> Mapping[str, Any]:
    """One result of the usage API."""
    return _json_object(text)


def read_header(text: str) -> list[str]:
    """The column names of a usage export. Raises `InvalidRequest` when it is another table."""
    names = [name.strip().lower() for name in _cells(text.lstrip("\ufeff"))]
    missing = {"model", "num_model_requests", "input_tokens", "output_tokens"} - set(names)
    if missing:
        raise wrong("header", f"the columns {', '.join(sorted(missing))} are missing: is it the activity export?")
    return names


def read_usage_csv(text: str, names: list[str]) -> Mapping[str, Any]:
    """One row of the activity export."""
    cells = _cells(text)
    if len(cells) != len(names):
        raise InvalidRequest(f"has {len(cells)} cells, the header has {len(names)}")
    return dict(zip(names, cells, strict=True))


def model_name(value: Any) -> str:
    """The model as the file names it; empty when it does not."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong("model", "must be a string")
    name = value.strip()
    if len(name) > MAX_NAME or not name.isprintable():
        raise wrong("model", f"must be at most {MAX_NAME} printable characters")
    return name


def _billed_usage(line: Mapping[str, Any], body: Mapping[str, Any]) -> Usage | None:
    """The tokens that the file says were billed, wherever logs keep them; None when it does not say both."""
    answer = line.get("response")
    answer = answer.get("body", answer) if isinstance(answer, dict) else None
    for holder in (line, body, answer):
        found = holder.get("usage") if isinstance(holder, dict) else None
        if isinstance(found, dict):
            return _usage(found)
    return None


def _usage(found: Mapping[str, Any]) -> Usage:
    tokens = [
        check_whole(found.get(ours, found.get(other)), f"usage.{ours}", 0, MOST_OF_ONE)
        for ours, other in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
    ]
    details = found.get("prompt_tokens_details") or found.get("input_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    known = check_whole(cached or 0, "usage.prompt_tokens_details.cached_tokens", 0, tokens[0])
    return Usage(tokens[0], tokens[1], cached_input=known)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = jiter.from_json(text.encode(), catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys")
    except ValueError:
        # Without jiter's own words: they can quote the line.
        raise InvalidRequest("is not valid JSON") from None
    if not isinstance(value, dict):
        raise InvalidRequest("is not a JSON object")
    return value


def _cells(text: str) -> list[str]:
    separator = "\t" if "\t" in text and "," not in text else ","
    try:
        return next(csv.reader([text], delimiter=separator, strict=True), [])
    except csv.Error:
        raise InvalidRequest("is not a row of a CSV file") from None


def _count(row: Mapping[str, Any], name: str, *, required: bool = True) -> int:
    """A whole number, also as text (`59200`, `59200.0`)."""
    value = row.get(name)
    if value is None or value == "":
        if required:
            raise wrong(name, "missing")
        return 0
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else -1.0
    except ValueError:
        number = -1.0
    if not (0 <= number <= MOST_TOKENS and number == int(number)):
        raise wrong(name, "must be a whole number of 0 or more")
    return int(number)
