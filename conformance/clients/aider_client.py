"""aider: one question on the command line, with `--openai-api-base`."""

import os
import subprocess
import sys
import tempfile
from typing import Any

from report import BASE_URL, KEY, QUESTION, NotSupported, check, check_cancelled, failed_requests, run

COMMAND = [
    sys.executable, "-m", "aider", "--openai-api-base", f"{BASE_URL}/v1", "--no-git",
    "--yes-always", "--no-check-update", "--no-show-model-warnings", "--no-analytics", "--chat-mode", "ask",
    "--no-auto-commits", "--no-pretty", "--message", QUESTION,
]  # fmt: skip
SLOW = "openai/sandbox/premium"
"""A model whose answer takes long enough to be left in the middle."""


def settings(key: str) -> dict[str, Any]:
    home = tempfile.mkdtemp(prefix="aider-")
    environment = {**os.environ, "HOME": home, "OPENAI_API_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    return {"env": environment | {"PYTHONUNBUFFERED": "1"}, "cwd": home}


def aider(*more: str, key: str = KEY, model: str = "openai/auto") -> str:
    command = [*COMMAND, "--model", model, *more]
    done = subprocess.run(command, **settings(key), capture_output=True, text=True, timeout=90, check=False)
    return done.stdout + done.stderr


def plain() -> None:
    said = aider("--no-stream")
    check("simulated answer of" in said, said[-400:])


def stream() -> None:
    said = aider("--stream")
    check("simulated answer of" in said, said[-400:])


def errors() -> None:
    said = aider("--no-stream", key="nonsense")
    check("AuthenticationError" in said, said[-400:])


def stream_usage() -> None:
    said = aider("--stream")
    check("Tokens:" in said and "received" in said, said[-400:])


def cancel() -> None:
    before = failed_requests()
    command = [*COMMAND, "--model", SLOW, "--stream"]
    running = subprocess.Popen(command, **settings(KEY), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    heard = b""
    while running.stdout and b"simulated" not in heard and (piece := running.stdout.read(1)):
        heard += piece
    running.kill()
    running.wait()
    check_cancelled(before)


def absent() -> None:
    raise NotSupported("aider has no such command")


run({
    "plain": plain, "stream": stream, "stream with usage": stream_usage, "tools": absent, "JSON schema": absent,
    "vision": absent, "errors": errors, "cancel": cancel, "embeddings": absent,
})  # fmt: skip
