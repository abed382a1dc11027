"""Passwords: which are refused, that hashes match what was typed, and that log-ins cannot take all the memory."""

import asyncio
import threading

import pytest

from omni_app.storage.password_rules import (
    MAX_LENGTH,
    MIN_LENGTH,
    WeakPassword,
    check_strength,
    common_passwords,
    is_common,
    leaked_passwords,
)
from omni_app.storage.passwords import AT_ONCE, hash_password, matches

GOOD = "seven lamps on a quiet harbour"


@pytest.mark.parametrize(
    "password",
    [
        "",
        "elevenchars",
        "x" * 3 + "long" * 32 + "er",
        "aaaaaaaaaaaaaaaa",
        "abababababababab",
        "administrator",
        "Administrator1!",
        "someone@example.com",
        "Unbelievable99!",
        "PolniyPizdec0211",
        "Blue-Engines-2026",
        "SOMEONEengines!1",
        "OmniModelRouter1",
    ],
)
def test_a_password_that_is_short_or_long_or_easy_to_guess_is_refused(password: str) -> None:
    with pytest.raises(WeakPassword) as refused:
        check_strength(password, about=["someone@example.com", "Blue Engines"])
    assert refused.value.param == "password"
    assert password not in refused.value.message or not password


def test_an_uncommon_password_of_twelve_characters_or_a_whole_sentence_is_taken() -> None:
    check_strength("kvW7#qLm2!xz", about=["someone@example.com", "Blue Engines"])
    check_strength("the engines of a blue harbour", about=["Blue Engines"])
    check_strength(GOOD + " " + "ever " * 15)


def test_the_list_of_common_passwords_is_there_and_in_the_spelling_it_is_looked_up_in() -> None:
    assert len(common_passwords()) > 500
    assert all(word == word.casefold() for word in common_passwords())


def test_the_leaked_passwords_that_the_length_would_let_through_are_all_refused() -> None:
    leaked = [line for line in leaked_passwords().splitlines() if not line.startswith("# ")]
    assert len(leaked) == len(set(leaked)) > 40_000
    assert all(MIN_LENGTH <= len(one) <= MAX_LENGTH and one == one.casefold() for one in leaked)
    assert all(map(is_common, [*leaked[:100], *leaked[-100:], *leaked[::500]]))
    assert not is_common("# leaked passwords") and not is_common("unbelievable heron")


async def test_a_hash_matches_its_password_only() -> None:
    stored = await hash_password(GOOD)
    assert stored.startswith("$argon2id$") and "m=47104,t=1,p=1" in stored
    assert GOOD not in stored
    assert await matches(GOOD, stored)
    assert not await matches(GOOD + " ", stored)
    assert not await matches("", stored)


async def test_the_same_password_twice_gives_two_hashes() -> None:
    assert await hash_password(GOOD) != await hash_password(GOOD)


async def test_a_password_matches_however_its_accents_are_composed() -> None:
    assert await matches("cafe\u0301 au lait, please", await hash_password("caf\u00e9 au lait, please"))


async def test_nothing_matches_an_empty_hash() -> None:
    assert not await matches("no account has this password", "")
    assert not await matches("", "")


async def test_what_goes_beyond_the_longest_password_never_matches() -> None:
    longest = "abcdefgh" * (MAX_LENGTH // 8)
    stored = await hash_password(longest)
    assert await matches(longest, stored)
    assert not await matches(longest + "x" * 100_000, stored)


async def test_ten_log_ins_at_once_hash_two_at_a_time_and_leave_the_loop_free() -> None:
    hashing = asyncio.gather(*(hash_password(f"{GOOD} {number}") for number in range(10)))
    ticks, most = 0, 0
    while not hashing.done():
        await asyncio.sleep(0.002)
        ticks += 1
        most = max(most, sum(thread.name.startswith("password") for thread in threading.enumerate()))
    assert len(set(await hashing)) == 10
    assert most == AT_ONCE == 2
    assert ticks >= 10
