"""Rate limits shared by all workers, in Upstash's Redis: exact together, and most requests are decided from memory.

A worker asks Redis for what it needs and for a lease beside it, a part of what remains; the next requests take from the
lease without asking. Near the limit there are no leases: each decision is one of an atomic script, on Redis' own clock.
Who is refused while other workers hold leases waits until they have given them back (docs/decisions/0036-leases.md).

When Redis is away or slow, a breaker opens and each worker enforces its share by itself (`mode: local`): of what
remained when Redis was last heard in this window, else of the limit. Redis is asked again after a pause, by the worker
itself: once the breaker is open no request waits for Redis until it has answered, and then hears what was used.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from upstash_redis.asyncio import Redis

from omni_app.limits.base import Quota, Verdict
from omni_app.limits.door import PREFIX, TIMEOUT_S, Door, new_id
from omni_app.limits.leases import LEASE_S, WISH, Share, Taken, Use
from omni_app.limits.scripts import ASK, TELL, Asked, Outcome

BATCH = 128
"""Requests of the same subjects that are decided by one call."""
FAILURES_TO_OPEN = 3
PAUSE_S = 5.0
TELL_S = 0.5
"""Between two questions whether somebody is refused for leases that are held here."""
GATHER_S = 0.02
"""What is to be told is gathered for so long."""
TOLD_AT_ONCE = 200
"""Subjects in one call."""
RECALL_S = 1.0
"""A request waits so long for other workers' leases before it is refused."""
RECALL_PAUSE_S = 0.1
SMALLEST_PART = 8
"""A lease is at most an eighth of what remains, less with many workers."""
MAX_SUBJECTS = 50_000


@dataclass(slots=True, eq=False)
class Waiting:
    """A request that stands in line for Redis' verdict."""

    amount: int
    came_s: float
    verdict: asyncio.Future[Verdict]


Line = deque[Waiting]


