"""Several requests asked at once from one page, their answers streamed.

Nothing here knows of pages: a `Run` grows, and who shows it asks for news. Closing it closes the streams, which
cancels the calls at the providers; the ledger then says `cancelled`.
"""

import asyncio
import time
from collections.abc import Collection, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

from omni_app.errors import InvalidRequest, OmniError, RateLimited
from omni_app.gateway.types import Answer, Attempt, Caller, ChatRequest, Opened
from omni_app.request_ids import new_request_id
from omni_app.ui.session import UNEXPECTED, backstage, log_unexpected

Status = Literal["waiting", "writing", "answered", "failed", "stopped"]

SHOW_EVERY_S = 0.08
"""News of a run come at most this often, however many words came."""
SHOWN_PER_S = 250_000
"""Characters a second that a run may send to its page: the whole text goes with each news, so long ones come rarer."""
LOOK_EVERY_S = 0.25
"""Without any news, whoever shows the run looks up this often: somebody may have pressed stop."""


@dataclass(slots=True)
class Reply:
    """One request on its way. It grows as the answer comes, and can be shown at any moment."""

    request_id: str = field(default_factory=new_request_id)
    status: Status = "waiting"
    model: str = ""
    """Who answers; empty until it is known."""
    pieces: list[str] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    first_token_ms: int | None = None
    answer: Answer | None = None
    code: str = ""
    """Of the error that ended it, as the API would give it."""
    problem: str = ""
    recorded: bool = False
    """Whether the ledger knows it: not when it was refused before it began."""

    @property
    def over(self) -> bool:
        return self.status in ("answered", "failed", "stopped")

    @property
    def text(self) -> str:
        """What has come so far."""
        return "".join(self.pieces)

    @property
    def cost(self) -> int:
        """Pico-dollars of all attempts that have ended, failed ones too."""
        return sum(attempt.cost for attempt in self.attempts)


@dataclass(slots=True)
class Run:
    """One press of Send: the columns' replies, all at the same time. An async context: leaving it stops what runs."""

    caller: Caller
    requests: Mapping[str, ChatRequest]
    """Column -> what it asks."""
    id: str = field(default_factory=new_request_id)
    replies: dict[str, Reply] = field(init=False)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.replies = {column: Reply() for column in self.requests}

    @property
    def over(self) -> bool:
        """Whether every reply has ended, and what it met and cost is known."""
        return all(task.done() for task in self._tasks.values())

    @property
    def cost(self) -> int:
        """Pico-dollars so far."""
        return sum(reply.cost for reply in self.replies.values())

    async def __aenter__(self) -> "Run":
        for column, request in self.requests.items():
            task = asyncio.create_task(self._ask(self.replies[column], request))
            task.add_done_callback(lambda _: self._changed.set())
            self._tasks[column] = task
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(self.replies)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def stop(self, columns: Collection[str]) -> None:
        """Ends these replies; one that is over stays as it is."""
        for column in columns:
            if column in self._tasks and not self.replies[column].over:
                self.replies[column].status = "stopped"
                self._tasks[column].cancel()

    async def news(self) -> None:
        """Returns when there is something to show, or when it is time to look up; never sooner than the last pause."""
        shown = sum(len(piece) for reply in self.replies.values() for piece in reply.pieces)
        await asyncio.sleep(max(SHOW_EVERY_S, shown / SHOWN_PER_S))
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._changed.wait()
        self._changed.clear()

    async def _ask(self, reply: Reply, request: ChatRequest) -> None:
        """One reply from beginning to end; how it ends is noted in it."""
        try:
            await self._stream(reply, request)
        except OmniError as error:
            reply.status, reply.code = "failed", error.code
            reply.problem = error.message[:1].upper() + error.message[1:]
            reply.recorded &= bool(reply.attempts) or not isinstance(error, RateLimited | InvalidRequest)
        except Exception as error:  # noqa: BLE001 the outermost edge of this task
            log_unexpected("a playground answer", error)
            reply.status, reply.problem = "failed", UNEXPECTED

    async def _stream(self, reply: Reply, request: ChatRequest) -> None:
        gateway = backstage.services.gateway
        started_s = time.monotonic()
        await gateway.admit(self.caller)
        reply.recorded = True
        stream = gateway.stream(self.caller, request, request_id=reply.request_id, attempts=reply.attempts)
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                if isinstance(piece, Opened):
                    reply.model, reply.status = piece.deployment.id, "writing"
                elif isinstance(piece, Answer):
                    reply.answer, reply.status = piece, "answered"
                else:
                    if reply.first_token_ms is None:
                        reply.first_token_ms = round((time.monotonic() - started_s) * 1000)
                    reply.pieces += [delta.text for delta in piece]
                self._changed.set()
