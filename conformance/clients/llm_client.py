"""simonw's llm: the command line, told of the server in `extra-openai-models.yaml`."""

import json
import os
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from pathlib import Path

from report import (
    BASE_URL,
    KEY,
    PERSON,
    PNG,
    QUESTION,
    WEATHER,
    NotSupported,
    check,
    check_cancelled,
    failed_requests,
    run,
)

HOME = Path(tempfile.mkdtemp(prefix="llm-"))
(HOME / "extra-openai-models.yaml").write_text(f"""\
- model_id: omni
  model_name: auto
  api_base: {BASE_URL}/v1
  api_key_name: omni
  supports_schema: true
  supports_tools: true
  vision: true
- model_id: unknown
  model_name: no-such-model
  api_base: {BASE_URL}/v1
  api_key_name: omni
""")
(HOME / "keys.json").write_text(json.dumps({"omni": KEY}))
(HOME / "weather.py").write_text('def weather(city: str) -> str:\n    "The weather in a city."\n    return "Sunny"\n')
(HOME / "pixel.png").write_bytes(b64decode(PNG))
COMMAND = [sys.executable, "-m", "llm"]
ENVIRONMENT = {**os.environ, "LLM_USER_PATH": str(HOME)}


def llm(*arguments: str, model: str = "omni") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "prompt", "-m", model, *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def said(*arguments: str) -> str:
    done = llm(*arguments)
    check(done.returncode == 0 and done.stdout.strip(), done.stderr)
    return done.stdout.strip()


def plain() -> None:
    said("--no-stream", QUESTION)


def stream() -> None:
    check(said(QUESTION) == said("--no-stream", QUESTION), "the stream differs")


def stream_usage() -> None:
    done = llm("--usage", QUESTION)
    check("output" in done.stderr, f"no usage: {done.stderr}")


def tools() -> None:
    done = llm("--functions", str(HOME / "weather.py"), "--td", WEATHER)
    check(done.returncode == 0 and "weather" in done.stderr and done.stdout.strip(), done.stderr)


def json_schema() -> None:
    check(json.loads(said("--schema", json.dumps(PERSON), QUESTION)).keys() == {"name", "age"}, "not the schema")


def vision() -> None:
    said("-a", str(HOME / "pixel.png"), "Describe this.")


def errors() -> None:
    done = llm(QUESTION, model="unknown")
    check(done.returncode != 0 and "no-such-model" in done.stderr, f"no error: {done.stderr}")
    done = llm("--key", "nonsense", QUESTION)
    check(done.returncode != 0 and "401" in done.stderr, f"no error: {done.stderr}")


def cancel() -> None:
    before = failed_requests()
    running = subprocess.Popen([*COMMAND, "prompt", "-m", "omni", QUESTION], env=ENVIRONMENT, stdout=subprocess.PIPE)
    check(running.stdout and running.stdout.read(1), "nothing came")
    running.kill()
    running.wait()
    time.sleep(0.1)
    check_cancelled(before)


def absent() -> None:
    raise NotSupported("its embedding models are OpenAI's by name, with no other address")


run({
    "plain": plain, "stream": stream, "stream with usage": stream_usage, "tools": tools, "JSON schema": json_schema,
    "vision": vision, "errors": errors, "cancel": cancel, "embeddings": absent,
})  # fmt: skip
