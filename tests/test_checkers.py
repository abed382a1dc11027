"""What each file's own checker says: of the image, the unit, the manifests, the alert rules and the workflows."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
BESIDE_PYTHON = Path(sys.executable).parent
WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
STEPS: list[dict[str, Any]] = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
UNIT = ROOT / "deploy/omni-model-router.service"


def says(program: str, *arguments: object) -> tuple[int, str]:
    """The exit status of a checker, and what it said."""
    found = shutil.which(program, path=BESIDE_PYTHON) or shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    ran = subprocess.run([found, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def broken(path: str, tmp_path: Path, old: str, new: str) -> Path:
    """A copy of a file with one mistake in it: what a checker that works complains of."""
    text = (ROOT / path).read_text()
    assert old in text
    copy = tmp_path / Path(path).name
    copy.write_text(text.replace(old, new))
    return copy


def test_hadolint_finds_nothing_in_the_dockerfile(tmp_path: Path) -> None:
    assert says("hadolint", "Dockerfile") == (0, "")
    status, said = says("hadolint", broken("Dockerfile", tmp_path, "WORKDIR /app", "WORKDIR app"))
    assert status and "DL3000" in said


def test_the_manifests_fit_kubernetes_schemas(tmp_path: Path) -> None:
    status, said = says("kubernetes-validate", "--strict", "deploy/kubernetes.yaml")
    assert status == 0, said
    status, said = says(
        "kubernetes-validate", "--strict", broken("deploy/kubernetes.yaml", tmp_path, "readinessProbe", "readyProbe")
    )
    assert status and "readyProbe" in said


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Where the program is in its place: without it, that is all that systemd says of the unit."""
    program = tmp_path / ".venv/bin/python"
    program.parent.mkdir(parents=True)
    program.symlink_to("/bin/true")
    unit = broken(str(UNIT.relative_to(ROOT)), tmp_path, "/opt/omni-model-router", str(tmp_path))
    assert says("systemd-analyze", "verify", unit) == (0, "")
    unit.write_text(unit.read_text().replace("ProtectSystem=strict", "ProtectSystem=strictly"))
    assert "Failed to parse protect system value" in says("systemd-analyze", "verify", unit)[1]


def test_prometheus_takes_the_rules_and_each_alert_fires_when_it_should() -> None:
    status, said = says("promtool", "check", "rules", "deploy/alerts.yml")
    assert status == 0, said
    status, said = says("promtool", "test", "rules", "deploy/alerts_test.yml")
    assert status == 0, said
    rules = yaml.safe_load((ROOT / "deploy/alerts.yml").read_text())["groups"][0]["rules"]
    tests = yaml.safe_load((ROOT / "deploy/alerts_test.yml").read_text())["tests"]
    fired = re.findall(r'alertname="(\w+)"', str([test["promql_expr_test"] for test in tests]))
    assert {rule["alert"] for rule in rules} == set(fired)


def test_prometheus_takes_every_query_of_the_dashboard(tmp_path: Path) -> None:
    panels = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(queries) > 20
    rules = [
        {"record": f"query{number}", "expr": query.replace("$__rate_interval", "5m").replace("$mode", "live")}
        for number, query in enumerate(queries)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    status, said = says("promtool", "check", "rules", file)
    assert status == 0, said


# ------------------------------------------------------------------------------------------------------ workflows


def test_zizmor_finds_nothing_in_the_workflows(tmp_path: Path) -> None:
    status, said = says("zizmor", "--offline", "--no-progress", ".github/workflows")
    assert status == 0, said
    (step,) = {step["uses"] for step in STEPS if step.get("uses", "").startswith("actions/checkout")}
    loose = broken(".github/workflows/ci.yml", tmp_path, step, "actions/checkout@v7")
    assert "unpinned-uses" in says("zizmor", "--offline", "--no-progress", loose)[1]


def test_every_action_is_pinned_by_commit_with_its_release_beside_it() -> None:
    lines = re.findall(r"uses: (\S+)(.*)", (ROOT / ".github/workflows/ci.yml").read_text())
    assert len(lines) == len([step for step in STEPS if "uses" in step]) > 5
    for action, comment in lines:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action
    assert len({action for action, _ in lines}) == len({action.split("@")[0] for action, _ in lines}), "one commit each"


def test_every_supported_python_runs_every_check_and_there_is_a_bill_of_materials_and_a_site() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert asked == ">=3.11,<3.14"
    assert WORKFLOW["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    runs = " ".join(step["run"] for step in STEPS if "run" in step)
    assert {"make test", "make audit", "make docs"} <= set(re.findall(r"make [a-z]+", runs))
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", runs)) <= targets
    kept = {step["with"]["path"] for step in STEPS if step.get("uses", "").startswith("actions/upload-artifact")}
    assert kept == {"build/sbom.json", "build/site"}


def test_a_workflow_may_read_and_nothing_else() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in WORKFLOW["jobs"].values())
    checkouts = [step for step in STEPS if step.get("uses", "").startswith("actions/checkout")]
    assert checkouts and all(step["with"] == {"persist-credentials": False} for step in checkouts)
