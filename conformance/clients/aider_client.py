"""aider: one question on the command line, with `--openai-api-base`."""

import os
import subprocess
import sys
import tempfile

from report import BASE_URL, KEY, QUESTION, NotSupported, check, run

COMMAND = [
    sys.executable, "-m", "aider", "--model", "openai/auto", "--openai-api-base", f"{BASE_URL}/v1", "--no-git",
    "--yes-always", "--no-check-update", "--no-show-model-warnings", "--no-analytics", "--chat-mode", "ask",
    "--no-auto-commits", "--no-pretty", "--message", QUESTION,
]  # fmt: skip


def aider(*more: str, key: str = KEY) -> str:
    home = tempfile.mkdtemp(prefix="aider-")
    environment = {**os.environ, "HOME": home, "OPENAI_API_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [*COMMAND, *more], env=environment, cwd=home, capture_output=True, text=True, timeout=90, check=False
    )
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


def absent() -> None:
    raise NotSupported("aider has no such command")


run({
    "plain": plain, "stream": stream, "stream with usage": absent, "tools": absent, "JSON schema": absent,
    "vision": absent, "errors": errors, "cancel": absent,
})  # fmt: skip
