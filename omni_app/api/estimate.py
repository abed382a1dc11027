"""`POST /estimate`: what routing would have cost for a part of a file. For the landing page's own script, no account.

The script cuts a file into parts and adds up the answers. A part is computed in memory, between other requests, and
forgotten: nothing of it is stored or logged, and no text of a prompt comes back. Money is pico-dollars, as text,
because a browser's numbers are not exact that far.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.checks import check_choice, check_list, check_string, check_whole, wrong
from omni_app.api.estimate_schema import read_header, read_request, read_usage, read_usage_csv, read_usage_json
from omni_app.api.json_body import read_json_object
from omni_app.api.responses import json_response
from omni_app.errors import InvalidRequest, PermissionDenied, RateLimited, Unavailable
from omni_app.gateway.estimate import Estimator, Tally
from omni_app.gateway.gateway import Gateway
from omni_app.limits.base import Quota
from omni_app.origin import client_address, cross_site_reason
from omni_app.registry.registry import packaged_file
from omni_app.routing.types import Priority, Task
from omni_app.services import Services
from omni_app.storage.tables import utc_now

MAX_BODY_BYTES = 3_000_000
MAX_LINES = 500
MAX_LINE = 2**53
PARTS_LIMIT = 90
PARTS_WINDOW_S = 60.0
"""Parts of one address in this window."""
SLICE_S = 0.004
"""Others wait at most about this long for a slice of the work."""
DEADLINE_S = 15.0
"""For a part, waiting for its turn included."""
FORMS = ("requests", "usage", "csv")
AS_GOOD = "as_good"
CHOICES = (Priority.BALANCED.value, Priority.QUALITY.value, AS_GOOD)
"""How models are chosen: by a priority over all, or balanced among those rated no lower than the model of the file."""
WRITTEN_TASKS = tuple(task for task in Task if task is not Task.IMAGE)
MIX = "mix"
TASK_CHOICES = (*(task.value for task in WRITTEN_TASKS), MIX)

Line = tuple[int, str]
"""Its number in the file, and its text."""


@dataclass(frozen=True, slots=True)
class Part:
    """A checked part of a file. `tasks` count for usage rows, which say nothing of what was asked."""

    form: str
    priority: Priority
    as_good: bool
    tasks: tuple[Task, ...]
    header: list[str]
    lines: list[Line]


@dataclass(slots=True)
class Findings:
    """The tally of a part, the lines that could not be read, and how many held nothing."""

    tally: Tally = field(default_factory=Tally)
    bad: list[tuple[int, str]] = field(default_factory=list)
    empty: int = 0


def routes(services: Services) -> list[Route]:
    """The one route. One part is worked on at a time; the others wait their turn."""
    settings, turn = services.settings, asyncio.Semaphore(1)
    current = estimators(services.gateway)

    async def estimate(request: Request) -> Response:
        if reason := cross_site_reason(request.headers, settings):
            raise PermissionDenied(reason)
        peer = request.client.host if request.client else ""
        address = client_address(peer, request.headers.getlist("x-forwarded-for"), settings)
        verdict = await services.limiter.take(Quota(f"estimate:{address}", PARTS_LIMIT, PARTS_WINDOW_S))
        if not verdict.allowed:
            wait_s = str(max(1, -int(-verdict.reset_s // 1)))
            raise RateLimited("too many parts at once: go on in a moment", headers={"Retry-After": wait_s})
        part = read_part(await read_json_object(request, max_bytes=MAX_BODY_BYTES))
        try:
            async with asyncio.timeout(DEADLINE_S), turn:
                return json_response(answer(await work(part, current())))
        except TimeoutError:
            raise Unavailable(
                "many estimates are being made: try again in a moment", headers={"Retry-After": "3"}
            ) from None

    return [Route("/estimate", estimate, methods=["POST"])]


def estimators(gateway: Gateway) -> Callable[[], Estimator]:
    """Gives the estimator for the registry and the day as they are now; makes a new one when either changed."""
    made: dict[tuple[str, date], Estimator] = {}

    def current() -> Estimator:
        now = (gateway.registry.version, utc_now().date())
        if now not in made:
            made.clear()
            made[now] = Estimator(gateway.registry, gateway.policy, today=now[1])
        return made[now]

    return current


def read_part(body: Mapping[str, Any]) -> Part:
    """The part. Raises `InvalidRequest` naming the wrong field."""
    for name in body.keys() - {"form", "choice", "tasks", "header", "lines"}:
        raise wrong(name[:80], "unknown field")
    form = check_choice(body.get("form"), "form", FORMS)
    tasks = check_choice(body.get("tasks", Task.CHAT.value), "tasks", TASK_CHOICES)
    choice = check_choice(body.get("choice", CHOICES[0]), "choice", CHOICES)
    return Part(
        form=form,
        priority=Priority.BALANCED if choice == AS_GOOD else Priority(choice),
        as_good=choice == AS_GOOD,
        tasks=WRITTEN_TASKS if tasks == MIX else (Task(tasks),),
        header=read_header(check_string(body.get("header"), "header")) if form == "csv" else [],
        lines=[
            _line(one, f"lines[{place}]") for place, one in enumerate(check_list(body.get("lines"), "lines", MAX_LINES))
        ],
    )


def _line(value: Any, path: str) -> Line:
    if not isinstance(value, list) or len(value) != 2:
        raise wrong(path, "must be [number, text]")
    return check_whole(value[0], f"{path}[0]", 1, MAX_LINE), check_string(value[1], f"{path}[1]")


async def work(part: Part, estimator: Estimator) -> Findings:
    """Reads and counts every line, in slices, so that other requests are served in between."""
    findings = Findings()
    slice_began_s = time.perf_counter()
    for number, text in part.lines:
        try:
            count_line(text, part, estimator, findings)
        except InvalidRequest as error:
            findings.bad.append((number, error.message))
        if time.perf_counter() - slice_began_s > SLICE_S:
            await asyncio.sleep(0)
            slice_began_s = time.perf_counter()
    return findings


def count_line(text: str, part: Part, estimator: Estimator, findings: Findings) -> None:
    """One line into the findings. Raises `InvalidRequest` when it cannot be read."""
    if not text.strip():
        findings.empty += 1
    elif part.form == "requests":
        estimator.add(read_request(text, part.priority), findings.tally, as_good=part.as_good)
    else:
        row = read_usage_csv(text, part.header) if part.form == "csv" else read_usage_json(text)
        found = read_usage(row, part.tasks)
        if found is None:
            findings.empty += 1
        elif found[1]:
            findings.tally.leave_out(found[0].model, found[1], found[0].requests)
        else:
            estimator.add_billed(found[0], part.priority, findings.tally, as_good=part.as_good)


def answer(findings: Findings) -> dict[str, Any]:
    """The findings as JSON."""
    tally = findings.tally
    return {
        "prices_as_of": packaged_file()["as_of"],
        "kinds": list(_kinds(tally)),
        "left_out": [
            {"model": model, "reason": reason, "requests": requests}
            for (model, reason), requests in tally.left_out.items()
        ],
        "bad": [{"line": number, "reason": reason} for number, reason in findings.bad],
        "empty": findings.empty,
    }


def _kinds(tally: Tally) -> Iterator[dict[str, Any]]:
    for kind, sums in tally.kinds.items():
        yield {
            "model": kind.model,
            "priced_as": kind.priced_as,
            "task": kind.task.value,
            "chosen": kind.chosen,
            "requests": sums.requests,
            "input_tokens": sums.input_tokens,
            "output_tokens": sums.output_tokens,
            "cost_pico": str(sums.cost),
            "routed_cost_pico": str(sums.routed_cost),
        }
