"""`max_cost` over HTTP, on every route that writes, plain and streamed.

What cannot keep it is left out, `max_tokens` is lowered and that is said, a refusal names the figure that is enough.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import orjson
import pytest

from tests.api.conftest import Running

TEXT = "Write a Python function that merges two sorted lists, with a long explanation of every line."
CHAT = {"messages": [{"role": "user", "content": TEXT}]}
OPENAI = CHAT | {"model": "auto"}
ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat": CHAT | {"max_tokens": 100_000},
    "/v1/agent-step": CHAT | {"max_tokens": 100_000, "session_id": "s-1"},
    "/v1/chat/completions": OPENAI | {"max_tokens": 100_000},
    "/v1/messages": OPENAI | {"max_tokens": 100_000},
    "/v1/responses": {"model": "auto", "input": TEXT, "max_output_tokens": 100_000},
}
OURS = ("/v1/chat", "/v1/agent-step")
every_route = pytest.mark.parametrize("path", ROUTES)
plain_and_streamed = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
CHEAPEST = re.compile(r"the cheapest possible here is \$([0-9.]+)")


async def asked(product: Running, path: str, max_cost: float, **more: Any) -> httpx.Response:
    """The route's request within this limit, in dollars."""
    limit = {"max_cost": max_cost} if path in OURS else {"omni": {"max_cost": max_cost}}
    return await product.post(path, ROUTES.get(path, {}) | limit | more)


def figures(answer: httpx.Response) -> dict[str, Any]:
    """Cost, warnings and attempts of an answer, wherever its format has them."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        bodies: Iterator[Any] = iter([answer.json()])
    else:
        lines = (line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {"))
        bodies = (orjson.loads(line) for line in lines)
    told = (whole.get("omni", whole) for body in bodies for whole in [body.get("response", body)])
    (found,) = [one for one in told if "cost" in one and "warnings" in one]
    return found  # type: ignore[no-any-return]  # JSON


@every_route
@plain_and_streamed
async def test_max_tokens_is_lowered_to_the_limit_and_the_answer_says_so(
    product: Running,
    path: str,
    stream: bool,  # noqa: FBT001 a parameter of the test
) -> None:
    for max_cost in (0.002, 0.001):
        answer = await asked(product, path, max_cost, stream=stream)
        assert answer.status_code == 200, answer.text
        found = figures(answer)
        assert 0 < found["cost"] <= max_cost
        assert any("instead of 100,000, so that the answer cannot cost more" in one for one in found["warnings"])


@every_route
@plain_and_streamed
async def test_what_nobody_can_do_is_refused_with_the_figure_that_is_enough(
    product: Running,
    path: str,
    stream: bool,  # noqa: FBT001 a parameter of the test
) -> None:
    least = ""
    for tiny in (1e-12, 1e-9):
        refused = await asked(product, path, tiny, stream=stream)
        assert refused.status_code == 422
        error = refused.json()["error"]
        assert "no_eligible_model" in error.values()
        (least,) = CHEAPEST.findall(error["message"])
        assert f"max_cost ${Decimal(str(tiny)):f} is too low" in error["message"]
    enough = await asked(product, path, float(least), stream=stream)
    assert enough.status_code == 200 and figures(enough)["cost"] <= float(least)
    assert (await asked(product, path, float(least) - 1e-12, stream=stream)).status_code == 422


@every_route
@plain_and_streamed
async def test_the_limit_holds_for_all_attempts_together(
    product: Running,
    path: str,
    stream: bool,  # noqa: FBT001 a parameter of the test
) -> None:
    answer = await asked(product, path, 0.01, stream=stream, metadata={"sandbox_fail": "error"})
    assert answer.status_code == 200
    assert int(answer.headers["x-omni-fallbacks"]) >= 1
    assert 0 < figures(answer)["cost"] <= 0.01


@every_route
async def test_a_limit_above_every_price_lowers_nothing(product: Running, path: str) -> None:
    most = {"max_output_tokens" if path == "/v1/responses" else "max_tokens": 50}
    within = await asked(product, path, 999_999, **most)
    assert within.status_code == 200 and figures(within)["warnings"] == []


async def test_an_image_is_made_within_the_limit_or_not_at_all(product: Running) -> None:
    fox = {"prompt": "A fox in the snow"}
    refused = await product.post("/v1/images/generations", fox | {"omni": {"max_cost": 1e-6}})
    assert refused.status_code == 422
    (least,) = CHEAPEST.findall(refused.json()["error"]["message"])
    made = await product.post("/v1/images/generations", fox | {"omni": {"max_cost": float(least)}})
    assert made.status_code == 200 and made.json()["omni"]["cost"] <= float(least)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses", "/v1/images/generations"])
async def test_an_option_that_is_none_of_ours_is_refused_by_name(product: Running, path: str) -> None:
    body = ROUTES.get(path, {"prompt": "A fox"})
    for omni, words in (({"max_price": 1}, "omni.max_price"), ({"max_cost": -1}, "omni.max_cost"), ("x", "omni")):
        answer = await product.post(path, body | {"omni": omni})
        assert answer.status_code == 400 and words in answer.json()["error"]["message"]


async def test_several_pictures_are_promised_for_together(product: Running) -> None:
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": "Draw a picture of a red fox in the snow."}],
        "n": 4,
    }
    refused = await product.post("/v1/chat/completions", body | {"omni": {"max_cost": 0.05}})
    assert refused.status_code == 422, refused.text
    (least,) = CHEAPEST.findall(refused.json()["error"]["message"])
    answer = await product.post("/v1/chat/completions", body | {"omni": {"max_cost": float(least)}})
    assert answer.status_code == 200, answer.text
    told = answer.json()["omni"]
    assert 0.05 < told["cost"] <= float(least)
    assert not any("more than the request may cost" in one for one in told["warnings"])
    models = (await product.get("/v1/models")).json()["data"]
    (model,) = [one for one in models if one["id"] == answer.json()["model"]]
    assert model["available"], "who keeps the promise is not shut"
