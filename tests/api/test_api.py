"""The API's contract, over real services: every route, the error shape on every path, and figures that agree."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from omni_app.money import PICO_PER_USD
from omni_app.routing.types import SizeClass
from omni_app.storage import accounts, ledger, org_settings
from omni_app.storage.tables import utc_now
from tests.api.conftest import HELLO, Running, run, settings_for
from tests.storage.facts import record

CODE = {"messages": [{"role": "user", "content": "Write a Python function that reverses a linked list."}]}
DRAW = {"messages": [{"role": "user", "content": "Draw a picture of a red fox in the snow."}]}


def is_error(answer: httpx.Response, status: int, code: str) -> bool:
    body = answer.json()
    same_id = body["request_id"] == answer.headers["x-request-id"]
    return answer.status_code == status and body["error"]["code"] == code and same_id and bool(body["error"]["message"])


async def test_a_chat_is_answered_with_everything_product_md_promises(product: Running) -> None:
    answer = await product.post("/v1/chat", HELLO)
    assert answer.status_code == 200
    body = answer.json()
    assert body["output"] and body["task_type"] == "chat" and body["simulated"] is True
    assert body["model_used"].startswith("sandbox/") and body["provider"] == "sandbox"
    assert body["tokens"]["input"] > 0 and body["tokens"]["output"] > 0 and body["cost"] > 0
    assert body["attempts"] == [
        {"model": body["model_used"], "outcome": "ok", "latency_ms": body["attempts"][0]["latency_ms"]}
    ]
    assert body["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["x-ratelimit-limit"] == "100" and answer.headers["x-ratelimit-remaining"] == "99"


async def test_both_headers_open_the_door_alike(product: Running) -> None:
    bearer = await product.client.get("/v1/models", headers={"Authorization": f"Bearer {product.key}"})
    x_api_key = await product.client.get("/v1/models", headers={"X-API-Key": product.key})
    assert bearer.status_code == x_api_key.status_code == 200
    assert bearer.content == x_api_key.content


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
@pytest.mark.parametrize(
    "wrong",
    ["", "nonsense", "omr_test_" + "a" * 38, "' OR '1'='1", "omr_test_ключ", "sk-" + "a" * 40],
    ids=["empty", "nonsense", "checksum", "sql", "unicode", "foreign"],
)
async def test_a_wrong_key_is_401_in_either_header(product: Running, header: str, wrong: str) -> None:
    value = f"Bearer {wrong}" if header == "Authorization" else wrong
    headers = [(header.encode(), value.encode())]
    for path in ("/v1/usage", "/v1/models", "/v1/models/x"):
        assert is_error(await product.client.get(path, headers=headers), 401, "invalid_api_key")
    for path in ("/v1/chat", "/v1/agent-step", "/v1/router/debug"):
        assert is_error(await product.client.post(path, headers=headers, json=HELLO), 401, "invalid_api_key")


async def test_two_different_keys_in_one_request_are_refused(product: Running) -> None:
    headers = {"Authorization": f"Bearer {product.key}", "X-API-Key": await product.new_key()}
    assert is_error(await product.client.get("/v1/models", headers=headers), 400, "invalid_request")


async def test_a_revoked_key_is_refused_within_a_second(product: Running) -> None:
    from omni_app.storage import keys

    assert (await product.get("/v1/models")).status_code == 200
    async with product.services.database.session() as session:
        (key,) = await keys.list_keys(session, org_id=product.org_id)
        await keys.revoke_key(session, org_id=product.org_id, key_id=key.id)
        await session.commit()
    await asyncio.sleep(0.9)
    assert is_error(await product.get("/v1/models"), 401, "invalid_api_key")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/auth/nothing", 404, "not_found"),
        ("GET", "/v1/chat", 405, "method_not_allowed"),
        ("DELETE", "/v1/usage", 405, "method_not_allowed"),
        ("POST", "/health", 405, "method_not_allowed"),
        ("PUT", "/v1/router/debug", 405, "method_not_allowed"),
    ],
)
async def test_paths_and_methods_that_are_not_there_have_the_error_shape(
    product: Running, method: str, path: str, status: int, code: str
) -> None:
    answer = await product.client.request(method, path)
    assert is_error(answer, status, code)
    assert (status == 405) == ("allow" in answer.headers)


BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "empty"),
    (b"[]", "a JSON object"),
    (b'"text"', "a JSON object"),
    (b"{", "not valid JSON"),
    (b'{"messages": NaN}', "not valid JSON"),
    (b'{"a": 1, "a": 2}', "duplicate key"),
    (b'{"messages": "\xff"}', "not valid JSON"),
    (b'{"messages": "\\ud800"}', "not valid JSON"),
    (b"[" * 10_000 + b"]" * 10_000, "recursion limit"),
    (b'{"a": ' + b"9" * 1_000_000 + b"}", "number out of range"),
    (b'{"a": ' * 10_000 + b"1" + b"}" * 10_000, "recursion limit"),
]


@pytest.mark.parametrize(("body", "says"), BAD_BODIES, ids=[str(index) for index in range(len(BAD_BODIES))])
async def test_a_body_that_is_not_strict_json_is_400(product: Running, body: bytes, says: str) -> None:
    headers = {"Authorization": f"Bearer {product.key}"}
    for path in ("/v1/chat", "/v1/agent-step", "/v1/router/debug"):
        answer = await product.client.post(path, content=body, headers=headers)
        assert is_error(answer, 400, "invalid_request")
        assert says.lower() in answer.json()["error"]["message"].lower()


@pytest.mark.parametrize("many", ["300,", '"a",', "{},", "[],", '{"a":"b\\\\"},', '"\\"",'])
async def test_a_body_of_more_values_than_any_request_has_is_400(product: Running, many: str) -> None:
    body = f'{{"messages": [{many * 200_000}1]}}'
    answer = await product.client.post("/v1/chat", content=body, headers={"X-API-Key": product.key})
    assert answer.status_code == 400 and "too many values" in answer.json()["error"]["message"]


async def test_in_a_text_nothing_is_counted(product: Running) -> None:
    said = 'a,{[ and "b" \\ ' * 60_000
    answer = await product.post("/v1/router/debug", {"messages": [{"role": "user", "content": said}]})
    assert answer.status_code == 200, answer.text


async def test_a_body_over_ten_megabytes_is_413_before_it_is_read(product: Running) -> None:
    headers = {"Authorization": f"Bearer {product.key}", "Content-Length": "10000001"}
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b" " * 100_000

    declared = await product.client.post("/v1/chat", content=b"{}", headers=headers)
    assert is_error(declared, 413, "invalid_request")
    chunked = await product.client.post("/v1/chat", content=endless(), headers={"X-API-Key": product.key})
    assert is_error(chunked, 413, "invalid_request")
    assert read <= 102


async def test_a_wrong_field_is_named(product: Running) -> None:
    answer = await product.post("/v1/chat", {**HELLO, "modle": "gpt"})
    assert is_error(answer, 400, "invalid_request")
    assert answer.json()["error"] == {"code": "invalid_request", "message": "modle: unknown field", "param": "modle"}


@pytest.mark.parametrize(
    "query",
    ["from=yesterday", "from=2026-02-01&to=2026-01-01", "mode=both", "colour=red", "from=2026-01-01&from=2026-01-02"],
)
async def test_a_wrong_query_is_400(product: Running, query: str) -> None:
    assert is_error(await product.get(f"/v1/usage?{query}"), 400, "invalid_request")


async def test_an_agent_step_echoes_its_ids_and_has_its_own_task(product: Running) -> None:
    body = (await product.post("/v1/agent-step", {**HELLO, "session_id": "run-7", "step_id": "2"})).json()
    assert (body["session_id"], body["step_id"], body["task_type"]) == ("run-7", "2", "agent_step")
    assert body["session"] is None, "its first step"


async def test_a_further_step_tells_what_its_session_had_to_do_with_it(product: Running) -> None:
    step = {**HELLO, "session_id": "run-8"}
    first = (await product.post("/v1/agent-step", step)).json()
    debug = (await product.post("/v1/router/debug", step)).json()
    second = (await product.post("/v1/agent-step", step)).json()
    assert second["session"] == debug["session"]
    assert (second["session"]["home"], second["session"]["stays"]) == (first["model_used"], True)
    assert second["session"]["cached_tokens"] == 0, "the sandbox has no prompt cache"
    omni = {"omni": {"session_id": "run-8"}}
    third = (await product.post("/v1/chat/completions", {**HELLO, "model": "auto", **omni})).json()
    assert third["omni"]["session"]["home"] == first["model_used"]
    assert "session" not in (await product.post("/v1/chat/completions", {**HELLO, "model": "auto"})).json()["omni"]
    assert "session" not in (await product.post("/v1/chat", HELLO)).json()


async def test_making_an_image_gives_a_labelled_placeholder(product: Running) -> None:
    body = (await product.post("/v1/chat", DRAW)).json()
    assert body["task_type"] == "image" and body["images"][0]["b64_json"].startswith("iVBOR")
    assert "simulated" in body["output"]


async def test_debug_says_what_chat_then_does(product: Running) -> None:
    for request in (HELLO, CODE, DRAW, {**CODE, "priority": "cheap"}, {**CODE, "priority": "best"}):
        debug = (await product.post("/v1/router/debug", request)).json()
        chat = (await product.post("/v1/chat", request)).json()
        assert debug["selected_model"] == chat["model_used"] == debug["fallback_chain"][0]
        assert debug["task_type"] == chat["task_type"]
        assert debug["reason"]
        if "priority" not in request:
            assert debug["considered_models"][0]["model"] == chat["model_used"]


async def test_debug_scores_can_be_recomputed_from_the_terms(product: Running) -> None:
    debug = (await product.post("/v1/router/debug", CODE)).json()
    weights = debug["weights"]
    eligible = [one for one in debug["considered_models"] if one["eligible"]]
    assert eligible
    for one in eligible:
        score = sum(weights[name] * one["terms"][name] for name in weights)
        assert one["score"] == pytest.approx(score, abs=1e-6)


async def test_a_broken_primary_is_rescued_and_seen(product: Running) -> None:
    debug = (await product.post("/v1/router/debug", CODE)).json()
    body = (await product.post("/v1/chat", {**CODE, "metadata": {"sandbox_fail": "error"}})).json()
    assert [one["outcome"] for one in body["attempts"]] == ["server_error", "ok"]
    assert [one["model"] for one in body["attempts"]] == debug["fallback_chain"][:2]


async def test_when_all_models_fail_the_answer_is_502_and_says_what_each_met(product: Running) -> None:
    answer = await product.post("/v1/chat", {**CODE, "metadata": {"sandbox_fail": "all:error"}})
    assert is_error(answer, 502, "provider_error")
    assert answer.json()["error"]["message"].count("[simulated]") >= 2


async def test_a_live_key_without_a_provider_key_is_told_which_variable_to_set(product: Running) -> None:
    live = await product.new_key("live")
    answer = await product.post("/v1/chat", HELLO, key=live)
    assert is_error(answer, 422, "no_eligible_model")
    assert "OPENAI_API_KEY" in answer.json()["error"]["message"]


async def test_models_are_listed_in_the_shape_of_openai_with_our_fields(product: Running) -> None:
    body = (await product.get("/v1/models")).json()
    assert body["object"] == "list" and len(body["data"]) >= 5
    for model in body["data"]:
        assert {"id", "object", "created", "owned_by", "cost_input", "context_window", "quality_rating"} <= model.keys()
        assert model["id"] in (f"{model['provider']}/{model['model_name']}", model["model_name"])
        one = await product.get(f"/v1/models/{model['id']}")
        assert one.json() == model
    assert [one["id"] for one in body["data"]][:2] == ["auto", "auto:cheap"], "people pick from this list"
    assert is_error(await product.get("/v1/models/sandbox/none"), 404, "not_found")
    filtered = (await product.get("/v1/models?provider=local")).json()["data"]
    assert {model["provider"] for model in filtered} == {"local"}


async def test_a_models_latency_is_an_assumption_until_enough_was_measured(product: Running) -> None:
    gateway, path = product.services.gateway, "/v1/models/local/smollm2-135m"
    place = ("local/smollm2-135m", SizeClass.SMALL_BRIEF)

    async def told() -> dict[str, Any]:
        body = (await product.get(path)).json()
        assert body["avg_latency"] == body["latency"]["average_ms"]
        latency: dict[str, Any] = body["latency"]
        return latency

    assumed = await told()
    prior = gateway.registry.get(place[0])
    assert prior is not None and assumed["average_ms"] == prior.prior_latency_ms
    assert (assumed["measured"], assumed["measurements"], assumed["by_size"]) == (False, 0, {})
    for _ in range(4):
        gateway.latencies.count(place, total_ms=700, first_token_ms=90, now_s=gateway.clock())
    assert await told() == assumed | {"measurements": 4}
    for _ in range(26):
        gateway.latencies.count(place, total_ms=700, first_token_ms=90, now_s=gateway.clock())
    measured = await told()
    assert (measured["measured"], measured["measurements"]) == (True, 30)
    for name, true_ms in {"average_ms": 700, "p50_ms": 700, "p95_ms": 700, "first_token_ms": 90}.items():
        assert measured[name] == pytest.approx(true_ms, rel=0.03)
        assert measured["by_size"]["small_brief"][name] == measured[name]
    assert measured["by_size"].keys() == {"small_brief"}


async def test_a_live_key_sees_real_models_marked_as_not_available_without_provider_keys(product: Running) -> None:
    live = await product.new_key("live")
    models = (await product.get("/v1/models", key=live)).json()["data"]
    assert len(models) >= 20 and len({model["provider"] for model in models}) >= 4
    assert not any(model["available"] or model["simulated"] for model in models)


async def settled(product: Running) -> None:
    await product.services.drainer.flush()


async def test_usage_equals_sql_over_the_ledger_to_the_last_digit(product: Running) -> None:
    answers = [(await product.post("/v1/chat", request)).json() for request in [HELLO, CODE, DRAW] * 4]
    await product.post("/v1/chat", {**CODE, "metadata": {"sandbox_fail": "all:timeout"}})
    await settled(product)
    raw = await product.get("/v1/usage")
    usage = raw.json(parse_float=Decimal, parse_int=Decimal)
    async with product.services.database.session() as session:
        query = text("SELECT count(*), sum(cost), sum(premium_cost), sum(tokens_input), sum(success) FROM requests")
        count, cost, premium, tokens_in, successes = (await session.execute(query)).one()
    assert (usage["total_requests"], usage["successful_requests"]) == (count, successes) == (13, 12)
    assert usage["total_cost"] == Decimal(cost) / PICO_PER_USD
    assert usage["premium_cost"] == Decimal(premium) / PICO_PER_USD
    assert usage["estimated_savings"] == usage["premium_cost"] - usage["total_cost"]
    assert usage["tokens"]["input"] == tokens_in
    for breakdown in ("by_model", "by_task", "by_day"):
        groups = usage[breakdown]
        assert sum(group["cost"] for group in groups) == usage["total_cost"]
        assert sum(group["savings"] for group in groups) == usage["estimated_savings"]
        assert sum(group["requests"] for group in groups) == usage["total_requests"]
    exact = sum(Decimal(repr(answer["cost"])) for answer in answers)
    assert usage["total_cost"] == exact


async def compare_with(product: Running, *models: str) -> None:
    async with product.services.database.session() as session:
        org_id = await accounts.org_named(session, "Acme")
        await org_settings.set_comparisons(session, org_id=org_id, models=models)
        await session.commit()


async def test_usage_compares_with_the_models_that_the_org_chose(product: Running) -> None:
    await compare_with(product, "sandbox/premium", "sandbox/swift", "openai/gpt-4.1")
    for request in (HELLO, CODE, DRAW, {**CODE, "metadata": {"sandbox_fail": "all:timeout"}}):
        await product.post("/v1/chat", request)
    await settled(product)
    usage = (await product.get("/v1/usage")).json(parse_float=Decimal, parse_int=Decimal)
    assert usage["premium_models"] == ["sandbox/premium"]
    same, cheap = usage["comparisons"]
    assert (same["model"], cheap["model"]) == ("sandbox/premium", "sandbox/swift"), "a test key has no real prices"
    assert (same["cost"], same["savings"]) == (usage["premium_cost"], usage["estimated_savings"])
    assert cheap["savings"] == cheap["cost"] - usage["total_cost"] < same["savings"]
    band = usage["savings_band"]
    assert same["savings_band"] == {end: band[end] for end in ("low", "high")}
    assert band["low"] < usage["estimated_savings"] < band["high"]
    assert band["output_ratio"] == [Decimal("0.67"), Decimal("1.5")] and "AlpacaEval" in band["source"]


async def test_a_loss_is_shown_as_one(product: Running) -> None:
    await compare_with(product, "sandbox/swift")
    await product.post("/v1/chat", {**CODE, "priority": "best"})
    await settled(product)
    (cheap,) = (await product.get("/v1/usage")).json()["comparisons"]
    assert cheap["savings"] < 0 and cheap["savings_band"]["low"] < cheap["savings"] < cheap["savings_band"]["high"]


async def test_usage_tells_what_failed_attempts_cost_and_what_routing_took(product: Running) -> None:
    assert (await product.get("/v1/usage")).json()["overhead"] == {
        "failed_attempts_cost": 0, "routed_requests": 0, "routing_ms": None,
    }  # fmt: skip
    await product.post("/v1/chat", HELLO)
    await settled(product)
    async with product.services.database.session() as session:
        (routing_us,) = (await session.execute(text("SELECT routing_us FROM requests"))).one()
    overhead = (await product.get("/v1/usage")).json()["overhead"]
    assert overhead["routed_requests"] == 1 and overhead["routing_ms"] == routing_us / 1000
    assert overhead["failed_attempts_cost"] == 0


async def test_failed_attempts_are_in_the_cost_and_told_apart(product: Running) -> None:
    async with product.services.database.session() as session:
        org_id = await accounts.org_named(session, "Acme")
        rescued = replace(record("r"), org_id=org_id, key_kind="test", created_at=utc_now(), failed_cost=2 * 10**9)
        await ledger.insert_records(session, [rescued])
        await session.commit()
    usage = (await product.get("/v1/usage")).json(parse_float=Decimal)
    assert usage["overhead"]["failed_attempts_cost"] == Decimal("0.002") < usage["total_cost"]
    assert usage["estimated_savings"] == Decimal(rescued.premium_cost - rescued.cost) / PICO_PER_USD


async def test_usage_is_of_the_callers_org_only(product: Running) -> None:
    other = await product.new_key(org="Other")
    await product.post("/v1/chat", HELLO)
    await settled(product)
    assert (await product.get("/v1/usage", key=other)).json()["total_requests"] == 0
    assert (await product.get("/v1/usage?mode=live")).json()["total_requests"] == 0
    assert (await product.get("/v1/usage")).json()["total_requests"] == 1


async def test_over_the_limit_is_429_with_its_headers(tmp_path: Path) -> None:
    async for limited in run(settings_for(tmp_path, rate_limit_max=3)):
        codes = [(await limited.post("/v1/router/debug", HELLO)).status_code for _ in range(3)]
        refused = await limited.post("/v1/chat", HELLO)
        assert codes == [200, 200, 200]
        assert is_error(refused, 429, "rate_limited")
        assert refused.headers["retry-after"] == refused.headers["x-ratelimit-reset"]
        assert (refused.headers["x-ratelimit-limit"], refused.headers["x-ratelimit-remaining"]) == ("3", "0")
        assert (await limited.get("/v1/usage", key=await limited.new_key(org="Other"))).status_code == 200


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/chat/completions", "/v1/messages", "/v1/responses"])
@pytest.mark.parametrize("options", [{}, {"stream": True}])
async def test_a_limit_of_tokens_is_told_on_every_door_and_refuses_with_the_time_to_wait(
    tmp_path: Path, path: str, options: Any
) -> None:
    most = "max_output_tokens" if path == "/v1/responses" else "max_tokens"
    said = {"input": HELLO["messages"]} if path == "/v1/responses" else HELLO
    body = {**said, most: 40, **options} | ({} if path == "/v1/chat" else {"model": "auto"})
    async for limited in run(settings_for(tmp_path, rate_limit_tokens=60)):
        once = {"Authorization": f"Bearer {limited.key}", "Idempotency-Key": "once"}
        first = await limited.client.post(path, json=body, headers=once)
        assert first.status_code == 200
        assert first.headers["x-ratelimit-limit-tokens"] == "60"
        assert 0 < int(first.headers["x-ratelimit-remaining-tokens"]) < 20
        assert first.headers["x-ratelimit-remaining"] == "99"
        again = await limited.client.post(path, json=body, headers=once)
        assert again.status_code == 200 and "x-ratelimit-remaining-tokens" not in again.headers
        answers = [await limited.post(path, body) for _ in range(6)]
        refused = next(answer for answer in answers if answer.status_code != 200)
        assert refused.status_code == 429 and refused.json()["error"]["message"].startswith("over the limit of 60 tok")
        assert refused.headers["retry-after"] == refused.headers["x-ratelimit-reset-tokens"]
        assert int(refused.headers["x-ratelimit-remaining-tokens"]) < 50
        assert "x-ratelimit-remaining" in refused.headers
        larger = await limited.post(path, body | {most: 61})
        assert larger.status_code == 400 and "the limit is 60 in 60 seconds" in larger.json()["error"]["message"]


async def test_health_and_readiness(product: Running) -> None:
    assert (await product.client.get("/health")).json() == {"status": "ok"}
    ready = await product.client.get("/ready")
    assert ready.status_code == 200
    assert set(ready.json()["checks"]) == {"database", "limiter", "providers", "ledger"}
    assert ready.json()["checks"]["ledger"] == {"ok": True, "detail": "ok", "waiting_mb": 0.0}


class Broken:
    """A dependency of which nobody knows how it fails."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("nobody thought of this")


