"""What stands in the playground's form, and the API request that it makes.

The page and the code samples share one body: what is sent from here is what `POST /v1/chat/completions` would accept.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from omni_app.api.chat_schema import CHAT_FIELDS
from omni_app.api.openai_schema import parse_completions
from omni_app.errors import InvalidRequest, OmniError
from omni_app.gateway.types import ChatRequest
from omni_app.routing.types import Deployment, KeyKind

AUTO: Final = "auto"
"""The `model` that lets the router choose."""
MAX_PROMPT = 20_000
MAX_SYSTEM = 8_000
MAX_NUMBER = 20
FIELD_OF: Mapping[str, str] = {
    "omni.priority": "priority",
    "omni.latency_pref": "latency_pref",
    "omni.max_cost": "max_cost",
    "max_tokens": "max_tokens",
}
"""The API's name of a field -> the form's."""
LENGTHS: Mapping[str, int] = {
    "prompt": MAX_PROMPT,
    "system": MAX_SYSTEM,
    "priority": MAX_NUMBER,
    "latency_pref": MAX_NUMBER,
    "max_cost": MAX_NUMBER,
    "max_tokens": MAX_NUMBER,
}
"""Text field -> the most characters that it may have."""
NUMBERS = {"max_cost": "Must be a number of US dollars, like 0.01.", "max_tokens": "Must be a whole number."}
"""Field -> what it must be."""


@dataclass(frozen=True, slots=True)
class Draft:
    """The form as typed: text, not yet checked. `broken` makes the first attempt fail, so that fallback is seen."""

    prompt: str = ""
    system: str = ""
    priority: str = "balanced"
    latency_pref: str = "normal"
    max_cost: str = ""
    max_tokens: str = ""
    broken: bool = False

    @classmethod
    def of_form(cls, form: Mapping[str, Any]) -> "Draft":
        """The form as a browser sends it; whatever else a client sends is dropped."""
        texts = {name: well_formed(form[name]) for name in LENGTHS if isinstance(form.get(name), str)}
        return cls(**texts, broken=bool(form.get("broken")))

    def problems(self) -> dict[str, str]:
        """Form field -> what is wrong with it, in the words of the API's own checks."""
        found = {
            name: f"Is longer than {most:,d} characters."
            for name, most in LENGTHS.items()
            if len(getattr(self, name)) > most
        }
        if not self.prompt.strip():
            found["prompt"] = "Write a prompt first."
        for name in NUMBERS:
            typed = getattr(self, name)
            if typed.strip() and (wrong := wrong_number(name, typed)):
                found[name] = wrong
        return found

    def body(self) -> dict[str, Any]:
        """The body of `POST /v1/chat/completions` without its `model`; only what differs from the defaults."""
        system = [{"role": "system", "content": self.system}] if self.system.strip() else []
        options: dict[str, Any] = {}
        if self.priority != "balanced":
            options["priority"] = self.priority
        if self.latency_pref != "normal":
            options["latency_pref"] = self.latency_pref
        if self.max_cost.strip():
            options["max_cost"] = number(self.max_cost)
        body: dict[str, Any] = {"messages": [*system, {"role": "user", "content": self.prompt}]}
        if self.max_tokens.strip():
            body["max_tokens"] = number(self.max_tokens)
        if options:
            body["omni"] = options
        if self.broken:
            body["metadata"] = {"sandbox_fail": "error"}
        return body

    def request(self, model: str, *, deployments: Collection[Deployment], kind: KeyKind) -> ChatRequest:
        """What the gateway gets for one column. Raises an `OmniError` whose `param` is the API's field."""
        body = {"model": model, **self.body()}
        parsed = parse_completions(body, deployments=deployments, key_kind=kind, timeout_s=None)
        return replace(parsed.request, endpoint="playground", stream=True)


def problem_of(error: OmniError) -> dict[str, str]:
    """A refusal by the API's checks, at the form's field that it is about."""
    field = FIELD_OF.get(error.param or "", "prompt")
    return {field: sentence(error)}


def sentence(error: OmniError) -> str:
    """The refusal without the API's name of the field."""
    words = error.message.removeprefix(f"{error.param}: ")
    return f"{words[:1].upper()}{words[1:]}."


def wrong_number(name: str, typed: str) -> str:
    """What is wrong with a figure; empty when nothing is."""
    value = number(typed)
    if value is None:
        return NUMBERS[name]
    try:
        CHAT_FIELDS[name](value, name)
    except InvalidRequest as error:
        return sentence(error)
    return ""


def number(text: str) -> int | float | None:
    """A number as JSON would carry it: whole when it is written so; None when it is none."""
    try:
        return int(text) if text.strip().lstrip("+-").isdecimal() else float(text)
    except ValueError:
        return None


def well_formed(text: str) -> str:
    """The text without halves of characters, which no JSON encoder takes."""
    return text.encode("utf-8", "replace").decode()
