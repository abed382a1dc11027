"""What the product's own choice would have cost and been worth, on prompts whose outcomes are known for every model.

Each router is a list of trade-off points, from cheapest to best; each point chooses a model per prompt from the
classifier's reading (task, sub-task, difficulty), ratings and prices alone. Nothing is fitted on the rows.

    score       `decide` with the weights (w, 0, 1 - w, 0), w from 1 to 0: the formula and the minimum quality
    minimum     `decide` with cost alone among the models that reach the minimum quality, which rises with the
                difficulty: the cheapest model that is good enough, from "any is" to "only the best is"
    expected    the rating as the chance of success, its odds lowered by exp(STEEPNESS * (difficulty - the ordinary one
                of what the rating speaks of)), less a price of cost
    difficulty  two models only: the strong one when the difficulty reaches a threshold
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp
from statistics import fmean
from typing import Any

from omni_app.evaluate.curves import Sample, bootstrap, measure, pack
from omni_app.evaluate.files import ReplayRow
from omni_app.evaluate.ratings import Ratings, rating_of
from omni_app.money import PICO_PER_USD
from omni_app.routing.classify import Classification, classify
from omni_app.routing.decide import choose_task, decide
from omni_app.routing.shortlist import RoutingTable
from omni_app.routing.tokens import estimate_tokens
from omni_app.routing.types import SUBTASKS, Deployment, Policy, Price, Rating, RouteRequest, Snapshot, Task, Weights

STEEPNESS = 2.0
"""How fast a model fails as a request grows harder than others of its kind: a convention, not fitted."""
WEIGHT_STEPS = 100
COST_WEIGHTS = (1e9, *(100 * 0.93**step for step in range(200)), 0.0)
"""What the dearest model's cost is set against quality in [0, 1], from all to nothing."""
MINIMUM_SLOPES = (0.0, *(0.2 * 1.12**step for step in range(50)))
POLICY = Policy()


@dataclass(frozen=True, slots=True)
class Read:
    """A prompt as the router sees it: no outcome in it."""

    request: RouteRequest
    task: Task
    expected_usd: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Bench:
    """The rows, what the router sees of them, and the two models that all is compared with."""

    rows: Sequence[ReplayRow]
    reads: Sequence[Read]
    deployments: tuple[Deployment, ...]
    ratings: Ratings
    cheapest: str
    best: str


Choices = list[list[str]]
"""One list of models, in order of the rows, for each trade-off point."""


def mean_usd(rows: Sequence[ReplayRow]) -> dict[str, float]:
    """model -> mean cost of a prompt."""
    return {name: fmean(row.models[name].usd for row in rows) for name in rows[0].models}


def prices(rows: Sequence[ReplayRow], name: str) -> Price:
    """The list price that explains the costs in the file: least squares over input and output tokens."""
    outcomes = [row.models[name] for row in rows]
    ii = sum(one.input_tokens**2 for one in outcomes)
    oo = sum(one.output_tokens**2 for one in outcomes)
    io = sum(one.input_tokens * one.output_tokens for one in outcomes)
    iu = sum(one.input_tokens * one.usd for one in outcomes)
    ou = sum(one.output_tokens * one.usd for one in outcomes)
    determinant = ii * oo - io * io
    if determinant > 1e-9 * max(1.0, ii * oo):
        each = ((iu * oo - ou * io) / determinant, (ou * ii - iu * io) / determinant)
        if min(each) >= 0:
            return Price(*(round(usd * PICO_PER_USD) for usd in each))
    tokens = sum(one.input_tokens + one.output_tokens for one in outcomes)
    flat = round(sum(one.usd for one in outcomes) / tokens * PICO_PER_USD) if tokens else 0
    return Price(flat, flat)


