"""`python -m omni_app catalog …`: what its three commands do, and how they say it."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.registry.history import Priced, model_history, price_versions
from omni_app.registry.price_map import SourceError
from omni_app.registry.refresh import Catalogues, packaged
from omni_app.registry.registry import packaged_file, packaged_registry
from omni_app.registry.replacement import replacement
from omni_app.registry.store import load_registry, seed_models
from omni_app.registry.sync import Found, Report, Told, accept_held, follow
from omni_app.registry.wording import change_text, price_text
from omni_app.storage.database import Database
from omni_app.storage.tables import ModelChange


async def sync(
    database: Database, catalogues: Catalogues | None, *, accept: bool = False, dry_run: bool = False
) -> tuple[list[str], int]:
    """Lines to print, and the exit status: 1 when nothing was followed. `catalogues`: None = the packaged ones."""
    try:
        told, day = await _read(catalogues)
        async with database.session() as session:
            await seed_models(session, packaged_registry(), as_of=packaged_file()["as_of"])
            report = await follow(session, told, day=day, is_new=catalogues is not None, accept=accept)
            lines = [*report_lines(report), *await _replacements(session, report)]
            await (session.rollback() if dry_run else session.commit())
    except SourceError as error:
        return [f"nothing is changed: {error}"], 1
    return [*lines, _summary(report, dry_run=dry_run)], 0


async def _read(catalogues: Catalogues | None) -> tuple[Told, str]:
    if catalogues is None:
        return packaged()
    return await catalogues.read(), datetime.now(UTC).date().isoformat()


def report_lines(report: Report) -> list[str]:
    """One for each change and each model that was left alone."""
    return [
        *(f"changed  {_line(one)}" for one in report.applied),
        *(f"HELD     {_line(one)}" for one in report.held),
        *(f"over     {model}: its catalogue has gone back" for model in report.dropped),
        *(f"yours    {model}: changed by an operator, left alone" for model in report.edited),
        *(f"gone     {model}: not in its catalogue any more, left alone" for model in report.gone),
    ]


def _line(found: Found) -> str:
    return f"{found.model_id}  {change_text(found.field, found.old, found.new)}"


async def _replacements(session: AsyncSession, report: Report) -> list[str]:
    """For each model that turned out to end: what to take in its place."""
    ending = {one.model_id for one in report.applied if one.field == "deprecated_on" and one.new}
    registry = await load_registry(session)
    lines = []
    for model in sorted(ending):
        deployment = registry.get(model)
        instead = deployment and replacement(registry, deployment)
        if instead:
            lines.append(f"ends     {model}: {instead.id} can take its place")
    return lines


def _summary(report: Report, *, dry_run: bool) -> str:
    done = "would be changed" if dry_run else "changed"
    hint = ": `catalog accept MODEL` takes one, `catalog sync --accept` all" if report.held else ""
    return f"{len(report.applied)} {done}, {len(report.held)} held{hint}"


async def accept(session: AsyncSession, *, models: Sequence[str]) -> tuple[list[str], int]:
    """What waits for these models holds from now on. The caller commits."""
    lines, status = [], 0
    for model in models:
        names = await accept_held(session, model_id=model)
        status |= not names
        lines.append(f"{model}: {', '.join(names)} accepted" if names else f"{model}: nothing waits")
    return lines, int(status)


async def history(session: AsyncSession, *, model: str) -> tuple[list[str], int]:
    """Every change of a model, oldest first, then its prices with the time that each held."""
    changes = await model_history(session, model)
    if not changes:
        return [f"no model {model!r}"], 1
    lines = [_history_line(one) for one in changes]
    lines += ["", *(_priced_line(one) for one in price_versions(changes))]
    registry = await load_registry(session)
    deployment = registry.get(model)
    if deployment and deployment.deprecated_on:
        instead = replacement(registry, deployment)
        lines.append(f"ends {deployment.deprecated_on}" + (f": {instead.id} can take its place" if instead else ""))
    return lines, 0


def _history_line(change: ModelChange) -> str:
    return (
        f"{change.created_at:%Y-%m-%dT%H:%MZ}  {change_text(change.field, change.old, change.new)}  ({change.source})"
    )


def _priced_line(priced: Priced) -> str:
    end = f"{priced.until:%Y-%m-%dT%H:%MZ}" if priced.until else "now"
    return f"{priced.since:%Y-%m-%dT%H:%MZ} to {end:17}  {price_text(priced.price)}"
