"""Bringing the models table up to the public catalogues: what they tell otherwise, what of it holds, what waits.

A change of more than a tenth in a price or a limit is held, as is what would take a model out at once (an ability that
is gone, an end that is near): it leaves a row in `model_changes` (`price_held`), is told (a price by alerts and the
pages too, all else by `catalog sync` and the server's messages), and waits for an operator's word. Everything else
holds at once. A catalogue that lacks what it should have, or says what cannot be, changes nothing at all
(docs/decisions/0050-catalogue-sync.md).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.money import PICO_PER_USD
from omni_app.registry.build import Sources, learn_priors, live_deployment, look_up
from omni_app.registry.catalog import Live
from omni_app.registry.embedding import embedding_deployment
from omni_app.registry.price_map import SourceError
from omni_app.registry.rows import from_row, to_row
from omni_app.registry.store import SYNCED, SYNCED_KEY, change_row, current_row, publish, wait_for_turn
from omni_app.routing.types import Deployment, Task
from omni_app.storage.meta import read_meta, write_meta
from omni_app.storage.tables import ModelChange, ModelRow, utc_now

Values = Mapping[str, Any]

SOURCE_FIELDS = ("price_source", "price_version")
"""Go with a new price; alone they are no change."""
LARGE = ("price", "context_window", "max_output_tokens")
"""The fields whose large changes are held."""
ABILITIES = tuple(name for name in SYNCED if name.startswith("supports_"))
"""One that is gone is held: it takes the model out of all requests that need it."""
ENDS = "deprecated_on"
"""An end that is near is held: it takes the model out of all requests."""
LARGE_FROM = 10
"""A change is large when it is more than 1/10 of what was there."""
HELD, DROPPED = "_held", "_dropped"
"""What `model_changes.field` ends with where a change waits, and where it is over before anybody accepted it."""
MOST_MISSING = 4
"""A catalogue that lacks more than 1/4 of the models that it should have was cut off."""
DEAREST = 10**11
"""Pico-dollars a token, 100,000 USD per million: nothing costs that; the catalogue's unit has slipped."""
DEAREST_IMAGE = 100 * PICO_PER_USD
LONGEST = 100_000_000
"""Tokens."""


@dataclass(frozen=True, slots=True)
class Found:
    """One field of one model that its catalogue tells otherwise; `changes` has what goes with it too."""

    model_id: str
    field: str
    old: Any
    changes: Values
    source: str
    soon: str = ""
    """The ISO date before which an end is near."""

    @property
    def new(self) -> Any:
        return self.changes[self.field]

    @property
    def is_large(self) -> bool:
        """Whether an operator should look at it first."""
        if self.field == "price":
            return any(_is_large(*pair) for pair in price_pairs(self.old, self.new))
        if self.field in ABILITIES:
            return bool(self.old) and not self.new
        if self.field == ENDS:
            return self.new is not None and self.new < min(self.soon, self.old or self.soon)
        return self.field in LARGE and _is_large(self.old, self.new)


def price_pairs(old: Values, new: Values) -> Iterator[tuple[int, int]]:
    """Each tariff before and after, in pico-dollars; a cache tariff that is not there is that of plain input."""
    for name in ("input", "output", "image"):
        yield old[name], new[name]
    for name in ("cached_input", "cache_write"):
        yield _or(old[name], old["input"]), _or(new[name], new["input"])


def _or(tariff: int | None, otherwise: int) -> int:
    return otherwise if tariff is None else tariff


def _is_large(old: int, new: int) -> bool:
    return abs(new - old) * LARGE_FROM > old


@dataclass(slots=True)
class Report:
    """What a run came to: changes that hold now, changes that wait, and what was left alone."""

    applied: list[Found] = field(default_factory=list)
    held: list[Found] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    """Models whose catalogue has gone back to what holds here."""
    edited: list[str] = field(default_factory=list)
    """Models that an operator has changed: theirs to keep."""
    gone: list[str] = field(default_factory=list)
    """Models that are in the registry and not in their catalogue any more."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the catalogues say: model id -> its `SYNCED` fields; and the models that they do not know."""

    fields: Mapping[str, Values]
    gone: Collection[str]
    margin_days: int = 0
    """An end within so many days from now is near."""


def read_catalogues(sources: Sources) -> Told:
    """Raises `SourceError` when a catalogue was cut off, or a row that the registry lists is not right."""
    catalog = sources.catalog
    known = {entry.id: _is_there(entry, sources) for entry in catalog.live}
    known |= {one.id: one.facts in sources.price_map.rows for one in catalog.embedding if one.facts}
    gone = sorted(model for model, is_there in known.items() if not is_there)
    if len(gone) * MOST_MISSING > len(known):
        raise SourceError(f"{len(gone)} of {len(known)} models are missing: the catalogue was cut off")
    try:
        found = list(_deployments(sources, known))
        return Told({one.id: _checked(to_row(one)) for one in found}, gone, catalog.deprecation_margin_days)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise SourceError(f"a row of the catalogue is not right: {error!r}"[:300]) from error


def _is_there(entry: Live, sources: Sources) -> bool:
    """Whether each source that the model's figures come from has it."""
    listed = entry.provider != "openrouter" or entry.model_name in sources.openrouter["rows"]
    return listed and entry.facts in sources.price_map.rows


