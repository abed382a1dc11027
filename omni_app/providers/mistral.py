"""What Mistral wants otherwise in OpenAI's shape of a message: its own form of a call's id, and fewer names."""

import hashlib
from collections.abc import Mapping
from typing import Any

from omni_app.routing.types import Message

ID_LENGTH = 9


def mistral_message(message: Message) -> Message:
    """The message as Mistral takes it: `name` stands on a tool's answer alone, calls have ids of nine characters."""
    if "name" in message and message["role"] != "tool":
        message = {name: value for name, value in message.items() if name != "name"}
    if calls := message.get("tool_calls"):
        return {**message, "tool_calls": [renamed(call) for call in calls]}
    if "tool_call_id" in message:
        return {**message, "tool_call_id": call_id(message["tool_call_id"])}
    return message


def renamed(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """A call of any provider's with an id of Mistral's form."""
    return {**call, "id": call_id(call["id"])}


def call_id(told: str) -> str:
    """The id itself where it is of nine letters and digits, else nine that are always the same for it."""
    fits = len(told) == ID_LENGTH and told.isalnum() and told.isascii()
    return told if fits else hashlib.sha256(told.encode()).hexdigest()[:ID_LENGTH]
