"""openai-agents: its default, which is OpenAI's Responses API."""

import asyncio

import openai
from agents import (
    Agent,
    OpenAIResponsesModel,
    Runner,
    RunResultStreaming,
    function_tool,
    set_tracing_disabled,
)
from openai.types.responses import ResponseTextDeltaEvent
from pydantic import BaseModel
from report import (
    BASE_URL,
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

set_tracing_disabled(True)


class Person(BaseModel):
    name: str
    age: int


def model(name: str = "auto", key: str = KEY) -> OpenAIResponsesModel:
    return OpenAIResponsesModel(name, openai.AsyncOpenAI(base_url=f"{BASE_URL}/v1", api_key=key))


def agent(name: str = "auto", key: str = KEY) -> Agent:
    return Agent(name="tester", instructions="Be brief.", model=model(name, key))


def plain() -> str:
    answer = Runner.run_sync(agent(), QUESTION).final_output
    check(answer, "no text")
    return str(answer)


async def streamed() -> tuple[list[str], RunResultStreaming]:
    answer = Runner.run_streamed(agent(), QUESTION)
    pieces = [
        event.data.delta
        async for event in answer.stream_events()
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent)
    ]
    return pieces, answer


def stream() -> None:
    pieces, _ = asyncio.run(streamed())
    check(len(pieces) > 3 and "".join(pieces) == plain(), "the stream differs")


def stream_usage() -> None:
    _, answer = asyncio.run(streamed())
    check(answer.context_wrapper.usage.output_tokens > 0, "no usage")


def tools() -> None:
    asked: list[str] = []

    @function_tool
    def weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return "Sunny"

    able = agent()
    able.tools.append(weather)
    check(Runner.run_sync(able, WEATHER, max_turns=3).final_output and asked, "no call")


def json_schema() -> None:
    typed = Agent(name="typed", model=model(), output_type=Person)
    check(isinstance(Runner.run_sync(typed, QUESTION).final_output, Person), "no Person")


def vision() -> None:
    image = {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PNG}"}
    content = [{"type": "input_text", "text": "Describe this."}, image]
    check(Runner.run_sync(agent(), [{"role": "user", "content": content}]).final_output, "no text")


def errors() -> None:
    raises(openai.NotFoundError, lambda: Runner.run_sync(agent("none"), QUESTION))
    raises(openai.AuthenticationError, lambda: Runner.run_sync(agent(key="nonsense"), QUESTION))


async def left() -> None:
    answer = Runner.run_streamed(agent(), QUESTION)
    async for event in answer.stream_events():
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
            answer.cancel()


def cancel() -> None:
    before = failed_requests()
    asyncio.run(left())
    check_cancelled(before)


def embeddings() -> None:
    raise NotSupported("an agent has none")


run({
    "plain": plain, "stream": stream, "stream with usage": stream_usage, "tools": tools, "JSON schema": json_schema,
    "vision": vision, "errors": errors, "cancel": cancel, "embeddings": embeddings,
})  # fmt: skip
