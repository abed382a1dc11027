"""A decision in words and figures: why this model, and why nobody. What would change it is solved in `change`.

Everything is worked out when it is first read, from the inputs of the decision alone: the same request, policy,
registry and snapshot give the same words, so `routing_logs` may keep the sentence or make it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from omni_app.routing.change import Change, changes
from omni_app.routing.rank import Ranking
from omni_app.routing.score import minimum_quality, weighted_sum
from omni_app.routing.shortlist import Exclusion, Limit, RoutingTable, Row
from omni_app.routing.size import context_tokens, expected_costs, least_worst_cost, useful_output, worst_case
from omni_app.routing.staying import Staying, home_of, staying_of
from omni_app.routing.types import Candidate, Case, Priority, Task, Terms
from omni_app.routing.wording import beside, count_of, dollars, exact_dollars, listed

TASK_WORDS = {Task.IMAGE: "making images", Task.AGENT_STEP: "agent steps"}
RATING_WORDS = {Task.AGENT_STEP: "agent"}
"""Where a task's own name does not read well in a sentence."""


class Scored(NamedTuple):
    """An eligible deployment with its score: what the ledger keeps of a candidate."""

    row: Row
    expected_cost: int
    """Pico-dollars."""
    terms: Terms
    score: float


@dataclass(frozen=True)
class Explanation:
    """The inputs of a decision, and all that can be told from them, each worked out when it is first read."""

    case: Case
    table: RoutingTable
    ranking: Ranking

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every deployment: in the order of choice, then the excluded ones by id."""
        shut_out = sorted(excluded(self.ranking), key=lambda pair: pair[0].id)
        return self.top(len(self.ranking.order)) + tuple(self._shut_out(row, reason) for row, reason in shut_out)

    def top(self, count: int) -> tuple[Candidate, ...]:
        """The first `count` in the order of choice."""
        return tuple(self._able(position) for position in range(min(count, len(self.ranking.order))))

    def scored(self, count: int) -> list[Scored]:
        """The same, as far as the ledger keeps them: without the worst case, which takes longer than all the rest."""
        rows, costs = self.ranking.rows, self.ranking.costs
        return [self._scored(rows[place], costs[place]) for place in self.ranking.order[:count]]

    @property
    def margin(self) -> float | None:
        """The score's lead over the runner-up; None when there is none, or when a rule chose and not the score."""
        by_rule = self.case.request.pinned or self.case.request.priority in (Priority.CHEAP, Priority.BEST)
        if by_rule or self.ranking.stayed is not None or self.ranking.preferred < 2:
            return None
        first, second = self.ranking.order[:2]
        return self.ranking.scores[first] - self.ranking.scores[second]

    @property
    def fragile(self) -> bool:
        """Whether a small change would choose another model."""
        return self.margin is not None and self.margin < self.case.policy.fragile_margin

    @cached_property
    def reason(self) -> str:
        """Why the selected model, in one sentence for people; empty when there is none."""
        return why_selected(self.case, self.ranking) if self.ranking.order else ""

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """The nearest changes that would choose another model, with their exact figures."""
        return changes(self.case, self.ranking, self.table)

    @cached_property
    def staying(self) -> Staying | None:
        """What the agent session had to do with the choice."""
        return staying_of(self.case, self.ranking)

    def home_after(self, served: str) -> str:
        """The model that the agent session stays with once `served` has answered; the first to answer is its home."""
        session = self.case.request.session
        if session is None:
            return served
        selected = self.ranking.rows[self.ranking.order[0]].id if self.ranking.order else ""
        return home_of(session, self.ranking) if served == selected else session.home

    @cached_property
    def no_eligible_reason(self) -> str:
        """Which limits excluded which models, and what to do about it; empty when one was selected."""
        return "" if self.ranking.order else why_nobody(self.case, self.ranking)

    def _able(self, position: int) -> Candidate:
        place = self.ranking.order[position]
        row, held_back = self.ranking.rows[place], ""
        if position >= self.ranking.preferred:
            asked = minimum_quality(self.case)
            held_back = f"rated {row.task_quality:.2f} for {task_words(self.case)}, the request asks for {asked:.2f}"
        return self._candidate(row, self.ranking.costs[place], held_back=held_back)

    def _shut_out(self, row: Row, reason: Exclusion) -> Candidate:
        return self._candidate(row, expected_costs([row], self.case)[0], excluded_by=reason.words)

    def _scored(self, row: Row, cost: int) -> Scored:
        shortlist = self.ranking.shortlist
        terms = Terms(1 - shortlist.cost_scale.norm(cost), row.latency_term, row.task_quality, row.overall_quality)
        return Scored(row, cost, terms, weighted_sum(terms, shortlist.weights))

    def _candidate(self, row: Row, cost: int, *, excluded_by: str = "", held_back: str = "") -> Candidate:
        _, _, terms, score = self._scored(row, cost)
        return Candidate(
            model=row.id,
            score=score,
            terms=terms,
            expected_cost=cost,
            worst_cost=worst_case(row, self.case),
            latency_ms=row.latency_ms,
            eligible=not excluded_by,
            excluded_by=excluded_by,
            held_back=held_back,
        )


def task_words(case: Case) -> str:
    """The task as it reads in a sentence."""
    return TASK_WORDS.get(case.task, case.task.value)


def excluded(ranking: Ranking) -> Sequence[tuple[Row, Exclusion]]:
    """Everyone who cannot answer, with the reason."""
    return [*ranking.too_small, *ranking.shortlist.excluded]


