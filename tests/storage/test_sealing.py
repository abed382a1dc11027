"""Sealed texts: only the same key, purpose and place open them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.storage.sealing import CannotOpen, Sealer

KEY = "a secret of at least thirty-two characters"
SEALER = Sealer(KEY, purpose="prompts")


@given(st.binary(max_size=300), st.text(max_size=20))
def test_what_was_sealed_opens_again_and_never_twice_the_same(text: bytes, about: str) -> None:
    first, second = SEALER.seal(text, about=about), SEALER.seal(text, about=about)
    assert first != second and len(first) == len(text) + 29
    assert SEALER.open(first, about=about) == SEALER.open(second, about=about) == text


@given(st.binary(min_size=8, max_size=300))
def test_the_text_is_not_to_be_seen(text: bytes) -> None:
    assert text not in SEALER.seal(text, about="req_1")


@pytest.mark.parametrize(
    ("sealer", "about"),
    [
        (Sealer(KEY + "x", purpose="prompts"), "req_1"),
        (Sealer(KEY, purpose="answers"), "req_1"),
        (SEALER, "req_2"),
    ],
)
def test_another_key_purpose_or_place_opens_nothing(sealer: Sealer, about: str) -> None:
    with pytest.raises(CannotOpen):
        sealer.open(SEALER.seal(b"hello", about="req_1"), about=about)


@given(st.data())
def test_one_changed_bit_opens_nothing(data: st.DataObject) -> None:
    sealed = bytearray(SEALER.seal(b"hello", about="req_1"))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CannotOpen):
        SEALER.open(bytes(sealed), about="req_1")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" + b"n" * 12, b"\x02" + b"n" * 40])
def test_what_was_never_sealed_opens_nothing(sealed: bytes) -> None:
    with pytest.raises(CannotOpen):
        SEALER.open(sealed, about="req_1")
