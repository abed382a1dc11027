"""What an agent session had to do with a choice, in figures and words: who is stayed with or left, what it saves."""

from dataclasses import dataclass

from omni_app.routing.caches import never_dearer
from omni_app.routing.rank import Ranking
from omni_app.routing.types import AgentSession, Case, Task
from omni_app.routing.wording import dollars


@dataclass(frozen=True, slots=True)
class Staying:
    """One step beside the session that it belongs to."""

    home: str
    """The model that the session has stayed with until now."""
    stays: bool
    """Whether the step goes to it, or in its absence to the one that answered last."""
    cached_tokens: int
    """Tokens of the prompt that the selected model is expected to read from its prompt cache."""
    saves: int | None
    """Pico-dollars that the choice is expected to save in this step: staying, beside the model that would come next;
    leaving, beside staying. None where nothing is saved, or nobody could be stayed with."""
    words: str
    """The same as a clause of the reason; empty when there is nothing to tell."""


def staying_of(case: Case, ranking: Ranking) -> Staying | None:
    """None where there is no session, for its first step, and when nothing is eligible."""
    session = case.request.session
    if session is None or not ranking.order or case.task is Task.IMAGE:
        return None
    first, stayed = ranking.order[0], ranking.stayed
    cached = _cached(first, case, ranking)
    if stayed is None:
        words = _passed_over(session, ranking)
        return Staying(session.home, ranking.rows[first].id == session.home, cached, None, words)
    if first != stayed:
        saves = ranking.costs[stayed] - ranking.costs[first]
        return Staying(session.home, False, cached, _above_zero(saves), _left(case, ranking, stayed, saves))
    saves = ranking.costs[ranking.order[1]] - ranking.costs[first] if ranking.preferred > 1 else 0
    return Staying(session.home, True, cached, _above_zero(saves), _stayed(case, ranking, saves))


def home_of(session: AgentSession, ranking: Ranking) -> str:
    """Whom the session stays with once the selected model has answered.

    The home changes only for a model that no later step can be dearer with; where it could not answer, it is kept.
    """
    if ranking.stayed is None or ranking.rows[ranking.stayed].id != session.home:
        return session.home
    selected, home = ranking.rows[ranking.order[0]], ranking.rows[ranking.stayed]
    return selected.id if never_dearer(selected, home, dict(session.held)) else home.id


def _cached(place: int, case: Case, ranking: Ranking) -> int:
    held = dict(case.request.session.held) if case.request.session else {}
    return min(held.get(ranking.rows[place].id, 0), case.request.input_tokens)


def _above_zero(saves: int) -> int | None:
    return saves if saves > 0 else None


def _stayed(case: Case, ranking: Ranking, saves: int) -> str:
    holds = _holds(ranking.order[0], case, ranking)
    if not holds:
        return _not_wished(ranking)
    if saves <= 0:
        return f"the session stays with it: {holds}"
    model, other = (ranking.rows[place].id for place in ranking.order[:2])
    return f"staying with {model} saves about {dollars(saves)} beside {other}: {holds}"


def _not_wished(ranking: Ranking) -> str:
    """Where no cache is a reason to stay, and the step by itself would go elsewhere all the same."""
    if ranking.wished is None or ranking.wished == ranking.order[0]:
        return ""
    wished = ranking.rows[ranking.wished].id
    return f"the session stays with it unless leaving costs no more: by itself this step would go to {wished}"


def _left(case: Case, ranking: Ranking, stayed: int, saves: int) -> str:
    holds = _holds(stayed, case, ranking)
    won = f"saves about {dollars(saves)}" if saves > 0 else "costs no more"
    return f"leaving {ranking.rows[stayed].id} {won}{f', although {holds}' if holds else ''}"


def _holds(place: int, case: Case, ranking: Ranking) -> str:
    cached = _cached(place, case, ranking)
    return f"its prompt cache holds {cached:,} tokens of this session" if cached else ""


def _passed_over(session: AgentSession, ranking: Ranking) -> str:
    """The home is not taken, and not for its cost."""
    held, selected = dict(session.held).get(session.home, 0), ranking.rows[ranking.order[0]].id
    if not held or selected == session.home:
        return ""
    behind = [ranking.rows[place].id for place in ranking.order[ranking.preferred :]]
    why = "is rated below what this step asks for" if session.home in behind else "is not taken for this step"
    return f"{session.home}, whose prompt cache holds {held:,} tokens of this session, {why}"
