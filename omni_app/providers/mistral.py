"""What Mistral wants otherwise in OpenAI's shape: its own form of a call's id, fewer names, and turns in one order."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from omni_app.routing.types import Message

ID_LENGTH = 9
RESULTS_READ: Message = {"role": "assistant", "content": "I have read the results."}
"""Stands between a tool's answer and the user's next turn: Mistral refuses one right after the other (code 3230)."""


def mistral_messages(messages: Sequence[Message]) -> list[Message]:
    """The messages as Mistral takes them."""
    taken: list[Message] = []
    for message in messages:
        if taken and message["role"] == "user" and taken[-1]["role"] == "tool":
            taken.append(RESULTS_READ)
        taken.append(mistral_message(message))
    return taken


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
