"""What an org has set for itself. Every change reaches every worker with its next look at the revocation version."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.errors import InvalidRequest, NotFound
from omni_app.storage.meta import REVOCATIONS, bump
from omni_app.storage.prompts import forget_prompts
from omni_app.storage.tables import Org


async def set_model_enabled(session: AsyncSession, *, org_id: UUID, model_id: str, enabled: bool) -> frozenset[str]:
    """Lets the org's requests go to a deployment again, or no longer. Gives all that are switched off now.

    Two changes at once wait for each other: the counter's row is locked before the list is read. The caller commits.
    Raises `NotFound` when the org is gone.
    """
    await bump(session, REVOCATIONS)
    org = await _living_org(session, org_id)
    disabled = set(org.disabled_models or ()) - {model_id}
    if not enabled:
        disabled.add(model_id)
    org.disabled_models = sorted(disabled)
    await session.flush()
    return frozenset(disabled)


async def disabled_models(session: AsyncSession, *, org_id: UUID) -> frozenset[str]:
    """The deployment ids that the org has switched off."""
    return frozenset(await session.scalar(select(col(Org.disabled_models)).where(col(Org.id) == org_id)) or ())


async def _living_org(session: AsyncSession, org_id: UUID) -> Org:
    query = select(Org).where(col(Org.id) == org_id, col(Org.deleted_at).is_(None))
    org = (await session.scalars(query.execution_options(populate_existing=True))).first()
    if org is None:
        raise NotFound("there is no such org")
    return org


PROMPT_DAYS = (0, 7, 30, 90)
"""How long prompts may be kept; 0 = not at all."""
MAX_NAME = 60


@dataclass(frozen=True, slots=True)
class OrgSettings:
    """What the Settings page shows of an org."""

    name: str
    premium_model: str
    keep_prompts_days: int
    comparisons: tuple[str, ...] = ()
    asks_second_factor: bool = False


async def read_settings(session: AsyncSession, *, org_id: UUID) -> OrgSettings:
    """The org's settings. Raises `NotFound` when it is gone."""
    org = await _living_org(session, org_id)
    return OrgSettings(
        org.name, org.premium_model, org.keep_prompts_days, tuple(org.comparisons or ()), org.asks_second_factor
    )


async def rename_org(session: AsyncSession, *, org_id: UUID, name: str) -> None:
    """Another name. The caller commits. Raises `InvalidRequest`."""
    cleaned = name.strip()
    if not (0 < len(cleaned) <= MAX_NAME and cleaned.isprintable()):
        raise InvalidRequest(f"name: must be 1 to {MAX_NAME} printable characters", param="name")
    (await _living_org(session, org_id)).name = cleaned
    await session.flush()


async def set_baseline(session: AsyncSession, *, org_id: UUID, model_id: str) -> None:
    """The model that savings are measured against from now on; "" = the server's. The caller has made sure that it is
    one, and commits.
    """
    await bump(session, REVOCATIONS)
    (await _living_org(session, org_id)).premium_model = model_id
    await session.flush()


async def comparisons(session: AsyncSession, *, org_id: UUID) -> tuple[str, ...]:
    """The models that the org compares its costs with, beside its baseline; in its order."""
    return tuple(await session.scalar(select(col(Org.comparisons)).where(col(Org.id) == org_id)) or ())


async def set_comparisons(session: AsyncSession, *, org_id: UUID, models: Sequence[str]) -> None:
    """The models to compare with from now on, for past requests too. The caller has checked them, and commits."""
    (await _living_org(session, org_id)).comparisons = list(models)
    await session.flush()


async def set_prompt_days(session: AsyncSession, *, org_id: UUID, days: int) -> None:
    """How long prompts and answers are kept from now on; 0 stops it and deletes what is there. The caller commits."""
    if days not in PROMPT_DAYS:
        raise InvalidRequest(f"days: must be one of {', '.join(map(str, PROMPT_DAYS))}", param="days")
    await bump(session, REVOCATIONS)
    (await _living_org(session, org_id)).keep_prompts_days = days
    if not days:
        await forget_prompts(session, org_id=org_id)
    await session.flush()
