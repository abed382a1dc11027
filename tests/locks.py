"""The lock files, read; by hand: `python -m tests.locks BILL` compares a bill of materials with requirements.txt."""

import json
import re
import sys
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent


def locked(name: str) -> dict[Requirement, list[str]]:
    """The requirements of a lock file, with their hashes."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {Requirement(line.split(" --hash=")[0]): re.findall(r"--hash=(\S+)", line) for line in lines}


def versions_of(name: str) -> set[tuple[str, str]]:
    """(package, version) of a lock file; a package with one version per system is there with each."""
    return {(plain(package.name), str(package.specifier).removeprefix("==")) for package in locked(name)}


def plain(name: str) -> str:
    """One spelling per package (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def components(bill: str) -> set[tuple[str, str]]:
    """(package, version) of a bill of materials in CycloneDX's JSON."""
    return {(plain(one["name"]), one["version"]) for one in json.loads(bill)["components"]}


def main() -> int:
    """0 when the CycloneDX file names exactly what requirements.txt locks."""
    listed = components(Path(sys.argv[1]).read_text())
    wanted = versions_of("requirements.txt")
    for package, version in sorted(listed ^ wanted):
        where = "bill of materials" if (package, version) in listed else "lock"
        sys.stdout.write(f"{package} {version}: only in the {where}\n")
    sys.stdout.write(f"{len(listed)} components, {len(wanted)} locked, {len(listed ^ wanted)} differences\n")
    return 1 if listed ^ wanted else 0


if __name__ == "__main__":
    sys.exit(main())