class UpstashLimiter:
    """The limiter for many workers. `workers` is how many share the limit when Redis is away."""

    def __init__(
        self,
        redis: Redis,
        *,
        workers: int = 1,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._door = Door(redis, timeout_s=timeout_s, clock=clock)
        self._workers = workers
        self._clock = clock
        self._shares: OrderedDict[str, Share] = OrderedDict()
        self._leased: dict[str, Share] = {}
        self._news: dict[str, Share] = {}
        """Of which Redis has to hear something."""
        self._lines: dict[tuple[Quota, ...], Line] = {}
        self._heard_until_ms = 0
        self._background: set[asyncio.Task[Any]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._closing = False

    # ---------------------------------------------------------------------------------------------- from memory alone

    def count(self, *quotas: Quota, amount: int = 1) -> Verdict | None:
        """The verdict, when it takes nothing but what is held here, or Redis is away; else None: `take` asks."""
        now_s, shares, tightest, remaining = self._clock(), [], None, 0
        for quota in quotas:
            share = self._shares.get(quota.subject)
            left = -1 if share is None else share.left_after(amount, now_s)
            if share is None or left < 0 or (share.quota is not quota and share.quota != quota):
                return self._alone(quotas, amount) if self._door.is_open else self._refused(quotas, amount, now_s)
            shares.append(share)
            if tightest is None or left < remaining:
                tightest, remaining = quota, left
        assert tightest is not None  # noqa: S101 there is a quota
        taken = Taken([(share, share.take(amount, now_s)) for share in shares], amount)
        return Verdict(True, tightest.limit, remaining, 0.0, "shared", taken)

    def _refused(self, quotas: Sequence[Quota], amount: int, now_s: float) -> Verdict | None:
        """The refusal, where one is known of; None where Redis has to be asked."""
        for quota in quotas:
            share = self._shares.get(quota.subject)
            if share is not None and share.quota == quota and share.is_full(amount, now_s):
                return Verdict(False, quota.limit, 0, share.free_at_s - now_s, "shared")
        return None

    def _alone(self, quotas: Sequence[Quota], amount: int) -> Verdict:
        """The verdict without Redis."""
        if self._door.is_open:
            self._look_for_redis()
        now_s = self._clock()
        shares = [self._share(quota, now_s) for quota in quotas]
        waits = [share.wait_alone_s(amount, workers=self._workers, now_s=now_s) for share in shares]
        wait_s = max(waits)
        if wait_s > 0:
            limit = shares[waits.index(wait_s)].quota.limit
            return Verdict(False, limit, 0, wait_s, "local")
        taken = Taken([(share, share.take_alone(amount, now_s)) for share in shares], amount)
        for share in shares:
            self._news[share.quota.subject] = share
        lefts = [share.left_alone(0, workers=self._workers, now_s=now_s) for share in shares]
        left = min(lefts)
        tightest = shares[lefts.index(left)]
        return Verdict(True, tightest.quota.limit, max(0, left), 0.0, "local", taken)

    def _share(self, quota: Quota, now_s: float) -> Share:
        share = self._shares.get(quota.subject)
        if share is None:
            self._forget(now_s)
            share = self._shares[quota.subject] = Share(quota)
        else:
            self._shares.move_to_end(quota.subject)
            if share.quota != quota and share.lease is not None:
                share.lease.until_s = now_s  # it was a part of another limit
        share.quota, share.seen_s = quota, now_s
        return share

    def _forget(self, now_s: float) -> None:
        """Makes room for one more subject. Of who was not seen for a whole window nothing is known any more."""
        while self._shares:
            quietest = next(iter(self._shares.values()))
            if len(self._shares) < MAX_SUBJECTS and now_s - quietest.seen_s < quietest.quota.window_s:
                return
            self._shares.popitem(last=False)

    # ------------------------------------------------------------------------------------------------ with Redis' leave

    async def take(self, *quotas: Quota, amount: int = 1) -> Verdict:
        """Counts `amount` against each of the quotas, or nothing. Never raises."""
        found = self.count(*quotas, amount=amount)
        if found is not None:
            return found
        waiting = Waiting(amount, self._clock(), asyncio.get_running_loop().create_future())
        line = self._lines.get(quotas)
        if line is None:
            line = self._lines[quotas] = deque()
            self._beside(self._serve(quotas, line))
        line.append(waiting)
        return await waiting.verdict

    async def _serve(self, quotas: tuple[Quota, ...], line: Line) -> None:
        """Decides for those in line, a batch after the other, until nobody is there."""
        batch: list[Waiting] = []
        try:
            while line:
                batch = self._next_batch(quotas, line)
                if batch and await self._decide(quotas, batch, line):
                    await asyncio.sleep(RECALL_PAUSE_S)
        finally:  # whatever has happened, nobody is left waiting
            del self._lines[quotas]
            self._without_redis(quotas, deque(batch))
            self._without_redis(quotas, line)

    def _next_batch(self, quotas: tuple[Quota, ...], line: Line) -> list[Waiting]:
        """Those that have to be asked for: a lease may have come, or Redis gone."""
        batch: list[Waiting] = []
        while line and len(batch) < BATCH:
            waiting = line.popleft()
            found = None if waiting.verdict.done() else self.count(*quotas, amount=waiting.amount)
            if found is not None:
                waiting.verdict.set_result(found)
            elif not waiting.verdict.done():
                batch.append(waiting)
        return batch

    async def _decide(self, quotas: tuple[Quota, ...], batch: list[Waiting], line: Line) -> bool:
        """One call for a batch; whether some of it wait for others' leases, in line again.

        Subjects whose lease is large enough give from it; the others are asked for, and what they refuse goes back.
        """
        now_s, total = self._clock(), sum(waiting.amount for waiting in batch)
        shares = [self._share(quota, now_s) for quota in quotas]
        covered = [share for share in shares if share.left_after(total, now_s) >= 0]
        lacking = [share for share in shares if share not in covered]
        held = [Taken([(share, share.take(one.amount, now_s)) for share in covered], one.amount) for one in batch]
        asked = await self._ask(lacking, [waiting.amount for waiting in batch])
        if asked is None:
            for taken in held:
                self._give_back(taken, 0)
            self._without_redis(quotas, deque(batch))
            self._without_redis(quotas, line)
            return False
        back: list[Waiting] = []
        for waiting, taken, outcome in zip(batch, held, asked.outcomes, strict=True):
            if outcome.allowed:
                self._tell_waiting(waiting, allowed_by(outcome, asked.now_ms, shares, taken))
                continue
            self._give_back(taken, 0)
            if self._hopes(waiting, lacking, asked):
                back.append(waiting)
            else:
                self._tell_waiting(waiting, self._refusal(waiting.amount, outcome, lacking[outcome.tightest], asked))
        line.extendleft(reversed(back))
        return bool(back)

    def _refusal(self, amount: int, outcome: Outcome, share: Share, asked: Asked) -> Verdict:
        """The verdict of a refused request; who comes next need not ask, unless a lease may come back."""
        if amount == 1 and not asked.elsewhere:
            share.was_full(now_s=self._clock(), wait_s=outcome.wait_s)
        return Verdict(False, share.quota.limit, outcome.remaining, outcome.wait_s, "shared")

    def _hopes(self, waiting: Waiting, lacking: Sequence[Share], asked: Asked) -> bool:
        """Whether a refused request waits for what other workers hold: it may come back, or they may be dead."""
        now_s = self._clock()
        if not asked.elsewhere or any(now_s - share.waited_in_vain_s < LEASE_S for share in lacking):
            return False
        if now_s - waiting.came_s < RECALL_S:
            return True
        for share in lacking:
            share.waited_in_vain_s = now_s
        return False

    def _tell_waiting(self, waiting: Waiting, verdict: Verdict) -> None:
        """The verdict to who waits for it; who has left gives back what it took."""
        if not waiting.verdict.done():
            waiting.verdict.set_result(verdict)
        elif verdict.allowed:
            self.settle(verdict, 0)

    def _without_redis(self, quotas: tuple[Quota, ...], line: Line) -> None:
        """Everybody in line gets this worker's own verdict."""
        while line:
            waiting = line.popleft()
            if not waiting.verdict.done():
                waiting.verdict.set_result(self._alone(quotas, waiting.amount))

    async def _ask(self, shares: Sequence[Share], amounts: Sequence[int]) -> Asked | None:
        """Redis' verdicts, and new leases; None when it gave none."""
        async with self._door.turn():
            if self._door.is_open:
                return None
            id_, asked_s, total = new_id(), self._clock(), sum(amounts)
            wishing = [share for share in shares if not share.asking]
            arguments: list[object] = [self._part, len(amounts), *amounts]
            unheard: list[tuple[Share, list[Use]]] = []
            for share in shares:
                share.asking = True
                wish = WISH * (share.spent + total) if share in wishing else 0
                terms = (share.quota.limit, milliseconds(share.quota.window_s), milliseconds(share.lease_s), wish)
                arguments += [*terms, *self._words(share, unheard, ends=True)]
            told = await self._door.run(ASK, [share.quota.subject for share in shares], [id_, *arguments])
            for share in wishing:
                share.asking = False
            try:
                asked = Asked.parsed([int(one) for one in told or ()], id_=id_, amounts=len(amounts))
            except ValueError:
                self._unhear(unheard)
                return None
        for share, grant in zip(shares, asked.grants, strict=True):
            share.heard(grant, asked_s=asked_s)
            if grant.amount:
                self._leased.pop(share.quota.subject, None)
                self._leased[share.quota.subject] = share
                self._wake(news=False)
        return asked

    @property
    def _part(self) -> int:
        return max(SMALLEST_PART, 2 * self._workers)

    def _words(self, share: Share, unheard: list[tuple[Share, list[Use]]], *, ends: bool) -> list[object]:
        """What Redis has to hear of a share, as the scripts read it; whether its lease `ends` with it.

        What was used without Redis is added to `unheard`, in case that it does not hear this either.
        """
        self._news.pop(share.quota.subject, None)
        lease, uses = share.close() if ends else ("", [])
        if ends:
            self._leased.pop(share.quota.subject, None)
        if self._door.ahead_ms is None:
            return [lease, 0]
        alone, share.alone = list(share.alone), deque()
        if alone:
            unheard.append((share, alone))
        for use in (*uses, *alone):
            use.told_ms = int(use.at_s * 1000 + self._door.ahead_ms) + 1
        pairs = [(use.told_ms, use.amount) for use in (*uses, *alone) if use.amount] + share.corrections
        share.corrections = []
        return [lease, len(pairs), *(figure for pair in pairs for figure in pair)]

    def _look_for_redis(self) -> None:
        """Asks Redis once more when the pause is over, beside the requests."""
        if self._door.may_look():
            self._beside(self._tell([]))

    # -------------------------------------------------------------------------------------------- beside the requests

    def settle(self, verdict: Verdict, amount: int) -> None:
        """What was taken came to this much. What Redis does not hear of stays as it was taken."""
        if isinstance(verdict.taken, Taken):
            self._give_back(verdict.taken, amount)

    def _give_back(self, taken: Taken, amount: int) -> None:
        for share in taken.settle(amount):
            self._news[share.quota.subject] = share
            self._wake(news=True)

    def _wake(self, *, news: bool) -> None:
        """There is something to keep an eye on."""
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep())
        if news:
            self._woken.set()

    async def _keep(self) -> None:
        """Tells Redis what is to be told, and gives back leases that are over or that others need."""
        while not self._closing and (self._leased or (self._news and not self._door.is_open)):
            if self._door.is_open or not self._news:
                self._woken.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(TELL_S):
                        await self._woken.wait()
            await asyncio.sleep(GATHER_S)
            if not self._door.is_open:
                await self.tell()

    async def tell(self, *, all_leases: bool = False) -> None:
        """Says what there is to say. `all_leases`: they are given back, because this worker ends."""
        now_s = self._clock()
        over = [one for one in self._leased.values() if all_leases or one.lease is None or now_s >= one.lease.until_s]
        ending = [(share, True) for share in over]
        ending += [(share, False) for share in self._news.values() if share not in over]
        while True:
            wanted = await self._tell(ending[:TOLD_AT_ONCE])
            ending = ending[TOLD_AT_ONCE:] + [(share, True) for share in wanted]
            if not ending:
                return

    async def _tell(self, shares: Sequence[tuple[Share, bool]]) -> list[Share]:
        """Says of these what there is to say, and whether their lease ends; gives those whose lease others need."""
        arguments: list[object] = [new_id(), self._heard_until_ms]
        unheard: list[tuple[Share, list[Use]]] = []
        for share, ends in shares:
            window_ms = milliseconds(share.quota.window_s)
            words = self._words(share, unheard, ends=ends)
            arguments += [window_ms, window_ms + milliseconds(share.lease_s), *words]
        async with self._door.turn():
            told = await self._door.run(TELL, [share.quota.subject for share, _ in shares], arguments)
        if told is None:
            self._unhear(unheard)
            return []
        now_ms, *contested = told
        self._heard_until_ms = int(now_ms)
        if self._news:
            self._wake(news=True)
        held = (self._leased.get(str(key).removeprefix(PREFIX)) for key in contested)
        return [share for share in held if share is not None]

    def _unhear(self, unheard: Sequence[tuple[Share, list[Use]]]) -> None:
        """Redis did not hear of what was used without it: to be told again."""
        for share, uses in unheard:
            for use in uses:
                use.told_ms = 0
            share.alone.extendleft(reversed(uses))
            self._news[share.quota.subject] = share

    def _beside(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def ping(self) -> str:
        """Always empty: without Redis requests go on, by local limits."""
        return ""

    def use_token(self, token: str) -> None:
        """See `Limiter`."""
        self._door.use_token(token)

    async def aclose(self) -> None:
        """Gives the leases back, and closes the HTTP session once Redis has heard of what was settled."""
        self._closing = True
        self._woken.set()
        await asyncio.gather(*self._background, *([self._keeper] if self._keeper else []))
        if not self._door.is_open and (self._leased or self._news):
            await self.tell(all_leases=True)
        await self._door.aclose()


def allowed_by(outcome: Outcome, now_ms: int, shares: Sequence[Share], held: Taken) -> Verdict:
    """The verdict of an allowed request: what was `held` of leases, the rest from Redis; it tells of the tightest."""
    covered = [share for share, _ in held.uses]
    lacking = [share for share in shares if share not in covered]
    tightest, remaining, wait_s = lacking[outcome.tightest], outcome.remaining, outcome.wait_s
    for share in covered:
        if (share.remaining, shares.index(share)) < (remaining, shares.index(tightest)):
            tightest, remaining, wait_s = share, share.remaining, 0.0
    asked = [(share, Use(0.0, 0.0, held.amount, told_ms=now_ms)) for share in lacking]
    return Verdict(True, tightest.quota.limit, remaining, wait_s, "shared", Taken([*held.uses, *asked], held.amount))


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, as Redis counts."""
    return round(seconds * 1000)