def deployment(name: str, price: Price, ratings: Mapping[str, float]) -> Deployment:
    """A model of the file as the router knows models."""
    known = {kind: Rating(value, "replay") for kind, value in ratings.items()}
    tasks = {task: known[task.value] for task in Task if task.value in known}
    return Deployment(
        id=f"replay/{name}",
        provider="replay",
        model_name=name,
        price=price,
        context_window=10_000_000,
        max_output_tokens=100_000,
        ratings=tasks,
        subtask_ratings={kind: known[kind] for kind in known.keys() & SUBTASKS.keys()},
        overall=Rating(fmean(one.percentile for one in tasks.values()) if tasks else 0.0, "replay"),
        prior_latency_ms=1000,
    )


def make_bench(rows: Sequence[ReplayRow], ratings: Ratings) -> Bench:
    """Reads every prompt once. The best model is the one with the highest mean score on the file."""
    usd = mean_usd(rows)
    quality = {name: fmean(row.models[name].score for row in rows) for name in usd}
    price = {name: prices(rows, name) for name in usd}
    return Bench(
        rows=rows,
        reads=[read_prompt(row.prompt, price) for row in rows],
        deployments=tuple(deployment(name, price[name], ratings.get(name, {})) for name in sorted(usd)),
        ratings=ratings,
        cheapest=min(usd, key=lambda name: (usd[name], -quality[name], name)),
        best=max(usd, key=lambda name: (quality[name], -usd[name], name)),
    )


def read_prompt(prompt: str, price: Mapping[str, Price]) -> Read:
    """Task, difficulty and expected costs of a prompt."""
    messages = [{"role": "user", "content": prompt}]
    seen: Classification = classify(messages, tools=False, image_parts=False)
    tokens, bound = estimate_tokens(messages, ())
    request = RouteRequest(
        task_scores=seen.task_scores,
        input_tokens=tokens,
        input_tokens_bound=bound,
        key_kind="live",
        difficulty=seen.difficulty,
        subtask=seen.subtask,
    )
    task = choose_task(request, POLICY)
    if task is Task.IMAGE:  # the models of a replay write text
        task = Task.CHAT
    request = replace(request, forced_task=task)
    output = POLICY.expected_output[task]
    usd = {name: (one.input * tokens + one.output * output) / PICO_PER_USD for name, one in price.items()}
    return Read(request, task, usd)


def by_score(bench: Bench) -> Choices:
    """The product's own choice at each cost weight."""
    table, snapshot = RoutingTable(bench.deployments), Snapshot(id="replay")
    choices = []
    for step in range(WEIGHT_STEPS + 1):
        weight = 1 - step / WEIGHT_STEPS
        policy = replace(POLICY, version=f"replay-{step}", balanced=Weights(weight, 0.0, 1 - weight, 0.0))
        chosen = []
        for read in bench.reads:
            one = decide(read.request, deployments=table, policy=policy, snapshot=snapshot, registry_version="replay")
            chosen.append((one.selected or f"replay/{bench.cheapest}").removeprefix("replay/"))
        choices.append(chosen)
    return choices


def by_minimum(bench: Bench) -> Choices:
    """The cheapest model that reaches what the request asks for, at each slope of minimum quality over difficulty."""
    table, snapshot = RoutingTable(bench.deployments), Snapshot(id="replay")
    choices = []
    for number, slope in enumerate(MINIMUM_SLOPES):
        policy = replace(
            POLICY,
            version=f"minimum-{number}",
            balanced=Weights(1.0, 0.0, 0.0, 0.0),
            subtask_quality={},
            hard_from=0.0,
            hard_quality=slope,
        )
        chosen = []
        for read in bench.reads:
            one = decide(read.request, deployments=table, policy=policy, snapshot=snapshot, registry_version="replay")
            chosen.append((one.selected or f"replay/{bench.cheapest}").removeprefix("replay/"))
        choices.append(chosen)
    return choices


def by_expected_quality(bench: Bench) -> Choices:
    """The best expected quality less cost, at each price of cost."""
    return [[expected_best(read, bench.ratings, weight) for read in bench.reads] for weight in COST_WEIGHTS]


