"""The dashboard, the alerts and the document speak of metrics that exist, and of all that matter."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from omni_app.observe.families import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
ALERTS, DASHBOARD, DOCUMENT = (
    ROOT / "deploy/alerts.yml",
    ROOT / "deploy/grafana-dashboard.json",
    ROOT / "docs/OBSERVE.md",
)
RUNBOOKS = ROOT / "docs/RUNBOOKS.md"
NAME = re.compile(r"\b(?:omni|process)_[a-z_]+\b")
LABELS = re.compile(r"((?:omni|process)_[a-z_]+)\{([^}]*)\}")
EXPOSED = {
    name
    for family in FAMILIES
    for name in (
        [f"{family.name}{suffix}" for suffix in ("_bucket", "_sum", "_count")]
        if family.kind == "histogram"
        else [family.name]
    )
}
ADDED = {"instance", "job", "le", "worker"}
"""Labels of Prometheus' own and of ours that every line has."""


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_every_query_asks_for_metrics_and_labels_that_exist() -> None:
    labels = {family.name: {*family.labels, *ADDED} for family in FAMILIES}
    expressions = [*queries(), *(rule["expr"] for rule in alerts())]
    assert len(expressions) > 30
    for one in expressions:
        names = set(NAME.findall(one))
        assert names <= EXPOSED, one
        for name, matchers in LABELS.findall(one):
            assert set(re.findall(r"(\w+)=", matchers)) <= labels[re.sub(r"_(bucket|sum|count)$", "", name)], one
        for group in re.findall(r"by \(([^)]*)\)", one):
            known = set().union(*(labels[re.sub(r"_(bucket|sum|count)$", "", name)] for name in names), ADDED)
            assert set(group.replace(" ", "").split(",")) <= known, one
        assert one.count("(") == one.count(")"), one


def test_every_alert_says_what_is_wrong_and_how_urgent_it_is() -> None:
    assert len({rule["alert"] for rule in alerts()}) == len(alerts()) > 8
    for rule in alerts():
        assert rule["labels"]["severity"] in {"page", "warn"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    headings = re.findall(r"^## (Omni\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in alerts()], "in the rules' order"
    for rule in alerts():
        assert rule["annotations"]["runbook"] == f"docs/RUNBOOKS.md#{rule['alert'].lower()}"


def test_the_document_lists_every_metric_and_no_other() -> None:
    rows = re.findall(r"^\| `((?:omni|process)_\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(family.name for family in FAMILIES)
