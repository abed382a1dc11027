"""The figures: their format, and that they are the ledger's."""

import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from omni_app.observe.metrics import Family, Figures, exposition
from omni_app.observe.neighbours import Neighbours
from tests.api.conftest import HELLO, Running
from tests.observe.conftest import TOKEN
from tests.observe.scraped import Scrape, read

SIZES = Family("sizes_seconds", "histogram", "Some.", ("who",), 1000, (10, 100))
NAMES = Family("names_total", "counter", "Some.", ("who",))


async def scrape(running: Running) -> Scrape:
    answer = await running.get("/metrics", key=TOKEN)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return read(answer.text)


def test_a_value_falls_into_the_bucket_of_its_upper_bound_and_every_larger_one() -> None:
    figures = Figures()
    for value in (1, 10, 11, 5_000):
        figures.observe(SIZES, ("me",), value)
    found = read(exposition([SIZES], [figures.lines([], worker="0")]))
    buckets = [(labels["le"], int(value)) for labels, value in found.lines["sizes_seconds_bucket"]]
    assert buckets == [("0.01", 2), ("0.1", 3), ("+Inf", 4)]
    assert found.total("sizes_seconds_sum") == Decimal("5.022")
    assert found.total("sizes_seconds_count") == 4


def test_whatever_a_label_holds_stays_in_its_line() -> None:
    figures = Figures()
    figures.add(NAMES, ('a"b\\c\nd 1',))
    text = exposition([NAMES], [figures.lines([], worker="0")])
    assert text.count("\n") == 3
    assert read(text).lines["names_total"] == [({"who": r"a\"b\\c\nd 1", "worker": "0"}, Decimal(1))]


def test_the_lines_of_all_living_workers_stand_together(tmp_path: Path) -> None:
    one, two, gone = (Neighbours(tmp_path) for _ in range(3))
    assert [one.number, two.number, gone.number] == ["0", "1", "2"]
    for worker, count in ((one, 1), (two, 2), (gone, 4)):
        figures = Figures()
        figures.add(NAMES, ("x",), count)
        worker.publish(figures.lines([], worker=worker.number))
    gone.close()
    others = one.others()
    assert read(exposition([NAMES], others)).total("names_total") == 2
    assert Neighbours(tmp_path).number == "2", "a number that is free is taken again"


async def test_prometheus_reads_it_and_has_nothing_against_a_name(watched: Running) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    assert (await watched.post("/v1/chat", HELLO)).status_code == 200
    text = (await watched.get("/metrics", key=TOKEN)).text
    ran = subprocess.run(  # noqa: ASYNC221 a test may block its own loop for a program
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


async def test_what_metrics_says_is_what_the_ledger_says(watched: Running) -> None:
    assert (await watched.post("/v1/chat", HELLO)).status_code == 200
    assert (await watched.post("/v1/chat", HELLO | {"stream": True})).status_code == 200
    rescued = await watched.post("/v1/chat", HELLO | {"metadata": {"sandbox_fail": "error"}})
    failed = await watched.post("/v1/chat", HELLO | {"metadata": {"sandbox_fail": "all:error"}})
    assert (rescued.status_code, failed.status_code) == (200, 502)
    assert (await watched.post("/v1/chat", {"messages": []})).status_code == 400
    assert (await watched.get("/v1/models/sandbox/coder")).status_code == 200
    assert (await watched.get("/v1/usage", key="nonsense")).status_code == 401
    assert (await watched.get("/v1/a-path-of-the-callers")).status_code == 404
    await watched.services.drainer.flush()
    found = await scrape(watched)
    usage = (await watched.get("/v1/usage?mode=test")).json()

    assert found.total("omni_requests_total") == usage["total_requests"] == 4
    assert found.total("omni_requests_total", code="ok", mode="test") == usage["successful_requests"] == 3
    assert found.total("omni_requests_total", code="provider_error") == 1
    assert found.total("omni_requests_rescued_total") == 1
    assert found.total("omni_cost_dollars_total") == Decimal(str(usage["total_cost"]))
    assert found.total("omni_tokens_total", direction="output") >= usage["tokens"]["output"] > 0
    assert found.total("omni_attempts_total", outcome="server_error") >= 2
    assert found.total("omni_http_answers_total", route="/v1/chat", status="200") == 3
    assert found.total("omni_http_answers_total", route="/v1/models/{id:path}") == 1
    assert found.total("omni_http_answers_total", route="other", status="404") == 1
    assert found.total("omni_http_answers_total", status="401") == 1
    for name in ("omni_request_duration_seconds", "omni_overhead_seconds", "omni_routing_seconds"):
        assert found.total(f"{name}_count") == 4
    assert found.total("omni_first_token_seconds_count") == 1
    assert found.total("omni_drained_requests_total") == 4
    assert found.total("omni_spool_waiting_bytes") == 0
    assert found.total("process_resident_memory_bytes") > 10_000_000


async def test_an_open_breaker_and_refused_requests_are_seen(watched: Running) -> None:
    from omni_app.providers.base import FaultKind, ProviderFault

    health, now_s = watched.services.gateway.health, watched.services.gateway.clock()
    health.begin("groq/a", now_s=now_s).failed(ProviderFault(FaultKind.AUTHENTICATION, "no"), now_s=now_s)
    health.begin("groq/b", now_s=now_s).succeeded(now_s=now_s)
    found = await scrape(watched)
    assert found.total("omni_breaker_open", model="groq/a") == 1
    assert found.total("omni_breaker_open", model="groq/b") == 0
    assert [labels["model"] for labels, _ in found.lines["omni_breaker_open"]] == ["groq/a", "groq/b"]


@pytest.mark.parametrize("token", ["short"])
def test_a_token_that_can_be_guessed_is_refused_at_start(token: str) -> None:
    from omni_app.settings import Settings

    with pytest.raises(ValueError, match="METRICS_TOKEN is too short"):
        Settings(metrics_token=token)