def expected_best(read: Read, ratings: Ratings, weight: float) -> str:
    """The model with the highest expected quality less `weight` times its share of the dearest model's cost."""
    dearest = max(read.expected_usd.values()) or 1.0

    def worth(name: str) -> tuple[float, float, str]:
        rating, ordinary = rating_of(ratings.get(name, {}), read.task, read.request.subtask)
        factor = exp(STEEPNESS * (read.request.difficulty - ordinary))
        quality = rating / (rating + (1 - rating) * factor) if rating else 0.0
        return (quality - weight * read.expected_usd[name] / dearest, quality, name)

    return max(read.expected_usd, key=worth)


def by_difficulty(bench: Bench) -> Choices:
    """Two models: the strong one from a threshold on."""
    levels = sorted({read.request.difficulty for read in bench.reads}, reverse=True)
    return [
        [bench.best if read.request.difficulty >= level else bench.cheapest for read in bench.reads]
        for level in (2.0, *levels)
    ]


def oracle(bench: Bench) -> Choices:
    """Knows every outcome: the best score less cost at each price of cost; what no router can beat by much."""
    dearest = max(max(one.usd for one in row.models.values()) for row in bench.rows) or 1.0
    return [[_oracle_best(row, weight / dearest) for row in bench.rows] for weight in COST_WEIGHTS]


def _oracle_best(row: ReplayRow, weight: float) -> str:
    return max(
        row.models,
        key=lambda name: (row.models[name].score - weight * row.models[name].usd, -row.models[name].usd, name),
    )


def replay_report(rows: Sequence[ReplayRow], ratings: Ratings, *, resamples: int) -> dict[str, Any]:
    """All figures of a replay file, ready for JSON."""
    bench = make_bench(rows, ratings)
    many = len(bench.deployments) > 2
    routers: dict[str, Callable[[Bench], Choices]] = {
        "score": by_score,
        "minimum": by_minimum,
        "expected": by_expected_quality,
    }
    if not many:
        routers["difficulty"] = by_difficulty
    routers["oracle"] = oracle
    report = {name: _figures(bench, router(bench), many=many, resamples=resamples) for name, router in routers.items()}
    report["random"] = _random(bench, many=many, resamples=resamples)
    means = {
        name: {"quality": fmean(row.models[name].score for row in rows), "usd": usd}
        for name, usd in mean_usd(rows).items()
    }
    return {"rows": len(rows), "best": bench.best, "cheapest": bench.cheapest, "models": means, "routers": report}


def _sample(row: ReplayRow, name: str, best: str) -> Sample:
    return Sample(row.models[name].score, row.models[name].usd, float(name == best))


def _figures(bench: Bench, choices: Choices, *, many: bool, resamples: int) -> dict[str, Any]:
    packed = []
    for number, row in enumerate(bench.rows):
        names = [bench.cheapest, bench.best, *(chosen[number] for chosen in choices)]
        packed.append(pack([_sample(row, name, bench.best) for name in names]))
    return _measured(packed, points=len(choices) + 2, many=many, resamples=resamples)


def _random(bench: Bench, *, many: bool, resamples: int) -> dict[str, Any]:
    """A coin between always-cheapest and always-best, by its expectation: the straight line."""
    packed = []
    for row in bench.rows:
        ends = [_sample(row, bench.cheapest, bench.best), _sample(row, bench.best, bench.best)]
        packed.append(pack([*ends, *ends]))
    return _measured(packed, points=4, many=many, resamples=resamples)


def _measured(packed: Sequence[int], *, points: int, many: bool, resamples: int) -> dict[str, Any]:
    curve, ends, intervals = bootstrap(packed, points=points, many=many, resamples=resamples)
    kept = [one.quality / ends.strong.quality if ends.strong.quality else 0.0 for one in curve]
    return {
        **measure(curve, ends),
        "intervals": intervals,
        "points": [
            {"quality": one.quality, "quality_kept": share, "usd": one.usd, "share": one.share}
            for one, share in zip(curve, kept, strict=True)
        ],
    }
