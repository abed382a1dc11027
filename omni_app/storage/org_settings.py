"""What an org has set for itself. Every change reaches every worker with its next look at the revocation version."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.errors import NotFound
from omni_app.storage.meta import REVOCATIONS, bump
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
