"""Ratings measured on public replay files and packaged as figures: no text of those files is in the project.

`measured.json` holds for each file: where it is from, how many rows stood behind each task and sub-task, every model's
mean score there (drawn to the wider mean when of few rows), and a short hash of every prompt, which is how a replay
that is measured with them is told to be in sample.
"""

import json
import tomllib
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from omni_app.errors import InvalidRequest
from omni_app.evaluate.files import ReplayRow, read_replay
from omni_app.evaluate.ratings import Ratings, classes_of, normal, ratings_from_rows

PACKAGED = Path(__file__).parent / "measured.json"
ABOUT = Path(__file__).parent / "measured.toml"
FACTS = ("title", "source", "commit", "licence", "date")
HASH_BYTES = 5
"""Two different prompts share a hash with a chance of one in 10¹²; a replay of 4,000 rows is told wrongly once in
30,000 times."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The ratings of one replay file."""

    facts: Mapping[str, str]
    """`title, source, commit, licence, date`."""
    rows: int
    rows_of: Mapping[str, int]
    """Task or sub-task -> rows behind it."""
    ratings: Ratings
    prompts: frozenset[bytes]

    @property
    def words(self) -> str:
        """Where a rating is from, in words."""
        return f"measured on {self.facts['title']} @{self.facts['commit']}, {self.rows:,} rows, {self.facts['date']}"


def fingerprint(prompt: str) -> bytes:
    """A short hash of a prompt, blind to its spacing."""
    return sha256(" ".join(prompt.split()).encode("utf-8", "surrogatepass")).digest()[:HASH_BYTES]


def in_sample(rows: Sequence[ReplayRow], prompts: frozenset[bytes]) -> int:
    """How many rows have a prompt that is among those."""
    return sum(fingerprint(row.prompt) in prompts for row in rows)


def load_measured(path: Path = PACKAGED) -> tuple[Measured, ...]:
    """The packaged ratings."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return tuple(_measured(one) for one in content["files"])


def measured_for(names: Sequence[str], packaged: Iterable[Measured]) -> dict[str, tuple[Measured, Mapping[str, float]]]:
    """Model -> the file that knows it and its ratings there. Of several files the one that knows most of the models:
    scores of different questions are not comparable.
    """
    found: dict[str, tuple[Measured, Mapping[str, float]]] = {}
    known = [({normal(model): row for model, row in one.ratings.items()}, one) for one in packaged]
    for rated, one in sorted(known, key=lambda each: -sum(normal(name) in each[0] for name in names)):
        for name in names:
            if normal(name) in rated:
                found.setdefault(name, (one, rated[normal(name)]))
    return found


def write_measured(files: Sequence[Path], to: Path, *, about: Path = ABOUT) -> str:
    """Measures the ratings of replay files and writes them; what to tell. Raises `InvalidRequest`."""
    facts = tomllib.loads(about.read_text(encoding="utf-8"))
    unknown = [path.name for path in files if path.stem not in facts]
    if unknown or not files:
        raise InvalidRequest(f"{about}: says nothing of {', '.join(unknown) or 'no file'}")
    blocks = [_block(facts[path.stem], read_replay(path)) for path in files]
    to.write_text('{"files": [\n' + ",\n".join(blocks) + "\n]}\n", encoding="utf-8")
    return f"{to}: ratings of {len(files)} files"


def _measured(content: Mapping[str, Any]) -> Measured:
    digest = b64decode(content["prompts"])
    return Measured(
        facts={name: content[name] for name in FACTS},
        rows=content["rows"],
        rows_of=content["rows_of"],
        ratings=content["ratings"],
        prompts=frozenset(digest[at : at + HASH_BYTES] for at in range(0, len(digest), HASH_BYTES)),
    )


def _block(facts: Mapping[str, str], rows: Sequence[ReplayRow]) -> str:
    """One file's part, a line a model."""
    tasks, subtasks = classes_of(rows)
    behind = Counter(tasks) + Counter(one for one in subtasks if one not in set(tasks))
    rounded = {
        name: {kind: round(value, 4) for kind, value in sorted(row.items())}
        for name, row in sorted(ratings_from_rows(rows).items())
    }
    fields = [f" {json.dumps(name)}: {json.dumps(facts[name])}" for name in FACTS]
    fields.append(f' "rows": {len(rows)}')
    fields.append(f' "rows_of": {json.dumps(dict(sorted(behind.items())))}')
    models = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rounded.items())
    fields.append(f' "ratings": {{\n{models}}}')
    digest = b"".join(sorted({fingerprint(row.prompt) for row in rows}))
    fields.append(f' "prompts": {json.dumps(b64encode(digest).decode())}')
    return "{\n" + ",\n".join(fields) + "\n}"
