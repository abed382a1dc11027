"""Budgets in the gateway: never over, nothing refused that fits, whoever shares them and whatever breaks."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.errors import BudgetExceeded, ProviderError, Unavailable
from omni_app.gateway.budgets import IDLE_S, RENEW_S, TEND_S, USABLE_S, Budgets, Reservation, lease_for
from omni_app.gateway.gateway import Gateway
from omni_app.gateway.types import Answer, Caller, ChatRequest, Opened
from omni_app.money import markup_on
from omni_app.providers.base import Completion, Delta, Deltas, FaultKind, ProviderFault, ProviderRequest, Usage
from omni_app.storage import budgets as budget_rows
from omni_app.storage import leases
from omni_app.storage.budgets import BudgetTerms, Period
from omni_app.storage.database import Database
from omni_app.storage.leases import LeaseRef
from omni_app.storage.spool import Drainer
from omni_app.storage.tables import BudgetWindow, RequestRow
from tests.gateway.scripted import CALLER, HELLO, ScriptedProvider, gateway, records
from tests.servers.postgres import Postgres

NIGHT = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
ASKED = replace(HELLO, max_tokens=100, pinned=("alpha/small",))
SHORT = Completion(text="fine", usage=Usage(input=5, output=10))
LONG = Completion(text="fine", usage=Usage(input=5, output=100))
PICO = 1_000_000
"""Pico-dollars a token for each dollar per million."""


@dataclass
class Clock:
    """Wall and monotonic time, moved by hand."""

    wall: datetime = NIGHT
    s: float = 1_000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.s

    def pass_(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.s += seconds


@dataclass
class Worker:
    """One process's gateway with its leases, its spool and its drainer."""

    gateway: Gateway
    budgets: Budgets
    drainer: Drainer
    folder: Path

    async def chat(self, caller: Caller, request: ChatRequest = ASKED) -> Answer:
        return await self.gateway.chat(caller, request)

    async def settled(self) -> None:
        """Everything is drained, and given back that is not needed."""
        await self.drainer.flush()
        await self.budgets.tend()


def worker(folder: Path, database: Database, *providers: ScriptedProvider, clock: Clock | None = None) -> Worker:
    times = {"now": clock.now, "clock": clock.monotonic} if clock else {}
    budgets = Budgets(database, **times)  # type: ignore[arg-type]
    made = gateway(folder, *(providers or (ScriptedProvider("alpha", [SHORT]), ScriptedProvider("beta", [SHORT]))))
    made.budgets = budgets
    if clock is not None:
        made.now = clock.now
    return Worker(made, budgets, Drainer(made.spool, database, budgets.outstanding), folder)


@asynccontextmanager
async def at_work(one: Worker) -> AsyncIterator[Worker]:
    """With the loops of a running server."""
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(work(stopping)) for work in (one.budgets.run, one.drainer.run)]
    yield one
    stopping.set()
    one.gateway.spool.appended.set()
    await asyncio.gather(*tasks)
    one.gateway.spool.close()


async def limited(
    database: Database, limit: int, *, period: Period = "day", caller: Caller = CALLER, whole_org: bool = False
) -> Caller:
    """The caller, with one more budget."""
    key_id = None if whole_org else caller.key_id
    async with database.session() as session:
        terms = await budget_rows.set_budget(
            session, org_id=caller.org_id, key_id=key_id, period=period, limit=limit, now=NIGHT - timedelta(days=1)
        )
        await session.commit()
    others = tuple(one for one in caller.budgets if one.key_id != key_id)
    return replace(caller, budgets=(*others, terms))


async def spent_and_leased(database: Database, budget: BudgetTerms) -> tuple[int, int]:
    async with database.session() as session:
        query = select(func.sum(col(BudgetWindow.spent)), func.sum(col(BudgetWindow.leased)))
        row = (await session.execute(query.where(col(BudgetWindow.budget_id) == budget.id))).one()
    return int(row[0] or 0), int(row[1] or 0)


