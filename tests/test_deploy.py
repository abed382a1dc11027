"""The files in which others run the product: they parse, agree with the code, and give away no rights."""

import configparser
import json
import os
import re
import ssl
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address, ip_network
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
import yaml

from omni_app.serve import LAST_STEPS_S, WEB_SOURCES
from omni_app.server.tls import context_of
from omni_app.settings import PROVIDER_KEY_VARIABLES, Settings, load_settings
from omni_app.storage.server_role import upgrade_for
from omni_app.version import VERSION
from tests.locks import versions_of
from tests.product import free_port
from tests.servers.authority import Authority
from tests.servers.postgres import FASTER, account, folder_for_postgres, or_skipped, running_cluster

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
KUBERNETES: dict[str, dict[str, Any]] = {
    one["kind"]: one for one in yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text())
}
FLY: dict[str, Any] = tomllib.loads((ROOT / "fly.toml").read_text())
POD: dict[str, Any] = KUBERNETES["StatefulSet"]["spec"]["template"]["spec"]
OURS = ("app", "migrate")
NOT_SETTINGS = {"PATH", "PYTHONDONTWRITEBYTECODE"}
MIGRATE = ["python", "-m", "omni_app", "migrate"]


def unit() -> dict[str, list[str]]:
    """The service's section: a name -> its values."""
    values: dict[str, list[str]] = {}
    for line in (ROOT / "deploy/omni-model-router.service").read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            values.setdefault(name, []).append(value)
    return values


def stated_variables() -> set[str]:
    """Every variable that one of the files sets."""
    docker = re.findall(r"\b([A-Z][A-Z_]+)=", " ".join(re.findall(r"^ENV (.*)$", DOCKERFILE, re.MULTILINE)))
    compose = [name for one in OURS for name in COMPOSE["services"][one]["environment"]]
    systemd = [value.partition("=")[0] for value in unit()["Environment"]]
    return {*docker, *compose, *systemd, *FLY["env"], *KUBERNETES["ConfigMap"]["data"]} - NOT_SETTINGS


def images() -> list[str]:
    compose = [one["image"] for one in COMPOSE["services"].values()]
    kubernetes = [one["image"] for one in (*POD["initContainers"], *POD["containers"])]
    return [*re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE), *compose, *kubernetes]


def test_every_variable_that_is_set_is_a_setting() -> None:
    assert len(stated_variables()) > 10
    assert {name.lower() for name in stated_variables()} <= Settings.model_fields.keys()


def test_compose_hands_on_the_key_of_every_provider() -> None:
    environment = COMPOSE["services"]["app"]["environment"]
    keys = {name: value for name, value in environment.items() if name in PROVIDER_KEY_VARIABLES.values()}
    assert keys == {name: f"${{{name}:-}}" for name in PROVIDER_KEY_VARIABLES.values()}


def test_what_needs_a_volume_in_production_has_it_where_the_data_is() -> None:
    (folder,) = re.findall(r"^ENV .*OMNI_DATA_DIR=(\S+)", DOCKERFILE, re.MULTILINE)
    mounts = [COMPOSE["services"][name]["volumes"][0].partition(":")[2] for name in OURS]
    mounts += [FLY["mounts"][0]["destination"]]
    mounts += [one["volumeMounts"][0]["mountPath"] for one in (*POD["initContainers"], *POD["containers"])]
    assert set(mounts) == {folder} and f"VOLUME {folder}" in DOCKERFILE
    assert f"OMNI_DATA_DIR=/var/lib/{unit()['StateDirectory'][0]}" in unit()["Environment"]


def test_the_manifests_are_of_this_version() -> None:
    assert {one["image"].rpartition(":")[2] for one in (*POD["initContainers"], *POD["containers"])} == {VERSION}


def test_nobody_comes_in_without_tls_but_by_a_proxy_that_is_named() -> None:
    stated = [COMPOSE["services"][one]["environment"] for one in OURS] + [FLY["env"], KUBERNETES["ConfigMap"]["data"]]
    assert all(ip_network(one["TRUSTED_PROXIES"]) for one in stated)
    (network,) = COMPOSE["networks"]["default"]["ipam"]["config"]
    assert {one["TRUSTED_PROXIES"] for one in stated[:2]} == {network["gateway"]}
    assert ip_address(network["gateway"]) in ip_network(network["subnet"])
    assert FLY["http_service"]["force_https"]
    assert "HOST" not in str(unit()["Environment"])


