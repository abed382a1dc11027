"""Agent sessions at the gateway: what switching costs is counted, remembered, told, and never forgotten in the sum."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.errors import ProviderError
from omni_app.gateway.gateway import Gateway
from omni_app.gateway.sessions import CACHE_TTL, KEPT_SESSIONS, RECALL_S, Cache, Remembered, Sessions, cache_after
from omni_app.gateway.sessions import Step as Served
from omni_app.gateway.types import Answer, Caller
from omni_app.providers.base import Usage
from omni_app.routing.types import AgentSession, Deployment, Price, Priority
from omni_app.routing.wording import exact_dollars
from omni_app.storage.database import Database
from omni_app.storage.spool import Drainer
from tests.gateway.caching import (
    FLEETS,
    LARGE,
    MIDDLE,
    SMALL,
    WITH_CACHES,
    WITHOUT_CACHES,
    Clock,
    Played,
    Stage,
    Step,
    asked,
    stage,
)

STEPS = 30
SCRIPTS: Mapping[str, Sequence[Step]] = {
    "a conversation that grows steadily": [Step()] * STEPS,
    "easy and hard steps in turn": [Step(hard=number % 2 == 1) for number in range(STEPS)],
    "hard first, easy ever after": [Step(hard=number == 0) for number in range(STEPS)],
    "a hard step now and then": [Step(hard=number % 7 == 5) for number in range(STEPS)],
    "long results of tools": [Step(adds=6_000 if number % 3 == 1 else 200) for number in range(STEPS)],
    "a gap longer than the caches live": [Step(gap_s=900 if number in (10, 20) else 20) for number in range(STEPS)],
    "a provider down for five steps": [Step(down=("alpha",) if 12 <= number < 17 else ()) for number in range(STEPS)],
    "its home down at the end": [Step(down=("alpha",) if number > 25 else ()) for number in range(STEPS)],
}


async def played(spool_dir: Path, fleet: Sequence[Deployment], script: Sequence[Step], **asking: object) -> Played:
    on = stage(spool_dir, fleet)
    return Played([await on.step(step, asked(**asking)) for step in script])  # type: ignore[arg-type]


async def played_with(
    spool_dir: Path, fleet: Sequence[Deployment], script: Sequence[Step], wanted: Sequence[str], routed: Played
) -> Played:
    """The run with the wanted model at each step; where it fails, with the one that answered the routed run."""
    on = stage(spool_dir, fleet)
    chains = [tuple(dict.fromkeys((model, other))) for model, other in zip(wanted, routed.models, strict=True)]
    return Played([await on.step(step, asked("", pinned=chain)) for step, chain in zip(script, chains, strict=True)])


def never_switching(routed: Played) -> list[str]:
    """The first answer's model for each step whose quality it satisfies; for the others what the routed run took."""
    first = routed.models[0]

    def satisfies(answer: Answer) -> bool:
        return any(one.model == first and one.eligible and not one.held_back for one in answer.decision.candidates)

    return [first if satisfies(answer) else answer.model for answer in routed.answers]


@pytest.mark.parametrize("priority", [Priority.BALANCED, Priority.CHEAP, Priority.QUALITY])
@pytest.mark.parametrize("fleet", FLEETS)
@pytest.mark.parametrize("script", SCRIPTS)
async def test_thirty_steps_cost_no_more_than_never_switching_and_than_always_the_best(
    tmp_path: Path, script: str, fleet: str, priority: Priority
) -> None:
    """Both others are played step by step on providers of their own, with the same conversation and clock.

    Never switching: `never_switching`. Always the best: the highest rated model for every step. Where the wanted model
    is down, both use the model that answered the routed run. A step that fails costs nothing.
    """
    steps, models = SCRIPTS[script], FLEETS[fleet]
    routed = await played(tmp_path / "routed", models, steps, priority=priority)
    alone = await played(tmp_path / "alone", models, steps, priority=priority, session_id="")
    stayed = await played_with(tmp_path / "stayed", models, steps, never_switching(routed), routed)
    best = await played_with(tmp_path / "best", models, steps, [LARGE.id] * len(steps), routed)
    told = {"routed": routed, "never switching": stayed, "always the best": best, "each step by itself": alone}
    figures = ", ".join(f"{name} {exact_dollars(run.total)}" for name, run in told.items())
    print(f"{script}; {fleet}; {priority.value}: {figures}")
    assert routed.total <= stayed.total
    assert routed.total <= best.total


