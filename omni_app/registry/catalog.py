"""catalog.toml, checked: the hand-kept list of what the registry holds."""

import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from omni_app.routing.types import Task

FILE = Path(__file__).parent / "catalog.toml"
Ability = Literal["functions", "vision", "response_schema"]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z]+/\S+$")

    @property
    def provider(self) -> str:
        return self.id.partition("/")[0]

    @property
    def model_name(self) -> str:
        return self.id.partition("/")[2]


class Live(_Entry):
    """A model at a real provider, by its names in the sources; an empty name = the source does not have it."""

    facts: str
    arena: str = ""
    arena_image: str = ""
    tau2: str = ""


class Made(_Entry):
    """A model that no public source describes: the local one, and the simulated ones. Figures are ours."""

    price_source: str = "simulated"
    input_usd_per_million: Decimal = Decimal(0)
    output_usd_per_million: Decimal = Decimal(0)
    image_usd: Decimal = Decimal(0)
    context_window: int
    max_output_tokens: int
    prior_latency_ms: int
    abilities: frozenset[Ability] = frozenset()
    sees_temperature: bool = True
    tasks: frozenset[Task] | None = None
    percentile: float = Field(ge=0, le=1)
    percentiles: dict[Task, float] = {}


class Embedder(_Entry):
    """A model that makes embeddings. `facts` is its row in LiteLLM's price map; without one the figures are ours.

    `vector_size` stands here only where that row does not tell it; `shortens`: whether it takes `dimensions`.
    """

    facts: str = ""
    vector_size: int = 0
    shortens: bool = False
    input_usd_per_million: Decimal = Decimal(0)
    longest_input: int = 0
    prior_latency_ms: int


class Catalog(BaseModel):
    """The whole file. `as_of`: the day it was last gone through."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: date
    deprecation_margin_days: int
    live: tuple[Live, ...]
    local: tuple[Made, ...]
    sandbox: tuple[Made, ...]
    embedding: tuple[Embedder, ...]


def load_catalog(file: Path = FILE) -> Catalog:
    """The catalogue. Raises `pydantic.ValidationError` when the file is not right."""
    return Catalog.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
