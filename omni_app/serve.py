"""`python -m omni_app serve`: from a checkout to a served product, one step after the other, each saying what it does.

Port free → one process per SQLite → backup and migrations → web app built when its sources changed → server.
In production the migrations are a step of their own (`migrate`), and so may the build be (`build`): then serving writes
to the data directory alone.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from omni_app.open_files import raise_limit, room_for_connections, room_for_requests
from omni_app.server.tls import CertificateError, context_of
from omni_app.settings import Settings
from omni_app.storage import database
from omni_app.storage.server_role import upgrade_for

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".web" / "build"
BUILD_STAMP = ROOT / ".web" / "omni-build"
WEB_SOURCES = ("omni_app", "assets", "rxconfig.py", "reflex.lock", "requirements.txt")
"""What the built pages depend on."""
WHOLE, API_ALONE = "omni_app.omni_app:app", "omni_app.asgi:create"
LAST_STEPS_S = 5
"""After `STOP_GRACE_SEC`: for telling whose request was cut off, and for the ledger."""


class StartError(Exception):
    """The start cannot go on; the message says what to do."""


def serve(settings: Settings, *, dev: bool = False, api_workers: int = 0) -> None:
    """Prepares everything and becomes the server process; returns only by raising `StartError`.

    `api_workers`: serve the API alone, with so many workers.
    """
    check_port(settings.host, settings.port)
    check_certificate(settings, dev=dev)
    if api_workers > 1 and database.is_sqlite(settings.database):
        raise StartError("More than one worker needs a Postgres (DATABASE_URL): SQLite belongs to one process.")
    prepare_database(settings)
    if api_workers:
        say(f"Starting the API with {api_workers} worker(s) on {settings.origin} …")
        command = server_command(settings, API_ALONE, workers=api_workers)
        os.execve(sys.executable, command, server_environment(settings, compiled=True))
    if dev:
        say("Starting with hot reload …")
        os.execve(sys.executable, dev_command(settings), server_environment(settings, compiled=False))
    build_web_app(settings)
    say(f"Starting Omni-Model Router on {settings.origin} …")
    os.execve(sys.executable, server_command(settings), server_environment(settings, compiled=True))


def say(message: str) -> None:
    """One line for the person at the terminal."""
    print(message, flush=True)


def check_port(host: str, port: int) -> None:
    """Raises `StartError` when somebody else listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartError(
                f"{host}:{port} cannot be used ({error.strerror}). "
                f"Stop what listens there, or choose another port: PORT={port + 1} make run"
            ) from None


def check_certificate(settings: Settings, *, dev: bool) -> None:
    """Raises `StartError` when TLS was asked for and cannot be served."""
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return
    if dev:
        raise StartError("Hot reload is served without TLS: unset TLS_CERT_FILE and TLS_KEY_FILE.")
    try:
        context_of(settings.tls_cert_file, settings.tls_key_file)
    except CertificateError as why:
        raise StartError(f"TLS_CERT_FILE and TLS_KEY_FILE cannot be served with: {why}.") from None


def prepare_data_dir(folder: Path) -> None:
    """Makes it when it is not there. Raises `StartError` when that cannot be, or nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StartError(f"OMNI_DATA_DIR={folder} cannot be made ({error.strerror}).") from None
    if not os.access(folder, os.W_OK | os.X_OK):  # asked for and not tried: a full disk is no reason not to start
        raise StartError(f"OMNI_DATA_DIR={folder} cannot be written to.")


def prepare_database(settings: Settings) -> None:
    """Makes this process the only one on its SQLite, and migrates outside production. Raises `StartError`."""
    prepare_data_dir(settings.omni_data_dir)
    try:
        database.hold_sqlite_lock(settings.database)
    except database.DatabaseError as error:
        raise StartError(str(error)) from None
    if settings.omni_env != "production":
        migrate(settings)


def migrate(settings: Settings) -> None:
    """Backs an SQLite file up and brings the schema to this version's. Raises `StartError` for a newer schema."""
    say("Migrating the database …")
    prepare_data_dir(settings.omni_data_dir)
    try:
        database.backup_before_upgrade(settings.database, settings.omni_data_dir)
        upgrade_for(settings.database, owner=settings.database_owner)
    except database.DatabaseError as error:
        raise StartError(str(error)) from None


def build_web_app(settings: Settings) -> None:
    """Builds the pages unless they are built from these very sources."""
    wanted = web_fingerprint()
    if BUILD.is_dir() and BUILD_STAMP.is_file() and BUILD_STAMP.read_text() == wanted:
        return
    say("Building the web app (once; a minute on a slow machine) …")
    command = [sys.executable, "-m", "reflex", "export", "--no-zip", "--frontend-only", "--env", "prod"]
    done = subprocess.run(  # noqa: S603 our own interpreter and arguments
        command, cwd=ROOT, env=server_environment(settings, compiled=False), capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or not BUILD.is_dir():
        shutil.rmtree(BUILD, ignore_errors=True)
        raise StartError(f"The web app could not be built:\n{(done.stdout + done.stderr)[-3000:]}")
    BUILD_STAMP.write_text(wanted)


def web_fingerprint() -> str:
    """A hash of everything the built pages depend on: sources and pinned packages. One build serves any address."""
    digest = hashlib.sha256(str(sys.version_info[:2]).encode())
    for path in sorted(_web_files()):
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(_content(path))
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    """What a file says. The build itself writes its list of packages anew, spaced otherwise: that is no change."""
    content = path.read_bytes()
    return json.dumps(json.loads(content), sort_keys=True).encode() if path.name == "package.json" else content


def _web_files() -> Iterator[Path]:
    for name in WEB_SOURCES:
        path = ROOT / name
        if path.is_file():
            yield path
        yield from (one for one in path.rglob("*") if one.is_file() and "__pycache__" not in one.parts)


def server_command(settings: Settings, app: str = WHOLE, *, workers: int = 0) -> list[str]:
    """Our server on an app, in one process; with `workers` in so many, and one that watches over them."""
    files = raise_limit()
    in_flight = min(settings.max_in_flight, room_for_requests(files))
    connections = str(room_for_connections(files, in_flight=in_flight))
    address = ["--host", settings.host, "--port", str(settings.port), "--connections", connections]
    stop = ["--grace", str(settings.stop_grace_sec + LAST_STEPS_S / 2)]
    certificate = settings.tls_cert_file, settings.tls_key_file
    tls = ["--tls", *map(str, certificate)] if all(certificate) else []
    watched = ["--workers", str(workers)] if workers else []
    return [sys.executable, "-m", "omni_app.server", *address, *stop, *tls, *watched, app]


def dev_command(settings: Settings) -> list[str]:
    """Reflex's own server on our one port: pages, API and socket, rebuilt when a source changes."""
    address = ["--backend-port", str(settings.port), "--backend-host", settings.host]
    return [sys.executable, "-m", "reflex", "run", "--env", "preview", *address]


def server_environment(settings: Settings, *, compiled: bool) -> dict[str, str]:
    """The environment of the build and of the server. Reflex's double-underscore names belong to the pinned version."""
    environment = dict(os.environ) | {
        "REFLEX_TELEMETRY_ENABLED": "false",
        "REFLEX_CHECK_LATEST_VERSION": "false",
        "REFLEX_API_URL": settings.origin,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.pop("DATABASE_OWNER_URL", None)  # for migrations: who serves does not know it
    if compiled:
        environment |= {
            "REFLEX_ENV_MODE": "prod",
            "__REFLEX_SKIP_COMPILE": "true",
            "__REFLEX_MOUNT_FRONTEND_COMPILED_APP": "true",
        }
    return environment
