"""From what happened to what is billed and kept: the answer, the ledger's records, the saving."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from omni_app.gateway.budgets import Reservation
from omni_app.gateway.types import EMBEDDING_TASK, Answer, Attempt, Caller, ChatRequest
from omni_app.limits.base import Verdict
from omni_app.money import cost_within, markup_on, usd_text
from omni_app.providers.base import Completion, Usage
from omni_app.registry import Registry
from omni_app.routing.cost import savings
from omni_app.routing.decide import warnings_about
from omni_app.routing.explain import Scored
from omni_app.routing.types import AgentSession, Decision, Deployment, Step
from omni_app.storage.ledger import AttemptRecord, RequestRecord, RoutingRecord
from omni_app.storage.spool import Admission

LOGGED_CANDIDATES = 5
"""The best candidates kept with each request; the rest can be worked out again from the stored features."""
FEATURES_FORMAT = 3
"""What `features` holds now. Format 2 knew no agent sessions; what is earlier lacks some of what a replay needs."""
NO_TOKENS = Usage(input=0, output=0)
DETAIL_LENGTH = 400


@dataclass(slots=True)
class Story:
    """One request from its decision to its record. `attempts` grows while the chain is walked."""

    request_id: str
    caller: Caller
    request: ChatRequest
    decision: Decision
    registry: Registry
    """As it was decided under: its prices hold to the end, whatever changes meanwhile."""
    baseline: Deployment | None
    created_at: datetime
    markup_bp: int = 0
    routing_us: int = 0
    first_token_ms: int | None = None
    attempts: list[Attempt] = field(default_factory=list)
    unnoted: tuple[AttemptRecord, ...] = ()
    """Of the attempts those that go to disk with the request's end."""
    held: Reservation | None = None
    """What it may cost within the caller's budgets; None without a budget."""
    tokens: Verdict | None = None
    """The tokens that it may use within the rate limits; None without such a limit."""

    def affords(self, step: Step) -> bool:
        """Whether the step's worst case, beside what failed attempts cost, fits the promise and the budgets."""
        promised = self.request.max_cost
        if promised is None and self.held is None:
            return True
        worst = self.billed(self.cost + step.worst_cost)
        return (promised is None or worst <= promised) and (self.held is None or self.held.covers(worst))

    def charged(self, cost: int) -> int:
        """What of an attempt's cost is charged: no more than the promise and the budgets have left."""
        if not self.promised:
            return cost
        most = self.cost + cost
        if self.held is not None and not self.held.covers(self.billed(most)):
            most = cost_within(self.held.amount, self.markup_bp)
        if self.request.max_cost is not None:
            most = min(most, cost_within(self.request.max_cost, self.markup_bp))
        return max(0, most - self.cost)

    @property
    def promised(self) -> bool:
        """Whether there is a limit to what the request may cost."""
        return self.request.max_cost is not None or self.held is not None

    @property
    def task(self) -> str:
        """What the ledger calls the task."""
        return EMBEDDING_TASK if self.request.embeds else self.decision.task.value

    @property
    def cost(self) -> int:
        """Pico-dollars of all attempts, failed ones too."""
        return sum([attempt.cost for attempt in self.attempts])

    @property
    def byok_cost(self) -> int:
        """The part of the cost that went to the org's own provider keys."""
        return sum([attempt.cost for attempt in self.attempts if attempt.byok])

    @property
    def markup(self) -> int:
        """Pico-dollars on top of what the installation pays."""
        return markup_on(self.cost - self.byok_cost, self.markup_bp)

    def billed(self, cost: int) -> int:
        """The most that a cost can come to with its markup."""
        return cost + markup_on(cost, self.markup_bp)

    def answer(self, completion: Completion, kept: RequestRecord) -> Answer:
        """What the caller gets, with the figures that were kept of it."""
        return Answer(
            request_id=self.request_id,
            output=completion.text,
            model=kept.model,
            provider=kept.provider,
            cost=kept.cost,
            billed=kept.billed if self.markup_bp else None,
            savings=kept.savings if kept.premium_model else None,
            premium_model=self.baseline.id if self.baseline else "",
            latency_ms=kept.latency_ms,
            usage=completion.usage,
            attempts=tuple(self.attempts),
            decision=self.decision,
            finish_reason=completion.finish_reason,
            tool_calls=completion.tool_calls,
            images=completion.images,
            logprobs=completion.logprobs,
            warnings=self._warnings(kept.model, completion),
            simulated=kept.simulated,
            refused=completion.refused,
            others=completion.others,
            vectors=completion.vectors,
            tokens_left=self.tokens,
        )

    def _warnings(self, model: str, completion: Completion) -> tuple[str, ...]:
        """About the request, about the model that answered, from its lane, and about what is not charged."""
        about = warnings_about(model, self.decision)
        return self.request.warnings + about + completion.warnings + self._overruns()

    def _overruns(self) -> tuple[str, ...]:
        return tuple(
            [
                f"{one.model} counts ${usd_text(one.overrun)} more than the request may cost; that is not charged"
                for one in self.attempts
                if one.overrun
            ]
        )

    def admission(self) -> Admission:
        """The line that is on disk before a provider is called."""
        return Admission(
            request_id=self.request_id,
            org_id=self.caller.org_id,
            key_id=self.caller.key_id,
            key_kind=self.caller.kind,
            endpoint=self.request.endpoint,
            task=self.task,
            created_at=self.created_at,
            markup_bp=self.markup_bp,
        )

    def attempt_record(self, attempt: Attempt) -> AttemptRecord:
        """The newest attempt's line."""
        usage = attempt.usage or NO_TOKENS
        return AttemptRecord(
            request_id=self.request_id,
            position=len(self.attempts) - 1,
            model=attempt.model,
            provider=attempt.provider,
            outcome=attempt.outcome,
            detail=attempt.detail[:DETAIL_LENGTH],
            latency_ms=attempt.latency_ms,
            tokens_input=usage.input,
            tokens_output=usage.output,
            cost=attempt.cost,
            overrun=attempt.overrun,
            started_ms=attempt.started_ms,
            byok=attempt.byok,
            created_at=self.created_at,
        )

    def served(self, completion: Completion, answered_by: Deployment, *, latency_ms: int) -> RequestRecord:
        """The record of an answered request."""
        usage, cost, last = completion.usage, self.cost, self.attempts[-1]
        saved = savings(self.baseline.price, usage, cost=cost) if self.baseline else None
        return self._record(
            cost,
            latency_ms=latency_ms,
            success=True,
            model=answered_by.id,
            provider=answered_by.provider,
            simulated=answered_by.simulated,
            price_version=answered_by.price_version,
            tokens_input=usage.input,
            tokens_output=usage.output,
            tokens_cached=usage.cached_input,
            tokens_cache_write=usage.cache_write,
            tokens_reasoning=usage.reasoning,
            images=usage.images,
            estimated=usage.estimated,
            failed_cost=cost - last.cost,
            overrun=last.overrun,
            premium_cost=cost + (saved or 0),
            premium_model=self.baseline.id if self.baseline and saved is not None else "",
            rescued=len(self.attempts) > 1,
        )

    def failed(self, error_code: str, *, latency_ms: int) -> RequestRecord:
        """The record of a request without a whole answer; what its attempts cost stays in it.

        When the last attempt produced tokens (a stream that broke, a client that left), the row names its model.
        """
        last = self.attempts[-1] if self.attempts else None
        cost = self.cost
        outcome: dict[str, Any] = {
            "success": False,
            "error_code": error_code,
            "failed_cost": cost,
            "latency_ms": latency_ms,
        }
        if last is None or last.usage is None:
            return self._record(cost, **outcome)
        return self._record(
            cost,
            **outcome,
            model=last.model,
            provider=last.provider,
            tokens_input=last.usage.input,
            tokens_output=last.usage.output,
            estimated=last.usage.estimated,
        )

    def _record(self, cost: int, *, model: str = "", **outcome: Any) -> RequestRecord:
        byok_cost = self.byok_cost
        return RequestRecord(
            request_id=self.request_id,
            org_id=self.caller.org_id,
            key_id=self.caller.key_id,
            key_kind=self.caller.kind,
            endpoint=self.request.endpoint,
            task=self.task,
            created_at=self.created_at,
            model=model,
            cost=cost,
            byok_cost=byok_cost,
            markup=markup_on(cost - byok_cost, self.markup_bp),
            markup_bp=self.markup_bp,
            routing_us=self.routing_us,
            first_token_ms=self.first_token_ms,
            attempts=len(self.attempts),
            session_id=self.request.session_id,
            step_id=self.request.step_id,
            routing=self._routing(model),
            **outcome,
        )

    def _routing(self, final_model: str) -> RoutingRecord:
        decision = self.decision
        return RoutingRecord(
            considered_models=[considered(one) for one in decision.explanation.scored(LOGGED_CANDIDATES)],
            task_scores={task.value: score for task, score in decision.task_scores.items()},
            final_model=final_model,
            reason=decision.reason or decision.no_eligible_reason,
            features=self._features(final_model),
            policy_version=decision.policy_version,
            registry_version=decision.registry_version,
            snapshot_id=decision.snapshot_id,
        )

    def _features(self, served: str) -> dict[str, Any]:
        """`features`, and whom the agent session stays with from here on, for the worker that serves its next step."""
        found = features(self.decision)
        if self.request.session_id and served and not self.request.embeds:
            found["home"] = self.decision.home_after(served)
        return found


