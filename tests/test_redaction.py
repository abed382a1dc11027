"""Whatever logs, and whatever it logs: no secret comes out."""

import io
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app import redaction
from omni_app.storage.keys import generate_key

OPAQUE = "Zq8vN3wLr0TtY6bKx2Mh"


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A library's own logger with its own handler, at debug level, while records are cleaned."""
    before = logging.getLogRecordFactory()
    redaction.install()
    redaction.install()
    stream = io.StringIO()
    logger, handler = logging.getLogger("some.library"), logging.StreamHandler(stream)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield logger, stream
    logger.removeHandler(handler)
    logging.setLogRecordFactory(before)


@pytest.mark.parametrize(
    "message",
    [
        f"Authorization: Bearer {OPAQUE}",
        f"{{'authorization': 'Bearer {OPAQUE}', 'host': 'x'}}",
        f"[(b'x-api-key', b'{OPAQUE}'), (b'host', b'x')]",
        f"headers={{'cookie': 'a=b; omr_session={OPAQUE}'}}",
        f"Cookie: __Host-omr_session={OPAQUE}; theme=dark",
        f"connecting to postgresql://omni:{OPAQUE}@db.example:5432/omni",
        f'{{"email": "a@b.example", "password": "{OPAQUE}"}}',
        f"password={OPAQUE}&email=a",
        f"key sk-ant-{OPAQUE} refused",
        f"gsk_{OPAQUE}",
        f"AIza{OPAQUE}{OPAQUE}",
        f"eyJhbGciOi.{OPAQUE}.{OPAQUE}",
        f"$argon2id$v=19$m=47104,t=1,p=1${OPAQUE}",
        f"?api_key={OPAQUE}",
    ],
)
def test_a_secret_of_any_form_is_removed(log: tuple[logging.Logger, io.StringIO], message: str) -> None:
    logger, stream = log
    logger.debug(message)
    logger.debug("told: %s", message)
    logger.debug("%s %d", message, "not a number")
    try:
        raise ValueError(message)
    except ValueError:
        logger.exception("it failed")
    written = stream.getvalue()
    assert OPAQUE not in written
    assert written.count(redaction.REMOVED) >= 3
    assert "ValueError" in written and "it failed" in written


@given(st.sampled_from(["live", "test"]), st.text(max_size=20), st.text(max_size=20))
def test_our_own_keys_are_removed_wherever_they_stand(kind: str, before: str, after: str) -> None:
    key = generate_key("live" if kind == "live" else "test")
    text = f"{before} {key} {after}"
    assert key[9:] not in redaction.cleaned(text)


@pytest.mark.parametrize(
    "message",
    [
        "request req_01a20a3ab9e0260667b762b98aee4aa1 failed: KeyError",
        "the ledger waits for the database: OperationalError, 1.5 MB in the spool",
        "openai/gpt-4.1 is left alone for 5 s: rate_limited",
        "GET http://127.0.0.1:8000/v1/models 200",
        "tokens: 12 in, 20 out",
    ],
)
def test_what_is_no_secret_stays(message: str) -> None:
    assert redaction.cleaned(message) == message
