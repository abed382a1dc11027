"""Callers go away: in the middle of a stream, and while a plain answer is being made. A play of `make chaos`."""

import argparse
import asyncio
import json
import random
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx

from omni_app.money import PICO_PER_USD
from omni_app.routing.tokens import expected_tokens
from omni_app.storage import accounts, budgets
from omni_app.storage.database import Database
from omni_app.storage.tables import utc_now
from tests.faults.rig import MODEL, PATIENCE_S, POLL_S, Ask, Rig, account, patient_client, rigged, say

WORDS = 2_000
"""Of a streamed answer: it would take minutes, so who hears of its end has not been cut off."""
TEXT = " ".join(f"word{number}" for number in range(WORDS))
BUDGET = 1_000 * PICO_PER_USD
DOORS = ("/v1/chat/completions", "/v1/chat", "/v1/messages")
Way = Literal["close", "reset"]
WAYS: tuple[Way, ...] = ("close", "reset")
STREAMS = 100


@dataclass(frozen=True, slots=True)
class Heard:
    """What one caller had read of a stream when it left."""

    mark: str
    words: int


async def hang_up(rig: Rig, ask: Ask, *, path: str, words: int, way: Way) -> Heard:
    """Reads a stream until so many words have come, then goes: an orderly end (FIN) or a rude one (RST)."""
    reader, writer = await _sent(rig, ask, path=path, stream=True)
    heard = b""
    async with asyncio.timeout(PATIENCE_S):
        while heard.count(b"word") < words:
            piece = await reader.read(65_536)
            if not piece:
                raise AssertionError(f"the stream ended by itself: {heard[-500:]!r}")
            heard += piece
    _leave(writer, way)
    return Heard(ask.mark, heard.count(b"word"))


async def walk_away(rig: Rig, ask: Ask, *, way: Way, stream: bool = False) -> None:
    """Asks, and goes when the provider has been called and has not said anything yet."""
    calls = rig.called()[ask.mark]
    _, writer = await _sent(rig, ask, path=DOORS[0], stream=stream)
    async with asyncio.timeout(PATIENCE_S):
        while rig.called()[ask.mark] == calls:  # noqa: ASYNC110 a list has no event
            await asyncio.sleep(POLL_S)
    _leave(writer, way)


async def _sent(rig: Rig, ask: Ask, *, path: str, stream: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    body = body_of(ask, path=path, stream=stream)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {ask.secret}\r\nIdempotency-Key: {ask.mark}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.settings.port)
    writer.write(head.encode() + body)
    await writer.drain()
    return reader, writer


def body_of(ask: Ask, *, path: str, stream: bool) -> bytes:
    """A request for this door."""
    body = {"messages": [{"role": "user", "content": ask.mark}], "max_tokens": 4 * WORDS, "stream": stream}
    return json.dumps(body if path == "/v1/chat" else body | {"model": MODEL}).encode()


def _leave(writer: asyncio.StreamWriter, way: Way) -> None:
    if way == "reset":
        linger_0 = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_0)
        writer.transport.abort()
    else:
        writer.close()


async def with_budget(rig: Rig) -> None:
    """Every key of the rig's org counts against one budget."""
    database = Database(rig.settings.database)
    async with database.session() as session:
        org_id = await accounts.org_named(session, "Acme")
        await budgets.set_budget(session, org_id=org_id, key_id=None, period="total", limit=BUDGET, now=utc_now())
        await session.commit()
    await database.close()


async def settled_budget(rig: Rig) -> budgets.Standing:
    """How the budget stands once nothing is held any more, or the time is up. Pico-dollars."""
    database = Database(rig.settings.database)
    deadline_s = time.monotonic() + PATIENCE_S / 2
    while True:
        async with database.session() as session:
            org_id = await accounts.org_named(session, "Acme")
            (standing,) = await budgets.standings(session, org_id=org_id, now=utc_now())
        if not standing.reserved or time.monotonic() > deadline_s:
            await database.close()
            return standing
        await asyncio.sleep(POLL_S)


async def until_alone(rig: Rig) -> float:
    """Returns when the provider has nobody left to answer; gives the seconds it took."""
    began_s = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        while rig.upstream.open_connections:  # noqa: ASYNC110 another process does the work
            await asyncio.sleep(POLL_S)
    return time.monotonic() - began_s


def missing_or_free(rig: Rig, heard: Sequence[Heard]) -> list[str]:
    """Callers that left in the middle of an answer and have no row, or one that does not cost what they had read."""
    rows = {row.mark: row for row in rig.ledger()}
    bad = []
    for one in heard:
        row = rows.get(one.mark)
        read_of = " ".join(TEXT.split(" ")[: one.words - 1])
        counted = row is not None and expected_tokens(read_of) <= row.tokens_output < expected_tokens(TEXT) // 2
        if row is None or not counted or row.error_code != "cancelled" or not 0 < row.cost == row.attempts_cost:
            bad.append(f"{one}: {row}")
    return bad


async def asked_again(rig: Rig, client: httpx.AsyncClient, ask: Ask) -> bool:
    """Whether who left a plain answer gets it after all, with the same Idempotency-Key."""
    headers = {"X-API-Key": ask.secret, "Idempotency-Key": ask.mark}
    async with asyncio.timeout(PATIENCE_S):
        while True:
            body = body_of(ask, path=DOORS[0], stream=False)
            answer = await client.post(f"{rig.base_url}{DOORS[0]}", content=body, headers=headers)
            if answer.status_code != 409:
                return answer.status_code == 200 and answer.headers.get("idempotent-replayed") == "true"
            await asyncio.sleep(POLL_S)


async def play(folder: Path, arguments: argparse.Namespace) -> bool:
    """A hundred streams left at random points, at every door, in both ways; then fifty plain requests."""
    draws = random.Random(arguments.seed)
    async with rigged(folder, delay_s=arguments.delay_s) as rig, patient_client() as client:
        rig.upstream.text = TEXT
        await with_budget(rig)
        await rig.start()
        streams, plain = await rig.asks(STREAMS), await rig.asks(STREAMS // 2)
        heard = await asyncio.gather(
            *(
                hang_up(rig, ask, path=DOORS[number % 3], words=draws.randint(1, 20), way=WAYS[number % 2])
                for number, ask in enumerate(streams)
            )
        )
        alone_s = await until_alone(rig)
        await asyncio.gather(*(walk_away(rig, ask, way=WAYS[number % 2]) for number, ask in enumerate(plain)))
        again = await asyncio.gather(*(asked_again(rig, client, ask) for ask in plain))
        await rig.until_settled()
        standing = await settled_budget(rig)
        await rig.terminate()
        told, bad, rows = account(rig), missing_or_free(rig, heard), rig.ledger()
    for one in bad:
        say(one)
    cost = sum(row.cost for row in rows)
    finished = sum(row.success for row in rows)
    say(
        f"{STREAMS} streams left: {STREAMS - len(bad)} rows with their cost, provider let go after {alone_s:.2f} s; "
        f"{len(plain)} plain requests left: {finished} finished, {sum(again)} answered when asked again; budget: spent "
        f"{standing.spent} of {cost} pico-dollars in rows, {standing.reserved} held; {told}"
    )
    return (
        not bad
        and told.balanced
        and finished == sum(again) == len(plain)
        and (standing.spent, standing.reserved) == (cost, 0)
    )
