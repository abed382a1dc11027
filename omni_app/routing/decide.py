"""decide(request, deployments, policy, snapshot) -> Decision: filter, score, rank, chain."""

from collections.abc import Iterator, Sequence

from omni_app.money import usd_text
from omni_app.routing.explain import Explanation
from omni_app.routing.rank import chain, rank
from omni_app.routing.shortlist import RoutingTable, Row
from omni_app.routing.size import step
from omni_app.routing.types import Case, Decision, Deployment, Policy, RouteRequest, Snapshot, Step, Task


def decide(
    request: RouteRequest,
    *,
    deployments: RoutingTable | Sequence[Deployment],
    policy: Policy,
    snapshot: Snapshot,
    registry_version: str,
) -> Decision:
    """The choice for one request, with its fallback chain. Raises nothing: `selected` is None when nobody can answer.

    Deterministic: the same values in give an equal decision, so a stored request replays under the policy, registry
    and snapshot of its time. A `RoutingTable` kept by the caller only saves time.
    """
    table = deployments if isinstance(deployments, RoutingTable) else RoutingTable(deployments)
    case = Case(request, choose_task(request, policy), policy, snapshot)
    ranking = rank(case, table)
    tried = [ranking.rows[place] for place in chain(ranking, case)]
    steps = tuple([step(row, case) for row in tried])
    return Decision(
        task=case.task,
        task_scores=request.task_scores,
        steps=steps,
        weights=ranking.shortlist.weights,
        policy_version=policy.version,
        registry_version=registry_version,
        snapshot_id=snapshot.id,
        warnings=tuple(warnings(tried[0], steps[0], case)) if steps else (),
        explanation=Explanation(case, table, ranking),
    )


def choose_task(request: RouteRequest, policy: Policy) -> Task:
    """The forced task, else the likeliest one; making an image only when that is all but certain."""
    if request.forced_task is not None:
        return request.forced_task
    scores = request.task_scores
    likeliest = max(scores, key=scores.__getitem__, default=Task.CHAT)
    if likeliest is Task.IMAGE and scores[likeliest] < policy.image_probability:
        others = [task for task in scores if task is not Task.IMAGE]
        return max(others, key=scores.__getitem__, default=Task.CHAT)
    return likeliest


def warnings(row: Row, taken: Step, case: Case) -> Iterator[str]:
    """What the caller should know about a step: a lowered `max_tokens`, a deprecated model."""
    if taken.max_tokens is not None:
        asked = case.request.max_tokens or min(case.policy.output_ceiling_tokens, row.max_output)
        if taken.max_tokens < asked:
            yield f"max_tokens is {taken.max_tokens:,} instead of {asked:,}, {_why_lowered(row, taken, case)}"
    ends, today = row.deployment.deprecated_on, case.snapshot.today
    if ends is not None and today is not None and today >= ends:
        yield f"{row.id} is deprecated since {ends}"


def warnings_about(model: str, decision: Decision) -> tuple[str, ...]:
    """As `Decision.warnings`, which are those of the first step, for the step whose model answered."""
    if model == decision.selected:
        return decision.warnings
    case, ranking = decision.explanation.case, decision.explanation.ranking
    rows = {row.id: row for row in ranking.rows}
    return tuple([told for one in decision.steps if one.model == model for told in warnings(rows[model], one, case)])


def _why_lowered(row: Row, taken: Step, case: Case) -> str:
    max_cost = case.request.max_cost
    if taken.max_tokens == row.max_output:
        return f"the most that {row.id} can write"
    if max_cost is not None and taken.worst_cost + row.output_price * case.request.choices > max_cost:
        return f"so that the answer cannot cost more than max_cost ${usd_text(max_cost)}"
    return f"so that prompt and answer fit the context window of {row.id}"
