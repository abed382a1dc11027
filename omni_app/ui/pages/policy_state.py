"""The routing policy's state: a draft, what it would have done to the last requests, and the saved versions."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import reflex as rx
from pydantic import StringConstraints

from omni_app.errors import PermissionDenied
from omni_app.gateway.replay import past_decisions, what_if
from omni_app.routing.policies import PRESETS, Preset, data_of, diff, policy_from
from omni_app.routing.types import Policy
from omni_app.storage import keys
from omni_app.storage.accounts import Identity
from omni_app.storage.keys import ApiKey
from omni_app.storage.policies import SavedPolicy, list_policies, roll_back, save_policy
from omni_app.storage.tables import utc_now
from omni_app.ui import policy_form, policy_view, text
from omni_app.ui.components.basics import Row
from omni_app.ui.policy_form import SETS, SetName
from omni_app.ui.session import AppState, authed, backstage
from omni_app.ui.view import key_kind, view_of

PATH = "/policy/"
TEAM = "team"
COUNTS = ("100", "500", "1000")
"""How many of the last requests may be replayed."""
DRAFT = "draft"
"""What decisions under a policy that is not saved call it."""
OWNERS_ONLY = "only an owner of the team saves a routing policy; you can try everything"
VERSIONS_SHOWN = 50

PresetName = Literal["balanced", "cheapest", "fastest", "best_quality"]
Number = Annotated[str, StringConstraints(pattern="^[1-9][0-9]{0,8}$")]


class PolicyState(AppState):
    """The draft lives as long as the tab; nothing holds for anybody until it is saved."""

    loaded: bool = False
    scope: str = TEAM
    scopes: list[Row] = []
    scope_name: str = ""
    scope_says: str = ""
    """Which policy holds for the scope now."""
    has_own: bool = False
    """Whether the scope has a policy that it can give up."""
    count: str = COUNTS[-1]
    which: str = "balanced"
    sliders: Row = {}
    shares: Row = {}
    settings: Row = {}
    preset: str = ""
    made: int = 0
    """Grows when the sliders are to stand anew; the page makes the form again for it, and the form sends it back."""
    changes: list[str] = []
    """How the draft differs from what holds now."""
    tried: bool = False
    figures: Row = {}
    mix: list[Row] = []
    flips: list[Row] = []
    flips_shown: str = ""
    missing: list[str] = []
    in_force: list[Row] = []
    versions: list[Row] = []
    may_save: bool = False
    said: str = ""
    _data: dict[str, Any] = {}
    _drafted_for: str = ""

    @rx.event
    @authed
    async def load(self, who: Identity, /) -> None:
        """Reads the address, what holds now and the versions; a draft for the same scope stays."""
        query = self.router.url.query_parameters
        self.said = ""
        async with backstage.services.database.reading() as session:
            found = await keys.list_keys(session, org_id=who.org_id)
            view = await view_of(session, who, query=query, mode=self.mode, range_=self.range, now=utc_now())
            versions = await list_policies(session, org_id=who.org_id)
        self.mode, self.range = view.mode, view.range
        wanted = query.get("count", "")
        self.count = wanted if wanted in COUNTS else COUNTS[-1]
        self._choose_scope(found, query.get("scope", TEAM))
        self._show_versions(who, found, versions)
        now = self._now(versions)
        if self._drafted_for != self.scope or not self._data:
            self._draft(data_of(now))
            self._drafted_for = self.scope
        await self._try(who, now)
        self.loaded = True

    @rx.event
    @authed
    async def attempt(self, who: Identity, /, form: dict[str, Any]) -> None:
        """Takes the sliders and numbers as they stand and replays the last requests under them."""
        if not policy_form.is_whole(form) or not self._data:
            return
        if form["made"] != str(self.made):  # sent before the draft that it would overwrite was on the screen
            return
        shown = self.sliders if form["which"] == self.which else policy_form.sliders_of(self._data, form["which"])
        self._data = policy_form.merged(self._data, form, sliders=shown, settings=self.settings)
        if form["which"] == self.which:
            self.sliders = {term: str(form[term]) for term in self.sliders}
        self.said = ""
        self._show_draft()
        await self._try_again(who)

    @rx.event
    @authed
    async def use_preset(self, who: Identity, /, preset: PresetName) -> None:
        """The draft becomes a named one."""
        self._draft(data_of(PRESETS[Preset(preset)]))
        await self._try_again(who)

    @rx.event
    @authed
    async def show_set(self, who: Identity, /, which: SetName) -> None:
        """The sliders show another set of weights."""
        if self._data:
            self.which = which
            self._draft(self._data)

    @rx.event
    @authed
    async def discard(self, who: Identity, /) -> None:
        """The draft is what holds now."""
        versions = await self._versions(who)
        now = self._now(versions)
        self._draft(data_of(now))
        await self._try(who, now)

    @rx.event
    @authed
    async def save(self, who: Identity, /, form: dict[str, Any]) -> None:
        """Puts the draft in force for the scope."""
        note = form.get("note", "")
        if isinstance(note, str) and self._data:
            await self._save(who, self._data, note)

    @rx.event
    @authed
    async def give_up(self, who: Identity, /) -> None:
        """The scope goes back to what stands above it: a key to its team, the team to the default."""
        await self._save(who, None, "")

    @rx.event
    @authed
    async def return_to(self, who: Identity, /, number: Number) -> None:
        """An old version holds again, as a new one."""
        _refuse_members(who)
        async with backstage.services.database.reading() as session:
            saved = await roll_back(session, org_id=who.org_id, number=int(number), author=who.email)
            await session.commit()
        await self._after_saving(who, saved, f"Version {number} holds again, as version {saved.number}.")

    async def _save(self, who: Identity, data: Mapping[str, Any] | None, note: str) -> None:
        _refuse_members(who)
        key_id = None if self.scope == TEAM else UUID(self.scope)
        async with backstage.services.database.reading() as session:
            saved = await save_policy(session, org_id=who.org_id, key_id=key_id, data=data, note=note, author=who.email)
            await session.commit()
        place = "for the whole team" if key_id is None else f"for {self.scope_name}"
        told = f"Saved as version {saved.number}: it holds {place} within a second."
        await self._after_saving(who, saved, told)

    async def _after_saving(self, who: Identity, saved: SavedPolicy, told: str) -> None:
        async with backstage.services.database.reading() as session:
            found = await keys.list_keys(session, org_id=who.org_id)
            versions = await list_policies(session, org_id=who.org_id)
        self._show_versions(who, found, versions)
        now = self._now(versions)
        if (saved.key_id is None) == (self.scope == TEAM) or self.scope == str(saved.key_id):
            self._draft(data_of(now))
        await self._try(who, now)
        self.said = told

    def _choose_scope(self, found: Sequence[ApiKey], wanted: str) -> None:
        """The team or one of its keys; a key's own kind then says which requests are replayed."""
        key = next((one for one in found if str(one.id) == wanted), None)
        self.scope = TEAM if key is None else str(key.id)
        self.scope_name = "the whole team" if key is None else f"the key {key.name}"
        if key is not None:
            self.mode = key.kind
        self.scopes = [{"value": TEAM, "label": "The whole team"}]
        self.scopes += [
            {"value": str(one.id), "label": f"Key {one.name} ({text.mode_name(one.kind).lower()}, …{one.last4})"}
            for one in found
        ]

    def _show_versions(self, who: Identity, found: Sequence[ApiKey], versions: Sequence[SavedPolicy]) -> None:
        names = {one.id: one.name for one in found}
        self.may_save = who.is_owner
        self.in_force = policy_view.in_force(versions, names)
        self.versions = policy_view.version_rows(versions, names, may_save=self.may_save)[:VERSIONS_SHOWN]

    def _now(self, versions: Sequence[SavedPolicy]) -> Policy:
        """What holds for the scope: its own, else the team's, else the server's; says so."""
        holding = {one.key_id: one for one in versions if one.active and one.policy is not None}
        own = holding.get(None if self.scope == TEAM else UUID(self.scope))
        above = own or holding.get(None)
        self.has_own = own is not None
        if above is None or above.policy is None:
            self.scope_says = "The default holds."
            return backstage.services.gateway.policy
        self.scope_says = f"Version {above.number} holds" + (" here." if own else ", the team’s.")
        return above.policy

    async def _versions(self, who: Identity) -> list[SavedPolicy]:
        async with backstage.services.database.reading() as session:
            return await list_policies(session, org_id=who.org_id)

    def _draft(self, data: Mapping[str, Any]) -> None:
        """The draft is this, and the form shows it."""
        self._data = dict(data)
        which = self._set()
        self.sliders, self.settings = policy_form.sliders_of(data, which), policy_form.settings_of(data)
        self.made += 1
        self.said = ""
        self._show_draft()

    def _show_draft(self) -> None:
        self.settings = policy_form.settings_of(self._data)
        self.shares = policy_form.shares_of(self._data, self._set())
        self.preset = policy_form.preset_of(self._data)

    def _set(self) -> SetName:
        return next((name for name in SETS if name == self.which), "balanced")

    async def _try_again(self, who: Identity) -> None:
        await self._try(who, self._now(await self._versions(who)))

    async def _try(self, who: Identity, now: Policy) -> None:
        """Replays the last requests under the draft."""
        draft = policy_from(self._data, DRAFT)
        self.changes = diff(now, draft)
        services = backstage.services
        async with services.database.reading() as session:
            past = await past_decisions(
                session,
                org_id=who.org_id,
                mode=key_kind(self.mode),
                limit=int(self.count),
                key_id=None if self.scope == TEAM else UUID(self.scope),
                registry=services.gateway.registry,
            )
        found = await what_if(past, draft)
        self.tried = past.read > 0
        self.figures, self.mix = policy_view.figures_of(found), policy_view.mix_of(found)
        flips = found.flips
        self.flips = [policy_view.flip_row(one) for one in flips[: policy_view.FLIPS_SHOWN]]
        more = len(flips) > policy_view.FLIPS_SHOWN
        self.flips_shown = f"The newest {len(self.flips)} of {text.number(len(flips))}." if more else ""
        self.missing = policy_view.missing_of(found)


def _refuse_members(who: Identity) -> None:
    if not who.is_owner:
        raise PermissionDenied(OWNERS_ONLY)
