"""Situations and what the router does in them: a TOML file of models and cases, and the routing table made of it.

Each case goes the whole way from the written prompt: task, token estimate, decision. What it expects stands in the
same file, so the table says whether the router still does what people were told it does.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from omni_app.errors import InvalidRequest
from omni_app.money import pico, pico_per_token
from omni_app.routing.classify import classify
from omni_app.routing.decide import decide
from omni_app.routing.policies import policy_from
from omni_app.routing.shortlist import RoutingTable
from omni_app.routing.tokens import estimate_tokens
from omni_app.routing.types import (
    Decision,
    Deployment,
    LatencyPref,
    Price,
    Priority,
    Rating,
    RouteRequest,
    SizeClass,
    Snapshot,
    Task,
)

BYTES_PER_TOKEN = 4
"""The bound of a prompt that is given by its length only."""


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Model(_Read):
    """A model as the file describes it; ratings are percentiles, prices USD per million tokens."""

    id: str = Field(pattern=r"^[a-z]+/\S+$")
    usd_in: Decimal
    usd_out: Decimal
    usd_per_image: Decimal = Decimal(0)
    rating: float = Field(ge=0, le=1)
    ratings: dict[Task, float] = {}
    unrated: bool = False
    latency_ms: int
    window: int = 128_000
    max_output: int = 16_384
    calls_tools: bool = True
    sees_images: bool = False
    keeps_schema: bool = False
    paints: bool = False
    ends: date | None = None

    def deployment(self) -> Deployment:
        """As the router knows models; one that paints does nothing else."""
        provider, _, name = self.id.partition("/")
        overall = Rating(self.rating, "price band" if self.unrated else "test", prior=self.unrated)
        per_task = {task: Rating(self.ratings.get(task, self.rating), "test") for task in Task}
        return Deployment(
            id=self.id,
            provider=provider,
            model_name=name,
            price=Price(pico_per_token(self.usd_in), pico_per_token(self.usd_out), image=pico(self.usd_per_image)),
            context_window=self.window,
            max_output_tokens=self.max_output,
            ratings={} if self.unrated else per_task,
            overall=overall,
            prior_latency_ms=self.latency_ms,
            supports_functions=self.calls_tools and not self.paints,
            supports_vision=self.sees_images,
            supports_response_schema=self.keeps_schema,
            makes_images=self.paints,
            tasks=frozenset({Task.IMAGE}) if self.paints else None,
            deprecated_on=self.ends,
        )


class Situation(_Read):
    """One case: what is asked and with which options, and what is expected of the router."""

    situation: str
    says: str = ""
    history: list[dict[str, Any]] = []
    """Messages before it, in OpenAI's shape."""
    tokens: int | None = None
    agent_step: bool = False
    priority: Priority = Priority.BALANCED
    latency_pref: LatencyPref = LatencyPref.NORMAL
    max_cost_usd: Decimal | None = None
    max_tokens: int | None = None
    answers: int = 1
    pinned: tuple[str, ...] = ()
    allowed: tuple[str, ...] | None = None
    switched_off: tuple[str, ...] = ()
    tools: bool = False
    sees_image: bool = False
    schema_: bool = Field(default=False, alias="schema")
    unavailable: dict[str, str] = {}
    measured_ms: dict[str, float] = {}
    usual_tokens: dict[Task, int] = {}
    policy: dict[str, Any] = {}

    expects_task: Task | None = None
    takes: str | None = None
    then: tuple[str, ...] | None = None
    because: str = ""
    refused_with: str = ""
    warns: str = ""

    def request(self) -> RouteRequest:
        """What routing sees of it."""
        messages = [*self.history, {"role": "user", "content": self.says}]
        seen = classify(messages, tools=self.tools, image_parts=self.sees_image)
        expected, bound = estimate_tokens(messages, ())
        return RouteRequest(
            task_scores=seen.task_scores,
            input_tokens=expected if self.tokens is None else self.tokens,
            input_tokens_bound=bound if self.tokens is None else BYTES_PER_TOKEN * self.tokens,
            key_kind="live",
            max_tokens=self.max_tokens,
            priority=self.priority,
            latency_pref=self.latency_pref,
            max_cost=None if self.max_cost_usd is None else pico(self.max_cost_usd),
            forced_task=Task.AGENT_STEP if self.agent_step else None,
            needs_functions=self.tools,
            needs_vision=self.sees_image,
            needs_response_schema=self.schema_,
            choices=self.answers,
            allowed_models=None if self.allowed is None else frozenset(self.allowed),
            disabled_models=frozenset(self.switched_off),
            pinned=self.pinned,
            signals=seen.signals,
            difficulty=seen.difficulty,
            subtask=seen.subtask,
        )

    def decided(self, table: RoutingTable, *, today: date) -> Decision:
        """What the router does."""
        snapshot = Snapshot(
            self.situation,
            latency_ms={model: dict.fromkeys(SizeClass, ms) for model, ms in self.measured_ms.items()},
            unavailable=self.unavailable,
            expected_output=self.usual_tokens,
            today=today,
        )
        policy = policy_from(self.policy, self.situation)
        return decide(
            self.request(), deployments=table, policy=policy, snapshot=snapshot, registry_version="situations"
        )

    def differences(self, decision: Decision) -> Iterator[str]:
        """Where the decision is not the expected one, in words."""
        if self.expects_task is not None and decision.task is not self.expects_task:
            yield f"it is taken for {decision.task.value}, not {self.expects_task.value}"
        if decision.selected != self.takes:
            yield f"{decision.selected or 'nobody'} is taken, not {self.takes or 'nobody'}"
        if self.then is not None and decision.fallback_chain[1:] != self.then:
            yield f"then {', '.join(decision.fallback_chain[1:]) or 'nobody'}, not {', '.join(self.then) or 'nobody'}"
        told = {
            "the reason": (decision.reason, self.because),
            "the refusal": (decision.no_eligible_reason, self.refused_with),
            "the warnings": ("; ".join(decision.warnings), self.warns),
        }
        for name, (said, wanted) in told.items():
            if wanted not in said:
                yield f"{name}, {said!r}, should say {wanted!r}"


