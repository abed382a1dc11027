"""Runs unmodified clients against the product and prints who can do what: `make conformance`.

Each client has an environment of its own under `.conformance/`; one that cannot be installed is a line of the table.
`ARGS="openai llm"` runs only those. The status is 1 when a client fails at something that it supports.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.product import ROOT, running_product, unconfigured_environment

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = ROOT / ".conformance"
CAPABILITIES = (
    "plain",
    "stream",
    "stream with usage",
    "tools",
    "JSON schema",
    "vision",
    "errors",
    "cancel",
    "embeddings",
)
SETTINGS = {"SANDBOX_SPEED": "0.1", "LOCAL_MODEL": "off", "RATE_LIMIT_MAX": "100000"}
"""Quick, but not at once: a stream must last long enough to be cancelled."""
INSTALL_DEADLINE_S = 900
CLIENT_DEADLINE_S = 400


@dataclass(frozen=True)
class Client:
    """One client: its name in the table, its script, and the environment that the script needs."""

    name: str
    script: str
    environment: str


CLIENTS = (
    Client("openai (Python)", "openai_client.py", "openai"),
    Client("anthropic (Python)", "anthropic_client.py", "anthropic"),
    Client("LangChain", "langchain_client.py", "langchain"),
    Client("LlamaIndex", "llama_index_client.py", "llama-index"),
    Client("pydantic-ai", "pydantic_ai_client.py", "pydantic-ai"),
    Client("openai-agents", "openai_agents_client.py", "openai-agents"),
    Client("instructor", "instructor_client.py", "instructor"),
    Client("llm", "llm_client.py", "llm"),
    Client("aider", "aider_client.py", "aider"),
    Client("openai (Node)", "openai_client.js", "node"),
    Client("Vercel AI SDK", "ai_sdk_client.js", "node"),
    Client("Continue", "continue_client.js", "node"),
    Client("Open WebUI", "open_webui_client.py", "open-webui"),
)


class NotInstalled(Exception):
    """The client could not be installed; the message is the end of what the installer said."""


def installed(client: Client) -> list[str]:
    """The command that runs the client's script, in its environment. Raises `NotInstalled`."""
    if client.environment == "node":
        return node_command(client)
    folder, wanted = ENVIRONMENTS / client.environment, HERE / "requirements" / f"{client.environment}.txt"
    python, bare = folder / "bin" / "python", wanted.with_suffix(".no-deps.txt")
    if uv := shutil.which("uv"):
        make = [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)]
        fill = [uv, "pip", "install", "--quiet", "--python", str(python)]
    else:
        make = [sys.executable, "-m", "venv", str(folder)]
        fill = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not python.exists():
        install(make)
    without = [[*fill, "--no-deps", "-r", str(bare)]] if bare.exists() else []
    once(folder, wanted, [[*fill, "-r", str(wanted)], *without])
    return [str(python), str(HERE / "clients" / client.script)]


def node_command(client: Client) -> list[str]:
    """As `installed`; Node finds packages beside the script, so the scripts are copied there."""
    folder = ENVIRONMENTS / "node"
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise NotInstalled("node and npm are not on PATH")
    shutil.copytree(HERE / "node", folder, dirs_exist_ok=True)
    install_all = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder)]
    once(folder, HERE / "node" / "package.json", [install_all])
    return [node, str(folder / client.script)]


def once(folder: Path, wanted: Path, commands: list[list[str]]) -> None:
    """Runs the installers unless these very requirements are installed already."""
    mark = folder / ".installed"
    if not mark.exists() or mark.read_text() != wanted.read_text():
        for command in commands:
            install(command)
        mark.write_text(wanted.read_text())


def install(command: list[str]) -> None:
    """Raises `NotInstalled`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_DEADLINE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(str(error)) from None
    if done.returncode:
        raise NotInstalled((done.stderr or done.stdout).strip()[-300:])


def results(command: list[str], settings: Mapping[str, str], log: Path) -> dict[str, tuple[str, str]]:
    """Capability -> (result, detail), as the client's script told them."""
    quiet = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        with log.open("w") as errors:
            done = subprocess.run(
                command,
                env={**unconfigured_environment(), **settings, **quiet},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                timeout=CLIENT_DEADLINE_S,
                check=False,
            )
        output = done.stdout
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode() if isinstance(late.stdout, bytes) else (late.stdout or "")
    told = [json.loads(line) for line in output.splitlines() if line.startswith('{"capability"')]
    found = {one["capability"]: (one["result"], one["detail"]) for one in told}
    return {name: found.get(name, ("fail", f"the script ended before it; see {log}")) for name in CAPABILITIES}


def new_key(data_dir: Path) -> str:
    """A test key of the product in that folder."""
    done = subprocess.run(
        [sys.executable, "-m", "omni_app", "keys", "create", "--org", "Conformance"],
        cwd=ROOT,
        env={**unconfigured_environment(), **SETTINGS, "OMNI_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def row(name: str, cells: list[str]) -> str:
    """One line of the Markdown table."""
    return f"| {name} | {' | '.join(cells)} |"


def main(chosen: list[str]) -> int:
    """Installs, runs, prints; the exit status."""
    ENVIRONMENTS.mkdir(exist_ok=True)
    failed: list[str] = []
    lines = [row("client", list(CAPABILITIES)), row("---", ["---"] * len(CAPABILITIES))]
    with tempfile.TemporaryDirectory() as folder, running_product(Path(folder), environment=SETTINGS) as url:
        settings = {"OMNI_URL": url, "OMNI_KEY": new_key(Path(folder))}
        for client in CLIENTS:
            if chosen and client.environment not in chosen:
                continue
            try:
                command = installed(client)
            except NotInstalled as reason:
                lines.append(row(client.name, ["could not be installed"] * len(CAPABILITIES)))
                print(f"{client.name} could not be installed: {reason}", file=sys.stderr)
                continue
            found = results(command, settings, ENVIRONMENTS / f"{client.script}.log")
            lines.append(row(client.name, [found[name][0] for name in CAPABILITIES]))
            failed += [f"{client.name}: {name}: {why}" for name, (result, why) in found.items() if result == "fail"]
            print(lines[-1], file=sys.stderr, flush=True)
    print("\n".join(lines))
    print("\n".join(["", "FAILED:", *failed]) if failed else "", end="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main(sys.argv[1:]))
