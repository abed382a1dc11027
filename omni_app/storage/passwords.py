"""Passwords as hashes: argon2id through passlib, at most two at once and off the event loop.

Parameters: 46 MiB, one pass, one lane (OWASP's password storage cheat sheet, first recommended set).
"""

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from omni_app.storage.password_rules import MAX_LENGTH, normalised

if TYPE_CHECKING:
    from passlib.context import CryptContext

AT_ONCE = 2
"""Each hash takes 46 MiB; this bounds the memory that log-ins can take."""

Result = TypeVar("Result")
_workers = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="password")


@cache
def _context() -> "CryptContext":
    """Made when somebody logs in: a worker that answers programs alone spares passlib's memory."""
    from passlib.context import CryptContext

    return CryptContext(
        schemes=["argon2"],
        argon2__type="ID",
        argon2__memory_cost=47_104,
        argon2__time_cost=1,
        argon2__parallelism=1,
    )


async def hash_password(password: str) -> str:
    """The argon2id hash to store."""
    return await _off_loop(_hash, normalised(password))


async def matches(password: str, stored: str) -> bool:
    """Whether the password is the one of the hash. An empty hash takes the same time and never matches."""
    known = stored or await dummy_hash()
    text = normalised(password[: MAX_LENGTH + 1])
    return await _off_loop(_verify, text, known) and bool(stored) and len(password) <= MAX_LENGTH


def outdated(stored: str) -> bool:
    """Whether a hash was made with other parameters than today's."""
    return _context().needs_update(stored)


def mark_of(stored: str) -> str:
    """What tells one stored hash from the next, and nothing else of it."""
    return hashlib.sha256(stored.encode()).hexdigest()[:32]


async def dummy_hash() -> str:
    """A hash that nothing matches, made once."""
    return await _off_loop(_dummy)


@cache
def _dummy() -> str:
    return _hash("no account has this password")


def _hash(password: str) -> str:
    hashed: str = _context().hash(password)
    return hashed


def _verify(password: str, stored: str) -> bool:
    right: bool = _context().verify(password, stored)
    return right


async def _off_loop(function: Callable[..., Result], *arguments: str) -> Result:
    return await asyncio.get_running_loop().run_in_executor(_workers, function, *arguments)
