"""The story of a request, top to bottom: admit, decide, walk the chain, meter, record, answer."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any

from omni_app.errors import NoEligibleModel, OmniError, PromptTooLong, stopping
from omni_app.gateway.budgets import Budgets
from omni_app.gateway.deadlines import needed_s
from omni_app.gateway.embedding import embedding_route, without_window
from omni_app.gateway.fallback import Link, Walk, all_cooling
from omni_app.gateway.grounds import Ground, Grounds, OpenKey, no_own_keys
from omni_app.gateway.health import Health
from omni_app.gateway.latency import Latencies
from omni_app.gateway.metering import Story
from omni_app.gateway.rate_limits import Limits, RateLimits
from omni_app.gateway.sessions import Sessions
from omni_app.gateway.sessions import Step as SessionStep
from omni_app.gateway.situation import Situations, snapshot_record
from omni_app.gateway.types import Answer, Attempt, Caller, ChatRequest, Opened, Whole
from omni_app.limits.base import Limiter, Verdict
from omni_app.money import cost_within
from omni_app.providers.base import Deltas, Provider
from omni_app.registry import Registry
from omni_app.request_ids import new_request_id
from omni_app.routing.classify import classify
from omni_app.routing.decide import choose_task, decide
from omni_app.routing.expected import expected_latency_ms, size_class
from omni_app.routing.shortlist import Limit, RoutingTable
from omni_app.routing.tokens import estimate_tokens
from omni_app.routing.types import (
    AgentSession,
    Decision,
    Deployment,
    KeyKind,
    Message,
    Policy,
    RouteRequest,
    Snapshot,
    Task,
)
from omni_app.storage.ledger import RequestRecord
from omni_app.storage.prompts import KeptExchange, PromptKeeper
from omni_app.storage.spool import Spool
from omni_app.storage.tables import utc_now

KEY_KINDS: tuple[KeyKind, ...] = ("live", "test")
ORDINARY = Policy()
"""For callers without one of their own."""
KEPT_VIEWS = 1_000
"""What callers on different terms may know of: worked out once for each registry."""
NOTED_SNAPSHOTS = 10_000
"""How many snapshot ids are remembered as written; beyond it one may be written twice, which changes nothing."""


def nobody(record: RequestRecord, attempts: Sequence[Attempt]) -> None:
    """Hears of a request, and tells no one."""


@dataclass(slots=True)
class Gateway:
    """Everything a request needs, handed in once. The registry is replaced whole when the models table changes."""

    registry: Registry
    providers: Mapping[str, Provider]
    limiter: Limiter
    spool: Spool
    limits: Limits
    budgets: Budgets | None = None
    prompts: PromptKeeper | None = None
    sessions: Sessions = field(default_factory=Sessions)
    premium_model: str = ""
    markup_bp: int = 0
    """Basis points that are billed on top of a cost; promises and budgets hold for what is billed."""
    policy: Policy = ORDINARY
    health: Health = field(default_factory=Health)
    latencies: Latencies = field(default_factory=Latencies)
    expected_output: Callable[[], Mapping[Task, int]] = dict
    """Task -> median output tokens of our own traffic, where there is enough of it."""
    on_finished: Callable[[RequestRecord, Sequence[Attempt]], None] = nobody
    """Hears of each request's record once it is on disk."""
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = utc_now
    open_key: OpenKey = no_own_keys
    """Makes a provider with an org's own key."""
    _grounds: Grounds = field(init=False)
    _tables: dict[KeyKind, RoutingTable] = field(init=False)
    _embedding_tables: dict[KeyKind, RoutingTable] = field(init=False)
    _visible: dict[tuple[KeyKind, frozenset[str] | None, frozenset[str]], Sequence[Deployment]] = field(
        default_factory=dict
    )
    _noted_snapshots: set[str] = field(default_factory=set)
    _in_flight: set[asyncio.Task[Any]] = field(default_factory=set)
    _cut: set[asyncio.Task[Any]] = field(default_factory=set)
    """Those that `cut_off` has cancelled."""

    def __post_init__(self) -> None:
        shared = Ground(self.providers, self.health, self._situate(self.providers, self.health))
        self._grounds = Grounds(shared, self._situate, self.open_key)
        self.use_registry(self.registry)

    def _situate(self, providers: Mapping[str, Provider], health: Health) -> Situations:
        return Situations(self.registry, providers, health, self.latencies, self.expected_output)

    def use_registry(self, registry: Registry) -> None:
        """Decides with another registry from now on."""
        self.registry = registry
        self._visible.clear()
        self._grounds.follow(self._situate)
        self._tables = {kind: RoutingTable(registry.serving(kind)) for kind in KEY_KINDS}
        self._embedding_tables = {kind: RoutingTable(without_window(registry.embedding(kind))) for kind in KEY_KINDS}

    def unavailable(self, caller: Caller) -> Mapping[str, str]:
        """Deployment id -> why this caller cannot reach it: no provider key, or cooling down after faults."""
        situations = self._grounds.of(caller).situations
        return situations.snapshot(now_s=self.clock(), today=self.now().date()).unavailable

    def cooling(self, caller: Caller) -> Mapping[str, float]:
        """Deployment id -> seconds until one of this caller's requests may try it again."""
        return self._grounds.of(caller).health.cooling(now_s=self.clock())

    def visible(self, caller: Caller) -> Sequence[Deployment]:
        """The deployments that this caller may know of, available or not."""
        terms = caller.kind, caller.allowed_models, caller.disabled_models
        found = self._visible.get(terms)
        if found is None:
            if len(self._visible) >= KEPT_VIEWS:
                self._visible.clear()
            found = self._visible[terms] = tuple(permitted(caller, self.registry.serving(caller.kind)))
        return found

    def embedders(self, caller: Caller) -> list[Deployment]:
        """As `visible`, those that make embeddings."""
        return permitted(caller, self.registry.embedding(caller.kind))

    def cheapest_embedder(self, caller: Caller, request: ChatRequest) -> Deployment | None:
        """The cheapest that could serve this request for embeddings, were every breaker closed; None without one."""
        calm = self._calm(caller)
        selected = self._decide_in(route_request(caller, replace(request, pinned=())), calm, caller.policy).selected
        return self.registry.get(selected) if selected else None

    def premium(self, kind: KeyKind, wished: str = "") -> Deployment | None:
        """The baseline that savings are measured against: the org's wish, else the server's, else the best there is."""
        return self._grounds.shared.situations.premium(kind, wished or self.premium_model)

    async def admit(self, caller: Caller) -> Verdict:
        """Counts one call of the caller: `RateLimits.count_request`."""
        return await self._rates.count_request(caller)

    @property
    def _rates(self) -> RateLimits:
        return RateLimits(self.limiter, self.limits)

    def decide(self, caller: Caller, request: ChatRequest, *, session: AgentSession | None = None) -> Decision:
        """What `chat` would do at this moment; calls no provider. `selected` is None when nothing is eligible.

        `session`: what `recall` gives for a step of an agent session.
        """
        wanted = route_request(caller, request, session)
        if wanted.max_cost is not None and self.markup_bp:
            wanted = replace(wanted, max_cost=cost_within(wanted.max_cost, self.markup_bp))
        snapshot = self._grounds.of(caller).situations.snapshot(now_s=self.clock(), today=self.now().date())
        return self._decide_in(wanted, snapshot, caller.policy)

    async def recall(self, caller: Caller, request: ChatRequest) -> AgentSession | None:
        """What is known of the request's agent session; None without one, or when it is new."""
        if not request.session_id or request.embeds:
            return None
        return await self.sessions.recall(caller, request.session_id, now=self.now(), deployment_of=self.registry.get)

    async def chat(self, caller: Caller, request: ChatRequest, *, request_id: str = "") -> Answer:
        """Serves one request and records it. Raises an `OmniError`; a failed request is recorded too."""
        started_s = self.clock()
        story = await self._story(caller, request, request_id, started_s=started_s)
        with InFlight(self, story, started_s):
            await self._reserve(story)
            whole = await self._walk(story, started_s).run(self._chain(story))
        return self._served(story, whole, started_s)

    async def stream(
        self, caller: Caller, request: ChatRequest, *, request_id: str = "", attempts: list[Attempt] | None = None
    ) -> AsyncGenerator[Opened | Deltas | Answer, None]:
        """As `chat`, piece by piece: who answers, the pieces, the whole answer. Closing it cancels the provider's call.

        A list handed in as `attempts` grows as they end: it tells what a request without an answer met and cost.
        Raises `StreamInterrupted` when a model breaks off after its first piece; any other error comes before it.
        """
        started_s = self.clock()
        story = await self._story(caller, request, request_id, started_s=started_s)
        if attempts is not None:
            story.attempts = attempts
        whole: Whole | None = None
        with InFlight(self, story, started_s):
            await self._reserve(story)
            async with aclosing(self._walk(story, started_s).stream(self._chain(story))) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Whole):
                        whole = piece
                        continue
                    if isinstance(piece, Opened):
                        story.first_token_ms = self._elapsed_ms(started_s)
                        yield Opened(piece.deployment, piece.fallbacks, story.tokens)
                    else:
                        yield piece
        if whole is not None:
            yield self._served(story, whole, started_s)

    async def _story(self, caller: Caller, request: ChatRequest, request_id: str, *, started_s: float) -> Story:
        created_at = self.now()
        decision = self.decide(caller, request, session=await self.recall(caller, request))
        story = Story(
            request_id=request_id or new_request_id(),
            caller=caller,
            request=request,
            decision=decision,
            registry=self.registry,
            baseline=None if request.embeds else self._baseline(caller),
            created_at=created_at,
            markup_bp=self.markup_bp,
            routing_us=round((self.clock() - started_s) * 1_000_000),
        )
        self._note_snapshot(decision)
        if self.limits.token_max or caller.token_limit:  # nearly nobody has one
            story.tokens = await self._rates.hold_tokens(caller, decision)
        return story

    def cut_off(self) -> None:
        """Ends what is in flight, because the process ends: each is recorded as cancelled and raises `Unavailable`."""
        for task in self._in_flight - self._cut:
            self._cut.add(task)
            task.cancel()

    def _failed(self, story: Story, error: BaseException, started_s: float, task: asyncio.Task[Any]) -> None:
        """Whatever keeps the request from its answer is recorded before it goes on its way.

        Raises `Unavailable` in place of the cancellation of a request that `cut_off` has ended.
        """
        if isinstance(error, OmniError):
            self._finish(story, story.failed(error.code, latency_ms=self._elapsed_ms(started_s)))
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._finish(story, story.failed("cancelled", latency_ms=self._elapsed_ms(started_s)))
            if task in self._cut and isinstance(error, asyncio.CancelledError) and not task.uncancel():
                raise stopping() from None
        elif isinstance(error, Exception):  # a mistake of ours: whatever was admitted says its end
            self._finish(story, story.failed(OmniError.code, latency_ms=self._elapsed_ms(started_s)))

    def _let_go(self, story: Story, task: asyncio.Task[Any]) -> None:
        """What was held for a request is settled, however it ended."""
        self._in_flight.discard(task)
        self._cut.discard(task)
        if story.held is not None and self.budgets is not None:
            self.budgets.settle(story.held, story.cost + story.markup)
        if story.tokens is not None:
            self._rates.settle(story.tokens, story.attempts)

    async def _reserve(self, story: Story) -> None:
        """Holds the worst case of the steps in the caller's budgets; at the least the primary's. Raises the 402."""
        caller, steps = story.caller, story.decision.steps
        if not caller.budgets or self.budgets is None or not steps:
            return
        least, most = (story.billed(cost) for cost in (steps[0].worst_cost, max(step.worst_cost for step in steps)))
        story.held = await self.budgets.reserve(
            caller, request_id=story.request_id, least=least, most=most, at=story.created_at
        )

    def _walk(self, story: Story, started_s: float) -> Walk:
        """The walk down the chain, once its first line is on disk. Raises the refusal when nothing is eligible."""
        if story.decision.selected is None:
            raise self._refusal(story)
        self.spool.admit(story.admission())
        case = story.decision.explanation.case
        size = size_class(case)
        ground = self._grounds.of(story.caller)
        return Walk(
            providers=ground.providers,
            health=ground.health,
            own_providers=ground.own_providers,
            latencies=self.latencies,
            request=story.request,
            size=size,
            deadline_s=started_s + min(self.limits.total_s, story.request.timeout_s or self.limits.total_s),
            on_attempt=partial(self._noted, story),
            began_s=started_s,
            affords=story.affords,
            charges=story.charged,
            promised=story.promised,
            needs_s=lambda deployment: needed_s(expected_latency_ms(deployment, case, size)),
            clock=self.clock,
            attempts=story.attempts,
        )

    def _baseline(self, caller: Caller) -> Deployment | None:
        wished = caller.premium_model or self.premium_model
        return self._grounds.of(caller).situations.premium(caller.kind, wished)

    def _note_snapshot(self, decision: Decision) -> None:
        """The state that a decision was made in goes to the ledger once, before the first request that needs it."""
        if decision.snapshot_id not in self._noted_snapshots:
            snapshot = decision.explanation.case.snapshot
            self.spool.snapshot(snapshot_record(snapshot, self.registry.deployments, created_at=self.now()))
            if len(self._noted_snapshots) >= NOTED_SNAPSHOTS:
                self._noted_snapshots.clear()
            self._noted_snapshots.add(decision.snapshot_id)

    def _served(self, story: Story, whole: Whole, started_s: float) -> Answer:
        latency_ms = self._elapsed_ms(started_s)
        kept = story.served(whole.completion, whole.answered_by, latency_ms=latency_ms)
        self._finish(story, kept)
        if story.request.session_id and not story.request.embeds:
            self._learn(story, whole)
        if self.prompts is not None and story.caller.keep_prompts_days and not story.request.embeds:
            self.prompts.offer(
                org_id=story.caller.org_id,
                request_id=story.request_id,
                days=story.caller.keep_prompts_days,
                exchange=KeptExchange(story.request.messages, story.request.params, whole.completion.text),
            )
        return story.answer(whole.completion, kept)

    def _noted(self, story: Story, attempt: Attempt) -> None:
        """Brings an attempt to disk at once, but for a whole answer's: its request ends in the same moment."""
        if attempt.failed or story.request.stream:
            self.spool.attempt(story.attempt_record(attempt))
        else:
            story.unnoted = (story.attempt_record(attempt),)

    def _finish(self, story: Story, record: RequestRecord) -> None:
        self.spool.finish(record, *story.unnoted)
        self.on_finished(record, story.attempts)

    def _learn(self, story: Story, whole: Whole) -> None:
        """What this answer tells of its agent session."""
        model, tokens = whole.answered_by.id, story.decision.explanation.case.request.input_tokens
        home = story.decision.home_after(model)
        step = SessionStep(model, tokens, whole.completion.usage, story.created_at, home)
        self.sessions.learn(story.caller, story.request.session_id, step, deployment_of=self.registry.get)

    def _elapsed_ms(self, started_s: float) -> int:
        return round((self.clock() - started_s) * 1000)

    def _chain(self, story: Story) -> list[Link]:
        """The decision's steps with their deployments."""
        found = ((story.registry.get(step.model), step) for step in story.decision.steps)
        return [(deployment, step) for deployment, step in found if deployment]

    def _calm(self, caller: Caller) -> Snapshot:
        """The caller's situation as if every breaker were closed."""
        situations = self._grounds.of(caller).situations
        return situations.snapshot_without_breakers(now_s=self.clock(), today=self.now().date())

    def _decide_in(self, request: RouteRequest, snapshot: Snapshot, policy: Policy | None) -> Decision:
        return decide(
            request,
            deployments=(self._embedding_tables if request.embeds else self._tables)[request.key_kind],
            policy=policy or self.policy,
            snapshot=snapshot,
            registry_version=self.registry.version,
        )

    def _refusal(self, story: Story) -> OmniError:
        """Why nothing is eligible: the request's limits, or (503) nothing but open breakers."""
        calm = self._calm(story.caller)
        request = story.decision.explanation.case.request
        possible = self._decide_in(request, calm, story.caller.policy)
        if possible.selected is None:
            too_small = story.decision.explanation.ranking.too_small
            too_long = any(reason.limit is Limit.CONTEXT for _, reason in too_small)
            return (PromptTooLong if too_long else NoEligibleModel)(story.decision.no_eligible_reason)
        waits = self._grounds.of(story.caller).health.cooling(now_s=self.clock())
        return all_cooling(min((waits[model] for model in possible.fallback_chain if model in waits), default=1.0))


