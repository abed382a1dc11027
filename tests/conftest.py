"""Rules for every test: no skips in CI, no network but this machine, no settings from the developer's environment."""

import os
import sys

import pytest
from hypothesis import settings

from omni_app import collector
from omni_app.settings import Settings
from tests.cases import FUZZ, PROFILE

for _name in Settings.model_fields:
    os.environ.pop(_name.upper(), None)
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["REFLEX_TELEMETRY_ENABLED"] = "false"

for _profile in (PROFILE, FUZZ):
    settings.register_profile(_profile, deadline=None, print_blob=True)

THIS_MACHINE = ("127.", "::1", "localhost")
NOWHERE = ".invalid"
"""Names that never resolve (RFC 6761): for tests of an unknown host."""


class NetworkInTest(BaseException):
    """A test tried to reach another machine. Not an `Exception`: no error handling of the product may swallow it."""


def refuse_other_machines(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook: Python's sockets reach this machine only. Code that swallows everything is stopped all the same."""
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else "127."  # a path: a Unix socket
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    name = host.decode(errors="replace") if isinstance(host, bytes) else str(host or "localhost")
    if not name.startswith(THIS_MACHINE) and not name.endswith(NOWHERE):
        raise NetworkInTest(f"a test tried to reach {name}: use a server on 127.0.0.1")


sys.addaudithook(refuse_other_machines)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure: nothing is green that did not run."""
    if skipped_in_ci(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says why a run without a failed test is red."""
    if count := skipped_in_ci(config):
        terminalreporter.write_line(f"{count} skipped: with CI=true every test must run (reasons above)", red=True)


def skipped_in_ci(config: pytest.Config) -> int:
    """How many tests were skipped, when that matters."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return len(reporter.stats.get("skipped", ())) if reporter and os.environ.get("CI") == "true" else 0


def pytest_collection_finish() -> None:
    """What is loaded by now stays until the end: the collector need not walk it again and again."""
    collector.rest()