async def test_a_better_list_price_does_not_take_a_session_from_the_model_that_holds_it(tmp_path: Path) -> None:
    script, models = SCRIPTS["long results of tools"], FLEETS["some with, some without"]
    routed = await played(tmp_path / "routed", models, script)
    alone = await played(tmp_path / "alone", models, script, session_id="")
    assert set(routed.models) == {SMALL.id} and len(set(alone.models)) > 1
    assert routed.total * 5 < alone.total


async def test_a_hard_first_step_binds_nobody_to_a_dear_model(tmp_path: Path) -> None:
    routed = await played(tmp_path, WITH_CACHES, SCRIPTS["hard first, easy ever after"])
    assert routed.models == [LARGE.id, *[SMALL.id] * (STEPS - 1)]


async def test_hard_steps_leave_the_home_and_easy_ones_come_back(tmp_path: Path) -> None:
    routed = await played(tmp_path, WITH_CACHES, SCRIPTS["a hard step now and then"])
    assert [model == SMALL.id for model in routed.models] == [number % 7 != 5 for number in range(STEPS)]


# What is remembered


def known(on: Stage, session_id: str = "run-1") -> Remembered | None:
    return on.gateway.sessions._known.get((on.caller.org_id, on.caller.kind, session_id))


async def recalled(on: Stage, gateway: Gateway | None = None, session_id: str = "run-1") -> AgentSession | None:
    return await (gateway or on.gateway).recall(on.caller, replace(asked(session_id), messages=on.messages))


async def test_an_answer_tells_what_its_model_holds_and_the_next_one_what_that_saves(tmp_path: Path) -> None:
    on = stage(tmp_path, WITH_CACHES)
    first = await on.step(Step(), asked())
    assert first.decision.staying is None
    second = await on.step(Step(), asked())
    staying, tokens = second.decision.staying, first.decision.explanation.case.request.input_tokens
    assert staying is not None and staying.stays and staying.cached_tokens == tokens
    assert f"its prompt cache holds {tokens:,} tokens of this session" in second.decision.reason
    assert second.usage.cached_input > 0.8 * first.usage.input


async def test_a_streamed_step_is_remembered_too(tmp_path: Path) -> None:
    on = stage(tmp_path, WITH_CACHES)
    async for _ in on.gateway.stream(on.caller, replace(asked(), messages=on.messages)):
        pass
    assert (await on.step(Step(), asked())).decision.staying is not None


async def test_a_session_is_one_orgs_and_one_kind_of_keys(tmp_path: Path) -> None:
    on = stage(tmp_path, WITH_CACHES)
    await on.step(Step(), asked())
    assert await recalled(on) is not None
    assert await recalled(on, session_id="run-2") is None
    for other in (replace(on.caller, org_id=uuid4()), replace(on.caller, kind="test")):
        assert await on.gateway.recall(other, replace(asked(), messages=on.messages)) is None
    assert await on.gateway.recall(replace(on.caller, key_id=uuid4()), replace(asked(), messages=on.messages))


async def test_a_step_that_failed_or_was_given_up_counts_as_nothing(tmp_path: Path) -> None:
    on = stage(tmp_path, WITH_CACHES)
    await on.step(Step(), asked())
    before = known(on)
    with pytest.raises(ProviderError):
        await on.step(Step(down=("alpha", "beta", "gamma")), asked())
    for provider in on.providers.values():
        provider.delay_s, provider.down = 10, False
    on.clock.pass_(60)
    given_up = asyncio.create_task(on.gateway.chat(on.caller, replace(asked(), messages=on.messages)))
    await asyncio.sleep(0.05)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert known(on) == before


