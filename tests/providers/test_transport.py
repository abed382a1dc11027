"""What is left of a provider's error text, and how long it asks to wait."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from omni_app.providers.transport import MAX_DETAIL, cleaned, retry_after_s

KEY_TEXT = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=20, max_size=100)
PREFIXES = (
    "sk-",
    "sk-ant-api03-",
    "sk-proj-",
    "sk-or-v1-",
    "gsk_",
    "xai-",
    "AIza",
    "omr_live_",
    "omr_test_",
    "pk-",
    "hf_",
)
AROUND = st.text(st.characters(codec="utf-8", exclude_categories=["L", "N"], exclude_characters="-_"), max_size=20)


@given(st.sampled_from(PREFIXES), KEY_TEXT, AROUND, AROUND)
def test_keys_never_survive(prefix: str, secret: str, before: str, after: str) -> None:
    assert secret[:8] not in cleaned(f"Key given:{before} {prefix}{secret} {after}")


@given(KEY_TEXT, st.sampled_from(["Bearer {}", "bearer  {}", "api_key={}", "?key={}&alt=sse", "'{}'", "token={}"]))
def test_keys_without_a_known_beginning_never_survive_where_keys_stand(secret: str, place: str) -> None:
    if place == "'{}'":
        secret = secret.ljust(32, "x")
    assert secret[:8] not in cleaned(f"Wrong credentials: {place.format(secret)} (see the docs)")


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-********************abcd",
        "abcd1234************wxyz",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "key-3ax6xnjp29jd6fds4gc373sgvjxteol0",
        "AQ.Ab8RN6Kq0wJcXy-Zt_1234567890",
        "6f1e2d3c4b5a69788796a5b4c3d2e1f0",
    ],
)
def test_masked_and_odd_keys_do_not_survive(secret: str) -> None:
    assert cleaned(f"Incorrect API key provided: {secret} today") == "Incorrect API key provided: [removed] today"


@pytest.mark.parametrize(
    "text",
    [
        "The key is wrong",
        "skipped words here, key by key",
        "a key-value pair",
        "Bearer token is missing",
        "Bearer authentication required",
        "public keys and keyboards",
        "The model `meta-llama/llama-4-maverick` does not exist",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
        "max_completion_tokens is too large: 100000. This model supports at most 16384",
        "Unsupported parameter: 'max_tokens' is not supported with this model.",
        "See https://platform.openai.com/docs/guides/error-codes/api-errors for more.",
    ],
)
def test_ordinary_words_survive(text: str) -> None:
    assert cleaned(text) == text


@given(st.text())
@example("x" * 10_000_000)
@example("a\nb\x00c\x1b[31m")
def test_what_is_left_is_one_short_printable_line(text: str) -> None:
    line = cleaned(text)
    assert len(line) <= MAX_DETAIL
    assert line.isprintable()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        (" 1.5 ", 1.5),
        ("Wed, 01 Jan 2026 00:00:30 GMT", 30),
        ("Wed, 01 Jan 2026 00:00:30", 30),
        ("Wed, 01 Jan 2020 00:00:00 GMT", 0),
        ("-1", None),
        ("99999999", None),
        ("nan", None),
        ("soon", None),
        ("0 Jan 99999999999 00:00:00 GMT", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": value}, now=datetime(2026, 1, 1, tzinfo=UTC)) == seconds


@given(st.text() | st.from_regex(r"\A\w{3}, \d\d \w{3} \d{1,6} \d\d:\d\d:\d\d [+-]\d{1,9}\Z"))
def test_any_retry_after_is_seconds_or_nothing(value: str) -> None:
    seconds = retry_after_s({"retry-after": value})
    assert seconds is None or seconds >= 0


def test_without_the_header_there_is_nothing_to_wait_for() -> None:
    assert retry_after_s({}) is None
