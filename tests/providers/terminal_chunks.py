"""How each provider ends a stream and tells its tokens: the last events as they come, after the text "Hi.".

Shapes from the SDKs' own types (openai 2.54 `ChatCompletionChunk`, anthropic 2.12 `RawMessageDeltaEvent`, groq 1.7
`XGroq`) and the providers' API references. Read as (tokens in, out, cached, written, reasoning).
"""

from typing import Any, NamedTuple


class Ending(NamedTuple):
    """The last events of one dialect, and how they are to be read."""

    name: str
    events: tuple[dict[str, Any], ...]
    tokens: tuple[int, int, int, int, int]
    finish_reason: str = "stop"


def chunk(finish: str | None = None, delta: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}


def bare(**more: Any) -> dict[str, Any]:
    return chunk() | {"choices": []} | more


PLAIN = {"prompt_tokens": 18, "completion_tokens": 4, "total_tokens": 22}
HI = chunk(delta={"role": "assistant", "content": "Hi."})

OPENAI_ENDINGS = (
    Ending(
        "openai: reasoning inside output, cached and written inside input",
        (
            chunk("stop", usage=None),
            bare(
                usage={
                    "prompt_tokens": 2006,
                    "completion_tokens": 300,
                    "total_tokens": 2306,
                    "prompt_tokens_details": {"cached_tokens": 1920, "cache_write_tokens": 40, "audio_tokens": 0},
                    "completion_tokens_details": {"reasoning_tokens": 192, "audio_tokens": 0},
                }
            ),
        ),
        (2006, 300, 1920, 40, 192),
    ),
    Ending(
        "openai: cut at the limit while it still reasoned",
        (
            chunk("length"),
            bare(
                usage={
                    "prompt_tokens": 9,
                    "completion_tokens": 64,
                    "total_tokens": 73,
                    "completion_tokens_details": {"reasoning_tokens": 62},
                }
            ),
        ),
        (9, 64, 0, 0, 62),
        "length",
    ),
    Ending(
        "groq: in x_groq on the last chunk",
        (
            chunk(
                "stop",
                x_groq={
                    "id": "req_01",
                    "usage": {
                        "queue_time": 0.03,
                        "prompt_tokens": 18,
                        "prompt_time": 0.0006,
                        "completion_tokens": 40,
                        "completion_time": 0.08,
                        "total_tokens": 58,
                        "total_time": 0.09,
                        "completion_tokens_details": {"reasoning_tokens": 31},
                    },
                },
            ),
        ),
        (18, 40, 0, 0, 31),
    ),
    Ending(
        "groq: in x_groq, then once more in a chunk of its own",
        (
            chunk(
                "stop", x_groq={"id": "r", "usage": {"prompt_tokens": 18, "completion_tokens": 4, "total_tokens": 22}}
            ),
            bare(usage={"prompt_tokens": 18, "completion_tokens": 4, "total_tokens": 22}),
        ),
        (18, 4, 0, 0, 0),
    ),
    Ending(
        "openrouter: beside an empty delta, with its own cost",
        (
            chunk("stop", native_finish_reason="end_turn", provider="Anthropic"),
            chunk(
                delta={"role": "assistant", "content": ""},
                usage={
                    "prompt_tokens": 2000,
                    "completion_tokens": 5,
                    "total_tokens": 2005,
                    "cost": 0.0014,
                    "prompt_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 1000},
                    "completion_tokens_details": {"reasoning_tokens": 0},
                },
            ),
        ),
        (2000, 5, 600, 1000, 0),
    ),
    Ending(
        "deepseek: on the chunk that ends, cache hits under their own name",
        (
            chunk(
                "stop",
                delta={"content": "", "reasoning_content": None},
                usage={
                    "prompt_tokens": 100,
                    "completion_tokens": 30,
                    "total_tokens": 130,
                    "completion_tokens_details": {"reasoning_tokens": 20},
                    "prompt_cache_hit_tokens": 64,
                    "prompt_cache_miss_tokens": 36,
                },
            ),
        ),
        (100, 30, 64, 0, 20),
    ),
    Ending(
        "mistral: on the chunk that ends",
        (chunk("stop", usage={"prompt_tokens": 14, "total_tokens": 36, "completion_tokens": 22}),),
        (14, 22, 0, 0, 0),
    ),
    Ending(
        "xai: grows with each chunk, reasoning beside output",
        (
            chunk(usage={"prompt_tokens": 32, "completion_tokens": 1, "total_tokens": 33}),
            chunk("stop", usage={"prompt_tokens": 32, "completion_tokens": 8, "total_tokens": 40}),
            bare(
                usage={
                    "prompt_tokens": 32,
                    "completion_tokens": 9,
                    "total_tokens": 135,
                    "prompt_tokens_details": {"text_tokens": 32, "cached_tokens": 6},
                    "completion_tokens_details": {"reasoning_tokens": 94},
                    "num_sources_used": 0,
                }
            ),
        ),
        (32, 103, 6, 0, 94),
    ),
)