@pytest.mark.parametrize(
    ("part", "check"),
    [("database", "database"), ("limiter", "limiter"), ("providers", "providers"), ("spool", "ledger")],
)
async def test_readiness_says_what_it_cannot_check(product: Running, part: str, check: str) -> None:
    whole = getattr(product.services, part)
    setattr(product.services, part, {"broken": Broken()} if part == "providers" else Broken())
    answer = await product.client.get("/ready")
    setattr(product.services, part, whole)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    told = answer.json()["checks"]
    assert told[check]["detail"] == "cannot be checked (RuntimeError)"
    assert {name for name, one in told.items() if not one["ok"]} == {check}
    assert (await product.client.get("/ready")).status_code == 200


async def test_without_a_database_we_live_but_are_not_ready_and_known_keys_work(tmp_path: Path) -> None:
    async for running in run(settings_for(tmp_path)):
        await running.post("/v1/chat", HELLO)
        await settled(running)
        unknown = await running.new_key()
        database = Path(running.services.database.url.removeprefix("sqlite:///"))
        database.rename(database.with_suffix(".away"))
        database.mkdir()
        assert (await running.client.get("/health")).status_code == 200
        assert (await running.client.get("/ready")).status_code == 503
        assert is_error(await running.post("/v1/chat", HELLO, key=unknown), 503, "unavailable")
        assert is_error(await running.get("/v1/usage"), 503, "unavailable")
        assert (await running.post("/v1/chat", HELLO)).status_code == 200
        database.rmdir()
        database.with_suffix(".away").rename(database)
        await settled(running)
        assert (await running.get("/v1/usage")).json()["total_requests"] == 2


