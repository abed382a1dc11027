"""The landing page's savings estimator in a real browser: files in, sums out, nothing kept, nothing run."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Page, Route, expect

from tests.api.test_estimate import HEADER, row
from tests.e2e.conftest import DESK, PHONE, Watcher, open_page

pytestmark = pytest.mark.e2e
CANARY = "zanzibar-canary-7731"
RESULT, STATUS = "[data-estimate-result]", "[data-estimate-status]"


def line(model: str = "gpt-5.1", prompt: str = "What is the capital of France?") -> str:
    usage = {"prompt_tokens": 1000, "completion_tokens": 2000}
    return json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}], "usage": usage})


def file(name: str, text: str | bytes) -> FilePayload:
    content = text.encode() if isinstance(text, str) else text
    return {"name": name, "mimeType": "", "buffer": content}


def give(page: Page, address: str, given: FilePayload | Path) -> None:
    open_page(page, f"{address}/")
    page.set_input_files("#estimate-file", given)


def dollars(page: Page, selector: str) -> Decimal:
    """The sum of the exact amounts that these cells tell on hover."""
    titles = page.locator(selector).evaluate_all("(cells) => cells.map((one) => one.title)")
    return sum((Decimal(title.replace("$", "").replace("−", "-")) for title in titles), Decimal(0))


def test_the_example_needs_no_account_and_its_tables_agree(page: Page, address: str, watcher: Watcher) -> None:
    open_page(page, f"{address}/")
    page.click("text=Use an example")
    expect(page.locator(STATUS)).to_contain_text("Routing would have saved $")
    by_model = dollars(page, f"{RESULT} [aria-label='By model of the file'] td.money")
    by_task = dollars(page, f"{RESULT} [aria-label='By task'] td.money")
    assert by_model == by_task > 0
    expect(page.locator("[data-notes]")).to_contain_text("not a promise")
    assert not [frame for frame in watcher.frames if "octopus" in frame], "a prompt went over the app's socket"


def test_a_file_of_requests_names_what_it_leaves_out_and_what_it_cannot_read(page: Page, address: str) -> None:
    lines = [line(), "", "{broken", line("gpt-nobody"), line("gpt-nobody"), line(prompt="Write a Python sort.")]
    give(page, address, file("mine.jsonl", "\r\n".join(lines)))
    expect(page.locator(STATUS)).to_contain_text("on 2 requests")
    expect(page.locator("[data-left-out]")).to_contain_text("gpt-nobody: 2 requests, not in our registry")
    expect(page.locator("[data-bad-lines]")).to_contain_text("line 3: is not valid JSON")
    expect(page.locator(RESULT)).to_contain_text("2 requests of mine.jsonl")
    page.select_option("#estimate-choice", "as_good")
    expect(page.locator("[data-notes]")).to_contain_text("public rating at least as high")


def test_openai_s_usage_export_is_read_and_says_what_it_assumes(page: Page, address: str) -> None:
    rows = [row("gpt-5.1-2025-11-13") for _ in range(3)]
    give(page, address, file("completions_usage_2025-10-05.csv", "\n".join([HEADER, *rows]) + "\n"))
    expect(page.locator(STATUS)).to_contain_text("on 30 requests")
    expect(page.locator(RESULT)).to_contain_text("priced as openai/gpt-5.1")
    expect(page.locator("[data-notes]")).to_contain_text("holds no prompts")
    expect(page.locator("[aria-label='By task'] tbody tr")).to_have_count(1)
    page.select_option("#estimate-tasks", "mix")
    expect(page.locator("[aria-label='By task'] tbody tr")).to_have_count(6)


@pytest.mark.parametrize("indent", [None, 2])
def test_the_usage_api_s_answer_is_read(page: Page, address: str, indent: int | None) -> None:
    result = {"model": "gpt-5.1", "num_model_requests": 12, "input_tokens": 1200, "output_tokens": 600}
    buckets = [{"object": "bucket", "results": [result]}, {"object": "bucket", "results": []}]
    give(page, address, file("usage.json", json.dumps({"object": "page", "data": buckets}, indent=indent)))
    expect(page.locator(STATUS)).to_contain_text("on 12 requests")


def test_a_json_list_of_requests_is_read(page: Page, address: str) -> None:
    give(page, address, file("list.json", json.dumps([json.loads(line()), json.loads(line())], indent=1)))
    expect(page.locator(STATUS)).to_contain_text("on 2 requests")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (file("photo.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40), "no file that can be read here"),
        (file("costs.csv", "start_time,end_time,amount_value,line_item\n1,2,0.5,x\n"), "costs export"),
        (file("people.csv", "name,city,model\nMaria,Zurich,x\n"), "columns input_tokens, num_model_requests"),
        (file("empty.jsonl", ""), "The file is empty"),
        (file("other.json", json.dumps({"a": {"b": 1}}, indent=2)), "neither requests nor usage"),
        (file("bad.jsonl", "{nothing}\n{at all}\n"), "Nothing in this file could be compared"),
    ],
    ids=["picture", "costs", "another table", "empty", "other JSON", "only bad lines"],
)
def test_a_file_of_a_wrong_kind_is_told_what_is_taken(
    page: Page, address: str, watcher: Watcher, given: FilePayload, words: str
) -> None:
    give(page, address, given)
    expect(page.locator(f"{RESULT} .notice")).to_contain_text(words)
    watcher.complaints = [one for one in watcher.complaints if "400 (Bad Request)" not in one]


def test_a_file_can_be_dropped_on_the_card(page: Page, address: str) -> None:
    open_page(page, f"{address}/")
    carried = page.evaluate_handle(
        "(text) => { const it = new DataTransfer(); it.items.add(new File([text], 'dropped.jsonl')); return it; }",
        line(),
    )
    page.dispatch_event("#estimate-title", "dragover", {"dataTransfer": carried})
    assert page.locator(".estimate").get_attribute("data-over") == "yes"
    page.dispatch_event("#estimate-title", "drop", {"dataTransfer": carried})
    expect(page.locator(STATUS)).to_contain_text("on 1 request.")
    assert page.locator(".estimate").get_attribute("data-over") is None


def test_a_long_file_can_be_stopped_and_what_is_done_is_shown(page: Page, address: str) -> None:
    open_page(page, f"{address}/")
    asked: list[Any] = []

    def first_part_only(route: Route) -> None:
        asked.append(route.request)
        if len(asked) == 1:
            route.continue_()

    page.route("**/estimate", first_part_only)
    page.set_input_files("#estimate-file", file("long.jsonl", "\n".join([line()] * 1_200)))
    expect(page.locator(STATUS)).to_contain_text("500 lines of long.jsonl done")
    page.click("text=Stop")
    expect(page.locator(RESULT)).to_contain_text("Stopped after 500 lines")
    expect(page.locator(STATUS)).to_contain_text("on 500 requests")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()


def test_a_file_with_more_than_is_taken_says_so(page: Page, address: str, tmp_path: Path) -> None:
    big = tmp_path / "big.jsonl"
    with big.open("w") as out:
        out.write(json.dumps({"model": "gpt-5.1", "messages": "x" * 2_000_000}) + "\n")
        for number in range(20_500):
            out.write(line(prompt=f"What is {number} plus one?") + "\n")
    give(page, address, big)
    expect(page.locator(RESULT)).to_contain_text("The first 20,000 lines were taken", timeout=90_000)
    expect(page.locator(STATUS)).to_contain_text("on 20,000 requests")
    expect(page.locator("[data-bad-lines]")).to_contain_text("line 1: is longer than 700,000 characters")


def test_a_file_is_shown_as_text_and_its_prompts_nowhere(page: Page, address: str, watcher: Watcher) -> None:
    evil = "<img src=x onerror=alert(1)>"
    give(page, address, file(f"{evil}.jsonl", "\n".join([line(evil, CANARY), line(prompt=CANARY)])))
    expect(page.locator("[data-left-out]")).to_contain_text(evil)
    assert page.locator(f"{RESULT} img").count() == 0
    assert CANARY not in page.content()
    assert not [frame for frame in watcher.frames if CANARY in frame]
    assert page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])").count(CANARY) == 0


def test_it_is_reached_by_keyboard(page: Page, address: str) -> None:
    open_page(page, f"{address}/")
    page.focus("#estimate-file")
    reached = []
    for _ in range(5):
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        page.keyboard.press("Tab")
    assert reached == [
        "estimate-file",
        "Use an example",
        "See the example’s lines",
        "estimate-choice",
        "estimate-tasks",
    ]
    page.focus("[data-estimate-example]")
    page.keyboard.press("Enter")
    expect(page.locator(STATUS)).to_contain_text("Routing would have saved")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_promise_fits_one_screen_and_the_estimator_is_below(page: Page, address: str, size: dict[str, int]) -> None:
    page.set_viewport_size(size)  # type: ignore[arg-type]
    open_page(page, f"{address}/")
    page.wait_for_selector(".ranked")
    for selector in ("h1", "text=Create an account"):
        box = page.locator(selector).first.bounding_box()
        assert box
        assert box["y"] + box["height"] < size["height"]
    box = page.locator(".estimate").bounding_box()
    assert box
    assert box["y"] >= size["height"] - 60