UNTOLD = (
    Ending("missing", (chunk("stop"),), (0, 0, 0, 0, 0)),
    Ending("null", (chunk("stop", usage=None),), (0, 0, 0, 0, 0)),
    Ending("empty", (chunk("stop"), bare(usage={})), (0, 0, 0, 0, 0)),
    Ending("zero", (chunk("stop"), bare(usage={"prompt_tokens": 0, "completion_tokens": 0})), (0, 0, 0, 0, 0)),
    Ending("negative", (chunk("stop"), bare(usage={"prompt_tokens": -5, "completion_tokens": -7})), (0, 0, 0, 0, 0)),
    Ending("absurd", (chunk("stop"), bare(usage={"prompt_tokens": 9**20, "completion_tokens": 3})), (0, 0, 0, 0, 0)),
    Ending("words", (chunk("stop"), bare(usage={"prompt_tokens": "9", "completion_tokens": "3"})), (0, 0, 0, 0, 0)),
)
"""Usage that nobody can believe: then it is counted here, and marked."""

ENDED = {"stop_reason": "end_turn", "stop_sequence": None}
MESSAGE_START: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}


def message(start: dict[str, Any], *ends: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """A whole stream of Anthropic's with these counts."""
    return (
        {"type": "message_start", "message": {**MESSAGE_START, "stop_reason": None, "usage": start}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi."}},
        {"type": "content_block_stop", "index": 0},
        *(
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, **end}
            for end in ends
        ),
        {"type": "message_stop"},
    )


ANTHROPIC_ENDINGS = (
    Ending(
        "anthropic: input without cached tokens, told at the start",
        message(
            {
                "input_tokens": 21,
                "cache_creation_input_tokens": 188,
                "cache_read_input_tokens": 4000,
                "cache_creation": {"ephemeral_5m_input_tokens": 188, "ephemeral_1h_input_tokens": 0},
                "output_tokens": 1,
            },
            {"usage": {"output_tokens": 393}},
        ),
        (4209, 393, 4000, 188, 0),
    ),
    Ending(
        "anthropic: everything once more at the end, thinking inside output",
        message(
            {"input_tokens": 21, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1},
            {
                "usage": {
                    "input_tokens": 25,
                    "cache_creation_input_tokens": 100,
                    "cache_read_input_tokens": 300,
                    "output_tokens": 90,
                    "output_tokens_details": {"thinking_tokens": 60},
                    "server_tool_use": None,
                }
            },
        ),
        (425, 90, 300, 100, 60),
    ),
    Ending(
        "anthropic: nulls at the end change nothing",
        message(
            {"input_tokens": 21, "cache_read_input_tokens": 7, "output_tokens": 1},
            {"usage": {"input_tokens": None, "cache_read_input_tokens": None, "output_tokens": 12}},
        ),
        (28, 12, 7, 0, 0),
    ),
)
ANTHROPIC_UNTOLD = (
    Ending("missing", message({}, {}), (0, 0, 0, 0, 0)),
    Ending("zero", message({"input_tokens": 0}, {"usage": {"output_tokens": 0}}), (0, 0, 0, 0, 0)),
    Ending("absurd", message({"input_tokens": 9**20}, {"usage": {"output_tokens": 5}}), (0, 0, 0, 0, 0)),
)