def test_the_image_looks_after_itself_with_and_without_tls(tmp_path: Path) -> None:
    """Its health check, against a server of each kind."""
    (words,) = re.findall(r"HEALTHCHECK (?:.*\\\n\s*)CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    _, *command = json.loads(words)
    certificate, key = Authority(tmp_path).issue("omni.example")
    for tls in (None, context_of(certificate, key)):
        with healthy(tls) as port:
            environment = {"PORT": str(port)} | ({"TLS_CERT_FILE": str(certificate)} if tls else {})
            subprocess.run([sys.executable, *command], env=environment, check=True)
    environment = {"PORT": str(free_port())}
    assert subprocess.run(
        [sys.executable, *command], env=environment, stderr=subprocess.DEVNULL, check=False
    ).returncode


@contextmanager
def healthy(tls: ssl.SSLContext | None) -> Iterator[int]:
    """A server that answers this one path."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def certificates() -> Iterator[Path]:
    """What the step of compose's own makes, for Postgres' group here."""
    with folder_for_postgres() as folder:
        command = [one.replace("/certs", str(folder)) for one in COMPOSE["services"]["certificates"]["command"]]
        group = {"group": account()["group"]} if account() else {}
        for told in ("made for postgres", "there already"):
            done = subprocess.run(
                [sys.executable, *command[1:]], check=True, cwd=ROOT, capture_output=True, text=True, **group
            )
            assert told in done.stdout
        assert COMPOSE["services"]["certificates"]["user"] == "0:999", "a volume's owner, and Postgres' group there"
        yield folder


def test_postgres_shows_a_certificate_that_the_product_believes(certificates: Path) -> None:
    """Postgres with its options and the product with its address, as processes."""
    assert (certificates / "server.key").stat().st_mode & 0o777 == 0o640
    words = [one.replace("/certs", str(certificates)) for one in COMPOSE["services"]["postgres"]["command"]]
    address = COMPOSE["services"]["app"]["environment"]["DATABASE_URL"].replace("/certs", str(certificates))
    with or_skipped(), running_cluster((*FASTER, *(one for one in words[1:] if one != "-c"))) as cluster:
        here = f"&hostaddr=127.0.0.1&port={cluster.server.port}"
        url = re.sub(r"omni_server:\$\{[^}]+\}@postgres:5432/omni\?", "omni@postgres/postgres?", address) + here
        with psycopg.connect(url) as connection:
            found = connection.execute("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
    assert found == ("TLSv1.3",)


def test_who_serves_in_compose_owns_nothing() -> None:
    """The script that Postgres' image runs once, and the migration as the step has it, over a real server."""
    script = ROOT / "deploy/server-role.sh"
    assert f"./deploy/{script.name}:/docker-entrypoint-initdb.d/{script.name}:ro" in str(
        COMPOSE["services"]["postgres"]
    )
    assert "DATABASE_OWNER_URL" not in COMPOSE["services"]["app"]["environment"]
    assert "//omni_server:" in COMPOSE["services"]["migrate"]["environment"]["DATABASE_URL"]
    assert "//omni:" in COMPOSE["services"]["migrate"]["environment"]["DATABASE_OWNER_URL"]
    with or_skipped(), running_cluster() as cluster:
        owner = cluster.server.create("omni")
        there = {"PGHOST": "127.0.0.1", "PGPORT": str(cluster.server.port), "PATH": os.environ["PATH"]}
        named = {"POSTGRES_USER": "omni", "POSTGRES_DB": "omni", "SERVER_ROLE_PASSWORD": "letters1"}
        subprocess.run(["sh", script], env=there | named, check=True, capture_output=True)
        serving = owner.replace("//omni@", "//omni_server:letters1@")
        assert serving != owner
        upgrade_for(serving, owner=owner)
        with psycopg.connect(serving) as connection:
            assert connection.execute("SELECT count(*) FROM requests").fetchone() == (0,)
            for refused in ("CREATE TABLE t (a int)", "CREATE TEMPORARY TABLE t (a int)", "DROP TABLE requests"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                    connection.execute(refused)


def test_in_compose_every_way_is_closed_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings are taken by production, which would refuse them, and name no host that may be plain."""
    assert COMPOSE["services"].keys() == {*OURS, "certificates", "postgres"}
    environment = COMPOSE["services"]["app"]["environment"] | {"HOST": "0.0.0.0", "OMNI_DATA_DIR": "/data"}  # noqa: S104
    for name, value in environment.items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:-(.*)\}", r"\1", re.sub(r"\$\{\w+:\?[^}]*\}", "x" * 40, value)))
    settings = load_settings()
    assert (settings.omni_env, settings.plain_hosts) == ("production", "")


def test_every_image_has_a_version() -> None:
    assert len(images()) == 8
    for one in images():
        name, _, tag = one.rpartition(":")
        assert name and tag != "latest", one


def test_a_stop_has_time_for_what_is_in_flight_and_for_the_last_steps() -> None:
    needed_s = Settings.model_fields["stop_grace_sec"].default + LAST_STEPS_S
    given = [
        COMPOSE["services"]["app"]["stop_grace_period"],
        FLY["kill_timeout"],
        f"{POD['terminationGracePeriodSeconds']}s",
        f"{unit()['TimeoutStopSec'][0]}s",
    ]
    assert all(int(one.removesuffix("s")) > needed_s for one in given), given
    stated = [COMPOSE["services"]["app"]["environment"]["STOP_GRACE_SEC"], FLY["env"]["STOP_GRACE_SEC"]]
    stated += [KUBERNETES["ConfigMap"]["data"]["STOP_GRACE_SEC"]]
    assert {int(one) + LAST_STEPS_S for one in stated} == {needed_s}


def test_every_port_is_the_one_that_the_image_listens_on() -> None:
    (port,) = re.findall(r"PORT=(\d+)", DOCKERFILE)
    assert re.findall(r"^EXPOSE (\d+)", DOCKERFILE, re.MULTILINE) == [port]
    assert COMPOSE["services"]["app"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert str(FLY["http_service"]["internal_port"]) == port
    assert [str(one["containerPort"]) for one in POD["containers"][0]["ports"]] == [port]


def test_nothing_runs_as_root_or_writes_beside_its_data() -> None:
    (uid,) = re.findall(r"^USER (\d+):\d+", DOCKERFILE, re.MULTILINE)
    assert int(uid) > 0 and POD["securityContext"]["runAsUser"] == int(uid) and POD["securityContext"]["runAsNonRoot"]
    for name in (*OURS, "certificates"):
        service = COMPOSE["services"][name]
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    for container in (*POD["initContainers"], *POD["containers"]):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
    assert unit()["ProtectSystem"] == ["strict"] and unit()["DynamicUser"] == ["yes"]


def test_the_database_is_migrated_before_anything_is_served() -> None:
    assert COMPOSE["services"]["migrate"]["command"] == MIGRATE
    assert COMPOSE["services"]["app"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert POD["initContainers"][0]["command"] == MIGRATE
    assert FLY["deploy"]["release_command"].split() == MIGRATE
    assert unit()["ExecStartPre"][0].endswith("-m omni_app migrate")


def test_no_secret_is_in_a_file() -> None:
    secrets = {name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert not secrets & (FLY["env"].keys() | KUBERNETES["ConfigMap"]["data"].keys())
    for name, value in COMPOSE["services"]["app"]["environment"].items():
        assert name not in secrets or value.startswith("${"), name


def test_secrets_are_mounted_as_files_in_kubernetes() -> None:
    folder = KUBERNETES["ConfigMap"]["data"]["OMNI_SECRETS_DIR"]
    (volume,) = [one for one in POD["volumes"] if "projected" in one]
    assert volume["projected"] == {"defaultMode": 0o440, "sources": [{"secret": {"name": "omni-model-router"}}]}
    for container in (*POD["initContainers"], *POD["containers"]):
        assert {"name": volume["name"], "mountPath": folder, "readOnly": True} in container["volumeMounts"]
        assert [one for one in container["envFrom"] if "secretRef" in one] == []


def test_the_image_is_built_from_all_that_the_pages_depend_on() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for line in re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()}
    assert copied == kept
    assert {*WEB_SOURCES, "alembic", "alembic.ini"} <= kept


def test_nothing_that_is_for_developing_is_in_the_image() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert not kept & {"tests", "bench", "conformance", "docs", "scripts", "security", ".git", "requirements-dev.txt"}
    installed = {name for name, _ in versions_of("requirements.txt")}
    assert len(installed) > 50
    assert not installed & {"pytest", "mypy", "ruff", "playwright", "hypothesis", "bandit", "detect-secrets", "locust"}


def test_the_image_has_a_python_that_the_project_supports() -> None:
    (version,) = {one.split(":")[1].split("-")[0] for one in images() if one.startswith("python:")}
    assert "3.11" <= version.rpartition(".")[0] <= "3.13"


def test_the_unit_parses() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(ROOT / "deploy/omni-model-router.service")
    assert set(parser.sections()) == {"Unit", "Service", "Install"}
