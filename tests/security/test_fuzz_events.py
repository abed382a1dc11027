"""Every event handler with arguments of any kind, made up by hypothesis, over a real websocket of the whole product.

Whoever sends it is signed in, or not; nothing of it is an unhandled error. `make fuzz` is the long form.
"""

import asyncio
import json
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import count, islice
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from reflex_base.utils.format import format_event_handler

from omni_app.ui.socket_gate import SocketLimits
from omni_app.ui.socket_words import understood
from tests.cases import fuzzing
from tests.security.knocks import ARGUMENTS
from tests.security.processes import Product
from tests.security.registry import handlers
from tests.security.websocket_client import Socket, greeted, opened

SHORT, LONG = 4, 200
"""Events of each handler, signed in and not."""
HANDLERS = {
    format_event_handler(one): list(one._parameters)[1:] for _, one in {**handlers(), **handlers(ours=False)}.values()
}
HYDRATE = {"name": "reflex___state____state.hydrate", "router_data": {"pathname": "/"}}
FAILED = ("Traceback", " failed: ", "Unknown receive error", "never retrieved")
"""What an error that nobody handled leaves in the log."""
PEERS = (str(ip_address("10.0.0.0") + number) for number in count())
"""Each socket is of an address of its own: how much one may say is another test's."""
LETTERS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | LETTERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LETTERS, inner, max_size=3),
    max_leaves=6,
)
GOOD = st.sampled_from(list(ARGUMENTS.values()))


@st.composite
def payloads(draw: st.DrawFn, names: list[str]) -> dict[str, Any]:
    """The handler's arguments, each good or of any kind; now and then one is missing, or there is one more."""
    given_names = [name for name in names if draw(st.integers(0, 9))]
    extra = draw(st.dictionaries(LETTERS, VALUES, max_size=1)) if not draw(st.integers(0, 4)) else {}
    return {name: draw(st.one_of(st.just(ARGUMENTS.get(name)), GOOD, VALUES)) for name in given_names} | extra


def made_up(name: str, count: int) -> list[dict[str, Any]]:
    """So many events for one handler, with addresses of any kind."""
    events: list[dict[str, Any]] = []

    @settings(max_examples=count, deadline=None, database=None, derandomize=not fuzzing(), phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(payloads(HANDLERS[name]), st.dictionaries(LETTERS, LETTERS, max_size=2), LETTERS)
    def collect(payload: dict[str, Any], query: dict[str, str], path: str) -> None:
        place = {"pathname": f"/{path}", "asPath": f"/{path}?{path}", "query": query}
        events.append({"name": name, "payload": payload, "router_data": place})

    collect()
    return events


async def sent(product: Product, events: list[dict[str, Any]], *, token: str, cookie: str) -> None:
    """All of them over sockets of one tab; returns when the server has answered what came last, or cut it off."""
    left = iter(events)
    while some := list(islice(left, SocketLimits().messages_at_once - 10)):
        async with (
            opened(product.address, token, cookie=cookie, peer=next(PEERS)) as socket,
            asyncio.timeout(60),
        ):
            await greeted(socket)
            said = [f'42/_event,["event",{json.dumps(event)}]' for event in [*some, HYDRATE]]
            for one in said:
                await socket.send(one)
            if all(understood(one, handlers=HANDLERS) for one in said):
                await until_hydrated(socket)
            else:
                await socket.until_closed()


async def until_hydrated(socket: Socket) -> None:
    """Each event of a tab waits for the one before it."""
    while "rx_router" not in await socket.text():
        pass


def failures(text: str) -> Iterator[str]:
    return (line for line in text.splitlines() if any(mark in line for mark in FAILED))


@pytest.mark.fuzz
@pytest.mark.timeout(0 if fuzzing() else 120)
@pytest.mark.parametrize("signed_in", [True, False], ids=["signed in", "a stranger"])
async def test_no_event_is_an_unhandled_error(product_process: Product, signed_in: bool) -> None:  # noqa: FBT001
    assert len(HANDLERS) > 60
    before = len(product_process.log)
    cookie = product_process.cookie if signed_in else ""
    for number, name in enumerate(sorted(HANDLERS)):
        events = made_up(name, LONG if fuzzing() else SHORT)
        await sent(product_process, events, token=f"fuzz-{signed_in}-{number}", cookie=cookie)
    assert list(failures(product_process.log[before:])) == []
