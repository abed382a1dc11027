"""`python -m omni_app evaluate`: reads the files, measures, and prints a table or JSON."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omni_app.errors import InvalidRequest
from omni_app.evaluate.curves import RESAMPLES
from omni_app.evaluate.files import ReplayRow, read_ratings, read_replay, read_tasks
from omni_app.evaluate.left_out import left_out_report
from omni_app.evaluate.measured import fingerprint, in_sample, load_measured, measured_for, write_measured
from omni_app.evaluate.ratings import Ratings, arena_ratings_for, ratings_from_rows
from omni_app.evaluate.replay import mean_usd, replay_report
from omni_app.evaluate.situations import read_situations, routing_lines, routing_report
from omni_app.evaluate.tasks import task_report
from omni_app.evaluate.training import own_rows

EXAMPLES = Path(__file__).parent / "examples"
EXAMPLES_NOTE = "examples written for this project: they show the form and prove nothing"


def add_options(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    command.add_argument("--tasks", type=Path, metavar="FILE", help="labelled prompts, one JSON object a line")
    command.add_argument("--replay", type=Path, nargs="+", default=[], metavar="FILE", help="scores and costs")
    command.add_argument("--cases", type=Path, metavar="FILE", help="situations and the models expected in them (TOML)")
    source = command.add_mutually_exclusive_group()
    source.add_argument("--ratings", type=Path, metavar="FILE", help="JSON: model -> {task: percentile}")
    source.add_argument("--ratings-from", type=Path, metavar="FILE", help="another replay file to take ratings from")
    source.add_argument("--arena", action="store_true", help="ratings from the packaged text arena alone")
    source.add_argument(
        "--write-ratings",
        type=Path,
        metavar="FILE",
        help="measure ratings on the replay files and write them, no report",
    )
    command.add_argument("--left-out", action="store_true", help="train without each source, tell it by the others")
    command.add_argument("--json", action="store_true", help="one JSON document")
    command.add_argument("--limit", type=int, default=0, metavar="N", help="only the first N rows of each file")
    command.add_argument("--resamples", type=int, default=RESAMPLES, metavar="N", help="bootstrap resamples")


def evaluate(options: argparse.Namespace) -> tuple[str, int]:
    """What to print, and the exit status: 1 with one line a problem when a file is bad."""
    try:
        if options.write_ratings:
            return write_measured(options.replay, options.write_ratings), 0
        report = build_report(options)
    except InvalidRequest as error:
        return str(error), 1
    return (json.dumps(report, indent=2) if options.json else "\n".join(lines(report))), 0


def build_report(options: argparse.Namespace) -> dict[str, Any]:
    """The whole report. Without a file of tasks or replays: the examples."""
    if options.limit < 0 or options.resamples < 1:
        raise InvalidRequest("--limit is 0 or more, --resamples 1 or more")
    own = options.tasks is None and not options.replay
    tasks = EXAMPLES / "tasks.jsonl" if own else options.tasks
    replays = [EXAMPLES / "replay.jsonl"] if own else options.replay
    report: dict[str, Any] = {"note": EXAMPLES_NOTE} if own else {}
    if tasks is not None:
        rows = read_tasks(tasks, limit=options.limit)
        report["tasks"] = {"file": tasks.name, **task_report(rows)}
        if options.left_out:
            report["tasks"]["by_source_left_out"] = left_out_report([*rows, *own_rows()])
    report["replays"] = [one_replay(path, options) for path in replays]
    if options.cases is not None:
        report["routing"] = {"file": options.cases.name, "rows": routing_report(read_situations(options.cases))}
    return report


def one_replay(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The report of one replay file, with the ratings that were used and how many of its rows they had seen."""
    rows = read_replay(path, limit=options.limit)
    ratings, origin, seen = ratings_for(path, rows, options)
    report = replay_report(rows, ratings, resamples=options.resamples)
    used = {name: {"from": origin[name], "percentiles": ratings[name]} for name in rows[0].models}
    return {"file": path.name, "ratings": used, "rows_in_sample": in_sample(rows, seen), **report}


