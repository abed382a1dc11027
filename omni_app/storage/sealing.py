"""Sealing: what is kept of people's texts is encrypted and authenticated (AES-256-GCM, RFC 5116).

The keys are derived from `OMNI_SECRET_KEY` by HKDF-SHA256 (RFC 5869), one for each purpose, so that what was sealed
for one thing can never be opened as another. A sealed value is a version byte, a random 96-bit nonce, the ciphertext.
"""

import os
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
NONCE_BYTES = 12


class CannotOpen(Exception):
    """Sealed with another key, for something else, or damaged."""


class Sealer:
    """Seals and opens for one purpose. `about` ties a value to what it belongs to: it opens with the same one only.

    What was sealed with `other_key` is opened too: one key is exchanged for another that way.
    """

    def __init__(self, secret_key: str, *, purpose: str, other_key: str = "") -> None:
        self._keys, self._purpose = [one for one in (secret_key, other_key) if one], purpose

    @cached_property
    def _ciphers(self) -> "list[AESGCM]":
        """Made when something is sealed or opened: until then no worker holds the 7 MB of the package."""
        return [_cipher(one, self._purpose) for one in self._keys]

    def seal(self, text: bytes, *, about: str) -> bytes:
        """The sealed text: 29 bytes longer."""
        nonce = os.urandom(NONCE_BYTES)
        return VERSION + nonce + self._ciphers[0].encrypt(nonce, text, about.encode())

    def open(self, sealed: bytes, *, about: str) -> bytes:
        """The text. Raises `CannotOpen`."""
        if sealed[:1] != VERSION:
            raise CannotOpen("sealed by another version")
        from cryptography.exceptions import InvalidTag

        nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        for cipher in self._ciphers:
            with suppress(InvalidTag, ValueError):
                return cipher.decrypt(nonce, ciphertext, about.encode())
        raise CannotOpen("sealed with another key, or damaged")


def derived_key(secret_key: str, *, purpose: str) -> bytes:
    """256 bits for one purpose; they tell nothing of the secret key, nor of another purpose's."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length=32, salt=None, info=f"omni {purpose}".encode()).derive(secret_key.encode())


def _cipher(secret_key: str, purpose: str) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(derived_key(secret_key, purpose=purpose))
