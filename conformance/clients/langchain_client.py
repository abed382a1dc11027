"""LangChain: `ChatOpenAI` of langchain-openai."""

from typing import Any

import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel
from report import BASE_URL, KEY, PNG, QUESTION, WEATHER, check, check_cancelled, failed_requests, raises, run

OURS: Any = {"base_url": f"{BASE_URL}/v1", "api_key": KEY, "model": "auto"}
chat = ChatOpenAI(**OURS)


class Person(BaseModel):
    name: str
    age: int


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}"


def plain() -> str:
    answer = chat.invoke(QUESTION)
    check(answer.content and answer.usage_metadata, "no text or usage")
    return str(answer.content)


def stream() -> None:
    pieces = [str(one.content) for one in chat.stream(QUESTION)]
    check(len(pieces) > 3 and "".join(pieces) == plain(), "the stream differs")


def stream_usage() -> None:
    usage = None
    for one in ChatOpenAI(**OURS, stream_usage=True).stream(QUESTION):
        usage = one.usage_metadata or usage
    check(usage and usage["output_tokens"] > 0, "no usage")


def tools() -> None:
    bound = chat.bind_tools([weather])
    ask = HumanMessage(WEATHER)
    streamed: Any = None
    for piece in bound.stream([ask]):
        streamed = piece if streamed is None else streamed + piece
    for answer in (bound.invoke([ask]), streamed):
        call = answer.tool_calls[0]
        check(call["name"] == "weather" and "city" in call["args"], "no call")
        told = bound.invoke([ask, answer, ToolMessage("Sunny", tool_call_id=call["id"])])
        check(told.content, "no answer after the tool")


def json_schema() -> None:
    for method in ("json_schema", "function_calling"):
        check(isinstance(chat.with_structured_output(Person, method=method).invoke(QUESTION), Person), method)


def vision() -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    check(chat.invoke([HumanMessage([{"type": "text", "text": "Describe this."}, image])]).content, "no text")


def errors() -> None:
    raises(openai.NotFoundError, lambda: ChatOpenAI(**OURS | {"model": "none"}).invoke(QUESTION))
    raises(openai.AuthenticationError, lambda: ChatOpenAI(**OURS | {"api_key": "nonsense"}).invoke(QUESTION))


def cancel() -> None:
    before = failed_requests()
    pieces: Any = chat.stream(QUESTION)
    next(pieces)
    pieces.close()
    check_cancelled(before)


def embeddings() -> None:
    # Without the flag it counts tokens with OpenAI's vocabulary, which it would fetch from the net.
    maker = OpenAIEmbeddings(**OURS, check_embedding_ctx_length=False)
    check(len(maker.embed_documents(["red apple", "red pear"])) == 2, "no vectors")
    check(maker.embed_query("red apple") == maker.embed_documents(["red apple"])[0], "not the same vector")


run({
    "plain": plain, "stream": stream, "stream with usage": stream_usage, "tools": tools, "JSON schema": json_schema,
    "vision": vision, "errors": errors, "cancel": cancel, "embeddings": embeddings,
})  # fmt: skip
