"""What a server's messages look like on standard error."""

import logging
import re

import pytest

from omni_app import log_lines

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING omni_app\.any: it failed\n")


def test_a_message_says_when_how_bad_it_is_and_whose(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    log_lines.install()
    log_lines.install()
    logging.getLogger("omni_app.any").warning("it failed")
    logging.getLogger("omni_app.any").info("it went well")
    assert LINE.fullmatch(capsys.readouterr().err)


def test_whoever_set_up_logging_before_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = [logging.NullHandler()]
    monkeypatch.setattr(logging.getLogger(), "handlers", mine)
    log_lines.install()
    assert logging.getLogger().handlers == mine and len(mine) == 1
