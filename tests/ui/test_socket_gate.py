"""The gate in front of the tabs' sockets, without a server: what is handed on, and when somebody is cut off."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from omni_app.server.refusals import LET_IN
from omni_app.settings import Settings
from omni_app.ui.socket_gate import POLICY_VIOLATION, SocketGate, SocketLimits
from omni_app.ui.socket_words import understood

HELLO = "40/_event,"
KNOWN = "state.omni_app___ui___page.load"
REFLEXS = "state.hydrate_and_load"
EVENT = '42/_event,["event",' + json.dumps({"name": KNOWN, "payload": {"a": 1}, "router_data": {"pathname": "/"}}) + "]"


@dataclass
class App:
    """Takes Reflex's place: notes what it is told, until it is told that the client has gone."""

    heard: list[str] = field(default_factory=list)
    open: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.open += 1
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            self.heard.append(message.get("text", ""))
        self.open -= 1


@dataclass
class Client:
    """What a client sends, one message after the other; with nothing more to say it stays."""

    says: Sequence[Message]
    address: str = "192.0.2.1"
    state: dict[str, bool] = field(default_factory=dict)
    sent: list[Message] = field(default_factory=list)
    leaves: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self, gate: SocketGate) -> None:
        left = list(self.says)

        async def receive() -> Message:
            if left:
                return left.pop(0)
            await self.leaves.wait()
            return {"type": "websocket.disconnect", "code": 1001}

        async def send(message: Message) -> None:
            self.sent.append(message)

        await gate({**self.scope, "state": self.state}, receive, send)

    @property
    def scope(self) -> Scope:
        return {"type": "websocket", "client": (self.address, "1"), "headers": []}

    @property
    def refused(self) -> bool:
        return {"type": "websocket.close", "code": POLICY_VIOLATION} in self.sent


def text(*said: str) -> list[Message]:
    return [{"type": "websocket.receive", "text": one} for one in said]


def gate_of(app: App, **limits: Any) -> SocketGate:
    return SocketGate(app, Settings(), handlers={KNOWN, REFLEXS, "state.other"}, limits=SocketLimits(**limits))


async def test_what_pages_say_is_handed_on() -> None:
    app = App()
    boot = f'40/_event,{{"state_schema":"d35e","event":{{"name":"{REFLEXS}","payload":{{"hashes":["5d0e"]}}}}}}'
    client = Client(text(boot, EVENT, "3"))
    client.leaves.set()
    await client.connect(gate_of(app))
    assert app.heard == [boot, EVENT, "3"] and not client.refused


@pytest.mark.parametrize(
    "said",
    [
        "", "5", "2", "40", "4", "42[]", "42/other,[]", "42/_event,", "42/_event,{}", "42/_event,[]", "42/_event,[1]",
        '42/_event,["event"]', '42/_event,["event",{}]', '42/_event,["event",{"name":"nobody.load"}]',
        '42/_event,["event",{"name":5}]', '42/_event,["event",' + "[" * 5_000, '42/_event,["event","text"]',
        f'42/_event,["event",{{"name":"{KNOWN}","payload":[]}}]',
        f'42/_event,["event",{{"name":"{KNOWN}","router_data":{{"pathname":5}}}}]',
        '42/_event,["ping"]', '42/_event,["client_error"]', '451-/_event,["event",{"_placeholder":true,"num":0}]',
        '42/_event,7["event",{}]', '40/_event,{"event":{"name":"nobody.load"}}', "40/_event,[]",
        f'42/_event,["event",{{"name":"{KNOWN}"}},1]',
        f'40/_event,{{"event":{{"name":"{REFLEXS}","payload":{{"vars":{{"state.a":1}}}}}}}}',
        f'40/_event,{{"event":{{"name":"{REFLEXS}","payload":{{"hashes":[1]}}}}}}',
        '42/_event,["event",{"name":"state.other"}]', "\x00", "42/_event,\ud800",
    ],
)  # fmt: skip
async def test_whoever_says_something_else_is_cut_off(said: str) -> None:
    app = App()
    client = Client(text(HELLO, said, EVENT))
    await client.connect(gate_of(app))
    assert app.heard == [HELLO] and client.refused and app.open == 0


def test_an_error_that_a_browser_reports_is_understood() -> None:
    assert understood('42/_event,["client_error",{"message":"x"}]', handlers=())


async def test_too_many_too_long_and_binary_messages_end_the_socket() -> None:
    for said in (text(HELLO, *["3"] * 20), text(HELLO, "3" * 300), [{"type": "websocket.receive", "bytes": b"3"}]):
        app = App()
        client = Client(said)
        await client.connect(gate_of(app, messages_at_once=10, message_chars=200))
        assert client.refused and len(app.heard) <= 10


async def test_messages_come_back_with_time() -> None:
    app = App()
    client = Client(text(HELLO, *["3"] * 4))
    client.leaves.set()
    await client.connect(gate_of(app, messages_at_once=5, messages_per_s=0.0))
    assert not client.refused


async def test_who_says_nothing_is_not_waited_for() -> None:
    client = Client([])
    async with asyncio.timeout(5):
        await client.connect(gate_of(App(), hello_s=0.05))
    assert client.refused


async def test_an_address_has_a_number_of_sockets_and_another_address_its_own() -> None:
    app = App()
    gate = gate_of(app, at_once=2)
    mine = [Client(text(HELLO)) for _ in range(3)]
    theirs = Client(text(HELLO), address="192.0.2.2")
    tasks = [asyncio.create_task(one.connect(gate)) for one in (*mine, theirs)]
    async with asyncio.timeout(5):
        while app.heard.count(HELLO) < 3:  # noqa: ASYNC110 three of four
            await asyncio.sleep(0)
    assert [one.refused for one in mine] == [False, False, True] and not theirs.refused
    mine[0].leaves.set()
    await tasks[0]
    again = Client(text(HELLO))
    again.leaves.set()
    await again.connect(gate)
    assert not again.refused
    for one in (*mine, theirs):
        one.leaves.set()
    await asyncio.gather(*tasks)


async def test_an_address_opens_so_many_sockets_one_after_the_other_and_no_more() -> None:
    gate = gate_of(App(), new_at_once=3, new_per_s=0.0)
    told = []
    for _ in range(5):
        client = Client([])
        client.leaves.set()
        await client.connect(gate)
        told.append(client.refused)
    assert told == [False, False, False, True, True]


async def test_of_sockets_that_come_in_one_moment_no_more_are_let_in_than_one_after_the_other() -> None:
    app = App()
    gate = gate_of(app, new_at_once=3, new_per_s=0.0)
    clients = [Client([], state={LET_IN: True}) for _ in range(5)]
    let_in = [client for client in clients if not gate.refusal(client.scope)]
    assert let_in == clients[:3]
    tasks = [asyncio.create_task(client.connect(gate)) for client in let_in]
    await asyncio.sleep(0)
    assert app.open == 3
    for client in let_in:
        client.leaves.set()
    await asyncio.gather(*tasks)
    assert not any(client.refused for client in let_in)


async def test_who_was_let_in_by_the_head_is_refused_all_the_same_when_there_are_too_many_by_then() -> None:
    gate = gate_of(App(), at_once=1)
    clients = [Client([], state={LET_IN: True}) for _ in range(2)]
    assert not any(gate.refusal(client.scope) for client in clients)
    tasks = [asyncio.create_task(client.connect(gate)) for client in clients]
    await asyncio.sleep(0)
    for client in clients:
        client.leaves.set()
    await asyncio.gather(*tasks)
    assert [client.refused for client in clients] == [False, True]
