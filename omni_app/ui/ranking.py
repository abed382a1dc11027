"""A routing decision as rows to show: the same `Decision` that the API and the ledger use, put into words."""

from collections.abc import Callable, Iterable

from omni_app.routing.types import Candidate, Decision, Weights
from omni_app.ui import text
from omni_app.ui.components.basics import Row
from omni_app.ui.components.candidates import TERMS

SHOWN = 5


def ranked(decision: Decision, *, note: Callable[[str], str], limit: int = SHOWN) -> list[Row]:
    """The best candidates, best first; `note` says a word about a model (its source of prices, `simulated`)."""
    eligible = [one for one in decision.candidates if one.eligible]
    return [_row(one, chosen=one.model == decision.selected, note=note(one.model)) for one in eligible[:limit]]


def scored(
    candidates: Iterable[Candidate], *, weights: Weights, chosen: str | None, note: Callable[[str], str]
) -> list[Row]:
    """Candidates with their weighted terms: as stacked bars (`x_`, `w_`, percent), as figures (`points_`, `how_`)."""
    return [_row(one, chosen=one.model == chosen, note=note(one.model)) | _terms(one, weights) for one in candidates]


def _row(candidate: Candidate, *, chosen: bool, note: str) -> Row:
    return {
        "model": candidate.model,
        "cost": text.money(candidate.expected_cost),
        "exact": text.exact_money(candidate.expected_cost),
        "score": f"{candidate.score:.3f}",
        "width": f"{max(0.0, min(1.0, candidate.score)) * 100:.1f}",
        "latency": text.milliseconds(candidate.latency_ms),
        "chosen": "yes" if chosen else "no",
        "note": note,
        "excluded": "no" if candidate.eligible else "yes",
        "why": candidate.excluded_by or candidate.held_back,
    }


def _terms(candidate: Candidate, weights: Weights) -> Row:
    row: Row = {}
    begins = 0.0
    for name, _ in TERMS:
        weight, term = getattr(weights, name), getattr(candidate.terms, name)
        points = weight * term
        row |= {
            f"x_{name}": f"{100 * begins:.2f}",
            f"w_{name}": f"{100 * points:.2f}",
            f"points_{name}": f"{points:.3f}",
            f"how_{name}": f"{term:.3f} × weight {weight:g}",
        }
        begins += points
    return row


def confidence(decision: Decision) -> str:
    """The task with how sure the classifier is: `Coding · 92%`."""
    share = decision.task_scores.get(decision.task, 0.0)
    return f"{text.task_name(decision.task.value)} · {share:.0%}"


def excluded(decision: Decision, *, limit: int = 20) -> list[Row]:
    """Models that could not be taken, with the limit that excluded each."""
    left_out = [one for one in decision.candidates if not one.eligible]
    return [{"model": one.model, "why": one.excluded_by} for one in left_out[:limit]]
