"""The playground's columns as rows to show: what each asked, and how far its answer is. Wording only."""

from collections.abc import Iterable, Mapping
from typing import TypedDict

from omni_app.errors import ProviderError
from omni_app.gateway.types import Answer
from omni_app.registry import Registry
from omni_app.ui import text
from omni_app.ui.components.basics import Row
from omni_app.ui.drafts import AUTO
from omni_app.ui.records import step
from omni_app.ui.runs import Reply

SHOWN_IMAGE = 300_000
"""Base64 characters of an image that the page shows itself; larger ones are only named."""
FASTER = 1.05
"""A lead in time below this factor is chance."""
TONES: Mapping[str, str] = {"answered": "ok", "failed": "bad", "stopped": "warn"}


class Column(TypedDict):
    """One column, all as text; its answer's words are kept beside it, for they change more often."""

    key: str
    title: str
    busy: str
    """`yes` while its answer may still come."""
    state: str
    tone: str
    problem: str
    href: str
    facts: Row
    """Figures of the answer so far; empty before a model answers."""
    image: str
    marks: str
    """How it compares with the other columns: cheapest, fastest."""
    steps: list[Row]


def blank(key: str) -> Column:
    """A column that has asked nothing yet; `key`: `auto` or a deployment's id."""
    return Column(
        key=key,
        title="Auto" if key == AUTO else key,
        busy="no",
        state="",
        tone="",
        problem="",
        href="",
        facts={},
        image="",
        marks="",
        steps=[],
    )


def column_of(key: str, reply: Reply, registry: Registry) -> Column:
    """The column at this moment."""
    state = "rescued" if reply.answer and reply.answer.rescued else reply.status
    image = _image(reply.answer)
    return Column(
        key=key,
        title="Auto" if key == AUTO else key,
        busy="no" if reply.over else "yes",
        state=state,
        tone="warn" if state == "rescued" else TONES.get(reply.status, ""),
        problem=_problem(key, reply),
        href=f"/request/?id={reply.request_id}" if reply.recorded and reply.over else "",
        facts=_facts(reply, registry),
        image=image,
        marks="",
        steps=[
            step(model=one.model, outcome=one.outcome, detail=one.detail, latency_ms=one.latency_ms, cost=one.cost)
            for one in reply.attempts
        ],
    )


def words_of(reply: Reply) -> str:
    """The answer's text so far; when all has come and there is none, that is said."""
    if reply.answer is None:
        return reply.text
    large = reply.answer.images and not _image(reply.answer)
    if large:
        return f"{reply.answer.output}\n(The image is too large to be shown here; the API gives it as it is.)".strip()
    return reply.answer.output or ("" if reply.answer.images else "(The model answered without text.)")


def compared(replies: Mapping[str, Reply]) -> dict[str, str]:
    """Column -> what it is best at among at least two answers; nothing where two are equal."""
    answers = {key: reply.answer for key, reply in replies.items() if reply.answer is not None}
    if len(answers) < 2:
        return {}
    best = {
        "cheapest": _least({key: answer.cost for key, answer in answers.items()}),
        "fastest": _least({key: answer.latency_ms for key, answer in answers.items()}, lead=FASTER),
    }
    return {key: " and ".join(word for word, winner in best.items() if winner == key) for key in answers}


def _least(figures: Mapping[str, int], *, lead: float = 1.0) -> str:
    """Whose figure is the least, and by that factor below the next; empty when nobody's is."""
    (winner, low), (_, next_low), *_ = sorted(figures.items(), key=lambda item: item[1])
    return winner if low * lead < next_low else ""


def _problem(key: str, reply: Reply) -> str:
    if reply.status != "failed":
        return ""
    if reply.code != ProviderError.code or not reply.attempts:
        return reply.problem
    if key == AUTO:
        return "Every model of the chain failed."
    return "It failed, and one fixed model has no fallback. Auto has."


def _facts(reply: Reply, registry: Registry) -> Row:
    if not reply.model and not reply.cost:
        return {}
    answer = reply.answer
    saved = answer.savings if answer else None
    usage = answer.usage if answer else reply.attempts[-1].usage if reply.attempts else None
    return {
        "model": reply.model or "–",
        "kind": model_note(reply.model, registry),
        "cost": text.money(reply.cost) if reply.over or reply.cost else "–",
        "cost_exact": text.exact_money(reply.cost),
        "saved": "" if saved is None else text.money(saved),
        "saved_exact": "" if saved is None else text.exact_money(saved),
        "baseline": answer.premium_model if answer else "",
        "latency": text.milliseconds(answer.latency_ms) if answer else "",
        "first": text.milliseconds(reply.first_token_ms),
        "tokens": f"{text.number(usage.input)} → {text.number(usage.output)}" if usage else "",
        "rescued": "yes" if answer and answer.rescued else "no",
    }


def model_note(model: str, registry: Registry) -> str:
    """A word about a model: `simulated`, `local`, or nothing."""
    found = registry.get(model)
    if found is None:
        return ""
    return "simulated" if found.simulated else "local" if found.provider == "local" else ""


def _image(answer: Answer | None) -> str:
    """The first image as a `data:` address; nothing from another host is ever loaded."""
    images: Iterable[Mapping[str, str]] = answer.images if answer else ()
    encoded = next((one["b64_json"] for one in images if one.get("b64_json")), "")
    return f"data:image/png;base64,{encoded}" if 0 < len(encoded) <= SHOWN_IMAGE else ""