def considered(one: Scored) -> dict[str, Any]:
    """A candidate as the routing log keeps it; costs in pico-dollars."""
    terms = one.terms
    return {
        "model": one.row.id,
        "score": one.score,
        "terms": {"cost": terms.cost, "latency": terms.latency, "task": terms.task, "quality": terms.quality},
        "expected_cost": one.expected_cost,
        "latency_ms": one.row.latency_ms,
    }


def features(decision: Decision) -> dict[str, Any]:
    """What the decision was made from, for a replay: figures and signals, never text of the prompt.

    Lossless beside the row's key kind and task scores: `omni_app.gateway.replay` makes the same `RouteRequest` of it.
    `chain` is what was decided, so that a replay can be held against it.
    """
    request = decision.explanation.case.request
    return {
        "format": FEATURES_FORMAT,
        "chain": list(decision.fallback_chain),
        "input_tokens": request.input_tokens,
        "input_tokens_bound": request.input_tokens_bound,
        "max_tokens": request.max_tokens,
        "priority": request.priority.value,
        "latency_pref": request.latency_pref.value,
        "max_cost": request.max_cost,
        "forced_task": request.forced_task.value if request.forced_task else None,
        "needs_functions": request.needs_functions,
        "needs_vision": request.needs_vision,
        "needs_response_schema": request.needs_response_schema,
        "allowed_models": sorted(request.allowed_models) if request.allowed_models is not None else None,
        "disabled_models": sorted(request.disabled_models),
        "pinned": list(request.pinned),
        "images": request.images,
        "bounded": request.bounded,
        "choices": request.choices,
        "embeds": request.embeds,
        "signals": list(request.signals),
        "difficulty": request.difficulty,
        "subtask": request.subtask,
        "session": session_features(request.session),
    }


def session_features(session: AgentSession | None) -> dict[str, Any] | None:
    """What was known of the agent session; None for its first step, and where there was none."""
    if session is None:
        return None
    return {"home": session.home, "last": session.last, "held": dict(session.held), "rules": session.rules}
