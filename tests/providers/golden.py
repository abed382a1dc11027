"""Answers as the providers send them: real shapes, shortened. Read as (tokens in, out, cached, written, reasoning)."""

from typing import Any, NamedTuple


class Golden(NamedTuple):
    """One provider's answer, and how it is to be read."""

    provider: str
    body: dict[str, Any]
    text: str
    finish_reason: str
    tokens: tuple[int, int, int, int, int]


def _openai(message: dict[str, Any], usage: dict[str, Any], finish: str = "stop", **more: Any) -> dict[str, Any]:
    whole = {"role": "assistant", "content": None, "refusal": None} | message
    choice = {"index": 0, "message": whole, "logprobs": None, "finish_reason": finish}
    common = {"id": "chatcmpl-B9", "object": "chat.completion", "created": 1741570283, "model": "gpt"}
    return {**common, "choices": [choice], "usage": usage, **more}


OPENAI_CALL = {
    "id": "call_abc123",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
}
OPENAI_STYLE = (
    Golden(
        "openai",
        _openai(
            {"content": "Hello!", "annotations": []},
            {
                "prompt_tokens": 1200,
                "completion_tokens": 310,
                "total_tokens": 1510,
                "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": 256,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
            service_tier="default",
            system_fingerprint="fp_44709d6fcb",
        ),
        "Hello!",
        "stop",
        (1200, 310, 1024, 0, 256),
    ),
    Golden(
        "openai",
        _openai(
            {"tool_calls": [OPENAI_CALL]},
            {"prompt_tokens": 82, "completion_tokens": 17, "total_tokens": 99},
            "tool_calls",
        ),
        "",
        "tool_calls",
        (82, 17, 0, 0, 0),
    ),
    Golden(
        "openai",
        _openai(
            {"refusal": "I can't help with that."}, {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17}
        ),
        "I can't help with that.",
        "stop",
        (9, 8, 0, 0, 0),
    ),
    Golden(
        "openai",
        _openai(
            {"content": ""},
            {
                "prompt_tokens": 9,
                "completion_tokens": 64,
                "total_tokens": 73,
                "completion_tokens_details": {"reasoning_tokens": 64},
            },
            "length",
        ),
        "",
        "length",
        (9, 64, 0, 0, 64),
    ),
    Golden(
        "groq",
        _openai(
            {"content": "Hi.", "reasoning": "The user says hello."},
            {
                "queue_time": 0.03,
                "prompt_tokens": 18,
                "prompt_time": 0.0006,
                "completion_tokens": 40,
                "completion_time": 0.08,
                "total_tokens": 58,
                "total_time": 0.09,
            },
            x_groq={"id": "req_01"},
        ),
        "Hi.",
        "stop",
        (18, 40, 0, 0, 0),
    ),
    Golden(
        "openrouter",
        _openai(
            {"content": "Hi.", "reasoning": None},
            {
                "prompt_tokens": 2000,
                "completion_tokens": 5,
                "total_tokens": 2005,
                "cost": 0.0014,
                "is_byok": False,
                "prompt_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 1000},
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
            provider="Anthropic",
        ),
        "Hi.",
        "stop",
        (2000, 5, 600, 1000, 0),
    ),
    Golden(
        "deepseek",
        _openai(
            {"content": "Hi.", "reasoning_content": "Greet."},
            {
                "prompt_tokens": 100,
                "completion_tokens": 30,
                "total_tokens": 130,
                "prompt_tokens_details": {"cached_tokens": 64},
                "completion_tokens_details": {"reasoning_tokens": 20},
                "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36,
            },
        ),
        "Hi.",
        "stop",
        (100, 30, 64, 0, 20),
    ),
    Golden(
        "xai",
        _openai(
            {"content": "Hi."},
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "prompt_tokens_details": {"text_tokens": 32, "cached_tokens": 6},
                "completion_tokens_details": {"reasoning_tokens": 94},
                "num_sources_used": 0,
            },
        ),
        "Hi.",
        "stop",
        (32, 103, 6, 0, 94),
    ),
)
"""What OpenAI's own types accept, too."""

MISTRAL_PARTS = Golden(
    "mistral",
    _openai(
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Greet."}]},
                {"type": "text", "text": "Hi."},
            ]
        },
        {"prompt_tokens": 14, "completion_tokens": 22, "total_tokens": 36},
    ),
    "Hi.",
    "stop",
    (14, 22, 0, 0, 0),
)
"""Mistral's reasoning models answer in parts, which OpenAI's types do not know."""


def _anthropic(content: list[dict[str, Any]], usage: dict[str, Any], stop_reason: str) -> dict[str, Any]:
    return {
        "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage,
    }


ANTHROPIC = (
    Golden(
        "anthropic",
        _anthropic(
            [{"type": "text", "text": "Hello!"}],
            {
                "input_tokens": 21,
                "cache_creation_input_tokens": 188,
                "cache_read_input_tokens": 4000,
                "cache_creation": {"ephemeral_5m_input_tokens": 188, "ephemeral_1h_input_tokens": 0},
                "output_tokens": 393,
                "output_tokens_details": {"thinking_tokens": 300},
                "service_tier": "standard",
            },
            "end_turn",
        ),
        "Hello!",
        "stop",
        (4209, 393, 4000, 188, 300),
    ),
    Golden(
        "anthropic",
        _anthropic(
            [
                {"type": "thinking", "thinking": "Ask the tool.", "signature": "c2ln"},
                {"type": "text", "text": "I'll look."},
                {"type": "tool_use", "id": "toolu_01A09q90qw", "name": "get_weather", "input": {"city": "Paris"}},
            ],
            {"input_tokens": 472, "output_tokens": 89},
            "tool_use",
        ),
        "I'll look.",
        "tool_calls",
        (472, 89, 0, 0, 0),
    ),
    Golden(
        "anthropic",
        _anthropic([{"type": "text", "text": "One, two"}], {"input_tokens": 10, "output_tokens": 4}, "max_tokens"),
        "One, two",
        "length",
        (10, 4, 0, 0, 0),
    ),
    Golden(
        "anthropic",
        _anthropic([{"type": "text", "text": "A"}], {"input_tokens": 10, "output_tokens": 4}, "stop_sequence"),
        "A",
        "stop",
        (10, 4, 0, 0, 0),
    ),
)
