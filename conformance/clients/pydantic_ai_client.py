"""pydantic-ai: `OpenAIChatModel` with `OpenAIProvider`."""

import asyncio
import base64

from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, Embedder, ModelHTTPError, NativeOutput
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from report import BASE_URL, KEY, PNG, QUESTION, WEATHER, check, check_cancelled, failed_requests, raises, run


def model(name: str = "auto", key: str = KEY) -> OpenAIChatModel:
    return OpenAIChatModel(name, provider=OpenAIProvider(base_url=f"{BASE_URL}/v1", api_key=key))


class Person(BaseModel):
    name: str
    age: int


def plain() -> str:
    answer = Agent(model()).run_sync(QUESTION).output
    check(answer, "no text")
    return answer


async def streamed() -> tuple[list[str], int]:
    async with Agent(model()).run_stream(QUESTION) as answer:
        pieces = [one async for one in answer.stream_text(delta=True, debounce_by=None)]
        usage = answer.usage() if callable(answer.usage) else answer.usage
        return pieces, usage.output_tokens


def stream() -> None:
    pieces, _ = asyncio.run(streamed())
    check(len(pieces) > 3 and "".join(pieces) == plain(), "the stream differs")


def stream_usage() -> None:
    check(asyncio.run(streamed())[1] > 0, "no usage")


def tools() -> None:
    asked: list[str] = []
    agent = Agent(model())

    @agent.tool_plain
    def weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return "Sunny"

    check(agent.run_sync(WEATHER).output and asked, "no call")


def json_schema() -> None:
    check(isinstance(Agent(model(), output_type=NativeOutput(Person)).run_sync(QUESTION).output, Person), "native")
    check(isinstance(Agent(model(), output_type=Person).run_sync(QUESTION).output, Person), "by a tool call")


def vision() -> None:
    image = BinaryContent(base64.b64decode(PNG), media_type="image/png")
    check(Agent(model()).run_sync(["Describe this.", image]).output, "no text")


def errors() -> None:
    missing = raises(ModelHTTPError, lambda: Agent(model("none")).run_sync(QUESTION))
    check(isinstance(missing, ModelHTTPError) and missing.status_code == 404, "not 404")
    stranger = raises(ModelHTTPError, lambda: Agent(model(key="nonsense")).run_sync(QUESTION))
    check(isinstance(stranger, ModelHTTPError) and stranger.status_code == 401, "not 401")


async def left() -> None:
    task = asyncio.create_task(streamed())
    await asyncio.sleep(0.08)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def cancel() -> None:
    before = failed_requests()
    asyncio.run(left())
    check_cancelled(before)


def embeddings() -> None:
    maker = Embedder(OpenAIEmbeddingModel("auto", provider=OpenAIProvider(base_url=f"{BASE_URL}/v1", api_key=KEY)))
    check(len(maker.embed_documents_sync(["red apple", "red pear"]).embeddings) == 2, "no vectors")


run({
    "plain": plain, "stream": stream, "stream with usage": stream_usage, "tools": tools, "JSON schema": json_schema,
    "vision": vision, "errors": errors, "cancel": cancel, "embeddings": embeddings,
})  # fmt: skip
