"""LlamaIndex: `OpenAILike` of llama-index-llms-openai-like."""

import asyncio
from typing import Any

import openai
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.program import FunctionCallingProgram
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from report import BASE_URL, KEY, PNG, QUESTION, WEATHER, check, check_cancelled, failed_requests, raises, run

OURS: Any = {
    "api_base": f"{BASE_URL}/v1", "api_key": KEY, "model": "auto", "is_chat_model": True,
    "is_function_calling_model": True, "context_window": 100_000,
}  # fmt: skip
llm = OpenAILike(**OURS)
ASK = [ChatMessage(role="user", content=QUESTION)]


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}"


def plain() -> str:
    text = llm.chat(ASK).message.content
    check(text, "no text")
    return str(text)


def stream() -> None:
    pieces = [one.delta or "" for one in llm.stream_chat(ASK)]
    check(len(pieces) > 3 and "".join(pieces) == plain(), "the stream differs")


def stream_usage() -> None:
    counting = OpenAILike(**OURS, additional_kwargs={"stream_options": {"include_usage": True}})
    last = list(counting.stream_chat(ASK))[-1]
    check(last.raw.usage and last.raw.usage.completion_tokens > 0, "no usage")


def tools() -> None:
    made = FunctionTool.from_defaults(weather)
    answer = llm.chat_with_tools([made], user_msg=WEATHER)
    call = llm.get_tool_calls_from_response(answer)[0]
    check(call.tool_name == "weather" and "city" in call.tool_kwargs, "no call")
    result = ChatMessage(role="tool", content="Sunny", additional_kwargs={"tool_call_id": call.tool_id})
    asked = ChatMessage(role="user", content=WEATHER)
    told = llm.chat_with_tools([made], chat_history=[asked, answer.message, result])
    check(told.message.content, "no answer after the tool")


def json_schema() -> None:
    program = FunctionCallingProgram.from_defaults(Person, prompt_template_str=QUESTION, llm=llm)
    check(isinstance(program(), Person), "not the schema, by a tool call")
    structured = OpenAILike(**OURS, should_use_structured_outputs=True).as_structured_llm(Person)
    check(isinstance(structured.chat(ASK).raw, Person), "not the schema")


def vision() -> None:
    image = ImageBlock(url=f"data:image/png;base64,{PNG}", image_mimetype="image/png")
    answer = llm.chat([ChatMessage(role="user", blocks=[TextBlock(text="Describe this."), image])])
    check(answer.message.content, "no text")


def errors() -> None:
    raises(openai.NotFoundError, lambda: OpenAILike(**OURS | {"model": "none"}).chat(ASK))
    raises(openai.AuthenticationError, lambda: OpenAILike(**OURS | {"api_key": "nonsense"}).chat(ASK))


async def left() -> None:
    """Leaves after the first piece, by cancelling: closing the plain generator keeps the connection open."""

    async def listen() -> None:
        async for _ in await llm.astream_chat(ASK):
            begun.set()

    begun = asyncio.Event()
    task = asyncio.create_task(listen())
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def cancel() -> None:
    before = failed_requests()
    asyncio.run(asyncio.wait_for(left(), 10))
    check_cancelled(before)


def embeddings() -> None:
    maker = OpenAILikeEmbedding(model_name="auto", api_base=f"{BASE_URL}/v1", api_key=KEY)
    check(len(maker.get_text_embedding_batch(["red apple", "red pear"])) == 2, "no vectors")
    check(maker.get_query_embedding("red apple") == maker.get_text_embedding("red apple"), "not the same vector")


run({
    "plain": plain, "stream": stream, "stream with usage": stream_usage, "tools": tools, "JSON schema": json_schema,
    "vision": vision, "errors": errors, "cancel": cancel, "embeddings": embeddings,
})  # fmt: skip