async def test_every_answer_carries_an_id_and_the_security_headers(product: Running) -> None:
    for path in ("/health", "/v1/models", "/nothing", "/docs", "/openapi.json"):
        headers = (await product.client.get(path)).headers
        assert headers["x-request-id"].startswith("req_")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


async def test_cors_answers_the_configured_origin_only_and_without_credentials(tmp_path: Path) -> None:
    async for running in run(settings_for(tmp_path, cors_origin="https://app.example")):
        ours = await running.client.get("/v1/models", headers={"Origin": "https://app.example"})
        evil = await running.client.get("/v1/models", headers={"Origin": "https://evil.example"})
        wanted = {"Origin": "https://app.example", "Access-Control-Request-Headers": "authorization"}
        preflight = await running.client.options("/v1/chat", headers=wanted)
        assert ours.headers["access-control-allow-origin"] == "https://app.example"
        assert "access-control-allow-origin" not in evil.headers
        assert preflight.status_code == 204 and preflight.headers["access-control-allow-headers"] == "authorization"
        assert "access-control-allow-credentials" not in {*ours.headers, *preflight.headers}


async def test_an_unexpected_error_is_500_in_our_shape_without_internals(product: Running) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret internals")

    product.services.keys.authenticate = broken  # type: ignore[method-assign,assignment]
    answer = await product.get("/v1/models")
    assert is_error(answer, 500, "internal_error")
    assert "secret" not in answer.text