async def test_what_the_fallback_answered_is_what_it_holds(tmp_path: Path) -> None:
    on = stage(tmp_path, WITH_CACHES)
    await on.step(Step(), asked())
    answer = await on.step(Step(down=("alpha",)), asked())
    session = await recalled(on)
    assert answer.rescued and session is not None
    assert (session.home, session.last) == (SMALL.id, answer.model)
    assert {model for model, _ in session.held} == {SMALL.id, answer.model}


async def test_a_cache_that_was_not_used_for_its_time_to_live_is_not_believed_in(tmp_path: Path) -> None:
    on = stage(tmp_path, WITH_CACHES)
    await on.step(Step(), asked())
    on.clock.pass_(CACHE_TTL.total_seconds() - 1)
    session = await recalled(on)
    assert session is not None and session.held
    on.clock.pass_(1)
    assert await recalled(on) == AgentSession(SMALL.id, SMALL.id, ())


async def test_a_provider_that_reports_no_hit_is_believed(tmp_path: Path) -> None:
    on = stage(tmp_path, WITH_CACHES)
    for provider in on.providers.values():
        provider.caches = False
    await on.step(Step(), asked())
    assert (await recalled(on) or AgentSession("", "")).held[0][1] > 0, "nothing is known yet"
    await on.step(Step(), asked())
    assert await recalled(on) == AgentSession(SMALL.id, SMALL.id, ((SMALL.id, 0),))


def test_the_share_that_was_found_again_is_expected_again() -> None:
    price, at = Price(10, 40, cached_input=1), Clock().now()
    before = Cache(tokens=2_000, billed=2_200, at=at)
    half = Served("a", 4_000, Usage(4_400, 1, cached_input=1_100), at, "a")
    assert cache_after(half, price, before=before) == Cache(2_000, 2_200, at)


@pytest.mark.parametrize(
    ("usage", "held"),
    [
        (Usage(4_000, 1, cached_input=1_000, cache_write=3_000), 4_000),
        (Usage(4_000, 1, cached_input=1_000, cache_write=1_000), 2_000),
        (Usage(4_000, 1), 0),
        (Usage(4_000, 1, estimated=True), None),
        (Usage(1_000, 1, cache_write=1_000), None),
    ],
)
def test_where_writing_has_a_price_what_was_read_and_written_is_held(usage: Usage, held: int | None) -> None:
    at = Clock().now()
    found = cache_after(Served("a", 4_000, usage, at, "a"), MIDDLE.price, before=None)
    assert (found.tokens if found else None) == held


def test_nothing_is_noted_of_a_model_whose_cache_would_cost_the_same() -> None:
    at = Clock().now()
    assert cache_after(Served("a", 4_000, Usage(4_000, 1), at, "a"), Price(10, 40), before=None) is None


async def test_a_worker_remembers_the_last_used_sessions_only() -> None:
    sessions, caller, at = Sessions(), Caller(uuid4(), uuid4(), "live"), Clock().now()
    step = Served(SMALL.id, 4_000, Usage(4_000, 1), at, SMALL.id)
    for number in range(KEPT_SESSIONS + 10):
        sessions.learn(caller, f"run-{number}", step, deployment_of={SMALL.id: SMALL}.get)
        await sessions.recall(caller, "run-0", now=at, deployment_of={SMALL.id: SMALL}.get)
    assert len(sessions._known) == KEPT_SESSIONS
    assert (caller.org_id, "live", "run-0") in sessions._known
    assert (caller.org_id, "live", "run-1") not in sessions._known


# What other workers and earlier processes served


async def drained(on: Stage, database: Database) -> None:
    await Drainer(on.gateway.spool, database).flush()


def another_worker(on: Stage, database: Database, spool_dir: Path) -> Stage:
    """A process that has served nothing yet, over the same providers, clock and database."""
    other = stage(spool_dir, WITH_CACHES, database=database, clock=on.clock, caller=on.caller)
    other.gateway.providers, other.providers, other.messages = on.gateway.providers, on.providers, on.messages
    return other


