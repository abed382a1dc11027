"""The nouns of routing. All frozen: a decision can be stored, replayed and compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from omni_app.records import record

if TYPE_CHECKING:
    from omni_app.routing.explain import Explanation
    from omni_app.routing.staying import Staying

Message = Mapping[str, Any]
"""One chat message in OpenAI's shape: `role`, `content` (text or parts), `tool_calls`, `tool_call_id`, `name`."""


class Task(StrEnum):
    """What a request asks for."""

    CHAT = "chat"
    CODING = "coding"
    REASONING = "reasoning"
    SUMMARIZATION = "summarization"
    TRANSLATION = "translation"
    IMAGE = "image"
    AGENT_STEP = "agent_step"


SUBTASKS: Mapping[str, Task] = {
    "small_talk": Task.CHAT,
    "general": Task.CHAT,
    "knowledge": Task.CHAT,
    "trivia": Task.CHAT,
    "commonsense": Task.CHAT,
    "reading": Task.CHAT,
    "quiz": Task.CHAT,
    "advice": Task.CHAT,
    "rewriting": Task.CHAT,
    "extraction": Task.CHAT,
    "writing": Task.CHAT,
    "roleplay": Task.CHAT,
    "creative": Task.CHAT,
    "translation": Task.TRANSLATION,
    "summary": Task.SUMMARIZATION,
    "image": Task.IMAGE,
    "tool_use": Task.AGENT_STEP,
    "arithmetic": Task.REASONING,
    "mathematics": Task.REASONING,
    "logic": Task.REASONING,
    "science": Task.REASONING,
    "exam": Task.REASONING,
    "code_writing": Task.CODING,
    "code_explanation": Task.CODING,
    "code_repair": Task.CODING,
}
"""Finer class -> the task that it is a kind of."""


class Priority(StrEnum):
    """The caller's trade between price and quality."""

    CHEAP = "cheap"
    BALANCED = "balanced"
    BEST = "best"
    QUALITY = "quality"


class LatencyPref(StrEnum):
    """`fast` moves weight from cost to latency."""

    FAST = "fast"
    NORMAL = "normal"


class SizeClass(StrEnum):
    """A request by the tokens that drive time: its prompt (small, medium, large), its answer (brief, full)."""

    SMALL_BRIEF = "small_brief"
    SMALL_FULL = "small_full"
    MEDIUM_BRIEF = "medium_brief"
    MEDIUM_FULL = "medium_full"
    LARGE_BRIEF = "large_brief"
    LARGE_FULL = "large_full"


KeyKind = Literal["live", "test"]
"""Live keys reach configured providers, test keys the local model and the sandbox."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a deployment charges, in pico-dollars: per token, and per image for image models.

    `cached_input` is the price of a token read from the provider's prompt cache, `cache_write` of one written
    to it; both fall back to `input` where the provider has no such price.
    """

    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    image: int = 0


@dataclass(frozen=True, slots=True)
class Rating:
    """A public quality figure of a model at a task.

    `percentile` in [0, 1] among all models of `measure`; `value` is the measure's own figure (Elo, pass rate).
    A model without a public figure has `prior=True`: its percentile is derived from its price band.
    """

    percentile: float
    measure: str
    value: float | None = None
    date: str = ""
    prior: bool = False


@dataclass(frozen=True, slots=True)
class Deployment:
    """One model at one provider, with its price, limits, abilities and ratings."""

    id: str
    """`provider/model_name`, as callers write it."""
    provider: str
    model_name: str
    price: Price
    context_window: int
    max_output_tokens: int
    ratings: Mapping[Task, Rating]
    overall: Rating
    prior_latency_ms: int
    """Expected total latency until there are measurements; an assumption, labelled so wherever shown."""
    upstream_model: str = ""
    """The name to send to the provider; `model_name` when empty."""
    strengths: tuple[str, ...] = ()
    supports_functions: bool = False
    supports_vision: bool = False
    supports_response_schema: bool = False
    makes_images: bool = False
    sees_temperature: bool = True
    """Whether the model accepts `temperature` and `top_p` (reasoning models refuse them)."""
    simulated: bool = False
    tasks: frozenset[Task] | None = None
    """The tasks it may be chosen for; None = every task it is able to do."""
    subtask_ratings: Mapping[str, Rating] = field(default_factory=dict)
    """Finer ratings, by sub-task (`SUBTASKS`); what is missing is rated as its task."""
    deprecated_on: date | None = None
    price_source: str = ""
    price_version: str = ""
    vector_size: int = 0
    """How many numbers its embeddings have; 0 = it makes no embeddings. One that makes them does nothing else."""
    shortens_vectors: bool = False
    """Whether embeddings of fewer numbers may be asked for (`dimensions`)."""
    refuses: tuple[str, ...] = ()
    """Optional parameters, by OpenAI's names, that this model answers with an error."""


SESSION_RULES = 2
"""By rules 1 a session stayed with its home under priority `quality` too."""