class _File(_Read):
    today: date
    model: list[Model]
    case: list[Situation]


@dataclass(frozen=True, slots=True)
class Situations:
    """A file of situations: the models that are there, on a fixed day."""

    today: date
    deployments: tuple[Deployment, ...]
    cases: tuple[Situation, ...]


def read_situations(path: Path) -> Situations:
    """The file's models and cases. Raises `InvalidRequest` with a line for each thing that is wrong."""
    try:
        content = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        told = (f"{path}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise InvalidRequest("\n".join(told)) from error
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{path}: {error}") from error
    return Situations(content.today, tuple(one.deployment() for one in content.model), tuple(content.case))


def routing_report(situations: Situations) -> list[dict[str, Any]]:
    """One row a situation, ready for JSON: what is done, why, and where it is not what the file expects."""
    table = RoutingTable(situations.deployments)
    return [_row(case, case.decided(table, today=situations.today)) for case in situations.cases]


def _row(case: Situation, decision: Decision) -> dict[str, Any]:
    return {
        "situation": case.situation,
        "task": decision.task.value,
        "takes": decision.selected,
        "then": list(decision.fallback_chain[1:]),
        "reason": decision.reason or decision.no_eligible_reason,
        "warnings": list(decision.warnings),
        "differences": list(case.differences(decision)),
    }


def routing_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The table for people."""
    width = max(len(row["situation"]) for row in rows)
    yield f"  {'situation':{width}}  {'task':14}{'takes':16}then"
    for row in rows:
        takes = row["takes"] or "(refused)"
        yield f"  {row['situation']:{width}}  {row['task']:14}{takes:16}{', '.join(row['then']) or '-'}"
        yield from (f"    NOT AS EXPECTED: {one}" for one in row["differences"])