def _deployments(sources: Sources, known: Mapping[str, bool]) -> Iterator[Deployment]:
    listed = [look_up(entry, sources) for entry in sources.catalog.live if known[entry.id]]
    priors = {task: learn_priors(task, listed) for task in Task}
    yield from (live_deployment(one, priors) for one in listed)
    for entry in sources.catalog.embedding:
        if known.get(entry.id):
            yield embedding_deployment(entry, sources.price_map)


def _checked(row: dict[str, Any]) -> Values:
    """The fields that follow. Raises `ValueError` or `TypeError` for what cannot be."""
    from_row(row)
    price = row["price"]
    tokens = [tariff for name, tariff in price.items() if name != "image" and tariff is not None]
    if max(tokens) > DEAREST or price["image"] > DEAREST_IMAGE:
        raise ValueError(f"{row['id']}: nothing costs that much")
    if not (price["input"] or price["output"] or price["image"]):
        raise ValueError(f"{row['id']}: costs nothing")
    for name in ("context_window", "max_output_tokens"):
        if row[name] > LONGEST or not (row[name] or row["vector_size"]):
            raise ValueError(f"{row['id']}: {name} is {row[name]}")
    return {name: row[name] for name in SYNCED}


async def follow(session: AsyncSession, told: Told, *, day: str, is_new: bool, accept: bool = False) -> Report:
    """Applies what the catalogues tell; with `accept` the large changes too. The caller commits, or does not.

    `is_new`: whether they came from the network just now; else they are the packaged ones, of `day`, which change
    nothing where newer ones were followed already: `SourceError`.
    """
    await wait_for_turn(session)
    newest = await read_meta(session, SYNCED_KEY)
    if newest > day:
        raise SourceError(f"the models follow the catalogues of {newest}; those of {day} are older: nothing is changed")
    report = Report(gone=list(told.gone))
    soon = (utc_now().date() + timedelta(days=told.margin_days)).isoformat()
    waiting = await held_changes(session)
    for row in await session.scalars(select(ModelRow).where(col(ModelRow.enabled)).order_by(col(ModelRow.model_id))):
        if row.model_id not in told.fields:
            continue
        if row.edited_by_operator:
            report.edited.append(row.model_id)
            continue
        mine = {name: change for (model, name), change in waiting.items() if model == row.model_id}
        _follow_row(session, row, told.fields[row.model_id], soon=soon, waiting=mine, accept=accept, report=report)
    if is_new:
        await write_meta(session, SYNCED_KEY, day)
    await publish(session)
    return report


def _follow_row(
    session: AsyncSession,
    row: ModelRow,
    told: Values,
    *,
    soon: str,
    waiting: Mapping[str, ModelChange],
    accept: bool,
    report: Report,
) -> None:
    found = list(differences(row.model_id, current_row(row), told, soon=soon))
    for one in found:
        if not one.is_large or accept:
            change_row(session, row, one.changes, source=one.source)
            report.applied.append(one)
            continue
        if one.field not in waiting or waiting[one.field].new != dict(one.changes):
            _note(session, one.model_id, one.field + HELD, old=one.old, new=dict(one.changes), source=one.source)
        report.held.append(one)
    for name in waiting.keys() - {one.field for one in found}:
        source = waiting[name].source
        _note(session, row.model_id, name + DROPPED, old=waiting[name].new, new=None, source=source)
        report.dropped.append(row.model_id)


def differences(model_id: str, held: Values, told: Values, *, soon: str = "") -> Iterator[Found]:
    """One for each field that differs; a price takes its source along."""
    source = f"catalogue: {told['price_source']}"[:300]
    for name in SYNCED:
        if name in SOURCE_FIELDS or held.get(name) == told[name]:
            continue
        along = SOURCE_FIELDS if name == "price" else ()
        yield Found(model_id, name, held.get(name), {one: told[one] for one in (name, *along)}, source, soon)


def _note(session: AsyncSession, model_id: str, name: str, *, old: Any, new: Any, source: str) -> None:
    session.add(ModelChange(model_id=model_id, field=name, old=old, new=new, source=source))


async def held_changes(session: AsyncSession, model_id: str = "") -> dict[tuple[str, str], ModelChange]:
    """(model id, field) -> the change that waits for a word."""
    names = [name + end for name in (*LARGE, *ABILITIES, ENDS) for end in ("", HELD, DROPPED)]
    query = select(ModelChange).where(col(ModelChange.field).in_(names)).order_by(col(ModelChange.created_at))
    if model_id:
        query = query.where(col(ModelChange.model_id) == model_id)
    waiting: dict[tuple[str, str], ModelChange] = {}
    for change in await session.scalars(query):
        name = change.field.removesuffix(HELD).removesuffix(DROPPED)
        waiting.pop((change.model_id, name), None)
        if change.field.endswith(HELD):
            waiting[change.model_id, name] = change
    return waiting


async def accept_held(session: AsyncSession, *, model_id: str) -> list[str]:
    """What waits for this model holds from now on; the names of its fields. The caller commits."""
    await wait_for_turn(session)
    row = await session.scalar(select(ModelRow).where(col(ModelRow.model_id) == model_id))
    waiting = await held_changes(session, model_id)
    if row is None or not waiting:
        return []
    for change in waiting.values():
        change_row(session, row, change.new, source=f"accepted: {change.source}"[:300])
    await publish(session)
    return sorted(name for _, name in waiting)