@dataclass(frozen=True, slots=True)
class AgentSession:
    """What is known of an agent session before its next step: figures only, so it may be stored and replayed."""

    home: str
    """The model that the session stays with unless another one is cheaper on the whole, or it cannot do a step."""
    last: str
    """The model that answered the last step; takes the home's place where that cannot answer."""
    held: tuple[tuple[str, int], ...] = ()
    """Deployment id -> how many tokens of the conversation its prompt cache may hold; 0 = known to hold nothing."""
    rules: int = SESSION_RULES
    """Which rules its steps are decided by; earlier ones are for replays of what was decided by them."""


@record(frozen=True, slots=True)
class RouteRequest:
    """Everything routing needs to know of a request; holds no prompt text, so it may be stored and replayed."""

    task_scores: Mapping[Task, float]
    """Probability per task, summing to 1."""
    input_tokens: int
    """Calibrated estimate of the prompt's tokens: used for the expected cost and, with a margin, the context window."""
    input_tokens_bound: int
    """A bound that is never below the truth: used for promises (`max_cost`, budgets)."""
    key_kind: KeyKind
    max_tokens: int | None = None
    priority: Priority = Priority.BALANCED
    latency_pref: LatencyPref = LatencyPref.NORMAL
    max_cost: int | None = None
    """Pico-dollars."""
    forced_task: Task | None = None
    """`agent_step` on its own route: the caller said what it is."""
    needs_functions: bool = False
    needs_vision: bool = False
    needs_response_schema: bool = False
    images: int = 1
    """How many images to make; counts for task `image` only."""
    choices: int = 1
    """How many answers to write (`n`); each is counted with its own prompt."""
    bounded: bool = False
    """Whether the answer's length must have a bound that the provider is told, because a budget holds for it."""
    embeds: bool = False
    """Whether embeddings are wanted and no words: then only deployments with a `vector_size` are asked."""
    allowed_models: frozenset[str] | None = None
    """The key's allow-list of deployment ids; None = all."""
    disabled_models: frozenset[str] = frozenset()
    """Deployment ids that the org has switched off."""
    pinned: tuple[str, ...] = ()
    """The caller's own chain of deployment ids; empty = the router chooses."""
    signals: tuple[str, ...] = ()
    """Names of what the classifier saw (`structure:tools`, `word:translate`): for the explanation."""
    difficulty: float = 0.5
    subtask: str = ""
    session: AgentSession | None = None
    """The agent session that this is a further step of; None for its first step, and where there is none."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of the score's four terms; they sum to 1."""

    cost: float
    latency: float
    task: float
    quality: float


@dataclass(frozen=True, slots=True)
class Policy:
    """Every number that steers a choice, in one value. Defaults are product.md's and decisions.md's."""

    version: str = "default-1"
    balanced: Weights = Weights(0.4, 0.3, 0.3, 0.0)
    balanced_fast: Weights = Weights(0.3, 0.4, 0.3, 0.0)
    quality: Weights = Weights(0.1, 0.2, 0.3, 0.4)
    quality_fast: Weights = Weights(0.0, 0.3, 0.3, 0.4)
    cheap: Weights = Weights(1.0, 0.0, 0.0, 0.0)
    best: Weights = Weights(0.0, 0.0, 1.0, 0.0)
    """`cheap` and `best` choose by rule, not by score; these weights make the score shown beside them say the same."""
    cost_floor_pico: int = 1_000_000
    """Expected cost at and below which `cost_norm` is 0 ($0.000001)."""
    cost_ceiling_pico: int = 1_000_000_000_000
    """Expected cost at and above which `cost_norm` is 1 ($1)."""
    latency_floor_ms: float = 100.0
    latency_ceiling_ms: float = 60_000.0
    cheap_quality_floor: float = 0.0
    """`cheap` takes the lowest expected cost among models whose percentile for the task reaches this; 0 = off."""
    best_within: float = 0.01
    """`best` takes the cheapest among models within this percentile of the highest."""
    output_ceiling_tokens: int = 4096
    """Worst-case output when the caller gives no `max_tokens`."""
    useful_output_tokens: int = 64
    """A model that could not write this many tokens (or the caller's smaller `max_tokens`) within `max_cost`
    or its context window is left out: a shorter answer helps nobody."""
    context_margin: float = 1.2
    """The context window must hold the estimated prompt times this (never more than the prompt's bound)."""
    image_probability: float = 0.9
    """Task `image` is chosen only at or above this probability."""
    subtask_quality: Mapping[str, float] = field(
        default_factory=lambda: dict.fromkeys(
            ("arithmetic", "mathematics", "logic", "science", "exam", "code_repair"), 0.2
        )
    )
    """Lowest percentile for the task that a sub-task asks for; 0 when not listed."""
    hard_from: float = 0.6
    hard_quality: float = 0.5
    """Above difficulty `hard_from` the lowest percentile asked for rises in a straight line from 0 to `hard_quality`
    at difficulty 1. Models below the minimum stand behind all others; when none reaches it, the highest rated do."""
    fragile_margin: float = 0.01
    """A lead over the runner-up below this is called fragile."""
    expected_output: Mapping[Task, int] = field(
        default_factory=lambda: {
            Task.CHAT: 200,
            Task.CODING: 500,
            Task.REASONING: 600,
            Task.SUMMARIZATION: 180,
            Task.TRANSLATION: 150,
            Task.IMAGE: 0,
            Task.AGENT_STEP: 150,
        }
    )
    """Expected output tokens per task: a stated prior, until our own traffic gives a median."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The operational state a decision was made in: replay needs its id, not the clock."""

    id: str
    latency_ms: Mapping[str, Mapping[SizeClass, float]] = field(default_factory=dict)
    """Time to the whole answer as measured, per deployment id and size class; missing = the deployment's prior."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Deployment id -> why it cannot be called now (`OPENAI_API_KEY is not set`, `cooling down`)."""
    expected_output: Mapping[Task, int] = field(default_factory=dict)
    """Medians of our own traffic, where there are enough; override the policy's priors."""
    today: date | None = None
    """A deployment whose `deprecated_on` has come is left out; None = nobody asks for the date."""
    ground: int = field(default=0, compare=False)
    """Whose state it is, where several are decided in in turn: the next one of the same ground takes its place."""


