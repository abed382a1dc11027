"""Reads files of tasks, replays and ratings: one line of JSON a row; every bad line is told, with its number."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from omni_app.errors import InvalidRequest
from omni_app.routing.types import SUBTASKS, Task

KINDS = {task.value for task in Task} | SUBTASKS.keys()
MOST_PROBLEMS = 20
"""Problems told of one file; the rest is counted."""


class Outcome(NamedTuple):
    """What one model did with one prompt."""

    score: float
    """In [0, 1]."""
    input_tokens: float
    output_tokens: float
    usd: float


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One labelled prompt. `messages` is the whole request where the file has one; `tools`: it carried tools."""

    id: str
    text: str
    label: Task
    source: str
    lang: str
    messages: tuple[Mapping[str, Any], ...]
    tools: bool


@dataclass(frozen=True, slots=True)
class ReplayRow:
    """One prompt with the outcome of every model."""

    id: str
    task: Task
    source: str
    prompt: str
    models: Mapping[str, Outcome]


def read_tasks(path: Path, *, limit: int = 0) -> list[TaskRow]:
    """The labelled prompts of a file; the first `limit` lines when above 0. Raises `InvalidRequest`."""
    return [_row for _row in _read(path, limit, _task_row) if isinstance(_row, TaskRow)]


def read_replay(path: Path, *, limit: int = 0) -> list[ReplayRow]:
    """The replay rows of a file; all must name the same models. Raises `InvalidRequest`."""
    rows = [row for row in _read(path, limit, _replay_row) if isinstance(row, ReplayRow)]
    names = rows[0].models.keys()
    odd = [row.id for row in rows if row.models.keys() != names]
    if odd:
        raise InvalidRequest(f"{path}: row {odd[0]} has other models than the first row ({len(odd)} such rows)")
    if len(names) < 2:
        raise InvalidRequest(f"{path}: a replay needs two models or more")
    return rows


def read_ratings(path: Path) -> dict[str, dict[str, float]]:
    """model -> task or sub-task -> percentile in [0, 1]. Raises `InvalidRequest`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = {str(name): {str(kind): float(value) for kind, value in row.items()} for name, row in content.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InvalidRequest(f"{path}: {error}") from error
    for name, row in found.items():
        if unknown := row.keys() - KINDS:
            raise InvalidRequest(f"{path}: {name}: not a task or sub-task: {', '.join(sorted(unknown))}")
        if not all(0 <= value <= 1 for value in row.values()):
            raise InvalidRequest(f"{path}: {name}: a percentile is between 0 and 1")
    return found


def _read(path: Path, limit: int, parse: Any) -> list[object]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path}: {error}") from error
    rows: list[object] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if limit and len(rows) >= limit:
            break
        if not line.strip():
            continue
        try:
            rows.append(parse(json.loads(line)))
        except KeyError as error:
            problems.append(f"{path}:{number}: no field {error}")
        except (ValueError, TypeError, AttributeError) as error:
            problems.append(f"{path}:{number}: {error}")
    if problems:
        more = len(problems) - MOST_PROBLEMS
        told = problems[:MOST_PROBLEMS] + ([f"{path}: and {more} more"] if more > 0 else [])
        raise InvalidRequest("\n".join(told))
    if not rows:
        raise InvalidRequest(f"{path}: no rows")
    return rows


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is not a text")
    return value


def _task_row(row: Mapping[str, Any]) -> TaskRow:
    text = _text(row, "text")
    messages = row.get("messages") or [{"role": "user", "content": text}]
    if not all(isinstance(one, Mapping) for one in messages):
        raise ValueError("messages is not a list of objects")
    return TaskRow(
        id=str(row["id"]),
        text=text,
        label=Task(row["label"]),
        source=str(row.get("source", "")),
        lang=str(row.get("lang", "")),
        messages=tuple(messages),
        tools=bool(row.get("tools")),
    )


def _replay_row(row: Mapping[str, Any]) -> ReplayRow:
    models = {str(name): Outcome(*(float(one) for one in figures)) for name, figures in row["models"].items()}
    for name, outcome in models.items():
        if not 0 <= outcome.score <= 1 or not all(0 <= one < 1e12 for one in outcome[1:]):
            raise ValueError(f"{name}: the score is in [0, 1], tokens and cost are 0 or more")
    return ReplayRow(str(row["id"]), Task(row["task"]), str(row.get("source", "")), _text(row, "prompt"), models)