class InFlight:
    """A request while its chain is walked: its task may be cut off, its failure is recorded, what it holds is settled.

    A class and no `@contextmanager`: every request enters one, and a generator costs three times as much.
    """

    __slots__ = ("_gateway", "_started_s", "_story", "_task")

    def __init__(self, gateway: Gateway, story: Story, started_s: float) -> None:
        self._gateway = gateway
        self._story = story
        self._started_s = started_s

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 a coroutine runs in a task
        self._task = task
        self._gateway._in_flight.add(task)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self._gateway._failed(self._story, error, self._started_s, self._task)
        finally:
            self._gateway._let_go(self._story, self._task)


def permitted(caller: Caller, deployments: Sequence[Deployment]) -> list[Deployment]:
    """Those that the key may use and the org has not switched off."""
    allowed, disabled = caller.allowed_models, caller.disabled_models
    return [one for one in deployments if one.id not in disabled and (allowed is None or one.id in allowed)]


def route_request(caller: Caller, request: ChatRequest, session: AgentSession | None = None) -> RouteRequest:
    """What routing needs to know of a request: no text, only figures and signals."""
    if request.embeds:
        return embedding_route(caller, request)
    tools = request.params.get("tools") or ()
    has_images, tells_of_tools = held_in(request.messages)
    seen = classify(request.messages, tools=bool(tools), image_parts=has_images)
    response_format = request.params.get("response_format") or {}
    expected, bound = estimate_tokens(request.messages, tools, response_format=response_format)
    route = RouteRequest(
        task_scores=seen.task_scores,
        input_tokens=expected,
        input_tokens_bound=bound,
        key_kind=caller.kind,
        max_tokens=request.max_tokens,
        priority=request.priority,
        latency_pref=request.latency_pref,
        max_cost=request.max_cost,
        forced_task=request.task,
        needs_functions=bool(tools),
        needs_vision=has_images,
        needs_response_schema=response_format.get("type") == "json_schema",
        allowed_models=caller.allowed_models,
        disabled_models=caller.disabled_models,
        pinned=request.pinned,
        signals=seen.signals,
        difficulty=seen.difficulty,
        subtask=seen.subtask,
        choices=request.choices,
        bounded=bool(caller.budgets),
        session=session,
    )
    if tells_of_tools and not tools and choose_task(route, caller.policy or ORDINARY) is not Task.IMAGE:
        return replace(route, needs_functions=True)  # who makes pictures reads no conversation
    return route


def held_in(messages: Sequence[Message]) -> tuple[bool, bool]:
    """Whether there are images in a conversation, and calls of tools or their answers.

    Who cannot call tools cannot read that they were called either, whether the request offers any or not.
    """
    images = tools = False
    for message in messages:
        images = images or has_image(message)
        tools = tools or message.get("role") == "tool" or bool(message.get("tool_calls"))
    return images, tools


def has_image(message: Message) -> bool:
    """Whether a message carries an image part."""
    content = message.get("content")
    return isinstance(content, list) and any(part.get("type") == "image_url" for part in content)
