"""Which texts of a conversation tell what is asked now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from omni_app.routing.tokens import is_image_part
from omni_app.routing.types import Message

MOST_MESSAGES = 200
"""Messages looked at, counted from the end: bounds the time of a conversation of any length."""
HEAD, TAIL = 2400, 1600
"""Characters read of one message: its head and its tail."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The texts that matter, each cut to what is read."""

    request: str
    """The last user message."""
    earlier: str
    """The user message before it."""
    system: str
    has_tool_messages: bool
    code_before: bool
    """Whether the assistant's last answer holds a code block."""


def read_conversation(messages: Sequence[Message]) -> Conversation:
    """The last two user messages, the first system prompt, and what the others say by being there."""
    recent = messages[-MOST_MESSAGES:]
    asked = [message for message in recent if message.get("role") == "user"][-2:]
    answers = [message for message in recent if message.get("role") == "assistant"][-1:]
    system = next((message for message in messages[:3] if message.get("role") in ("system", "developer")), None)
    return Conversation(
        request=cut(text_of(asked[-1])) if asked else "",
        earlier=cut(text_of(asked[0])) if len(asked) > 1 else "",
        system=cut(text_of(system)) if system else "",
        has_tool_messages=any(message.get("role") == "tool" or message.get("tool_calls") for message in recent),
        code_before=any("```" in cut(text_of(answer)) for answer in answers),
    )


def text_of(message: Message) -> str:
    """The text of a message; its image parts have none."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, Mapping) and not is_image_part(part)]
    return "\n".join(text for text in texts if isinstance(text, str))


def cut(text: str) -> str:
    """Head and tail of a long text, the whole of a short one."""
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"