def ratings_for(
    path: Path, rows: Sequence[ReplayRow], options: argparse.Namespace
) -> tuple[Ratings, dict[str, str], frozenset[bytes]]:
    """Ratings of the models, for each where its ratings are from, and the hashes of the prompts that they had seen."""
    names = list(rows[0].models)
    ratings, origin = arena_ratings_for(names, mean_usd(rows))
    seen: frozenset[bytes] = frozenset()
    found: dict[str, Mapping[str, float]] = {}
    if options.ratings:
        found = {name: row for name, row in read_ratings(options.ratings).items() if name in ratings and row}
        origin |= dict.fromkeys(found, options.ratings.name)
    elif options.ratings_from:
        if options.ratings_from.resolve() == path.resolve():
            raise InvalidRequest(f"{path}: ratings must not come from the rows that they are measured on")
        other = read_replay(options.ratings_from)
        found = {name: row for name, row in ratings_from_rows(other).items() if name in ratings}
        seen = frozenset(fingerprint(row.prompt) for row in other)
        origin |= dict.fromkeys(found, options.ratings_from.name)
    elif not options.arena:
        packaged = measured_for(names, load_measured())
        found = {name: row for name, (_, row) in packaged.items()}
        seen = frozenset[bytes]().union(*(one.prompts for one, _ in packaged.values()))
        origin |= {name: one.words for name, (one, _) in packaged.items()}
    return ratings | {name: dict(row) for name, row in found.items()}, origin, seen


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report for people."""
    if "note" in report:
        yield f"Note: {report['note']}."
    if "tasks" in report:
        yield from task_lines(report["tasks"])
    for replay in report["replays"]:
        yield from replay_lines(replay)
    if "routing" in report:
        yield f"\nRouting table: {report['routing']['file']}, {len(report['routing']['rows'])} situations"
        yield from routing_lines(report["routing"]["rows"])


def task_lines(tasks: Mapping[str, Any]) -> Iterator[str]:
    """The classifier's part."""
    yield f"Tasks: {tasks['file']}, {tasks['rows']:,} rows"
    structure, alone = tasks["macro_f1_with_structure"], tasks["macro_f1_text_alone"]
    yield f"  macro-F1 {structure:.3f} with structure, {alone:.3f} from text alone"
    yield f"  calibration error {tasks['calibration_error']:.3f}"
    latency = tasks["latency_microseconds"]
    yield f"  latency p50 {latency['p50']:.0f}, p95 {latency['p95']:.0f}, max {latency['max']:.0f} microseconds"
    yield "  same choice: " + ", ".join(f"{name} {share:.1%}" for name, share in tasks["same_choice"].items())
    yield f"\n  {'label':32}{'rows':>7}{'precision':>11}{'recall':>8}{'F1':>7}"
    for name, row in tasks["by_label"].items():
        yield f"  {name:32}{row['rows']:>7}{row['precision']:>11.3f}{row['recall']:>8.3f}{row['f1']:>7.3f}"
    for title in ("source", "language"):
        yield f"\n  {title:32}{'rows':>7}{'accuracy':>11}{'macro-F1':>15}"
        for name, row in tasks[f"by_{title}"].items():
            yield f"  {name:32}{row['rows']:>7}{row['accuracy']:>11.3f}{row['macro_f1']:>15.3f}"
    if "by_source_left_out" in tasks:
        yield f"\n  {'source, left out of the learning':32}{'rows':>7}{'rules alone':>13}{'macro-F1':>13}"
        for name, row in tasks["by_source_left_out"].items():
            yield f"  {name:32}{row['rows']:>7}{row['rules_alone']:>13.3f}{row['macro_f1']:>13.3f}"
    said = list(next(iter(tasks["confusion"].values())))
    yield "\n  " + f"{'label, then what was said':32}" + "".join(f"{name[:9]:>10}" for name in said)
    for name, row in tasks["confusion"].items():
        yield f"  {name:32}" + "".join(f"{row[one]:>10}" for one in said)


def replay_lines(replay: Mapping[str, Any]) -> Iterator[str]:
    """One replay's part."""
    yield f"\nReplay: {replay['file']}, {replay['rows']:,} rows, best {replay['best']}, cheapest {replay['cheapest']}"
    if replay["rows_in_sample"]:
        seen = f"{replay['rows_in_sample']:,} of {replay['rows']:,} rows"
        yield f"  IN SAMPLE: the ratings were measured on {seen}; no figure below is one on unseen prompts"
    for name, row in replay["models"].items():
        yield f"  {name:36} quality {row['quality']:.3f}  ${row['usd']:.8f} a prompt  {replay['ratings'][name]['from']}"
    columns = ("apgr", "cpt50", "cpt80", "saved_at_99", "saved_at_95")
    yield f"\n  {'router':14}" + "".join(f"{name:>24}" for name in columns)
    for name, router in replay["routers"].items():
        cells = (f"{cell(router[column])} {span(router['intervals'][column])}" for column in columns)
        yield f"  {name:14}" + "".join(f"{one:>24}" for one in cells)
    best, cheapest = (replay["models"][replay[name]] for name in ("best", "cheapest"))
    kept = cheapest["quality"] / best["quality"] if best["quality"] else 0.0
    saved = 1 - cheapest["usd"] / best["usd"] if best["usd"] else 0.0
    yield f"  always best: quality kept 100.0%, saved 0.0%; always cheapest: kept {kept:.1%}, saved {saved:.1%}"


def cell(value: float | None) -> str:
    """A figure; a dash when the router never gets there."""
    return "-" if value is None else f"{value:.3f}"


def span(ends: list[float | None]) -> str:
    """An interval."""
    return f"[{cell(ends[0])} {cell(ends[1])}]"
