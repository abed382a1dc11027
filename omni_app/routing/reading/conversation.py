"""Which texts of a conversation tell what is asked now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from omni_app.routing.reading.courtesy import without_courtesy
from omni_app.routing.tokens import is_image_part
from omni_app.routing.types import Message

FIRST_MESSAGES, MOST_MESSAGES = 3, 200
"""Messages looked at: the first ones, and so many of the last. Bounds the time of a conversation of any length."""
HEAD, TAIL = 2400, 1600
"""Characters read of one message: its head and its tail."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The texts that matter, each cut to what is read."""

    request: str
    """The last user message, without its courtesy."""
    earlier: str
    """The user message before it."""
    system: str
    has_tool_messages: bool
    code_before: bool
    """Whether the assistant's last answer holds a code block."""


def read_conversation(messages: Sequence[Message]) -> Conversation:
    """The last two user messages, the first system prompt, and what the others say by being there."""
    said: dict[str, list[Message]] = {}
    calls = False
    for message in (*messages[:FIRST_MESSAGES], *messages[FIRST_MESSAGES:][-MOST_MESSAGES:]):
        said.setdefault(str(message.get("role")), []).append(message)
        calls = calls or bool(message.get("tool_calls"))
    asked, answers = said.get("user", []), said.get("assistant", [])
    systems = said.get("system") or said.get("developer") or []
    return Conversation(
        request=without_courtesy(cut(text_of(asked[-1]))) if asked else "",
        earlier=cut(text_of(asked[-2])) if len(asked) > 1 else "",
        system=cut(text_of(systems[0])) if systems else "",
        has_tool_messages=calls or "tool" in said,
        code_before=bool(answers) and "```" in cut(text_of(answers[-1])),
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
