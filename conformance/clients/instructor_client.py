"""instructor, around the openai SDK."""

from collections.abc import Iterable
from typing import Any

import instructor
import openai
from pydantic import BaseModel
from report import BASE_URL, KEY, PNG, QUESTION, NotSupported, check, raises, run


class Person(BaseModel):
    name: str
    age: int


def client(mode: instructor.Mode = instructor.Mode.TOOLS, key: str = KEY) -> instructor.Instructor:
    return instructor.from_openai(openai.OpenAI(base_url=f"{BASE_URL}/v1", api_key=key), mode=mode)


ASK: Any = [{"role": "user", "content": QUESTION}]


def ask(made: instructor.Instructor, model: str = "auto", messages: Any = ASK) -> Any:
    return made.chat.completions.create(model=model, messages=messages, response_model=Person, max_retries=0)


def plain() -> None:
    answer = client().chat.completions.create(model="auto", messages=ASK, response_model=None)
    check(answer.choices[0].message.content, "no text")


def partials() -> Iterable[Person]:
    return client().chat.completions.create_partial(model="auto", messages=ASK, response_model=Person)


def stream() -> None:
    pieces = list(partials())
    check(pieces and pieces[-1].name and pieces[-1].age, "not streamed")


def stream_usage() -> None:
    raise NotSupported("it hands out objects, not chunks")


def tools() -> None:
    check(isinstance(ask(client(instructor.Mode.TOOLS)), Person), "tools mode")
    check(isinstance(ask(client(instructor.Mode.TOOLS_STRICT)), Person), "strict tools mode")


def json_schema() -> None:
    check(isinstance(ask(client(instructor.Mode.JSON_SCHEMA)), Person), "schema mode")


def vision() -> None:
    image = instructor.Image.from_base64(f"data:image/png;base64,{PNG}")
    parts = [{"role": "user", "content": ["Who is this?", image]}]
    check(isinstance(ask(client(), messages=parts), Person), "not the object")


def errors() -> None:
    # It wraps the SDK's errors in one of its own, whose place changes between versions.
    check("404" in str(raises(Exception, lambda: ask(client(), model="none"))), "not 404")
    check("401" in str(raises(Exception, lambda: ask(client(key="nonsense")))), "not 401")


def cancel() -> None:
    raise NotSupported("it gives no handle on the stream")


def absent() -> None:
    raise NotSupported("it makes no embeddings")


run({
    "plain": plain, "stream": stream, "stream with usage": stream_usage, "tools": tools, "JSON schema": json_schema,
    "vision": vision, "errors": errors, "cancel": cancel, "embeddings": absent,
})  # fmt: skip
