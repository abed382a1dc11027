"""Open WebUI: its own server, started without a browser, asked through its API for what its pages ask.

It is installed without what only speech and documents need (PyTorch and its like), and still takes a gigabyte.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from report import BASE_URL, CITY, KEY, PERSON, PNG, QUESTION, WEATHER, check, check_cancelled, failed_requests, run

START_DEADLINE_S = 240
ASK: Any = [{"role": "user", "content": QUESTION}]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started() -> Iterator[httpx.Client]:
    """A client of the running server, signed in as its only user."""
    port, home = free_port(), tempfile.mkdtemp(prefix="open-webui-")
    environment = {
        **os.environ, "HOME": home, "DATA_DIR": home, "WEBUI_AUTH": "False", "WEBUI_SECRET_KEY": "conformance",
        "OPENAI_API_BASE_URL": f"{BASE_URL}/v1", "OPENAI_API_KEY": KEY, "ENABLE_OLLAMA_API": "False",
        "RAG_EMBEDDING_ENGINE": "openai", "OFFLINE_MODE": "True", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1",
    }  # fmt: skip
    command = [Path(sys.executable).parent / "open-webui", "serve", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, env=environment, stdout=sys.stderr, stderr=sys.stderr)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            answer = signed_in(client)
            client.headers["Authorization"] = f"Bearer {answer['token']}"
            client.get("/api/models").raise_for_status()
            yield client
    finally:
        server.kill()
        server.wait()


def signed_in(client: httpx.Client) -> dict[str, Any]:
    until_s = time.monotonic() + START_DEADLINE_S
    while True:
        try:
            answer = client.post("/api/v1/auths/signin", json={"email": "", "password": ""})
            return dict(answer.raise_for_status().json())
        except httpx.HTTPError:
            check(time.monotonic() < until_s, "Open WebUI did not start")
            time.sleep(0.5)


def ask(**more: Any) -> httpx.Response:
    return open_webui.post("/api/chat/completions", json={"model": "auto", "messages": ASK, "stream": False, **more})


def message(**more: Any) -> dict[str, Any]:
    return dict(ask(**more).raise_for_status().json()["choices"][0]["message"])


def chunks(**more: Any) -> list[dict[str, Any]]:
    body = {"model": "auto", "messages": ASK, "stream": True, **more}
    with open_webui.stream("POST", "/api/chat/completions", json=body) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    check(lines[-1] == "[DONE]", "no [DONE]")
    return [json.loads(line) for line in lines[:-1]]


def plain() -> str:
    listed = [one["id"] for one in open_webui.get("/api/models").json()["data"]]
    check("auto" in listed, "auto cannot be chosen")
    text = message()["content"]
    check(text, "no text")
    return str(text)


def stream() -> None:
    pieces = [one["delta"].get("content") or "" for chunk in chunks() for one in chunk["choices"]]
    check("".join(pieces) == plain(), "the stream differs")


def stream_usage() -> None:
    last = chunks(stream_options={"include_usage": True})[-1]
    check(last["usage"]["completion_tokens"] > 0, "no usage")


def tools() -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
    asked = message(messages=[{"role": "user", "content": WEATHER}], tools=[tool])
    check(asked["tool_calls"][0]["function"]["name"] == "weather", "no call")


def json_schema() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    check(json.loads(message(response_format=wanted)["content"]).keys() == {"name", "age"}, "not the schema")


def vision() -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    parts = [{"role": "user", "content": [{"type": "text", "text": "Describe this."}, image]}]
    check(message(messages=parts)["content"], "no text")


def errors() -> None:
    refused = ask(temperature=9)
    check(refused.status_code == 400 and "temperature" in refused.text, refused.text[:300])


def cancel() -> None:
    before = failed_requests()
    body = {"model": "sandbox/premium", "messages": ASK, "stream": True}
    with open_webui.stream("POST", "/api/chat/completions", json=body) as answer:
        next(answer.iter_lines())
    check_cancelled(before)


def embeddings() -> None:
    body = {"model": "sandbox/embedder", "input": ["red apple", "red pear"]}
    check(len(open_webui.post("/api/embeddings", json=body).raise_for_status().json()["data"]) == 2, "no vectors")


with started() as open_webui:
    run({
        "plain": plain, "stream": stream, "stream with usage": stream_usage, "tools": tools,
        "JSON schema": json_schema, "vision": vision, "errors": errors, "cancel": cancel, "embeddings": embeddings,
    })  # fmt: skip
