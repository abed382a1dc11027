"""A load on one path, from a process of its own: `python -m tests.faults.load` reads a plan, prints what came of it.

Open loop: requests are due at fixed times, whatever becomes of those before, and a latency counts from the moment its
request was due (Gil Tene, "How NOT to Measure Latency"). A request for which no connection is free opens one, or waits
for one when there are `callers` already; what waits at the end of its step is never sent. Closed loop (rate 0): each
caller sends its next request when the last one is answered.
"""

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import uvloop

TICK_S = 0.002
LAST_ANSWERS_S = 20.0
"""How long answers are waited for at the end."""


class Step(NamedTuple):
    """One part of a load: requests per second, seconds, and at most so many callers."""

    rate: float
    seconds: float
    callers: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send, and the steps, one after the other."""

    url: str
    secret: str
    body: Mapping[str, Any]
    steps: Sequence[Step]

    @property
    def request(self) -> bytes:
        """The request as it goes over the wire."""
        parts, body = urlsplit(self.url), json.dumps(self.body).encode()
        head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {self.secret}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Reply(NamedTuple):
    """One answer: when its request was due and when it was whole, in seconds since the load began."""

    due_s: float
    done_s: float
    status: int
    """0: the connection broke."""
    patient: bool
    """Whether it says when to come back."""

    @property
    def latency_s(self) -> float:
        return self.done_s - self.due_s


class Outcome(NamedTuple):
    """What came of a plan. `sent` and `began_s` are by step."""

    sent: Sequence[int]
    began_s: Sequence[float]
    replies: Sequence[Reply]

    @property
    def unanswered(self) -> int:
        return sum(self.sent) - len(self.replies)


@dataclass(slots=True)
class Load:
    """The state of one load."""

    plan: Plan
    clock_s: float = field(default_factory=time.monotonic)
    sent: list[int] = field(default_factory=list)
    began_s: list[float] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    idle: list["Caller"] = field(default_factory=list)
    due: deque[float] = field(default_factory=deque)
    callers: int = 0
    closed: bool = False

    def now_s(self) -> float:
        return time.monotonic() - self.clock_s

    def free(self, caller: "Caller") -> None:
        """A caller has nothing to do."""
        if self.closed:
            caller.ask(self.now_s())
        elif self.due:
            caller.ask(self.due.popleft())
        else:
            self.idle.append(caller)


class Caller(asyncio.Protocol):
    """One connection: a request, its answer, the next."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._request = load.plan.request
        self._due_s: float | None = None
        self._head = b""
        self._left = -1
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        self._load.free(self)

    def ask(self, due_s: float) -> None:
        """Sends the request."""
        self._due_s, self._head, self._left = due_s, b"", -1
        self._load.sent[-1] += 1
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            self._head += data
            head, end, rest = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = head.lower()
            self._left, data = int(self._head.split(b"content-length: ")[1].split(b"\r\n")[0]), rest
        self._left -= len(data)
        if self._left == 0:
            self._answered(int(self._head[9:12]))
            self._load.free(self)

    def _answered(self, status: int) -> None:
        if self._due_s is not None:
            self._load.replies.append(Reply(self._due_s, self._load.now_s(), status, b"retry-after:" in self._head))
        self._due_s = None

    def connection_lost(self, error: Exception | None) -> None:
        self._answered(0)
        self._load.callers -= 1
        if self in self._load.idle:
            self._load.idle.remove(self)


async def run(plan: Plan) -> Outcome:
    """Sends what is planned, and waits for the last answers."""
    load, parts = Load(plan), urlsplit(plan.url)
    opening: set[asyncio.Task[Any]] = set()

    def open_one() -> None:
        load.callers += 1
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.create_connection(lambda: Caller(load), str(parts.hostname), parts.port or 80))
        opening.add(task)
        task.add_done_callback(opening.discard)

    for step in plan.steps:
        load.sent.append(0)
        load.began_s.append(load.now_s())
        load.closed, planned = not step.rate, 0
        while (passed_s := load.now_s() - load.began_s[-1]) < step.seconds:
            while step.rate and planned / step.rate <= passed_s:
                load.due.append(load.began_s[-1] + planned / step.rate)
                planned += 1
            while load.idle and (load.due or load.closed):
                load.free(load.idle.pop())
            wanted = step.callers if load.closed else load.callers + len(load.due) - len(opening)
            for _ in range(min(wanted, step.callers) - load.callers):
                open_one()
            await asyncio.sleep(TICK_S)
        load.closed = False
        load.due.clear()
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_ANSWERS_S):
            while len(load.replies) < sum(load.sent):  # noqa: ASYNC110 many callers, one end
                await asyncio.sleep(TICK_S)
    return Outcome(load.sent, load.began_s, load.replies)


async def loaded(plan: Plan) -> Outcome:
    """As `run`, in another process, so that it does not compete with a provider of this one."""
    command = [sys.executable, "-m", "tests.faults.load"]
    child = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    output, _ = await child.communicate(json.dumps(asdict(plan)).encode())
    sent, began_s, replies = json.loads(output)
    return Outcome(sent, began_s, [Reply(*one) for one in replies])


def main() -> None:
    """A plan from stdin, its outcome to stdout."""
    gc.disable()  # walking a hundred thousand replies stops the clock that judges for 50 ms
    told = json.load(sys.stdin)
    plan = Plan(**told | {"steps": [Step(*one) for one in told["steps"]]})
    json.dump(uvloop.run(run(plan)), sys.stdout)


if __name__ == "__main__":
    main()
