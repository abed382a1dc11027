"""The project's own rules: what is locked, what may be in the repository, and that the documents tell the truth."""

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from omni_app.settings import Settings
from omni_app.version import VERSION
from tests.conftest import NetworkInTest
from tests.locks import ROOT, locked

LOCKS = ("requirements.txt", "requirements-dev.txt")
"""What is installed for the product and its tests."""
ALL_LOCKS = (*LOCKS, "requirements-audit.txt")
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "plan.md",
    *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md")),
)

# Written in pieces, so that this file does not hold what it looks for.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("debian", "org"),
    )
)
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:" + "|".join(("work", "root", "home", "Users")) + r")/\w")
PLAN_MARKS = {" ": "not started", "-": "in progress", "x": "done", "~": "blocked"}


@cache
def project_files() -> tuple[Path, ...]:
    """Every file that is, or would be, in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return tuple(path for path in paths if path.is_file())


@cache
def project_texts() -> dict[str, str]:
    """Path from the root -> text, for every text file of the repository."""
    texts: dict[str, str] = {}
    for path in project_files():
        content = path.read_bytes()
        if b"\0" not in content:
            texts[str(path.relative_to(ROOT))] = content.decode("utf-8")
    return texts


def asked_for(name: str) -> list[Requirement]:
    """The requirements of an `.in` file."""
    lines = [line.split(" #")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-c"))]


# --------------------------------------------------------------------------------------------------- supply chain


@pytest.mark.parametrize("name", ALL_LOCKS)
def test_every_locked_package_has_one_exact_version_and_hashes(name: str) -> None:
    packages = locked(name)
    assert len(packages) > 20
    for package, hashes in packages.items():
        assert re.fullmatch(r"==[\w.+!]+", str(package.specifier)), package
        assert hashes, package
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), package


@pytest.mark.parametrize("name", ALL_LOCKS)
def test_lock_files_name_no_address_and_no_option_but_hashes(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "==" in text
    assert "://" not in text
    assert " @ " not in text
    assert set(re.findall(r"(?:^|\s)(-{1,2}[a-z][\w-]*)", text)) == {"--hash"}


@pytest.mark.parametrize("name", ALL_LOCKS)
def test_a_lock_holds_everything_that_was_asked_for_at_the_version_asked_for(name: str) -> None:
    versions = {package.name.lower(): str(package.specifier).removeprefix("==") for package in locked(name)}
    wanted = asked_for(name.replace(".txt", ".in"))
    assert wanted
    for one in wanted:
        assert one.name.lower() in versions, one
        assert one.specifier.contains(versions[one.name.lower()], prereleases=True), one


def test_both_locks_agree_on_what_they_share() -> None:
    product, tests = ({package.name: str(package.specifier) for package in locked(name)} for name in LOCKS)
    shared = product.keys() & tests.keys()
    assert len(shared) > 3
    assert {name: product[name] for name in shared} == {name: tests[name] for name in shared}


def test_the_environment_is_what_the_locks_say() -> None:
    installed = {
        (dist.name.lower().replace("_", "-").replace(".", "-"), dist.version)
        for dist in importlib.metadata.distributions()
    }
    wanted = {
        (package.name.lower().replace("_", "-").replace(".", "-"), str(package.specifier).removeprefix("=="))
        for name in LOCKS
        for package in locked(name)
        if package.marker is None or package.marker.evaluate()
    }
    assert len(wanted) > 100
    assert not wanted - installed


def test_every_pth_file_in_the_environment_is_on_the_allow_list() -> None:
    lines = (ROOT / "security/pth-allowlist").read_text().splitlines()
    allowed = {tuple(line.split()) for line in lines if not line.startswith("#")}
    assert all(len(entry) == 2 for entry in allowed)
    folders = {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")}
    assert all((folder / "litellm").is_dir() for folder in folders), "looked in the wrong place"
    found = {
        (hashlib.sha256(path.read_bytes()).hexdigest(), path.name)
        for folder in folders
        for path in folder.glob("*.pth")
    }
    assert not found - allowed


# ------------------------------------------------------------------------------------------------- the repository


def test_the_search_sees_the_whole_repository() -> None:
    texts = project_texts()
    assert len(texts) > 50
    assert {"README.md", "Makefile", "omni_app/settings.py", "tests/test_project.py", ".ci/run"} <= texts.keys()


def test_no_file_holds_a_path_of_somebodys_machine() -> None:
    assert MACHINE_PATH.search("see " + "/" + "home/me"), "the pattern finds what it should"
    found = {name: hit.group() for name, text in project_texts().items() if (hit := MACHINE_PATH.search(text))}
    assert not found


def test_no_file_names_a_package_registry() -> None:
    found = {(name, host) for name, text in project_texts().items() for host in REGISTRY_HOSTS if host in text}
    assert not found


def test_nothing_that_is_made_at_run_time_is_in_the_repository() -> None:
    forbidden = re.compile(r"^(\.web|\.states|\.venv|data|test-results)/|\.(db|sqlite3?|pyc|log)$|(^|/)\.env$")
    assert forbidden.search("data/omni.db")
    assert not [
        name for name in map(str, (path.relative_to(ROOT) for path in project_files())) if forbidden.search(name)
    ]


def test_scripts_can_be_run_and_stop_at_unset_variables() -> None:
    scripts = [*sorted(ROOT.glob("scripts/*.sh")), ROOT / ".ci/run"]
    assert len(scripts) >= 5
    for script in scripts:
        assert os.access(script, os.X_OK), script
        assert re.search(r"^set -e?uo pipefail$", script.read_text(), re.MULTILINE), script
        subprocess.run(["bash", "-n", script], check=True)


# -------------------------------------------------------------------------------------------------- the documents


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_alone_lists_every_target() -> None:
    make = shutil.which("make")
    assert make
    listed = subprocess.run([make, "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    described = dict(re.findall(r"^make ([a-z0-9-]+) +(\S.*)$", listed, re.MULTILINE))
    assert described.keys() == make_targets()
    assert {"install", "run", "dev", "test", "lock", "e2e", "clean", "help"} <= described.keys()


def make_commands(text: str) -> set[str]:
    """The targets of the make commands in a document: in backquotes, or at the start of a line of a code block."""
    setting = r"(?:[A-Z_]+=\S+ )*"
    inline = re.findall(rf"`{setting}make ([a-z][a-z0-9-]*)[^`\n]*`", text)
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    return {*inline, *re.findall(rf"^{setting}make ([a-z][a-z0-9-]*)", blocks, re.MULTILINE)}


def test_every_make_command_in_the_documents_exists() -> None:
    assert make_commands("`PORT=1 make one`, make two\n```sh\nmake three  # x\necho make four\n```\n") == {
        "one",
        "three",
    }
    told = {name: make_commands((ROOT / name).read_text()) for name in DOCUMENTS}
    assert {"run", "test", "e2e"} <= told["README.md"]
    assert not {name: missing for name, targets in told.items() if (missing := targets - make_targets())}


def test_ci_runs_what_the_readme_says_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line and not line.startswith("#")]
    assert lines == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "make test"]
    assert "make test" in (ROOT / ".github/workflows/ci.yml").read_text()


def test_every_variable_in_the_readmes_table_is_a_setting() -> None:
    rows = [line.split("|")[1] for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")]
    variables = {name for row in rows for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", row)}
    assert len(variables) > 10
    assert not {name for name in variables if name.lower() not in Settings.model_fields}


def test_every_setting_is_in_the_readmes_table() -> None:
    rows = "\n".join(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`([A-Z][A-Z0-9_]+)", rows))
    base_urls = {name for name in Settings.model_fields if name.endswith("_base_url")}
    assert "openai_base_url" in base_urls and "`OPENAI_BASE_URL` and so on" in rows
    unnamed = {name for name in Settings.model_fields if name.upper() not in named}
    assert unnamed == base_urls - {"openai_base_url"}


def test_every_local_link_in_the_documents_leads_somewhere() -> None:
    links = [
        (name, target.split("#")[0])
        for name in DOCUMENTS
        for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / name).read_text())
        if "://" not in target and not target.startswith("#")
    ]
    assert len(links) > 5
    assert not [(name, target) for name, target in links if not ((ROOT / name).parent / target).exists()]


def test_every_decision_says_context_decision_consequences_and_alternatives() -> None:
    records = sorted(ROOT.glob("docs/decisions/*"))
    assert records
    for record in records:
        text = record.read_text()
        name = re.fullmatch(r"(\d{4})-[a-z0-9]+(-[a-z0-9]+)*\.md", record.name)
        assert name, record.name
        assert re.match(rf"# {int(name.group(1))}\. \S", text), record.name
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "Alternatives"], record.name
    assert len({record.name[:4] for record in records}) == len(records), "a number is used once"


def test_every_point_of_the_plan_has_a_mark_that_its_legend_explains() -> None:
    text = (ROOT / "plan.md").read_text()
    marks = re.findall(r"^\s*- \[(.)\] \S", text, re.MULTILINE)
    assert len(marks) > 20
    assert set(marks) <= PLAN_MARKS.keys()
    assert len(marks) == len(re.findall(r"^\s*[-*] ", text, re.MULTILINE)), "a point without a mark"
    for mark, meaning in PLAN_MARKS.items():
        assert f"`[{mark}]` {meaning}" in text


def test_a_capability_of_the_plan_is_done_only_when_all_its_points_are() -> None:
    sections = re.split(r"^## ", (ROOT / "plan.md").read_text(), flags=re.MULTILINE)[1:]
    assert len(sections) >= 8
    for section in sections:
        title, marks = section.splitlines()[0], re.findall(r"^- \[(.)\]", section, re.MULTILINE)
        state = re.fullmatch(r".+ \[(.)\]", title)
        assert state and marks, title
        done = all(mark == "x" for mark in marks)
        untouched = all(mark in " ~" for mark in marks)
        assert state.group(1) == ("x" if done else state.group(1) if untouched and state.group(1) in " ~" else "-"), (
            title
        )


# ------------------------------------------------------------------------------------------------- the test run itself


@pytest.mark.parametrize(("ci", "status"), [("true", pytest.ExitCode.TESTS_FAILED), ("", pytest.ExitCode.OK)])
def test_a_skipped_test_fails_the_run_in_ci_only(tmp_path: Path, ci: str, status: pytest.ExitCode) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (tmp_path / "test_one.py").write_text(
        "import pytest\n\ndef test_a(): pass\n\ndef test_b(): pytest.skip('no browser here')\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -rs -p no:cacheprovider -p no:schemathesis\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "pytest.ini", "--rootdir", "."],
        cwd=tmp_path,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed, 1 skipped" in ran.stdout
    assert "no browser here" in ran.stdout
    assert ran.returncode == status, ran.stdout
    assert ("every test must run" in ran.stdout) == (ci == "true")


@pytest.mark.parametrize(
    ("event", "arguments", "refused"),
    [
        ("socket.connect", (None, ("192.0.2.1", 443)), True),
        ("socket.getaddrinfo", ("example.com", 443), True),
        ("socket.getaddrinfo", (b"example.com", 443), True),
        ("socket.connect", (None, ("127.0.0.1", 8000)), False),
        ("socket.connect", (None, ("::1", 8000, 0, 0)), False),
        ("socket.connect", (None, "a-unix-socket"), False),
        ("socket.getaddrinfo", ("nobody.invalid", 443), False),
    ],
)
def test_a_test_reaches_this_machine_only(event: str, arguments: tuple[object, ...], refused: bool) -> None:  # noqa: FBT001 parametrised
    """Raises the event that Python's sockets raise; no packet is sent."""
    with pytest.raises(NetworkInTest) if refused else nullcontext():
        sys.audit(event, *arguments)


def test_the_migrations_are_one_line() -> None:
    """Two that follow the same one would leave it open which comes first, and `upgrade head` refuses both."""
    found = {}
    for path in (ROOT / "alembic/versions").glob("*.py"):
        names = dict(re.findall(r'^(revision|down_revision) = "?(\w+)"?$', path.read_text(), re.MULTILINE))
        found[names["revision"]] = names["down_revision"]
        assert path.name.startswith(f"{names['revision']}_"), path.name
    assert sorted(found.values()) == sorted(({"None"} | found.keys()) - {max(found)})


def test_the_changelog_tells_of_this_version() -> None:
    heading = rf"^## \[{re.escape(VERSION)}\] - \d{{4}}-\d\d-\d\d$"
    assert re.search(heading, (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
