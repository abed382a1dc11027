"""Connecting to a provider: one deadline for all of it, which our own load does not shorten."""

import asyncio
import re
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from pathlib import Path

import pytest

from omni_app.authorities import web_context
from omni_app.pace import LoopTimeout
from omni_app.providers.anthropic_wire import AnthropicWire
from omni_app.providers.base import FaultKind
from omni_app.providers.names import Name
from omni_app.providers.openai_wire import OpenAIWire
from omni_app.providers.pooled_client import Connection, Place, PooledClient
from omni_app.providers.transport import Transport
from tests.providers.asking import ask, eventually, fault_met, wire, within
from tests.providers.conftest import BOTH_CLIENTS
from tests.providers.resolver import resolving
from tests.servers.authority import Authority
from tests.servers.upstream import TEXT, Upstream


async def test_on_a_calm_loop_it_is_a_timeout() -> None:
    began_s = time.monotonic()
    with pytest.raises(TimeoutError):
        async with LoopTimeout(0.2):
            await asyncio.sleep(10)
    assert 0.19 <= time.monotonic() - began_s < 1.0


async def test_time_in_which_the_loop_was_busy_does_not_count() -> None:
    async with LoopTimeout(0.2):
        for _ in range(4):
            time.sleep(0.1)  # noqa: ASYNC251 the loop is kept busy on purpose
            await asyncio.sleep(0)


@BOTH_CLIENTS
async def test_a_connection_made_while_we_are_busy_is_no_fault_of_the_provider(transport: Transport) -> None:
    async with Upstream() as upstream:
        patient = within(ask(), connect_s=0.2, first_byte_s=20, total_s=20)
        call = asyncio.create_task(wire("openai", upstream, transport).complete(patient))
        while not call.done():
            time.sleep(0.1)  # noqa: ASYNC251 the loop is kept busy on purpose
            await asyncio.sleep(0)
    assert call.result().text == TEXT


@BOTH_CLIENTS
async def test_a_handshake_that_never_ends_is_over_in_time(transport: Transport) -> None:
    """TLS to a port that accepts, reads and says nothing."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Upstream() as upstream:
        provider = wire("openai", upstream, transport)
        provider.base_url = f"https://127.0.0.1:{port}/v1"
        began_s = time.monotonic()
        met = await fault_met(provider, within(ask(), connect_s=0.2, first_byte_s=20, total_s=20))
    assert met.kind is FaultKind.CONNECT_TIMEOUT and time.monotonic() - began_s < 2
    server.close()


@BOTH_CLIENTS
async def test_who_shows_a_certificate_that_nobody_vouches_for_is_told_nothing(
    transport: Transport, tmp_path: Path
) -> None:
    """It is a fault like any other, so the next provider is asked."""
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            heard.extend(await reader.read())
        writer.close()

    server = await asyncio.start_server(
        listen, "127.0.0.1", 0, ssl=Authority(tmp_path).serves("127.0.0.1", "localhost")
    )
    port = server.sockets[0].getsockname()[1]
    async with Upstream() as upstream:
        provider = wire("openai", upstream, transport)
        for host in ("127.0.0.1", "localhost"):
            provider.base_url = f"https://{host}:{port}/v1"
            met = await fault_met(provider, within(ask(), connect_s=5, first_byte_s=5, total_s=10))
            assert met.kind in (FaultKind.REFUSED, FaultKind.CONNECTION_LOST), met
    server.close()
    assert heard == b""


def test_calls_go_out_over_tls_1_2_at_least_and_certificates_are_checked() -> None:
    context = web_context()
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    weak = [one["name"] for one in context.get_ciphers() if re.search("NULL|RC4|DES|MD5|EXP|anon", one["name"])]
    assert weak == []


@BOTH_CLIENTS
async def test_names_that_are_looked_up_for_ever_are_over_in_time_and_hold_up_no_other_provider(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is asked for once. The loop has two threads for lookups, as uvloop has; a lookup outlives its callers."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    impatient = within(ask(), connect_s=0.2, first_byte_s=20, total_s=20)

    def at(host: str) -> OpenAIWire | AnthropicWire:
        provider = wire("openai", upstream, transport)
        provider.base_url = provider.base_url.replace("127.0.0.1", host)
        return provider

    async with Upstream() as upstream:
        with resolving(monkeypatch) as resolver:
            resolver.hanging = {f"slow-{number}.example" for number in range(3)}
            began_s = time.monotonic()
            met = await asyncio.gather(*(fault_met(at(host), impatient) for host in [*resolver.hanging] * 4))
            met.append(await fault_met(at("slow-0.example"), impatient))
            assert {one.kind for one in met} == {FaultKind.CONNECT_TIMEOUT} and time.monotonic() - began_s < 2
            assert (await at("well.example").complete(within(impatient, connect_s=2))).text == TEXT
            assert sorted(resolver.asked) == [*sorted(resolver.hanging), "well.example"]


async def test_a_caller_who_leaves_says_nothing_of_the_address() -> None:
    """One who waits for a handshake; what is known of the name is for when the resolver is away."""
    met: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(lambda _, writer: met.append(writer), "127.0.0.1", 0) as silent:
        name = Name("127.0.0.1", silent.sockets[0].getsockname()[1])
        assert await name.addresses()
        connection = Connection(asyncio.get_running_loop(), Place(1, name))
        reaching = asyncio.create_task(PooledClient._reach(connection, name, secure=True))
        await asyncio.sleep(0.2)
        reaching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reaching
        assert name._known
        for writer in met:
            writer.close()


@BOTH_CLIENTS
async def test_a_provider_that_holds_every_place_it_has_leaves_others_theirs(transport: Transport) -> None:
    transport = Transport(max_connections=5, client=transport.client)
    patient = within(ask(), connect_s=0.2, first_byte_s=20, total_s=20)
    async with Upstream(fault="hang") as hanging, Upstream() as healthy, aclosing(transport):
        slow = wire("openai", hanging, transport)
        held = [asyncio.create_task(slow.complete(patient)) for _ in range(5)]
        await eventually(lambda: len(hanging.calls) == 5)
        assert (await fault_met(slow, patient)).kind is FaultKind.CONNECT_TIMEOUT, "no sixth place, and no long wait"
        answer = await wire("anthropic", healthy, transport).complete(patient)
        for one in held:
            one.cancel()
        await asyncio.gather(*held, return_exceptions=True)
    assert answer.text == TEXT and len(hanging.calls) == 5
