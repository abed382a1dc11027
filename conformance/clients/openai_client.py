"""The openai SDK for Python."""

import json
from typing import Any

import openai
from report import (
    BASE_URL,
    CITY,
    KEY,
    PERSON,
    PNG,
    QUESTION,
    WEATHER,
    check,
    check_cancelled,
    check_failed_once,
    failed_requests,
    raises,
    run,
)

client = openai.OpenAI(base_url=f"{BASE_URL}/v1", api_key=KEY)
ASK: Any = [{"role": "user", "content": QUESTION}]
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": CITY, "strict": True}}


def plain() -> str:
    answer = client.chat.completions.create(model="auto", messages=ASK).choices[0].message.content
    check(answer, "no text")
    three = client.chat.completions.create(model="auto", messages=ASK, n=3).choices
    check(len({one.message.content for one in three}) == 3, "n = 3 gave no three answers")
    return answer or ""


def stream() -> None:
    chunks = list(client.chat.completions.create(model="auto", messages=ASK, stream=True))
    check(len(chunks) > 3, "not streamed")
    check("".join(one.choices[0].delta.content or "" for one in chunks) == plain(), "the stream differs")


def stream_usage() -> None:
    chunks = list(
        client.chat.completions.create(model="auto", messages=ASK, stream=True, stream_options={"include_usage": True})
    )
    usage = chunks[-1].usage
    check(usage and usage.total_tokens > 0 and usage.completion_tokens > 0, "no usage")


def tools() -> None:
    ask: Any = [{"role": "user", "content": WEATHER}]
    with client.chat.completions.stream(model="auto", messages=ask, tools=[TOOL]) as events:
        streamed = events.get_final_completion().choices[0].message
    plain = client.chat.completions.create(model="auto", messages=ask, tools=[TOOL]).choices[0].message
    for message in (streamed, plain):
        call: Any = (message.tool_calls or [None])[0]
        check(call and call.function.name == "weather" and "city" in json.loads(call.function.arguments), "no call")
        result = {"role": "tool", "tool_call_id": call.id, "content": "Sunny"}
        told = client.chat.completions.create(model="auto", messages=[*ask, message, result], tools=[TOOL])
        check(told.choices[0].message.content, "no answer after the tool")


def json_schema() -> None:
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    answer = client.chat.completions.create(model="auto", messages=ASK, response_format=wanted)
    check(json.loads(answer.choices[0].message.content or "").keys() == {"name", "age"}, "not the schema")


def vision() -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": "Describe this."}, image]}]
    check(client.chat.completions.create(model="auto", messages=parts).choices[0].message.content, "no text")


def errors() -> None:
    raises(openai.NotFoundError, lambda: client.chat.completions.create(model="no-such-model", messages=ASK))
    stranger = client.with_options(api_key="nonsense")
    raises(openai.AuthenticationError, lambda: stranger.chat.completions.create(model="auto", messages=ASK))
    raises(openai.BadRequestError, lambda: client.chat.completions.create(model="auto", messages=ASK, temperature=9))
    before = failed_requests()
    fail: Any = {"model": "auto", "messages": ASK, "metadata": {"sandbox_fail": "all:error"}}
    raises(openai.InternalServerError, lambda: client.chat.completions.create(**fail))
    check_failed_once(before)


def cancel() -> None:
    before = failed_requests()
    with client.chat.completions.create(model="auto", messages=ASK, stream=True) as events:
        next(iter(events))
    check_cancelled(before)


def embeddings() -> None:
    plain = client.embeddings.create(model="auto", input=["red apple", "red pear"])
    floats = client.embeddings.create(model="auto", input=["red apple", "red pear"], encoding_format="float")
    for one, other in zip(plain.data, floats.data, strict=True):
        check(max(abs(a - b) for a, b in zip(one.embedding, other.embedding, strict=True)) < 1e-6, "base64 differs")
    check(len(client.embeddings.create(model="auto", input="x", dimensions=64).data[0].embedding) == 64, "not 64")
    raises(openai.NotFoundError, lambda: client.embeddings.create(model="none", input="x"))


run({
    "plain": plain, "stream": stream, "stream with usage": stream_usage, "tools": tools, "JSON schema": json_schema,
    "vision": vision, "errors": errors, "cancel": cancel, "embeddings": embeddings,
})  # fmt: skip