# Why this one


def why_selected(case: Case, ranking: Ranking) -> str:
    """One sentence: the task, the model, what it costs here, and what it is measured against."""
    row, cost = ranking.rows[ranking.order[0]], likely_cost(ranking.order[0], case, ranking)
    simulated = " (simulated)" if row.deployment.simulated else ""
    told = f"{row.id}{simulated} costs {f'about {dollars(cost)}' if cost else 'nothing'} here"
    session = _in_session(case, ranking)
    if case.request.pinned:
        return f"The request names it: {told}{session}."
    if len(ranking.order) == 1:
        return f"Chosen for {task_words(case)}: {told} and is the only model that can do this now{session}."
    others, behind = _beside_others(case, ranking), _held_back(case, ranking)
    return f"Chosen for {task_words(case)}: {told}{others}{behind}{session}."


def likely_cost(place: int, case: Case, ranking: Ranking) -> int:
    """The expected cost as people are told it: never above what `max_cost` lets the answer cost."""
    cost = ranking.costs[place]
    return cost if case.request.max_cost is None else min(cost, worst_case(ranking.rows[place], case))


def _beside_others(case: Case, ranking: Ranking) -> str:
    rows, first = ranking.rows, ranking.order[0]
    costs = ranking.costs
    if case.request.max_cost is not None:
        costs = [likely_cost(place, case, ranking) for place in range(len(rows))]
    top = max(ranking.order, key=lambda place: rows[place].task_quality)
    if rows[first].task_quality < rows[top].task_quality:
        return f", {beside(costs[first], costs[top])} {rows[top].id}{_traded(rows[first], rows[top], case)}"
    highest = f"; of {count_of(len(rows), 'model')} able to do this none is rated higher"
    cheapest = min(ranking.order[: ranking.preferred], key=costs.__getitem__)
    if costs[cheapest] == costs[first]:
        return f"{highest} and none is cheaper"
    return f"{highest}, and it costs {beside(costs[first], costs[cheapest])} {rows[cheapest].id}"


def _traded(row: Row, top: Row, case: Case) -> str:
    """What is given up beside the highest rated, and the time that is won; claimed only for published ratings."""
    sooner = ""
    if row.latency_ms <= 0.8 * top.latency_ms:
        sooner = f" and about {top.latency_ms - row.latency_ms:,.0f} ms sooner"
    if row.rating.prior or top.rating.prior:
        return f"{sooner} (not every rating here is measured: some are assumed)"
    rating = RATING_WORDS.get(case.task, case.task.value)
    return f" at {row.task_quality / top.task_quality * 100:.0f} % of its {rating} rating{sooner}"


def _in_session(case: Case, ranking: Ranking) -> str:
    staying = staying_of(case, ranking)
    return f"; {staying.words}" if staying and staying.words else ""


def _held_back(case: Case, ranking: Ranking) -> str:
    behind = len(ranking.order) - ranking.preferred
    if not behind:
        return ""
    asked = minimum_quality(case)
    return f"; {count_of(behind, 'model')} rated below the {asked:.2f} that this request asks for stand behind"


# Why nobody


def why_nobody(case: Case, ranking: Ranking) -> str:
    """One sentence: which limits excluded which models, with the figures that would let one in; nearest miss first."""
    told = [_told(limit, words, rows, case) for (limit, words), rows in _by_reason(ranking)]
    known = {row.id for row, _ in excluded(ranking)}
    if unknown := [model for model in case.request.pinned if model not in known]:
        told.append(f"{listed(unknown)}: not a model that this key can reach")
    return f"no model can do this request ({task_words(case)}): {'; '.join(told) or 'none is registered'}"


def _by_reason(ranking: Ranking) -> list[tuple[tuple[Limit, str], list[Row]]]:
    """Rows by what excluded them, the last limit asked first; those the caller did not name are left out."""
    groups: dict[tuple[Limit, str], list[Row]] = {}
    limits = list(Limit)
    for row, reason in sorted(excluded(ranking), key=lambda pair: (-limits.index(pair[1].limit), pair[0].id)):
        sized = reason.limit in (Limit.CONTEXT, Limit.MAX_COST)
        if reason.limit is not Limit.PINNED:
            groups.setdefault((reason.limit, "" if sized else reason.words), []).append(row)
    return list(groups.items())


def _told(limit: Limit, words: str, rows: Sequence[Row], case: Case) -> str:
    names = listed([row.id for row in rows])
    if limit is Limit.CONTEXT:
        words = _context_words(rows, case)
    elif limit is Limit.MAX_COST:
        words = _max_cost_words(rows, case)
    return f"{names}: {words}"


def _context_words(rows: Sequence[Row], case: Case) -> str:
    largest = max(row.context_window for row in rows)
    needed = context_tokens(case) + useful_output(case)
    return (
        f"the prompt has about {case.request.input_tokens:,} tokens and needs a context window of {needed:,}, "
        f"the largest of these is {largest:,}"
    )


def _max_cost_words(rows: Sequence[Row], case: Case) -> str:
    cheapest = min(rows, key=lambda row: least_worst_cost(row, case))
    limit, least = exact_dollars(case.request.max_cost or 0), exact_dollars(least_worst_cost(cheapest, case))
    return f"max_cost {limit} is too low, the cheapest possible here is {least} ({cheapest.id})"