async def ledger_sum(database: Database) -> int:
    async with database.session() as session:
        return int(await session.scalar(select(func.sum(col(RequestRow.cost) + col(RequestRow.markup)))) or 0)


def worst(one: Worker, caller: Caller = CALLER, request: ChatRequest = ASKED) -> int:
    """What the request's primary can cost, with the markup."""
    cost = one.gateway.decide(caller, request).steps[0].worst_cost
    return cost + markup_on(cost, one.gateway.markup_bp)


@dataclass
class Gated(ScriptedProvider):
    """Answers nobody before the gate is open."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def complete(self, request: ProviderRequest) -> Completion:
        self.asked.append(request)
        await self.gate.wait()
        return LONG


@pytest.fixture(params=["one worker on SQLite", "two workers on Postgres"])
async def workers(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Database, list[Worker]]]:
    kind, count = ("sqlite", 1) if "SQLite" in request.param else ("postgres", 2)
    url = request.getfixturevalue(f"{kind}_url")
    async with AsyncExitStack() as stack:
        opened, found = [], []
        for number in range(count):
            opened.append(Database(url))
            one = worker(tmp_path / str(number), opened[-1], Gated("alpha"), ScriptedProvider("beta"))
            found.append(await stack.enter_async_context(at_work(one)))
        yield opened[0], found
    for one_database in opened:
        await one_database.close()


async def test_sixty_four_at_once_on_an_almost_spent_budget_never_pass_it_and_all_that_fits_is_let_through(
    workers: tuple[Database, list[Worker]],
) -> None:
    database, sharing = workers
    for one in sharing:
        one.gateway.markup_bp = 1_250
    need = worst(sharing[0])
    limit = 10 * need + need // 2
    caller = await limited(database, limit)
    calls = [asyncio.create_task(sharing[number % len(sharing)].chat(caller)) for number in range(64)]
    providers = [one.gateway.providers["alpha"] for one in sharing]
    waiting = set(calls)
    while len(waiting) > 10:
        _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    asked = [len(provider.asked) for provider in providers]  # type: ignore[attr-defined]
    assert sum(asked) == 10, "no provider is called for a refused request"
    for provider in providers:
        provider.gate.set()  # type: ignore[attr-defined]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [one for one in answers if isinstance(one, BudgetExceeded)]
    assert (len(answers) - len(refused), len(refused)) == (10, 54)

    # What they did not use is there for others, until not one more fits.
    for _ in range(8):
        for one in sharing:
            try:
                await one.chat(caller)
            except BudgetExceeded:
                await asyncio.sleep(0.05)
    for one in sharing:
        await one.settled()
    spent, leased = await spent_and_leased(database, caller.budgets[0])
    assert limit - need < spent <= limit
    assert spent == await ledger_sum(database)
    assert leased == 0


async def test_a_busy_budget_far_from_its_limit_is_spent_from_memory(
    postgres: Postgres, postgres_name: str, tmp_path: Path
) -> None:
    database = Database(postgres.url(postgres_name))
    one = worker(tmp_path, database)
    free = replace(CALLER, key_id=uuid4())
    caller = await limited(database, 1_000 * worst(one))
    fresh = await limited(database, 1_000 * worst(one), caller=replace(CALLER, key_id=uuid4()))
    await one.chat(caller)
    postgres.take_away(postgres_name)
    answers = await asyncio.gather(*(one.chat(caller) for _ in range(30)))
    assert len(answers) == 30, "the lease covers them"
    await one.chat(free)
    with pytest.raises(Unavailable, match="has a budget") as refused:
        await one.chat(fresh)
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "2")
    beyond = await asyncio.gather(*(one.chat(caller) for _ in range(1_000)), return_exceptions=True)
    assert any(isinstance(answer, Unavailable) for answer in beyond), "the lease is all there is"
    postgres.give_back(postgres_name)
    one.budgets._away_until_s = 0.0
    await one.chat(caller)
    await one.settled()
    spent, _ = await spent_and_leased(database, caller.budgets[0])
    assert spent == sum(record.cost for record in records(tmp_path) if record.key_id == caller.key_id)
    await database.close()


async def test_a_refused_request_says_which_budget_and_is_recorded_at_no_cost(
    database: Database, tmp_path: Path
) -> None:
    alpha = ScriptedProvider("alpha", [SHORT])
    one = worker(tmp_path, database, alpha, clock=Clock())
    caller = await limited(database, 100 * PICO)
    with pytest.raises(BudgetExceeded) as refused:
        await one.chat(caller)
    assert refused.value.status == 402
    assert refused.value.headers["x-should-retry"] == "false"
    need = worst(one)
    assert refused.value.message == (
        f"this key's budget of $0.0001 a day has $0.0001 left; this request could cost up to "
        f"${need / 10**12:f}; it starts anew at 2026-12-01 00:00 UTC"
    ).replace(f"{need / 10**12:f}", f"{need / 10**12:.12f}".rstrip("0"))
    assert alpha.asked == []
    (record,) = records(tmp_path)
    assert (record.error_code, record.cost, record.attempts, record.success) == ("budget_exceeded", 0, 0, False)


async def test_what_is_free_is_not_taken_from_a_request_that_waits_for_the_rest(database: Database) -> None:
    budgets = Budgets(database)
    caller = await limited(database, 130)

    async def held(amount: int) -> Reservation:
        return await budgets.reserve(caller, request_id=f"r{amount}", least=amount, most=amount, at=NIGHT)

    budgets.settle(await held(40), 0)
    waiting = asyncio.create_task(held(100))
    await asyncio.sleep(0)
    (lease,) = budgets._leases.values()
    assert lease.asking.locked(), "the database is asked for 60"
    other = await held(30)
    assert ((await waiting).amount, other.amount) == (100, 30), "the whole budget"
    with pytest.raises(BudgetExceeded, match=r"has \$0 left, \$0.00000000013 is held for requests on their way"):
        await held(1)
    assert await spent_and_leased(database, caller.budgets[0]) == (0, 130)


async def test_a_refusal_holds_nothing_of_what_was_free(database: Database) -> None:
    budgets = Budgets(database)
    caller = await limited(database, 130)
    budgets.settle(await budgets.reserve(caller, request_id="a", least=40, most=40, at=NIGHT), 0)
    with pytest.raises(BudgetExceeded, match=r"has \$0.00000000013 left; "):
        await budgets.reserve(caller, request_id="b", least=131, most=200, at=NIGHT)
    held = await budgets.reserve(caller, request_id="c", least=130, most=200, at=NIGHT)
    assert held.amount == 130


async def test_leases_are_renewed_while_others_work_in_their_period(postgres_database: Database) -> None:
    """A dead worker's lease has lapsed in it. Whoever holds the period's row wants our lease next."""
    clock = Clock()
    budgets = Budgets(postgres_database, now=clock.now, clock=clock.monotonic)
    caller = await limited(postgres_database, 150)
    (terms,) = caller.budgets
    await budgets.reserve(caller, request_id="a", least=100, most=100, at=NIGHT)
    (ours,) = budgets._leases.values()

    async def take(session: AsyncSession) -> None:
        dead = LeaseRef(uuid4(), terms.id, terms.starts_at(NIGHT))
        await leases.take(
            session, terms, org_id=CALLER.org_id, lease=dead, least=1, most=1, now=NIGHT, expires_at=NIGHT
        )

    async with postgres_database.session() as session:
        await take(session)
        await session.commit()
    clock.pass_(3 * RENEW_S)
    async with postgres_database.session() as session:
        await take(session)
        tending = asyncio.create_task(budgets.tend())
        await asyncio.sleep(0.3)
        await leases.give_back(session, ours.ref, amount=1)
        await session.commit()
    await tending
    assert await spent_and_leased(postgres_database, terms) == (0, ours.granted - 1), "the dead one's are swept"


async def test_the_org_s_budget_is_shared_by_its_live_keys(database: Database, tmp_path: Path) -> None:
    one = worker(tmp_path, database, ScriptedProvider("alpha", [SHORT], delay_s=0.3))
    other_key = replace(CALLER, key_id=uuid4())
    caller = await limited(database, 10 * worst(one))
    caller = await limited(database, worst(one) + worst(one) // 2, caller=caller, whole_org=True, period="month")
    await one.chat(caller)
    for asking in (replace(other_key, budgets=caller.budgets[1:]), caller):
        answers = await asyncio.gather(*(one.chat(asking) for _ in range(3)), return_exceptions=True)
        told = [answer.message for answer in answers if isinstance(answer, BudgetExceeded)]
        assert told and all("the org's budget of" in message and "a month" in message for message in told)
    assert all(lease.reserved == 0 for lease in one.budgets._leases.values()), "the key's own budget holds nothing back"


async def test_what_a_failed_attempt_cost_counts(database: Database, tmp_path: Path) -> None:
    lost = ProviderFault(FaultKind.EMPTY, "no text", usage=Usage(input=5, output=90))
    one = worker(tmp_path, database, ScriptedProvider("alpha", [lost]), ScriptedProvider("beta", [SHORT]))
    caller = await limited(database, 10**12)
    answer = await one.chat(caller, replace(HELLO, max_tokens=100))
    assert answer.model == "beta/medium"
    assert answer.cost == (5 * 1 + 90 * 4 + 5 * 2 + 10 * 8) * PICO
    await one.drainer.flush()
    assert (await spent_and_leased(database, caller.budgets[0]))[0] == answer.cost


async def test_a_chain_that_fails_spends_what_its_attempts_cost_and_holds_nothing(
    database: Database, tmp_path: Path
) -> None:
    lost = ProviderFault(FaultKind.EMPTY, "no text", usage=Usage(input=5, output=90))
    one = worker(tmp_path, database, ScriptedProvider("alpha", [lost]), ScriptedProvider("beta", [lost]))
    caller = await limited(database, 10**12)
    with pytest.raises(ProviderError):
        await one.chat(caller, replace(HELLO, max_tokens=100))
    await one.settled()
    (record,) = records(tmp_path)
    assert record.cost > 0
    assert (await spent_and_leased(database, caller.budgets[0]))[0] == record.cost
    assert all(lease.reserved == 0 for lease in one.budgets._leases.values())


async def test_near_the_limit_a_dearer_fallback_is_left_out_and_the_primary_still_answers(
    database: Database, tmp_path: Path
) -> None:
    alpha, beta = ScriptedProvider("alpha", [SHORT]), ScriptedProvider("beta", [SHORT])
    one = worker(tmp_path, database, alpha, beta)
    request = replace(HELLO, max_tokens=100)
    steps = one.gateway.decide(CALLER, request).steps
    assert steps[0].worst_cost < steps[1].worst_cost
    caller = await limited(database, steps[0].worst_cost + PICO)
    assert (await one.chat(caller, request)).model == "alpha/small"
    await one.settled()
    down = worker(tmp_path / "down", database, ScriptedProvider("alpha", [ProviderFault(FaultKind.EMPTY, "")]), beta)
    caller = await limited(database, steps[0].worst_cost + (await ledger_sum(database)) + PICO, caller=caller)
    with pytest.raises(ProviderError):
        await down.chat(caller, request)
    assert beta.asked == []


async def test_the_provider_is_told_a_bound_where_a_budget_holds(database: Database, tmp_path: Path) -> None:
    alpha = ScriptedProvider("alpha", [SHORT])
    one = worker(tmp_path, database, alpha)
    endless = replace(HELLO, pinned=("alpha/small",))
    await one.chat(CALLER, endless)
    await one.chat(await limited(database, 10**12), endless)
    assert ["max_tokens" in call.params for call in alpha.asked] == [False, True]
    assert alpha.asked[1].params["max_tokens"] == one.gateway.policy.output_ceiling_tokens


@dataclass
class Talker(ScriptedProvider):
    """Streams a piece, then says nothing more."""

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Deltas | Completion, None]:
        self.asked.append(request)
        yield (Delta(text="Once upon a time"),)
        await asyncio.sleep(60)


async def test_a_stream_that_the_client_leaves_is_settled_at_what_was_said(database: Database, tmp_path: Path) -> None:
    one = worker(tmp_path, database, Talker("alpha"), ScriptedProvider("beta"))
    caller = await limited(database, 10**12)
    pieces = one.gateway.stream(caller, ASKED)
    assert isinstance(await anext(pieces), Opened)
    await anext(pieces)
    (lease,) = one.budgets._leases.values()
    assert (lease.reserved, lease.used) == (worst(one), 0)
    await pieces.aclose()
    (record,) = records(tmp_path)
    assert record.error_code == "cancelled" and record.cost > 0
    assert (lease.reserved, lease.used) == (0, record.cost)
    await one.drainer.flush()
    assert (await spent_and_leased(database, caller.budgets[0]))[0] == record.cost


async def test_a_caller_who_gives_up_while_waiting_for_a_lease_holds_nothing(
    database: Database, tmp_path: Path
) -> None:
    one = worker(tmp_path, database)
    caller = await limited(database, 10**12)
    call = asyncio.create_task(one.chat(caller))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert all(lease.reserved == 0 for lease in one.budgets._leases.values())
    await one.chat(caller)


async def test_a_new_day_starts_anew_and_what_began_before_midnight_counts_to_the_day_before(
    database: Database, tmp_path: Path
) -> None:
    clock = Clock()
    one = worker(tmp_path, database, ScriptedProvider("alpha", [LONG], delay_s=0.05), clock=clock)
    caller = await limited(database, worst(one))
    late = asyncio.create_task(one.chat(caller))
    await asyncio.sleep(0.03)
    with pytest.raises(BudgetExceeded):
        await one.chat(caller)
    clock.pass_(1)
    await one.chat(caller)
    await late
    await one.drainer.flush()
    async with database.session() as session:
        windows = (await session.scalars(select(BudgetWindow).order_by(col(BudgetWindow.starts_at)))).all()
    assert [window.starts_at.day for window in windows] == [29, 30, 1], "the first is the day on which it was set"
    assert windows[1].spent == windows[2].spent == (5 + 100 * 4) * PICO


async def test_a_lowered_limit_holds_for_a_worker_that_has_some_to_spare(database: Database, tmp_path: Path) -> None:
    one = worker(tmp_path, database)
    caller = await limited(database, 1_000 * worst(one))
    await one.chat(caller)
    await one.drainer.flush()
    lowered = await limited(database, worst(one) // 2, caller=caller)
    assert len(lowered.budgets) == 1
    with pytest.raises(BudgetExceeded):
        await one.chat(lowered)
    assert (await spent_and_leased(database, lowered.budgets[0]))[1] == 0, "what it had to spare is given back"


async def test_a_budget_that_was_removed_a_moment_ago_is_no_reason_to_refuse(
    database: Database, tmp_path: Path
) -> None:
    one = worker(tmp_path, database)
    caller = await limited(database, 100 * PICO)
    async with database.session() as session:
        await budget_rows.remove_budget(session, org_id=caller.org_id, key_id=caller.key_id)
        await session.commit()
    await one.chat(caller)


async def test_an_idle_lease_is_given_back_and_a_held_one_is_renewed(database: Database, tmp_path: Path) -> None:
    clock = Clock(wall=NIGHT - timedelta(hours=9))
    one = worker(tmp_path, database, clock=clock)
    caller = await limited(database, 1_000 * worst(one))
    answer = await one.chat(caller)
    await one.settled()
    assert (await spent_and_leased(database, caller.budgets[0]))[1] > 0
    clock.pass_(USABLE_S - 1)
    await one.chat(caller)
    await one.settled()
    clock.pass_(USABLE_S - 1)
    await one.chat(caller)
    assert len(one.budgets._leases) == 1
    clock.pass_(IDLE_S)
    await one.settled()
    assert await spent_and_leased(database, caller.budgets[0]) == (3 * answer.cost, 0)
    assert one.budgets._leases == {}


async def test_a_worker_cut_off_for_too_long_stops_spending_before_its_lease_is_given_to_others(
    postgres: Postgres, postgres_name: str, tmp_path: Path
) -> None:
    clock, database = Clock(wall=NIGHT - timedelta(hours=9)), Database(postgres.url(postgres_name))
    one = worker(tmp_path, database, clock=clock)
    caller = await limited(database, 1_000 * worst(one))
    await one.chat(caller)
    postgres.take_away(postgres_name)
    clock.pass_(USABLE_S - 1)
    await one.chat(caller)
    clock.pass_(2)
    with pytest.raises(Unavailable):
        await one.chat(caller)
    postgres.give_back(postgres_name)
    await database.close()


async def test_a_lease_outlives_the_longest_request_that_begins_on_it(database: Database) -> None:
    longest_s = 1_500.0
    clock = Clock(wall=NIGHT - timedelta(hours=9))
    one, two = (Budgets(database, lease_s=lease_for(longest_s), now=clock.now, clock=clock.monotonic) for _ in range(2))
    caller = await limited(database, 100)
    held = await one.reserve(caller, request_id="a", least=40, most=40, at=clock.wall)
    one.settle(held, 0)
    (lease,) = one._leases.values()
    lease.doubtful = True
    clock.pass_(USABLE_S - 1)
    await one.reserve(caller, request_id="b", least=40, most=40, at=clock.wall)
    for passed in (1.0, longest_s):
        clock.pass_(passed)
        with pytest.raises(BudgetExceeded):
            await two.reserve(caller, request_id="c", least=70, most=70, at=clock.wall)
    clock.pass_(60)
    await two.reserve(caller, request_id="d", least=70, most=70, at=clock.wall)


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(hours=-1)], ids=["forward", "back"])
async def test_a_clock_that_is_set_takes_no_lease_from_its_worker(
    step: timedelta, database: Database, tmp_path: Path
) -> None:
    clock, slow = Clock(wall=NIGHT - timedelta(hours=9)), Gated("alpha", [LONG])
    one, two = worker(tmp_path / "1", database, slow, clock=clock), worker(tmp_path / "2", database, clock=clock)
    limit = 2 * worst(one) + 1
    caller = await limited(database, limit)
    on_their_way = [asyncio.create_task(one.chat(caller)) for _ in range(2)]
    async with asyncio.timeout(10):
        while len(slow.asked) < 2:  # noqa: ASYNC110 a list has no event
            await asyncio.sleep(0)
    clock.wall += step
    for _ in range(3):
        with pytest.raises(BudgetExceeded):
            await two.chat(caller)
        await two.budgets.tend()
        clock.pass_(RENEW_S)
        await one.budgets.tend()
    slow.gate.set()
    await asyncio.gather(*on_their_way)
    for each in (one, two):
        await each.settled()
    spent, leased = await spent_and_leased(database, caller.budgets[0])
    assert (spent, leased) == (await ledger_sum(database), 0) and spent <= limit


async def test_after_a_clock_was_set_the_lease_of_a_dead_worker_is_ended_all_the_same(
    database: Database, tmp_path: Path
) -> None:
    clock = Clock(wall=NIGHT - timedelta(hours=9))
    dead, alive = worker(tmp_path / "1", database, clock=clock), worker(tmp_path / "2", database, clock=clock)
    caller = await limited(database, 1_000 * worst(dead))
    answer = await dead.chat(caller)
    await dead.drainer.flush()
    await alive.budgets.tend()
    clock.wall += timedelta(hours=1)
    for _ in range(2):
        assert (await spent_and_leased(database, caller.budgets[0]))[1] > 0
        await alive.budgets.tend()
        clock.pass_(RENEW_S + TEND_S)
    await alive.budgets.tend()
    assert await spent_and_leased(database, caller.budgets[0]) == (answer.cost, 0)


async def test_an_unbudgeted_key_never_asks(tmp_path: Path) -> None:
    nobody_there = Database("postgresql://nobody@127.0.0.1:1/none")
    assert (await worker(tmp_path, nobody_there).chat(CALLER)).output == "fine"
    await nobody_there.close()
