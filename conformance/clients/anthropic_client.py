"""The anthropic SDK for Python."""

from typing import Any

import anthropic
from pydantic import BaseModel
from report import (
    BASE_URL,
    CITY,
    KEY,
    PNG,
    QUESTION,
    WEATHER,
    NotSupported,
    check,
    check_cancelled,
    failed_requests,
    raises,
    run,
)

client = anthropic.Anthropic(base_url=BASE_URL, api_key=KEY)
ASK: Any = [{"role": "user", "content": QUESTION}]
COMMON: Any = {"model": "auto", "max_tokens": 500}
TOOL: Any = {"name": "weather", "input_schema": CITY}


class Person(BaseModel):
    name: str
    age: int


def plain() -> str:
    text = client.messages.create(**COMMON, messages=ASK).content[0].text
    check(text, "no text")
    return str(text)


def stream() -> None:
    with client.messages.stream(**COMMON, messages=ASK) as events:
        pieces = list(events.text_stream)
    check(len(pieces) > 3 and "".join(pieces) == plain(), "the stream differs")


def stream_usage() -> None:
    with client.messages.stream(**COMMON, messages=ASK) as events:
        usage = events.get_final_message().usage
    check(usage.input_tokens > 0 and usage.output_tokens > 0, f"no usage: {usage}")


def tools() -> None:
    ask: Any = [{"role": "user", "content": WEATHER}]
    plain = client.messages.create(**COMMON, messages=ask, tools=[TOOL])
    with client.messages.stream(**COMMON, messages=ask, tools=[TOOL]) as events:
        streamed = events.get_final_message()
    for message in (plain, streamed):
        call: Any = message.content[-1]
        check(message.stop_reason == "tool_use" and call.name == "weather" and "city" in call.input, "no call")
        result: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "Sunny"}]}
        turn: Any = {"role": "assistant", "content": message.content}
        told = client.messages.create(**COMMON, messages=[*ask, turn, result], tools=[TOOL])
        check(told.content[0].text, "no answer after the tool")


def json_schema() -> None:
    plain = client.messages.parse(**COMMON, messages=ASK, output_format=Person).parsed_output
    with client.messages.stream(**COMMON, messages=ASK, output_format=Person) as events:
        streamed = events.get_final_message().parsed_output
    check(isinstance(plain, Person) and streamed == plain, "not the schema")


def vision() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    parts: Any = [{"role": "user", "content": [image, {"type": "text", "text": "Describe this."}]}]
    check(client.messages.create(**COMMON, messages=parts).content[0].text, "no text")


def errors() -> None:
    raises(anthropic.NotFoundError, lambda: client.messages.create(**COMMON | {"model": "none"}, messages=ASK))
    stranger = client.with_options(api_key="nonsense")
    raises(anthropic.AuthenticationError, lambda: stranger.messages.create(**COMMON, messages=ASK))
    bad: Any = [{"role": "user", "content": 7}]
    raises(anthropic.BadRequestError, lambda: client.messages.create(**COMMON, messages=bad))


def cancel() -> None:
    before = failed_requests()
    with client.messages.stream(**COMMON, messages=ASK) as events:
        next(events.text_stream)
    check_cancelled(before)


def absent() -> None:
    raise NotSupported("Anthropic has no embeddings")


run({
    "plain": plain, "stream": stream, "stream with usage": stream_usage, "tools": tools, "JSON schema": json_schema,
    "vision": vision, "errors": errors, "cancel": cancel, "embeddings": absent,
})  # fmt: skip