async def test_another_worker_reads_from_the_ledger_what_this_one_knows(tmp_path: Path, database: Database) -> None:
    on = stage(tmp_path / "one", WITH_CACHES, database=database)
    for step in (Step(hard=True), Step(), Step(down=("alpha",)), Step(), Step(gap_s=100, hard=True)):
        await on.step(step, asked())
    await drained(on, database)
    other = another_worker(on, database, tmp_path / "other")
    found = await recalled(other)
    assert found is not None and len(found.held) == 2
    assert found == await recalled(on)
    assert (found.home, found.last) == (SMALL.id, LARGE.id)


async def test_only_what_was_answered_is_read(tmp_path: Path, sqlite_database: Database) -> None:
    on = stage(tmp_path / "one", WITH_CACHES, database=sqlite_database)
    with pytest.raises(ProviderError):
        await on.step(Step(down=("alpha", "beta", "gamma")), asked())
    await drained(on, sqlite_database)
    assert await recalled(another_worker(on, sqlite_database, tmp_path / "other")) is None


def statements(database: Database) -> list[str]:
    """The list grows with every statement that the database is asked from now on."""
    asked_for: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked_for.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    return asked_for


@pytest.mark.parametrize("models", [WITH_CACHES, WITHOUT_CACHES], ids=["with caches", "without"])
async def test_the_ledger_is_asked_once_for_a_session_and_never_without_one(
    tmp_path: Path, sqlite_database: Database, models: Sequence[Deployment]
) -> None:
    on = stage(tmp_path, models, database=sqlite_database)
    asked_for = statements(sqlite_database)
    await on.step(Step(), asked(""))
    assert asked_for == []
    for _ in range(5):
        await on.step(Step(), asked())
    assert len(asked_for) == 1
    await on.step(Step(gap_s=CACHE_TTL.total_seconds()), asked())
    assert len(asked_for) == 2, "another worker may have served it meanwhile"


async def test_what_this_worker_learned_last_is_not_taken_back_by_an_older_ledger(
    tmp_path: Path, sqlite_database: Database
) -> None:
    on = stage(tmp_path, WITH_CACHES, database=sqlite_database)
    await on.step(Step(), asked())
    await drained(on, sqlite_database)
    latest = await on.step(Step(down=("alpha",)), asked())
    on.clock.pass_(CACHE_TTL.total_seconds())
    found = await recalled(on)
    assert found is not None and found.last == latest.model != SMALL.id


async def test_the_query_is_served_by_the_index_of_sessions(tmp_path: Path, sqlite_database: Database) -> None:
    asked_for: list[tuple[str, Any]] = []
    event.listen(
        sqlite_database.engine.sync_engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, parameters, *_: asked_for.append((statement, parameters)),
    )
    await recalled(stage(tmp_path, WITH_CACHES, database=sqlite_database))
    ((statement, parameters),) = asked_for
    async with sqlite_database.engine.connect() as connection:
        plan = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)).fetchall()
    assert "ix_requests_sessions" in str(plan)


async def test_without_a_database_a_session_is_as_new_and_is_served(tmp_path: Path) -> None:
    away = Database(f"sqlite:///{tmp_path / 'nowhere' / 'omni.db'}")
    on = stage(tmp_path / "spool", WITH_CACHES, database=away)
    first, second = [await on.step(Step(), asked()) for _ in range(2)]
    assert first.decision.staying is None
    assert second.decision.staying is not None, "what this worker served itself it knows"
    await away.close()


class Hanging(Database):
    """Gives no session in any time that a request would wait."""

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        await asyncio.sleep(5)
        async with super().session() as session:
            yield session


async def test_a_database_that_hangs_is_not_waited_for(tmp_path: Path, sqlite_database: Database) -> None:
    on = stage(tmp_path, WITH_CACHES, database=Hanging(sqlite_database.url))
    started = asyncio.get_running_loop().time()
    answer = await on.step(Step(), asked())
    assert answer.decision.staying is None
    assert asyncio.get_running_loop().time() - started < RECALL_S + 0.5
