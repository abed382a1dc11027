"""A kept request once more: as a command to copy, and as a request from the page. Both have the same body."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from omni_app.api.openai_schema import parse_completions
from omni_app.gateway.types import ChatRequest
from omni_app.money import usd_text
from omni_app.routing.types import Deployment, KeyKind
from omni_app.storage.ledger import RequestRecord
from omni_app.ui.code_samples import CURL, KEY, literal, shell_word
from omni_app.ui.drafts import AUTO

NOT_KEPT = (
    "Prompts are stored only where a team opts in (Settings), and this request’s is not: there is nothing to send."
)
EMBEDS = "This request wanted embeddings, which are not sent again from here."
NEVER_DECIDED = "This request was never decided, so what it asked for is not known."


def body_of(record: RequestRecord, messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> dict[str, Any]:
    """The body of `POST /v1/chat/completions` that asks for the same: prompt, parameters, limits, way to choose."""
    features = record.routing.features if record.routing else {}
    pinned = features.get("pinned") or []
    body: dict[str, Any] = {"model": AUTO if not pinned else pinned[0] if len(pinned) == 1 else list(pinned)}
    body |= {"messages": list(messages), **params}
    if features.get("max_tokens") is not None:
        body["max_tokens"] = features["max_tokens"]
    return body | _options(record, features)


def _options(record: RequestRecord, features: Mapping[str, Any]) -> dict[str, Any]:
    """Our own options, where they are not the defaults."""
    given = {
        "priority": features.get("priority", "balanced"),
        "latency_pref": features.get("latency_pref", "normal"),
        "session_id": record.session_id,
        "step_id": record.step_id,
    }
    defaults = {"priority": "balanced", "latency_pref": "normal", "session_id": "", "step_id": ""}
    options: dict[str, Any] = {name: value for name, value in given.items() if value != defaults[name]}
    if features.get("max_cost") is not None:
        options["max_cost"] = float(usd_text(int(features["max_cost"])))
    return {"omni": options} if options else {}


def command(body: Mapping[str, Any], *, origin: str) -> tuple[str, str]:
    """The body as a curl command: what stands before the reader's own key, and after it."""
    text = "{\n" + ",\n".join(f"  {literal(name)}: {literal(value, 2)}" for name, value in body.items()) + "\n}"
    before, _, after = CURL.format(origin=origin, body=shell_word(text)).partition(KEY)
    return before, after


def request_of(body: Mapping[str, Any], *, deployments: Sequence[Deployment], kind: KeyKind) -> ChatRequest:
    """What the gateway gets. Raises an `OmniError` when a named model is gone."""
    parsed = parse_completions(body, deployments=deployments, key_kind=kind, timeout_s=None)
    return replace(parsed.request, endpoint="playground")


def why_not(record: RequestRecord, *, kept: bool) -> str:
    """Why the request cannot be sent again; empty when it can."""
    if record.routing is None:
        return NEVER_DECIDED
    if record.routing.features.get("embeds"):
        return EMBEDS
    return "" if kept else NOT_KEPT