class Case(NamedTuple):
    """One request with all that its choice depends on, but for the deployments."""

    request: RouteRequest
    task: Task
    policy: Policy
    snapshot: Snapshot


@record(frozen=True, slots=True)
class Terms:
    """The four terms of a score, each in [0, 1], higher is better; the weighted sum is the score."""

    cost: float
    latency: float
    task: float
    quality: float


@record(frozen=True, slots=True)
class Candidate:
    """One deployment as the router saw it for one request."""

    model: str
    score: float
    terms: Terms
    expected_cost: int
    """Pico-dollars, of the request as asked: before `max_cost` lowers `max_tokens`."""
    worst_cost: int
    """Pico-dollars, never below what it can cost: with `max_tokens` as it would be sent."""
    latency_ms: float
    eligible: bool
    excluded_by: str = ""
    """The limit that excluded it, in words; empty when eligible."""
    held_back: str = ""
    """Why an eligible model stands behind the others: it is rated below what the request asks for."""


@record(frozen=True, slots=True)
class Step:
    """One link of the fallback chain: what to call, and what it can cost at most, by itself."""

    model: str
    max_tokens: int | None
    """What to send as `max_tokens`; None = leave it out."""
    worst_cost: int
    """Pico-dollars, with that `max_tokens`."""


@record(frozen=True, slots=True)
class Decision:
    """The one value behind every answer about a choice: headers, debug route, ledger, pages.

    `selected` is None when nothing is eligible; then `no_eligible_reason` says which limit excluded which models.
    What is only read now and then (candidates, reason, what would change it) is worked out when first read,
    from the inputs that `explanation` holds; the same inputs always give the same words.
    """

    task: Task
    task_scores: Mapping[Task, float]
    steps: tuple[Step, ...]
    """What to try, in order. With `max_cost`, each step alone keeps the promise; before a further step the caller
    must see that its `worst_cost` still fits beside what the attempts before it may have cost."""
    weights: Weights
    policy_version: str
    registry_version: str
    snapshot_id: str
    warnings: tuple[str, ...]
    explanation: "Explanation" = field(compare=False, repr=False)

    @property
    def selected(self) -> str | None:
        """The deployment tried first."""
        return self.steps[0].model if self.steps else None

    @property
    def fallback_chain(self) -> tuple[str, ...]:
        """Deployment ids in the order they are tried; the first is `selected`."""
        return tuple(step.model for step in self.steps)

    @property
    def max_tokens(self) -> int | None:
        """What to send to the selected model as `max_tokens`, after any clamp; None = leave it out."""
        return self.steps[0].max_tokens if self.steps else None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All considered: best first, then those held back, then the excluded ones."""
        return self.explanation.candidates

    def top(self, count: int) -> tuple[Candidate, ...]:
        """The first `count` eligible candidates, without working out the others."""
        return self.explanation.top(count)

    @property
    def reason(self) -> str:
        """Why this model, in one sentence for people; empty when nothing is eligible."""
        return self.explanation.reason

    @property
    def what_would_change_it(self) -> tuple[str, ...]:
        """The nearest changes that would choose another model, in words; `explanation.changes` has the figures."""
        return tuple(change.text for change in self.explanation.changes)

    @property
    def staying(self) -> "Staying | None":
        """What the agent session had to do with the choice; None where there is none, and for its first step."""
        return self.explanation.staying

    def home_after(self, served: str) -> str:
        """The model that the agent session stays with from now on, when `served` answered this step."""
        return self.explanation.home_after(served)

    @property
    def no_eligible_reason(self) -> str:
        """Which limits excluded which models; empty when one was selected."""
        return self.explanation.no_eligible_reason
