"""bandit and detect-secrets over the project: everything they find has been looked at (`security/findings.toml`)."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.settings import default_settings, get_plugins

from tests.locks import ROOT
from tests.test_project import project_texts

FINDINGS: Mapping[str, list[dict[str, Any]]] = tomllib.loads((ROOT / "security/findings.toml").read_text())
CODE = ("omni_app", "alembic", "bench", "conformance", "rxconfig.py", "docs/recompute.py")
"""What runs. The tests themselves start programs and hold made-up passwords by design."""
Found = tuple[str, str, str]
"""Path from the root, the finding's id or kind, what it is about."""


def of_bandit(*paths: str | Path) -> Iterator[Found]:
    """What bandit says about these files and folders."""
    command = [sys.executable, "-m", "bandit", "--quiet", "--format", "json", "--recursive", *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["errors"] == []
    for one in report["results"]:
        yield one["filename"], one["test_id"], one["code"]


def of_detect_secrets(paths: list[str]) -> Iterator[Found]:
    """What detect-secrets says about these files, without asking any service whether a secret works."""
    found = SecretsCollection(root=str(ROOT))
    with default_settings() as settings:
        settings.disable_filters("detect_secrets.filters.common.is_ignored_due_to_verification_policies")
        detectors = list(get_plugins())
        for path in paths:
            if any(sees(one, path) for one in detectors):
                found.scan_file(path)
    for path, one in found:
        if not off(one.type, path):
            yield path, one.type, one.secret_hash


def off(kind: str, path: str) -> bool:
    return any(fnmatch(path, one["path"]) and kind in one["kinds"] for one in FINDINGS["detector_off"])


def sees(detector: Any, path: str) -> bool:
    """Whether a detector sees anything in the file: the whole scan, with its filters, takes ten times as long."""
    if off(detector.secret_type, path):
        return False
    text = (ROOT / path).read_text()
    if isinstance(detector, RegexBasedDetector):
        return any(one.search(text) for one in detector.denylist)
    lines = enumerate(text.splitlines(), 1)
    return any(any(detector.analyze_line(filename=path, line=line, line_number=at)) for at, line in lines)


def scanned() -> list[str]:
    return [path for path in project_texts() if not any(fnmatch(path, one["path"]) for one in FINDINGS["not_scanned"])]


def covers(line: Mapping[str, Any], found: Found) -> bool:
    """Whether this line of the file is about this finding; a line may name the hash of the one secret it is about."""
    path, kind, about = found
    kinds = line.get("ids") or line["kinds"]
    return fnmatch(path, line["path"]) and kind in kinds and line.get("sha1", about) == about


def assert_looked_at(found: list[Found], lines: list[dict[str, Any]]) -> None:
    assert [one for one in found if not any(covers(line, one) for line in lines)] == []
    assert [line for line in lines if not any(covers(line, one) for one in found)] == [], "a line without a finding"
    assert all(len(line["why"]) > 20 for line in lines)


def test_bandit_finds_nothing_that_was_not_looked_at() -> None:
    assert_looked_at(list(of_bandit(*CODE)), FINDINGS["bandit"])


@pytest.mark.timeout(300)
def test_no_secret_is_in_the_repository() -> None:
    paths = scanned()
    assert len(paths) > 500
    assert_looked_at(list(of_detect_secrets(paths)), FINDINGS["secret"])


def test_both_find_what_they_are_there_for(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    query = "query = \"SELECT a FROM t WHERE a = '%s'\" % input()"
    key = "AKIA" + "ZZZZ" + "QWERTYUIOPAS"
    bad.write_text(f'import os\nos.system("ls " + input())\n{query}\nk = "{key}"\n')
    assert {kind for _, kind, _ in of_bandit(bad)} >= {"B605", "B608"}
    assert "AWS Access Key" in {kind for _, kind, _ in of_detect_secrets([str(bad)])}
