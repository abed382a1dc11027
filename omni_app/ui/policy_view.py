"""A what-if replay and the versions of a policy as rows of text."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from omni_app.gateway.replay import Outcome, WhatIf
from omni_app.routing.policies import DEFAULT, diff
from omni_app.routing.types import Policy
from omni_app.storage.policies import SavedPolicy
from omni_app.ui import text
from omni_app.ui.components.basics import Row

FLIPS_SHOWN = 50
TEAM = "Whole team"
REFUSED = "no model"


def figures_of(found: WhatIf) -> Row:
    """The totals, before and after; `costs` and `times` say how to read them."""
    counted, flips = found.counted, found.flips
    old_cost, new_cost = sum(one.old_cost for one in counted), sum(one.new_cost for one in counted)
    old_ms, new_ms = _mean([one.old_latency_ms for one in counted]), _mean([one.new_latency_ms for one in counted])
    total = len(found.outcomes)
    return {
        "replayed": text.number(total),
        "replayed_note": _of_all(total, sum(found.missing.values())),
        "flips": text.number(len(flips)),
        "flips_note": f"{text.percent(len(flips), total)} would go to another model" if total else "",
        "cost": text.money(new_cost),
        "cost_exact": text.exact_money(new_cost),
        "cost_note": f"was {text.money(old_cost)}{_moved(old_cost, new_cost)}",
        "latency": text.milliseconds(new_ms),
        "latency_note": f"was {text.milliseconds(old_ms)}{_moved(round(old_ms or 0), round(new_ms or 0))}",
        "exact": exact_text(found),
    }


def _of_all(total: int, missing: int) -> str:
    return f"of the last {text.number(total + missing)}" if missing else "the last ones, all of them"


def _moved(before: int, after: int) -> str:
    """`, 12% less`; nothing where there is nothing to compare."""
    if not before:
        return ""
    if before == after:
        return ", the same"
    return f", {text.percent(abs(after - before), before)} {'more' if after > before else 'less'}"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def exact_text(found: WhatIf) -> str:
    """Whether the replay can be trusted: under its own policy every decision must come out as it was recorded."""
    total = len(found.outcomes)
    if not total:
        return ""
    if not found.inexact:
        return (
            f"Checked: under the policy of their time all {text.number(total)} come out exactly as they were recorded."
        )
    return (
        f"{text.number(found.inexact)} of {text.number(total)} do not come out as they were recorded under the policy "
        "of their time: take the figures below as estimates."
    )


def missing_of(found: WhatIf) -> list[str]:
    """`12 cannot be replayed: …`, one line a reason."""
    return [f"{text.number(count)} cannot be replayed: {reason}." for reason, count in sorted(found.missing.items())]


def mix_of(found: WhatIf) -> list[Row]:
    """Requests per model before and after, with bars against the most used one."""
    mix = found.mix()
    most = max((max(before, after) for _, before, after in mix), default=1)
    total = len(found.outcomes)
    return [
        {
            "model": model or REFUSED,
            "before": text.number(before),
            "after": text.number(after),
            "before_share": text.percent(before, total),
            "after_share": text.percent(after, total),
            "before_width": f"{100 * before / most:.2f}",
            "after_width": f"{100 * after / most:.2f}",
        }
        for model, before, after in mix
    ]


def flip_row(one: Outcome) -> Row:
    """One decision that would be another."""
    return {
        "at": text.instant(one.created_at),
        "at_text": text.utc_text(one.created_at),
        "href": f"/request/?id={one.request_id}",
        "task": text.task_name(one.task),
        "old_model": one.old_model or REFUSED,
        "new_model": one.new_model or REFUSED,
        "old_cost": text.money(one.old_cost) if one.counts else "–",
        "old_exact": text.exact_money(one.old_cost) if one.counts else "",
        "new_cost": text.money(one.new_cost) if one.counts else "–",
        "new_exact": text.exact_money(one.new_cost) if one.counts else "",
        "old_latency": text.milliseconds(one.old_latency_ms if one.old_model else None),
        "new_latency": text.milliseconds(one.new_latency_ms if one.new_model else None),
    }


# Versions


def scope_name(key_id: UUID | None, names: Mapping[UUID, str]) -> str:
    """The team, or the key by its name."""
    return TEAM if key_id is None else f"Key {names.get(key_id, 'that is gone')}"


def version_rows(versions: Sequence[SavedPolicy], names: Mapping[UUID, str], *, may_save: bool) -> list[Row]:
    """Newest first, each with what it changed against the version of its scope before it."""
    before: dict[UUID | None, Policy] = {}
    rows = []
    for one in sorted(versions, key=lambda version: version.number):
        rows.append(_version_row(one, before.get(one.key_id, DEFAULT), names, may_save=may_save))
        before[one.key_id] = one.policy or DEFAULT
    return rows[::-1]


def _version_row(one: SavedPolicy, before: Policy, names: Mapping[UUID, str], *, may_save: bool) -> Row:
    here = one.key_id is None or one.key_id in names
    return {
        "number": str(one.number),
        "scope": scope_name(one.key_id, names),
        "changes": changes_text(one, before),
        "note": one.note,
        "author": one.author,
        "at": text.instant(one.created_at),
        "at_text": text.utc_text(one.created_at),
        "active": "yes" if one.active and here else "",
        "can_return": "yes" if may_save and here and not one.active else "",
    }


def changes_text(one: SavedPolicy, before: Policy) -> str:
    """What a version changed, in words."""
    if one.is_default:
        return "Back to the default" if one.key_id is None else "Follows the team again"
    if one.policy is None:
        return "Written by a later version of this program: it cannot be read here"
    return "; ".join(diff(before, one.policy)) or "The same as before"


def in_force(versions: Sequence[SavedPolicy], names: Mapping[UUID, str]) -> list[Row]:
    """What holds now: for the team, then for each key with a policy of its own."""
    holding = {one.key_id: one for one in versions if one.active and not one.is_default}
    rows = [_holding(TEAM, holding.get(None), "The default")]
    return rows + [_holding(scope_name(key_id, names), holding[key_id], "") for key_id in names if key_id in holding]


def _holding(scope: str, one: SavedPolicy | None, otherwise: str) -> Row:
    return {
        "scope": scope,
        "what": otherwise if one is None else f"Version {one.number}",
        "at": "" if one is None else text.instant(one.created_at),
        "at_text": "" if one is None else text.utc_text(one.created_at),
    }
