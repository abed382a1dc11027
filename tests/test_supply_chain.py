"""The locked packages against the faults that are known of them. `make audit` asks the public databases as well."""

import subprocess
import sys
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.locks import ROOT, components, plain, versions_of

LOCKS = ("requirements.txt", "requirements-dev.txt", "requirements-audit.txt")
ADVISORIES: list[Mapping[str, str]] = tomllib.loads((ROOT / "security/advisories.toml").read_text())["advisory"]


def known_faults(package: str, version: str) -> list[str]:
    """The advisories that a release falls under."""
    return [
        one["id"]
        for one in ADVISORIES
        if plain(one["package"]) == plain(package)
        and SpecifierSet(one["affected"]).contains(Version(version), prereleases=True)
    ]


@pytest.mark.parametrize("lock", LOCKS)
def test_no_locked_release_has_a_known_fault(lock: str) -> None:
    found = {(name, version): known_faults(name, version) for name, version in versions_of(lock)}
    assert len(found) > 20
    assert not {release: ids for release, ids in found.items() if ids}


@pytest.mark.parametrize(
    ("package", "version"),
    [("litellm", "1.82.8"), ("litellm", "1.83.6"), ("starlette", "0.46.0"), ("Python_Multipart", "0.0.31")],
)
def test_a_release_with_a_fault_is_found(package: str, version: str) -> None:
    assert known_faults(package, version)


@pytest.mark.parametrize("advisory", ADVISORIES, ids=lambda one: f"{one['package']}-{one['id']}")
def test_every_advisory_says_what_it_is_and_where_that_was_read(advisory: Mapping[str, Any]) -> None:
    assert advisory.keys() == {"package", "affected", "id", "kind", "here", "source"}
    assert all(advisory.values()) and advisory["source"].startswith("https://")
    assert plain(advisory["package"]) in {name for name, _ in versions_of("requirements.txt")}


def test_the_bill_of_materials_names_what_is_locked_and_nothing_else() -> None:
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--of", "JSON", "requirements.txt"]
    bill = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = components(bill)
    assert len(listed) > 100
    assert listed ^ versions_of("requirements.txt") == set()
