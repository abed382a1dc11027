"""The registry: every deployment that this router knows, as one immutable value."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from omni_app.registry.rows import from_row, to_row
from omni_app.routing.types import Deployment, KeyKind, Task

PACKAGED_FILE = Path(__file__).parent / "models.json"
"""Written by `python -m omni_app.registry.build`, read at the start."""
TEST_PROVIDERS = frozenset({"local", "sandbox"})
"""Who serves test keys; everyone else serves live keys."""


@dataclass(frozen=True, slots=True)
class Registry:
    """A snapshot of deployments, in order of their ids. Make one with `build_registry`."""

    version: str
    """A hash of the rows: equal rows, equal version."""
    deployments: tuple[Deployment, ...]
    _by_id: Mapping[str, Deployment] = field(repr=False, compare=False)
    _by_kind: Mapping[KeyKind, tuple[Deployment, ...]] = field(repr=False, compare=False)
    _embedding: Mapping[KeyKind, tuple[Deployment, ...]] = field(repr=False, compare=False)

    def get(self, model_id: str) -> Deployment | None:
        """The deployment with this id (`provider/model_name`)."""
        return self._by_id.get(model_id)

    def serving(self, kind: KeyKind) -> tuple[Deployment, ...]:
        """Those that a key of this kind may reach: live keys real providers, test keys local and sandbox.

        They write or draw; those that make embeddings are apart, in `embedding`.
        """
        return self._by_kind[kind]

    def embedding(self, kind: KeyKind) -> tuple[Deployment, ...]:
        """Those that make embeddings for a key of this kind."""
        return self._embedding[kind]

    def premium(self, premium_model: str, kind: KeyKind, unavailable: Collection[str]) -> Deployment | None:
        """The baseline that savings are measured against.

        The configured one, if this kind of key could reach it, available or not; else the highest rated overall among
        the available ones that write text (a rated one before a prior, then the dearer one, before others of its
        percentile). None when there is none.
        """
        configured = self.get(premium_model)
        if configured is not None and configured in self.serving(kind):
            return configured
        able = [one for one in self.serving(kind) if one.id not in unavailable and writes_text(one)]
        return max(able, key=_rank_as_premium, default=None)


def writes_text(deployment: Deployment) -> bool:
    """Whether it does more than make images."""
    return deployment.tasks is None or deployment.tasks != {Task.IMAGE}


def _rank_as_premium(deployment: Deployment) -> tuple[float, bool, int, str]:
    overall = deployment.overall
    return (overall.percentile, not overall.prior, deployment.price.output, deployment.id)


def build_registry(deployments: Iterable[Deployment]) -> Registry:
    """The registry of these deployments. Raises `ValueError` when two have the same id."""
    ordered = tuple(sorted(deployments, key=lambda one: one.id))
    by_id = {one.id: one for one in ordered}
    if len(by_id) < len(ordered):
        raise ValueError("two deployments have the same id")
    return Registry(
        rows_version(ordered),
        ordered,
        by_id,
        by_kind(one for one in ordered if not one.vector_size),
        by_kind(one for one in ordered if one.vector_size),
    )


def by_kind(deployments: Iterable[Deployment]) -> dict[KeyKind, tuple[Deployment, ...]]:
    """The deployments by the kind of key that may reach them."""
    found = tuple(deployments)
    return {
        "live": tuple(one for one in found if one.provider not in TEST_PROVIDERS),
        "test": tuple(one for one in found if one.provider in TEST_PROVIDERS),
    }


def rows_version(deployments: Iterable[Deployment]) -> str:
    """16 hexadecimal digits of the SHA-256 of the rows in canonical JSON."""
    rows = [to_row(one) for one in deployments]
    text = json.dumps(rows, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def packaged_file() -> Mapping[str, Any]:
    """The packaged file as it is: where its figures come from, and the rows. Read once; treat as read-only."""
    content: Mapping[str, Any] = json.loads(PACKAGED_FILE.read_text(encoding="utf-8"))
    return content


@cache
def packaged_registry() -> Registry:
    """The registry that comes with this version of the product. Imports no LiteLLM; takes a few milliseconds."""
    return build_registry(from_row(row) for row in packaged_file()["models"])
